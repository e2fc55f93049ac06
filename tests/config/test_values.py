import dataclasses

import pytest

from rexjax.artifacts import classes, hashing
from rexjax.config import Config, Data, Files, Frames, Mesh, Pooled, Shop, Tfds, Training, Transformer
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
