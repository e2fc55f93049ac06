import re
from dataclasses import MISSING, dataclass, field
from pathlib import Path
from typing import Literal

import pytest
import tyro

from rexjax.cli.fields import keys_of, spell_type, spell_value, what_fits
from rexjax.config import Blend, Config, Pooled, Transformer


@dataclass(frozen=True)
class Inner:
    """A part."""

    deep_one: int = 3
    """How deep,
    in metres."""


@dataclass(frozen=True)
class Outer:
    """A whole."""

    first: tyro.conf.Positional[str]
    """Where."""
    inner: Inner = field(default_factory=Inner)
    parts: tuple[Inner, ...] = (Inner(4), Inner(5))
    some: tuple[int, ...] = (1, 2)
    kind: Literal["a", "b"] = "a"
    path: Path | None = None
    perhaps: bool | None = None
    switch: bool = False
    action: object = print


def test_keys_have_names_types_defaults_and_help():
    found = {key.name: key for key in keys_of(Outer("x"))}
    assert list(found) == [
        "first",
        "inner.deep-one",
        "parts.0.deep-one",
        "parts.1.deep-one",
        "some",
        "kind",
        "path",
        "perhaps",
        "switch",
    ]
    assert [key.default for key in found.values()] == ["x", 3, 4, 5, (1, 2), "a", None, None, False]
    types = ["STR", "INT", "INT", "INT", "[INT ...]", "{a,b}", "PATH", "{True,False}", ""]
    assert [spell_type(key.hint) for key in found.values()] == types
    assert found["inner.deep-one"].help == "How deep, in metres."
    assert found["first"].positional and not found["some"].positional
    assert found["switch"].negation == "no-switch"
    assert what_fits(found["path"]) == "a path"
    assert what_fits(found["perhaps"]) == "True or False"
    assert next(keys_of(Outer)).default is MISSING


def test_values_are_spelt_as_they_are_typed():
    assert [spell_value(value) for value in ((1, 2), "", "a b", 0.5)] == ["1 2", "''", "'a b'", "0.5"]


@pytest.mark.parametrize("teacher", [Transformer(), Blend(members=(Transformer(), Pooled()))])
def test_the_keys_are_those_that_tyro_takes(capsys, monkeypatch, teacher):
    monkeypatch.setenv("COLUMNS", "100")
    config = Config(workdir="runs/x", teacher=teacher)
    with pytest.raises(SystemExit):
        tyro.cli(Config, args=["--help"], default=config)
    taken = set(re.findall(r"^[ │]{1,3}--([a-z][a-z0-9.-]+)", capsys.readouterr().out, re.M))
    assert taken == {key.name for key in keys_of(config)}
    assert all(key.help for key in keys_of(config))
