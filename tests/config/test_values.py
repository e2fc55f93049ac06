import dataclasses
import math
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from rexjax.artifacts import classes, hashing
from rexjax.config import (
    BPRMF,
    DMF,
    IALS,
    Config,
    Data,
    Ease,
    Files,
    Frames,
    ItemKNN,
    Mesh,
    NeuMF,
    Pooled,
    SequentialRules,
    Shop,
    Slim,
    Tfds,
    Training,
    Transformer,
    TwoTower,
    values,
)
from rexjax.errors import UserError


def test_a_digest_follows_every_value_and_nothing_else():
    a = Config(workdir="w")
    assert hashing.digest(a) == hashing.digest(Config(workdir="w")) == hashing.digest(classes.as_dict(a))
    others = [dataclasses.replace(a, seed=1), dataclasses.replace(a, data=Data(length=51)), Config(workdir="v")]
    others += [dataclasses.replace(a, teacher=Transformer(training=Training(epochs=31)))]
    others += [dataclasses.replace(a, teacher=Pooled())]
    assert len({hashing.digest(config) for config in [a, *others]}) == 6
    assert hashing.digest({"x": 1, "y": 2}) == hashing.digest({"y": 2, "x": 1})


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ({}, {}, []),
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1}, {"a": 2}, ["a: 1 -> 2"]),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}}, ["a.c: 2 -> 3"]),
        ({"a": 1}, {"b": 1}, ["a: 1 -> None", "b: None -> 1"]),
    ],
)
def test_differences_name_the_keys(old, new, expected):
    assert hashing.differences(old, new) == expected


def test_a_config_survives_json():
    config = Config(workdir="w", mesh=Mesh(data=2))
    plain = classes.as_dict(config)
    assert plain["evaluate"]["k"] == [1, 5, 10, 20]
    assert plain["mesh"] == {"data": 2, "model": 1}
    assert hashing.differences(plain, classes.as_dict(config)) == []


def test_a_config_comes_back_from_json():
    config = Config("w", data=Data(text=("a", "b"), source=Shop(users=7, items=50, interactions=99)), seed=3)
    assert classes.from_dict(Config, classes.as_dict(config)) == config


def test_a_digest_follows_the_class_of_a_source():
    sources = [Frames(), Tfds("a"), Tfds("b"), Files(), Shop(), Shop(days=30)]
    plain = [classes.as_dict(Data(source=source)) for source in sources]
    assert len({hashing.digest(settings) for settings in plain}) == len(sources)
    assert plain[1]["source"] == {"class": "rexjax.data.sources:Tfds", "builder": "a"}
    assert [classes.from_dict(Data, settings).source for settings in plain] == sources


@pytest.mark.parametrize("name", ["no_such_module:Own", "rexjax.data.sources:Own"])
def test_a_class_that_cannot_be_imported_is_named(name):
    with pytest.raises(UserError, match=f"{name} cannot be found .*: install the package"):
        classes.from_dict(Data, {"source": {"class": name}})


def test_values_of_paths_and_numpy_become_plain():
    config = Config(workdir=Path("runs/x"), seed=np.int64(3), data=Data(length=np.int32(20), text=["title", "brand"]))
    plain = values.normal(config)
    assert plain == Config("runs/x", seed=3, data=Data(length=20, text=("title", "brand")))
    assert type(plain.seed) is int and type(plain.workdir) is str


def test_all_that_does_not_fit_is_said_at_once():
    config = Config(workdir="w", seed="3", data=Data(text="title"), teacher=Transformer(width=2.5), mesh=None)
    with pytest.raises(UserError) as error:
        values.check(config)
    for key in ("seed", "data.text", "teacher.width", "mesh"):
        assert f"config key {key} " in str(error.value)


def test_a_path_with_an_escape_in_it_is_refused():
    with pytest.raises(UserError, match="data.path .* control character"):
        values.check(Config("w", data=Data(path="C:\new\table")))


def _with(part, name, make, new):
    return dataclasses.replace(part, **{name: make(new)})


def numbers(part, prefix=""):
    """Each number in a config: its key, and what makes the config with another one there."""
    for field in dataclasses.fields(part):
        value, name = getattr(part, field.name), prefix + field.name
        if dataclasses.is_dataclass(value):
            for key, change in numbers(value, f"{name}."):
                yield key, partial(_with, part, field.name, change)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield name, partial(_with, part, field.name, type(value))


MODELS = [
    Transformer(),
    Pooled(),
    Ease(),
    ItemKNN(),
    SequentialRules(),
    Slim(),
    IALS(),
    TwoTower(),
    BPRMF(),
    NeuMF(),
    DMF(),
]


@pytest.mark.parametrize("teacher", MODELS)
def test_no_number_of_a_config_may_be_negative_endless_or_none(teacher):
    taken = []
    for key, change in numbers(Config("w", teacher=teacher)):
        for value in (-2, 2**40, math.inf, math.nan):
            try:
                values.check(change(value))
                taken.append((key, value))
            except (UserError, OverflowError, ValueError):  # int(inf)
                pass
    # a large rate is foolish, not senseless; ratings may be of any kind
    assert {(key, value) for key, value in taken if value != 2**40 and key != "data.min_rating"} == set()
