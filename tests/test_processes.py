import jax.numpy as jnp
import numpy as np
import pytest

from rexjax import processes
from rexjax.errors import UserError


@pytest.fixture(autouse=True)
def joined(monkeypatch):
    """What ``jax.distributed.initialize`` was called with; the environment names nothing."""
    calls = []
    monkeypatch.setattr(processes.jax.distributed, "initialize", lambda *args, **_: calls.append(args))
    for name in processes.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    return calls


def start(monkeypatch, *values):
    for name, value in zip(processes.VARIABLES, values, strict=True):
        monkeypatch.setenv(name, value)
    processes.start()


def test_without_variables_a_process_works_alone(joined):
    processes.start()
    assert joined == [] and processes.count() == 1 and processes.first()


def test_the_variables_name_the_others(monkeypatch, joined):
    start(monkeypatch, "10.0.0.2:9876", "4", "3")
    assert joined == [("10.0.0.2:9876", 4, 3)]


@pytest.mark.parametrize(
    "values, words",
    [
        (("10.0.0.2:9876", "", ""), "set REXJAX_PROCESSES, REXJAX_PROCESS_ID"),
        (("", "4", "0"), "set REXJAX_COORDINATOR"),
        (("10.0.0.2:9876", "4", "4"), "REXJAX_PROCESS_ID=4 must be a number from 0 to below REXJAX_PROCESSES=4"),
        (("10.0.0.2:9876", "4", "-1"), "REXJAX_PROCESS_ID=-1"),
        (("10.0.0.2:9876", "four", "0"), "REXJAX_PROCESSES=four"),
        (("10.0.0.2", "4", "0"), "REXJAX_COORDINATOR=10.0.0.2 must be HOST:PORT"),
    ],
)
def test_incomplete_or_wrong_variables_are_named(monkeypatch, joined, values, words):
    with pytest.raises(UserError, match=words):
        start(monkeypatch, *values)
    assert joined == []


def test_alone_nothing_waits_and_nothing_changes():
    processes.wait("nobody")
    with processes.in_turn("alone"):
        done = True
    assert done and processes.everywhere(True) and not processes.everywhere(False)
    assert processes.mean(0.1) == 0.1
    found = processes.gather({"a": jnp.arange(3)})
    assert type(found["a"]) is np.ndarray and found["a"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("first, order", [(True, ["body", "wait"]), (False, ["wait", "body"])])
@pytest.mark.parametrize("fails", [False, True])
def test_the_first_process_goes_before_the_others_also_when_it_fails(monkeypatch, first, order, fails):
    seen = []
    monkeypatch.setattr(processes, "first", lambda: first)
    monkeypatch.setattr(processes, "wait", lambda what: seen.append("wait"))
    try:
        with processes.in_turn("x"):
            seen.append("body")
            if fails:
                raise KeyError
    except KeyError:
        assert fails
    assert seen == order
