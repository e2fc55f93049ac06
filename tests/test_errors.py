import importlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest

from rexjax.errors import UserError, check_least, check_range, check_share, needs_extra

REPOSITORY = Path(__file__).parent.parent
EXTRAS = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["optional-dependencies"]
OPTIONAL = [
    "ibis",
    "duckdb",
    "tensorflow_datasets",
    "tokenizers",
    "tensorboardX",
    "matplotlib",
    "wandb",
    "msgspec",
    "starlette",
]

PART = SimpleNamespace(few=0, many=3, share=0.2, whole=1.0, text="3", bad=-0.1)


@pytest.mark.parametrize(
    ("check", "sentence"),
    [
        (lambda: check_least(PART, "shop", 1, "many", "few"), "shop has few=0: set few to 1 or more"),
        (lambda: check_least(PART, "shop", 4, "many"), "shop has many=3: set many to 4 or more"),
        (lambda: check_share(PART, "shop", "whole"), "shop has whole=1.0: set whole to a share from 0 to below 1"),
        (lambda: check_share(PART, "shop", "share", "bad"), "shop has bad=-0.1: set bad to a share from 0 to below 1"),
        (
            lambda: check_range(PART, "shop", "an odd number", lambda n: n % 2 == 1, "few"),
            "shop has few=0: set few to an odd number",
        ),
    ],
)
def test_the_first_that_does_not_fit_is_named_with_what_would(check, sentence):
    with pytest.raises(UserError) as found:
        check()
    assert str(found.value) == sentence


def test_what_fits_passes_and_what_is_no_number_is_left_to_the_check_of_types():
    check_least(PART, "shop", 0, "few", "many", "share")
    check_share(PART, "shop", "few", "share")
    assert check_least(PART, "shop", 100, "text") is None


def test_a_missing_package_is_one_sentence_that_names_its_extra():
    with pytest.raises(UserError) as found, needs_extra("logs"):
        importlib.import_module("no_such_package.inside")
    assert str(found.value) == (
        "the package no_such_package is not installed: run pip install 'rexjax[logs]', which brings it"
    )


def test_every_extra_that_is_asked_for_exists():
    asked = {
        name
        for path in (REPOSITORY / "rexjax").rglob("*.py")
        for name in re.findall(r'needs_extra\("(\w+)"\)', path.read_text())
    }
    assert asked and asked <= EXTRAS.keys()


def _without_optional(program):
    hide = f"import sys; sys.modules.update(dict.fromkeys({list(OPTIONAL)!r}))\n"
    return subprocess.run([sys.executable, "-c", hide + program], capture_output=True, text=True)


def test_the_parts_for_jax_users_need_no_extra():
    parts = "retrieval.index, retrieval.topk, losses.sampled, losses.sharded_softmax, embedding.table, training.loop"
    parts += ", families.blend, families.transformer, evaluation.ranking, config"
    done = _without_optional("import " + ", ".join(f"rexjax.{part}" for part in parts.split(", ")))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("program", "extra"),
    [
        ("import rexjax.data.interactions", "data"),
        ("import pathlib, rexjax.data.histories as h; h.source(pathlib.Path())", "data"),
        ("import pathlib, rexjax.training.log as log; log.Log(pathlib.Path('nowhere'), 'teacher')", "logs"),
        ("import rexjax.evaluation.pictures as p; p.draw_map(None, [[0.0]], None)", "pictures"),
        ("import rexjax.serving.run", "serve"),
    ],
)
def test_what_needs_an_extra_says_which(program, extra):
    done = _without_optional(program)
    assert "rexjax.errors.UserError: the package" in done.stderr and f"'rexjax[{extra}]'" in done.stderr
