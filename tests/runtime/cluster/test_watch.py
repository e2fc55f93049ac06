import json
import threading
import time
from types import SimpleNamespace

import pytest

from rexjax.errors import UserError
from rexjax.runtime.cluster import watch
from rexjax.runtime.cluster.environment import Place
from rexjax.runtime.cluster.join import Joined
from tests.runtime.cluster.key_value_store import Board

LIMIT = 20.0
BEAT = 1.0


def make(index: int, count: int = 3, board: Board | None = None, *, lost: bool = False, seconds: float = LIMIT):
    broken = threading.Event()
    if lost:
        broken.set()
    relay = SimpleNamespace(lost=broken) if index else None
    return watch.Watch(board or Board(count), Joined(Place("", count, index), relay), seconds)


def looks(one: watch.Watch, *heard: dict[str, str]) -> list[watch.Told | None]:
    """What the watch concludes as it hears these one after the other."""
    return [one.look(values) for values in heard]


def beats(index: int, numbers) -> list[dict[str, str]]:
    """What process ``index`` hears of the others, whose counters these are."""
    if index:
        return [{"rexjax/shared/first": f"{n} a"} for n in numbers]
    return [{"rexjax/beats/1": f"{n} b", "rexjax/beats/2": f"{i} c"} for i, n in enumerate(numbers)]


@pytest.mark.parametrize("index, name", [(0, "process 1 on b"), (1, "process 0 on a"), (2, "process 0 on a")])
def test_silence_up_to_the_limit_is_borne_and_then_ends_all(index, name):
    found = looks(make(index), *beats(index, [7] * 21))
    assert found[:-1] == [None] * 20
    assert found[-1] == watch.Told(
        75,
        f"{name} gave no answer for 20 s: start all processes again, and the run goes on from its last checkpoint",
    )


@pytest.mark.parametrize("index", [0, 1])
def test_a_beat_in_time_ends_the_silence(index):
    numbers = [n for n in range(5) for _ in range(20)]
    assert looks(make(index), *beats(index, numbers)) == [None] * 100


def test_one_that_never_beat_is_noticed_too():
    assert looks(make(0), *[{}] * 20)[-1].sentence.startswith("process 1, process 2 gave no answer for 20 s")


def test_a_connection_that_breaks_is_enough():
    (found,) = looks(make(1, lost=True), *beats(1, [3]))
    assert found.code == 75 and found.sentence.startswith("process 0 on a closed its connection: start all")


@pytest.mark.parametrize("index", [0, 1])
def test_when_something_went_wrong_short_silence_is_enough(index):
    doubt = {"rexjax/shared/doubt": "1"}
    found = looks(make(index), *({**one, **doubt} for one in beats(index, [7] * 7)))
    assert found[:-1] == [None] * 6 and found[-1].code == 75


@pytest.mark.parametrize("code", [1, 2, 75])
def test_what_one_process_tells_ends_the_others_likewise(monkeypatch, code):
    monkeypatch.setattr(watch, "NOTICE_BEATS", 0.1)
    board = Board(2)
    make(1, 2, board).tell(code, "ended: no such file")
    make(0, 2, board).tell(0, "comes too late")
    (found,) = looks(make(0, 2, board), board.values)
    assert found.code == code
    assert found.sentence.startswith("process 1 on ")
    assert found.sentence.endswith("ended: no such file; process 0 ends with it")


def test_one_that_tells_itself_does_not_repeat_what_others_tell():
    board = Board(2)
    make(1, 2, board).tell(2, "ended: no such file")
    one = make(0, 2, board, seconds=1)
    one.tell(2, "ended: no such file")
    assert looks(one, board.values) == [None]


def test_a_board_that_hangs_does_not_hang_the_one_who_tells():
    board = Board(2)
    board.frozen = True
    started = time.monotonic()
    make(1, 2, board, seconds=1).tell(1, "ended")
    assert time.monotonic() - started < 5


def test_processes_that_live_leave_together(monkeypatch):
    """With a limit of one second they work for two, and the first one is done before the others."""
    ended = []
    monkeypatch.setattr(watch, "end", lambda *told: ended.append(told))
    board = Board(3)
    watches = [make(i, 3, board, seconds=1) for i in range(3)]
    for one in watches:
        one.begin()
    time.sleep(2)
    left = []
    threads = [threading.Thread(target=lambda one=one: left.append(one.leave())) for one in watches]
    for thread in threads:
        thread.start()
        time.sleep(0.7)
    for thread in threads:
        thread.join(10)
    assert left == [True] * 3 and ended == []
    assert sorted(board.values) == ["rexjax/beats/1", "rexjax/beats/2", "rexjax/shared/first"]


def test_one_that_stops_alone_says_so():
    assert not make(0, 2, Board(2)).leave(0.1)


def test_the_first_process_tells_who_is_gone(monkeypatch):
    ended, over = [], threading.Event()

    def end(*told):
        ended.append(told)
        over.set()

    monkeypatch.setattr(watch, "end", end)
    board = Board(3)
    make(0, 3, board, seconds=1).begin()
    assert over.wait(10)
    code, sentence = json.loads(board.values["rexjax/shared/told"])
    assert code == 75 and sentence.startswith("process 1, process 2 gave no answer")
    (told,) = looks(make(2, 3, board), board.values)
    assert told == watch.Told(75, f"{sentence}; process 2 ends with it") and ended == [(code, sentence)]


@pytest.mark.parametrize("value, seconds", [(None, 60), ("", 60), ("5", 5), ("1.5", 1.5)])
def test_the_limit_comes_from_the_environment(monkeypatch, value, seconds):
    monkeypatch.delenv(watch.LIMIT, raising=False)
    if value is not None:
        monkeypatch.setenv(watch.LIMIT, value)
    assert watch.limit() == seconds


@pytest.mark.parametrize("value", ["0", "-5", "soon", "inf", "nan", "0.5"])
def test_a_limit_that_is_none_is_refused(monkeypatch, value):
    monkeypatch.setenv(watch.LIMIT, value)
    with pytest.raises(UserError, match=f"REXJAX_PEER_SECONDS={value} must be a number of seconds, 1 or more"):
        watch.limit()
