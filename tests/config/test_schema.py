import pytest

from rexjax.config import schema as configs
from rexjax.config import values
from rexjax.config.schema import Config, Data, Student, Teacher, Training
from rexjax.errors import UserError

HEAD = "from rexjax.config.schema import *\ndef get_config():\n    return "


def load(tmp_path, text):
    path = tmp_path / "experiment.py"
    path.write_text(text)
    return configs.load(path)


def test_a_config_file_is_loaded(tmp_path):
    found = load(tmp_path, HEAD + "Config(workdir='w', seed=3, teacher=Teacher(width=8))")
    assert found == Config(workdir="w", seed=3, teacher=Teacher(width=8))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (HEAD + "Config(workdir='w', sead=3)", "sead.*see `rexjax run --help`"),
        (HEAD + "Config(workdir='w', data=Data(pth='x'))", "pth.*see `rexjax run --help`"),
        (HEAD + "Config()", "workdir"),
        (HEAD + "Config(workdir='w', seed='three')", "config key seed is 'three', which is not int"),
        (HEAD + "Config(workdir='w', seed=True)", "config key seed is True, which is not int"),
        (HEAD + "Config(workdir='w', student=Student(width=8.5))", "student.width is 8.5, which is not int"),
        (HEAD + "Config(workdir='w', student=Student(dropout='1'))", "student.dropout is '1', which is not float"),
        (HEAD + "Config(workdir='w', data=Data(split='random'))", "data.split is 'random'.*one of leave_one_out"),
        (HEAD + "Config(workdir='w', data=Data(strict=1))", "data.strict is 1, which is not bool"),
        (HEAD + "Config(workdir='w', data=Data(text='title'))", "data.text is 'title', which is not tuple"),
        (HEAD + "Config(workdir='w', evaluate=Evaluate(k=(1, 'ten')))", "evaluate.k is .*, which is not tuple"),
        (HEAD + "Config(workdir='w', teacher=Student())", "config key teacher must be a Teacher"),
        (HEAD + "Config(workdir='w', teacher=Teacher(training=dict(epochs=1)))", "teacher.training must be a Training"),
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
        (HEAD + "dict(workdir='w')", "returned dict, not rexjax.config.schema.Config"),
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
    values.check(Config(workdir="w", student=Student(dropout=0)))


def test_every_key_is_explained():
    """A key without help text beneath it would be printed bare by --help."""
    import ast
    import inspect

    source = ast.parse(inspect.getsource(configs))
    for node in source.body:
        if isinstance(node, ast.ClassDef):
            for at, line in enumerate(node.body):
                if isinstance(line, ast.AnnAssign):
                    below = node.body[at + 1] if at + 1 < len(node.body) else None
                    assert isinstance(below, ast.Expr), f"{node.name}.{line.target.id} has no help text"


@pytest.mark.parametrize("name", ["epochs", "batch", "validate_every", "validate_users", "patience"])
def test_training_refuses_what_cannot_be_counted(name):
    with pytest.raises(UserError, match=f"{name}=0: set {name} to 1 or more"):
        Training(**{name: 0})


@pytest.mark.parametrize(
    "kind, change, words",
    [
        (Training, {"decay_steps": -2}, "set decay_steps to -1 or more"),
        (Training, {"learning_rate": -0.1}, "set learning_rate to 0 or more"),
        (Teacher, {"heads": 0}, "set heads to 1 or more"),
        (Teacher, {"members": 0}, "set members to 1 or more"),
        (Teacher, {"blocks": ("hstu", "sasrec")}, "blocks of 2 kinds and members=1: set members to 2 or more"),
        (Teacher, {"blocks": ()}, "blocks of 0 kinds"),
        (Teacher, {"temperature": -0.1}, "set temperature to 0 or more"),
        (Teacher, {"dropout": 1.0}, "set dropout to a share from 0 to below 1"),
        (Student, {"dropout": -0.1}, "set dropout to a share from 0 to below 1"),
        (Data, {"holdout": 0.0}, "set holdout to a share above 0 and below 0.5"),
        (Data, {"holdout": -1.0}, "set holdout to a share above 0 and below 0.5"),
        (Student, {"list_weight": (0.9, 1.2)}, "set list_weight to one or two shares from 0 to 1"),
        (Student, {"list_temperature": (1.0, 2.0, 3.0)}, "set list_temperature to one or two values above 0"),
        (Student, {"ranking_weight": -1.0}, "set ranking_weight to 0 or more"),
        (Student, {"temperature": 0.0}, "set temperature to more than 0"),
    ],
)
def test_models_refuse_what_they_cannot_be(kind, change, words):
    with pytest.raises(UserError, match=words):
        kind(**change)
