import io
import sys

import pytest

from rexjax.runtime.progress import track


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def terminal(monkeypatch) -> Terminal:
    """Called in the test itself: pytest sets sys.stderr anew after the fixtures."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "160")
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    return screen


@pytest.mark.parametrize("things", [[], [1, 2, 3], range(4), (n for n in range(3))])
def test_yields_everything_in_order_and_is_silent_without_a_terminal(things, capsys):
    expected = list(range(3)) if not hasattr(things, "__len__") else list(things)
    assert list(track(things, "counting")) == expected
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err == ""


@pytest.mark.parametrize(
    "total, size, shown", [(None, 1, "3/3"), (None, 4, "12/12"), (10, 4, "12/10"), (30, 10, "30/30"), (6, int, "6/6")]
)
def test_a_terminal_sees_a_bar_in_units(monkeypatch, total, size, shown):
    screen = terminal(monkeypatch)
    assert list(track([1, 2, 3], "ranking", total, size=size)) == [1, 2, 3]
    assert "ranking" in screen.getvalue() and shown in screen.getvalue()


def test_nothing_is_written_to_standard_output(monkeypatch, capsys):
    terminal(monkeypatch)
    list(track([1], "ranking"))
    assert capsys.readouterr().out == ""


def test_it_is_lazy():
    def forever():
        yield 1
        raise AssertionError("asked for too much")

    stream = track(forever(), "counting")
    assert next(stream) == 1
    stream.close()
