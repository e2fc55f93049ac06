import ast
import inspect

import pytest

from rexjax.compression import settings as compression
from rexjax.config import Blend, Config, Data, Pooled, Student, Training, Transformer, TwoTower, values
from rexjax.config import schema as configs
from rexjax.distillation import settings as distillation
from rexjax.encoders import settings as encoders
from rexjax.errors import UserError
from rexjax.evaluation import settings as evaluation
from rexjax.families import blend, gradient, pooled, transformer, two_tower
from rexjax.training import settings as training

HEAD = "from rexjax.config import *\ndef get_config():\n    return "


def load(tmp_path, text):
    path = tmp_path / "experiment.py"
    path.write_text(text)
    return configs.load(path)


def test_a_config_file_is_loaded(tmp_path):
    found = load(tmp_path, HEAD + "Config(workdir='w', seed=3, teacher=Transformer(width=8))")
    assert found == Config(workdir="w", seed=3, teacher=Transformer(width=8))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (HEAD + "Config(workdir='w', sead=3)", "sead.*see `rexjax keys` for all keys"),
        (HEAD + "Config(workdir='w', data=Data(pth='x'))", "pth.*see `rexjax keys` for all keys"),
        (HEAD + "Config()", "workdir"),
        (HEAD + "Config(workdir='w', seed='three')", "config key seed is 'three', which is not int"),
        (HEAD + "Config(workdir='w', seed=True)", "config key seed is True, which is not int"),
        (
            HEAD + "Config(workdir='w', student=Student(Pooled(width=8.5)))",
            "student.model.width is 8.5, .* not int",
        ),
        (HEAD + "Config(workdir='w', evaluate=Evaluate(resamples='1'))", "evaluate.resamples is '1', which is not int"),
        (HEAD + "Config(workdir='w', data=Data(split='random'))", "data.split is 'random'.*one of leave_one_out"),
        (HEAD + "Config(workdir='w', data=Data(strict=1))", "data.strict is 1, which is not bool"),
        (HEAD + "Config(workdir='w', data=Data(text='title'))", "data.text is 'title', which is not tuple"),
        (HEAD + "Config(workdir='w', evaluate=Evaluate(k=(1, 'ten')))", "evaluate.k is .*, which is not tuple"),
        (
            HEAD + "Config(workdir='w', teacher=Student())",
            "config key teacher is Student.*, which is no Model: import ",
        ),
        (
            HEAD + "Config(workdir='w', teacher=Transformer)",
            "config key teacher is <class .*, which is no Model: import Transformer from .* write Transformer",
        ),
        (
            HEAD + "Config(workdir='w', baselines=(Popularity(), 3))",
            "config key baselines.1 is 3, which is no Model: import .*Ease",
        ),
        (HEAD + "Config(workdir='w', baselines=Popularity())", "config key baselines is .*, which is not tuple"),
        (
            HEAD + "Config(workdir='w', teacher=Blend((Pooled(), Transformer(layers=1.5))))",
            "config key teacher.members.1.layers is 1.5, which is not int",
        ),
        (HEAD + "Config(workdir='w', stages=('prepare',))", "config key stages.0 must be a Stage, not 'prepare'"),
        (
            HEAD + "Config(workdir='w', teacher=Transformer(training=dict(epochs=1)))",
            "teacher.training must be a Tra",
        ),
        (HEAD + "Config(workdir='w', data=Data(source=Shop(items=3)))", "The shop has items=3"),
        (HEAD + "Config(workdir='w', data=Data(source='tfds'))", "data.source is 'tfds', .*no Source: .* Tfds\\(…\\)$"),
        (HEAD + "Config(workdir='w', data=Data(source=Files))", "data.source is <class .* and write Files\\(…\\)$"),
        (
            HEAD + "Config(workdir='w', data=Data(source=3))",
            "data.source is 3, .* write Shop\\(…\\) or Files\\(…\\) or ",
        ),
        (
            HEAD + "Config(workdir='w', data=Data(source=Tfds(7)))",
            "config key data.source.builder is 7, which is not str",
        ),
        (HEAD + "dict(workdir='w')", "returned dict, not rexjax.config.Config"),
        (HEAD + "Config(workdir=nowhere)", "cannot be read as a config: name 'nowhere'"),
        (HEAD + "Config(workdir='w', seed=1 // 0)", "cannot be read as a config"),
        ("x = 1", "cannot be read as a config: .*get_config"),
        ("def get_config(:", "cannot be read as a config"),
        ("import no_such_module", "cannot be read as a config: No module named"),
    ],
)
def test_a_config_that_is_wrong_is_refused_in_one_sentence(tmp_path, text, words):
    with pytest.raises(UserError, match=words) as caught:
        load(tmp_path, text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [("missing.py", None, "no config file"), ("folder", "", "no config file"), ("x.txt", "a", "is not a Python file")],
)
def test_a_file_that_is_no_config_is_refused(tmp_path, name, content, words):
    if name == "folder":
        (tmp_path / name).mkdir()
    elif content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=words):
        configs.load(tmp_path / name)


