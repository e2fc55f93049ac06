import dataclasses

import pytest

from rexjax import settings
from rexjax.config import Config, Data, Mesh, Shop, Teacher, Training


def test_a_digest_follows_every_value_and_nothing_else():
    a = Config(workdir="w")
    assert settings.digest(a) == settings.digest(Config(workdir="w")) == settings.digest(settings.as_dict(a))
    others = [dataclasses.replace(a, seed=1), dataclasses.replace(a, data=Data(length=51)), Config(workdir="v")]
    others += [dataclasses.replace(a, teacher=Teacher(training=Training(epochs=31)))]
    assert len({settings.digest(config) for config in [a, *others]}) == 5
    assert settings.digest({"x": 1, "y": 2}) == settings.digest({"y": 2, "x": 1})


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
    assert settings.differences(old, new) == expected


def test_a_config_survives_json():
    config = Config(workdir="w", mesh=Mesh(data=2))
    plain = settings.as_dict(config)
    assert plain["evaluate"]["k"] == [1, 5, 10, 20]
    assert plain["mesh"] == {"data": 2, "model": 1}
    assert settings.differences(plain, settings.as_dict(config)) == []


def test_a_config_comes_back_from_json():
    config = Config("w", data=Data(text=("a", "b"), shop=Shop(users=7, items=50, interactions=99)), seed=3)
    assert settings.from_dict(Config, settings.as_dict(config)) == config
