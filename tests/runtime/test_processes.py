import jax.numpy as jnp
import numpy as np
import pytest

from rexjax.errors import UserError
from rexjax.runtime import processes
from rexjax.runtime.cluster.environment import Place
from rexjax.runtime.cluster.join import Joined


@pytest.fixture(autouse=True)
def place(monkeypatch):
    """Where the environment says that this process stands."""
    found = [None]
    monkeypatch.setattr(processes.environment, "find", lambda: found[0])
    return found


def test_without_others_a_process_works_alone():
    with processes.together({}):
        assert processes.start() is None and processes.count() == 1 and processes.first()


def test_it_joins_those_that_the_environment_names(monkeypatch, place):
    place[0] = Place("10.0.0.2:9876", 4, 3)
    monkeypatch.setattr(processes, "join", lambda where: ("joined", where))
    assert processes.start() == ("joined", place[0])


def test_a_wrong_limit_is_named_before_anyone_waits(monkeypatch):
    monkeypatch.setenv("REXJAX_PEER_SECONDS", "soon")
    with pytest.raises(UserError, match="REXJAX_PEER_SECONDS=soon"), processes.together({}):
        raise AssertionError


def test_alone_it_leaves_as_any_program_does():
    with pytest.raises(SystemExit) as stop:
        processes.leave(2)
    assert stop.value.code == 2


class Others:
    """A watch that writes down what it is asked."""

    def __init__(self, said: list):
        self._said = said

    def __getattr__(self, name: str):
        return lambda *arguments: self._said.append((name, *arguments)) or name != "leave" or len(arguments) == 0


@pytest.mark.parametrize(
    "error, said",
    [
        (None, [("begin",), ("leave",)]),
        (UserError("no file"), [("begin",), ("tell", 2, "ended: no file")]),
        (KeyError("x"), [("begin",), ("doubt",), ("tell", 1, "ended by KeyError, which it shows")]),
        (KeyboardInterrupt(), [("begin",), ("tell", 75, "was asked to stop")]),
        (SystemExit(75), [("begin",), ("leave", 20.0), ("tell", 75, "was asked to stop")]),
    ],
)
def test_the_others_hear_how_this_process_ends(monkeypatch, place, error, said):
    place[0], heard = Place("10.0.0.2:9876", 4, 0), []
    monkeypatch.setattr(processes, "join", lambda where: Joined(where, None))
    monkeypatch.setattr(processes.watch, "Watch", lambda *_: Others(heard))
    monkeypatch.setattr(processes.agreement, "reach", lambda *_: None)
    monkeypatch.setattr(processes.jax.distributed, "shutdown", lambda: None)
    try:
        with processes.together({}):
            if error:
                raise error
    except BaseException as found:
        assert found is error
    assert heard == said


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
