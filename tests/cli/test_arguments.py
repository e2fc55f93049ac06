from dataclasses import replace
from pathlib import Path

import pytest

from rexjax.cli import arguments, run
from rexjax.cli.fields import keys_of
from rexjax.cli.plan import Plan
from rexjax.cli.recommend import Recommend
from rexjax.config import Blend, Config, Pooled, Transformer
from rexjax.errors import UserError
from tests.cli.runs import main, refused, state

CONFIG = Config(workdir="runs/x", teacher=Transformer())


@pytest.mark.parametrize(
    ("kind", "given", "own", "rest"),
    [
        (run.Run, "a.py --update --seed 3", "a.py --update", "--seed 3"),
        (run.Run, "a.py --seed 3 --profile", "a.py --profile", "--seed 3"),
        (run.Run, "a.py --evaluate.k 1 2 --no-update", "a.py --no-update", "--evaluate.k 1 2"),
        (run.Run, "--seed=3 a.py", "a.py", "--seed=3"),
        (run.Run, "--seed 3 a.py", "", "--seed 3 a.py"),
        (run.Run, "--update a.py", "--update a.py", ""),
        (run.Compress, "a.py --budget quality>=0.9 --seed -1", "a.py --budget quality>=0.9", "--seed -1"),
        (Plan, "--topology v5p:2x2x1 a.py --items=7 --seed 1", "--topology v5p:2x2x1 a.py --items=7", "--seed 1"),
        (Recommend, "w --user 1 --user 2 --k 3", "w --user 1 --user 2 --k 3", ""),
    ],
)
def test_the_flags_of_a_command_are_told_from_keys_of_the_config(kind, given, own, rest):
    assert arguments.split(list(keys_of(kind)), given.split()) == (own.split(), rest.split())


def test_a_command_is_its_dataclass_and_the_rest_changes_the_config():
    given = ["a.py", "--update", "--student.model.width", "16", "--data.no-strict", "--evaluate.k=5"]
    request, rest = arguments.parse(run.Run, given, "rexjax run", keys=True)
    assert request == run.Run(Path("a.py"), update=True)
    config = arguments.override(CONFIG, rest)
    assert (config.student.model.width, config.data.strict, config.evaluate.k) == (16, False, (5,))
    assert arguments.override(CONFIG, []) is CONFIG
    assert arguments.parse(Recommend, ["w", "--user", "1", "--user", "2"], "r", keys=False)[0].user == ("1", "2")


def test_the_default_teacher_is_a_blend_whose_transformer_has_keys():
    config = arguments.override(Config("runs/x"), ["--teacher.members.3.width", "32"])
    assert config.teacher.members[-1] == Transformer(width=32)
    with pytest.raises(UserError, match=r"--teacher.width \(did you mean --teacher.members.3.width\?\)"):
        arguments.override(Config("runs/x"), ["--teacher.width", "32"])


def test_members_of_a_blend_have_keys():
    blended = replace(CONFIG, teacher=Blend(members=(Transformer(), Pooled())))
    config = arguments.override(blended, ["--teacher.members.1.width", "7"])
    assert config.teacher.members == (Transformer(), Pooled(width=7))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("--student.model.widht 3", ["--student.model.widht (did you mean --student.model.width?)"]),
        ("--teacher.lr 3", ["--teacher.training.learning-rate or"]),
        ("--teacher.rate 3", ["--teacher.training.learning-rate or"]),
        ("--teacher.epochs 3", ["did you mean --teacher.training.epochs?"]),
        ("--student.width 3", ["it is now --student.model.width"]),
        ("--student.training.epochs 3", ["it is now --student.model.training.epochs"]),
        ("--teacher.members 3", ["teacher=Blend("]),
        ("--data.source files", ["source=Files()"]),
        ("--updat", ["did you mean --update?"]),
        (
            "--xyzzy 1 --sed 2 --evaluate.kk=3",
            ["no keys --xyzzy (and none", "--sed (did you mean --seed?)", "--evaluate.k?"],
        ),
    ],
)
def test_misspelt_keys_are_answered_in_one_sentence_with_those_that_were_meant(given, words):
    with pytest.raises(UserError) as error:
        arguments.override(CONFIG, given.split(), list(keys_of(run.Run)))
    assert [word for word in words if word not in str(error.value)] == []
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("--student.top-k wide", "--student.top-k 'wide' does not fit: it takes an integer, such as 50"),
        ("--teacher.dropout x", "--teacher.dropout 'x' does not fit: it takes a number, such as 0.3"),
        ("--data.repeats never", "--data.repeats 'never' does not fit: it takes one of first, keep, such as first"),
        ("--evaluate.k 1 b", "--evaluate.k '1 b' does not fit: it takes any number of values, an integer each"),
        ("--data.strict no", "it takes no value: write --data.strict or --data.no-strict"),
        ("--seed", "--seed without a value does not fit"),
        ("--seed 1 2", "--seed '1 2' does not fit"),
        ("--seed a --mesh.data b", "; --mesh.data 'b' does not fit"),
    ],
)
def test_a_value_that_does_not_parse_is_named_with_what_fits(given, words):
    with pytest.raises(UserError) as error:
        arguments.override(CONFIG, given.split())
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            ("sweep", "configs/quickstart.py", "--minutes", "nan"),
            "--minutes nan --of teacher: set --minutes above 0",
        ),
        (
            ("sweep", "configs/quickstart.py", "--minutes", "3", "--of", "student"),
            "--minutes 3 --of student: set --minutes above 0",
        ),
        (("serve", "x", "--port", "a"), "--port 'a' does not fit: it takes an integer, such as 8000"),
        (("serve", "x", "--prot", "1"), "there is no key --prot (did you mean --port?); `rexjax serve --help`"),
        (("serve",), "FOLDER is missing: rexjax serve FOLDER"),
        (("export", "a"), "FOLDER is missing: rexjax export WORKDIR FOLDER"),
        (("export", "a", "b", "c"), "'c' is too much: it is `rexjax export WORKDIR FOLDER`"),
        (("sweep", "a.py", "--of", "x"), "--of 'x' does not fit: it takes one of teacher, student, control"),
        (("keys", "tea", "--config"), "--config without a value does not fit: it takes a path"),
        (("run", "a.py", "--seed", "3", "--update", "b.py"), "'b.py' is too much"),
    ],
)
def test_mistakes_in_a_commands_own_flags_are_one_sentence(capsys, given, words):
    assert words in refused(capsys, *given)


def test_a_refused_key_leaves_the_workdir_as_it_is(finished, capsys):
    before = state(finished[1])
    assert "--student.model.width 'wide'" in refused(capsys, "run", finished[0], "--student.model.width", "wide")
    assert state(finished[1]) == before
    assert main("prepare", finished[0]) == 0
