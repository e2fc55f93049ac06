import subprocess
import sys
from dataclasses import dataclass

import pytest

from rexjax.artifacts import classes
from rexjax.artifacts.files import file_hash
from rexjax.config import Blend, Config, Model, Pooled, Popularity, Stage, TextCosine, Training, Transformer, load
from rexjax.errors import UserError

FILE = """
from dataclasses import dataclass
from rexjax.config import *

@dataclass(frozen=True)
class Latest(Model):
    half_life: float = 2.0

    def fit(self, data, run):
        return {}

    def scorer(self, state):
        raise NotImplementedError

def count(config, folder, artifacts):
    return {}

class Outer:
    class Inner(Latest):
        pass

def get_config():
    return Config("w", baselines=(Latest(3.0), Popularity()), stages=(Stage("count", count),))
"""


@pytest.fixture
def config(tmp_path):
    """A config whose file, which no other test has, is run."""
    path = tmp_path / "experiment.py"
    path.write_text(f"{FILE}\n# {tmp_path}\n")
    return load(path)


def digest_of(path):
    return file_hash(path)[:16]


@pytest.mark.parametrize(
    "model",
    [
        Transformer(width=8, training=Training(epochs=3)),
        Pooled(time="history"),
        Popularity(),
        Blend((Pooled(), Blend((Popularity(), TextCosine()), weights=(0.25, 0.75)), Transformer())),
    ],
    ids=lambda model: type(model).__name__,
)
def test_a_model_comes_back_from_plain_values(model):
    plain = classes.as_dict(model)
    assert plain["class"] == f"{type(model).__module__}:{type(model).__name__}"
    assert classes.from_dict(Model, plain) == model
    assert "class" in plain  # it is left as it was


def test_a_config_with_other_models_comes_back(config):
    plain = classes.as_dict(config)
    assert [part["class"].split(":")[1] for part in plain["baselines"]] == ["Latest", "Popularity"]
    assert "class" not in plain and "class" not in plain["data"]  # only what anyone may subclass says its class
    assert classes.from_dict(Config, plain | {"stages": []}) == Config("w", baselines=config.baselines)


def test_a_class_of_a_config_file_is_named_by_the_files_hash(config, tmp_path):
    digest = digest_of(tmp_path / "experiment.py")
    kind = type(config.baselines[0])
    assert classes.class_name(kind) == f"experiment.py@{digest}:Latest"
    assert classes.find_class(f"experiment.py@{digest}:Latest", Model) is kind
    assert classes.find_class(f"experiment.py@{digest}:Outer.Inner", Model).__mro__[1] is kind
    assert classes.find(classes.class_name(config.stages[0].run)) is config.stages[0].run
    assert classes.as_dict(config.stages[0])["run"] == f"experiment.py@{digest}:count"


def test_files_are_kept_once_by_their_hash(config, tmp_path):
    kept = tmp_path / "kept" / digest_of(tmp_path / "experiment.py") / "experiment.py"
    classes.keep_files(config, tmp_path / "kept")
    assert kept.read_bytes() == (tmp_path / "experiment.py").read_bytes()
    kept.write_text("not written again")
    classes.keep_files(config, tmp_path / "kept")
    assert kept.read_text() == "not written again"
    classes.keep_files(Config("w"), tmp_path / "none")
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("only", ["stages", "baselines"])
def test_functions_and_models_each_make_a_file_kept(config, tmp_path, only):
    classes.keep_files(getattr(config, only), tmp_path / "kept")
    assert len(list((tmp_path / "kept").iterdir())) == 1


def found_anew(name, folder):
    """Finds a class in a process that has not loaded its file."""
    code = (
        "import sys; from pathlib import Path; from rexjax.artifacts import classes; from rexjax.config import Model\n"
    )
    code += "print(classes.find_class(sys.argv[1], Model, pathlib.Path(sys.argv[2]))().half_life)"
    return subprocess.run([sys.executable, "-c", code, name, folder], capture_output=True, text=True)


@pytest.mark.parametrize("damage", [None, "altered", "missing"])
def test_another_process_runs_the_copy_and_says_so_or_says_what_is_wrong_with_it(config, tmp_path, damage):
    classes.keep_files(config, tmp_path / "kept")
    name = classes.class_name(type(config.baselines[0]))
    digest = name.split("@")[1].split(":")[0]
    kept = tmp_path / "kept" / digest / "experiment.py"
    (tmp_path / "experiment.py").unlink()
    if damage == "altered":
        kept.write_text(kept.read_text() + "\n")
    elif damage == "missing":
        kept.unlink()
    done = found_anew(name, tmp_path / "kept")
    if damage is None:
        assert (done.returncode, done.stdout, done.stderr) == (0, "2.0\n", f"rexjax: runs {kept}\n")
        return
    sentence = {
        "altered": f"{kept} is altered, its hash is no longer {digest}: restore the config file",
        "missing": f"a class comes from the config file experiment.py ({digest}), which is not here: load that file "
        "first",
    }
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.splitlines()[-1] == f"rexjax.errors.UserError: {sentence[damage]}"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no_such_package.models:Best", "no_such_package.models:Best cannot be found .*: install the package"),
        ("rexjax.config:Best", "rexjax.config:Best cannot be found .*: install the package"),
        ("rexjax.config:Config", "rexjax.config:Config is no Model: name a subclass of it"),
        ("rexjax.config:load", "rexjax.config:load is no Model"),
        ("gone.py@0123456789abcdef:Best", r"the config file gone.py \(0123456789abcdef\), which is not here"),
    ],
)
def test_a_class_that_is_not_there_is_named(name, words):
    with pytest.raises(UserError, match=words):
        classes.find_class(name, Model)


def test_a_key_that_is_not_there_is_of_another_version():
    with pytest.raises(UserError, match="Popularity has no key halflife: it was made by another version"):
        classes.from_dict(Model, classes.as_dict(Popularity()) | {"halflife": 3})


def test_a_file_that_fails_is_run_again_the_next_time(tmp_path):
    path = tmp_path / "broken.py"
    path.write_text(f"1 / 0  # {tmp_path}\n")
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            classes.run_file(path)


@dataclass(frozen=True)
class Named:
    names: tuple[str, ...] = ()
    sizes: tuple[float, ...] = ()
    label: str = ""


def test_lists_of_plain_values_become_tuples():
    value = Named(("a", "b"), (1.0,), "x")
    assert classes.as_dict(value) == {"names": ["a", "b"], "sizes": [1.0], "label": "x"}
    assert classes.from_dict(Named, classes.as_dict(value)) == value


def test_a_stage_says_its_functions():
    plain = classes.as_dict(Stage("count", run=load, needs=("prepare",)))
    assert plain["run"] == "rexjax.config.schema:load" and plain["needs"] == ["prepare"]