def test_integers_are_good_floats():
    values.check(Config(workdir="w", student=Student(Pooled(dropout=0), alignment_weight=1)))


def test_every_key_is_explained():
    """A key without help text beneath it would be printed bare by --help."""
    modules = configs, compression, distillation, encoders, evaluation, training
    modules += blend, gradient, pooled, transformer, two_tower
    for node in [node for module in modules for node in ast.parse(inspect.getsource(module)).body]:
        if isinstance(node, ast.ClassDef) and node.decorator_list:  # a dataclass
            for at, line in enumerate(node.body):
                if isinstance(line, ast.AnnAssign):
                    below = node.body[at + 1] if at + 1 < len(node.body) else None
                    assert isinstance(below, ast.Expr), f"{node.name}.{line.target.id} has no help text"


@pytest.mark.parametrize("name", ["validate_every", "validate_users", "patience"])
def test_training_refuses_what_cannot_be_counted(name):
    with pytest.raises(UserError, match=f"{name}=0: set {name} to 1 or more"):
        Training(**{name: 0})


@pytest.mark.parametrize(
    "kind, change, words",
    [
        (Training, {"decay_steps": -2}, "set decay_steps to -1 or more"),
        (Training, {"learning_rate": -0.1}, "set learning_rate to 0 or more"),
        (Training, {"epochs": -1}, "set epochs to 0 or more"),
        (Training, {"batch": -1}, "set batch to 0 or more"),
        (Transformer, {"heads": 0}, "set heads to 1 or more"),
        (Blend, {"members": (Pooled(),), "weights": (0.5, 0.5)}, "1 members and 2 weights: give one to each"),
        (Transformer, {"temperature": -0.1}, "set temperature to 0 or more"),
        (Transformer, {"dropout": 1.0}, "set dropout to a share from 0 to below 1"),
        (Pooled, {"dropout": -0.1}, "set dropout to a share from 0 to below 1"),
        (Data, {"holdout": 0.0}, "set holdout to a share above 0 and below 0.5"),
        (Data, {"holdout": -1.0}, "set holdout to a share above 0 and below 0.5"),
        (Data, {"holdout": float("nan")}, "holdout=nan: set holdout to a share above 0 and below 0.5"),
        (
            Data,
            {"length": 0, "min_user_events": -1, "min_item_events": -2, "min_rating": float("inf")},
            "data has min_rating=inf, min_user_events=-1, min_item_events=-2, length=0: set min_rating to a finite "
            "number, set min_user_events to 0 or more, set min_item_events to 0 or more, set length to 1 or more",
        ),
        (Student, {"teacher_weight": (0.9, 1.2)}, "set teacher_weight to one or two shares from 0 to 1"),
        (Student, {"teacher_temperature": (1.0, 2.0, 3.0)}, "set teacher_temperature to one or two values above 0"),
        (Student, {"alignment_weight": -1.0}, "set alignment_weight to 0 or more"),
        (Student, {"corruption_rate": 1.0}, "set corruption_rate to a share"),
        (Pooled, {"profiles": 0}, "set profiles to 1 or more"),
        (TwoTower, {"hidden": 0}, "set hidden to 1 or more"),
        (TwoTower, {"temperature": 0.0}, "set temperature to more than 0"),
        (
            Transformer,
            {"block": "gru", "time": "history"},
            "block=gru and time=history: such a block reads the order alone, set time to none or block to one with att",
        ),
    ],
)
def test_models_refuse_what_they_cannot_be(kind, change, words):
    with pytest.raises(UserError, match=words):
        kind(**change)
