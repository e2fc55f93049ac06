import sqlite3
import threading
import time

import pytest

from rexjax.errors import UserError
from rexjax.serving import store as stores
from rexjax.serving.store import Store, Unavailable


def test_the_latest_come_last_and_others_users_stay_apart(tmp_path):
    store = Store(tmp_path / "store.db")
    store.append("ann", ["a", "b"])
    store.append("bob", ["z"])
    store.append("ann", ["c"])
    assert store.history("ann", 10) == ["a", "b", "c"] and store.history("ann", 2) == ["b", "c"]
    assert store.history("bob", 10) == ["z"] and store.history("eve", 10) == []


def test_what_was_appended_is_there_after_a_restart_and_for_another_process(tmp_path):
    first = Store(tmp_path / "store.db")
    first.append("ann", ["a"])
    second = Store(tmp_path / "store.db")
    second.append("ann", ["b"])
    assert first.history("ann", 5) == ["a", "b"]
    first.close()
    assert Store(tmp_path / "store.db").history("ann", 5) == ["a", "b"]


def test_no_user_is_in_the_file_in_clear(tmp_path):
    store = Store(tmp_path / "store.db")
    store.append("ann@example.org", ["a"])
    store.close()
    assert b"ann@example.org" not in b"".join(path.read_bytes() for path in tmp_path.iterdir())


def test_threads_lose_nothing(tmp_path):
    store = Store(tmp_path / "store.db")

    def work(name):
        return [store.append(name, [f"{name}{i}"]) for i in range(50)]

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    [thread.start() for thread in threads], [thread.join() for thread in threads]
    assert all(store.history(name, 100) == [f"{name}{i}" for i in range(50)] for name in "abcd")


@pytest.mark.parametrize("content", [b"", b"no database at all, but a text that is long enough for a header"])
def test_a_file_that_is_no_store_is_refused_and_kept(tmp_path, content):
    path = tmp_path / "store.db"
    path.write_bytes(content)
    if not content:
        return Store(path).close()
    with pytest.raises(UserError, match="cannot be used as a store"):
        Store(path)
    assert path.read_bytes() == content
    with pytest.raises(UserError, match="cannot be used as a store"):
        Store(tmp_path / "no folder" / "store.db")
    assert sqlite3.sqlite_version


def test_a_file_that_others_lock_costs_a_moment_and_is_asked_again_later(tmp_path, monkeypatch):
    monkeypatch.setattr(stores, "REST_SECONDS", 0.3)
    store = Store(tmp_path / "store.db")
    store.append("ann", ["a"])
    other = sqlite3.connect(tmp_path / "store.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    started = time.monotonic()
    with pytest.raises(Unavailable, match="does not answer"):
        store.append("ann", ["b"])
    for _ in range(100):
        with pytest.raises(Unavailable):
            store.append("ann", ["b"])
    assert time.monotonic() - started < 2 and store.resting
    other.execute("COMMIT")
    other.close()
    time.sleep(0.4)
    store.append("ann", ["c"])
    assert store.history("ann", 5) == ["a", "c"] and not store.resting
    store.close()


def test_a_damaged_file_is_no_traceback_and_a_new_one_is_used(tmp_path, monkeypatch):
    monkeypatch.setattr(stores, "REST_SECONDS", 0.1)
    path = tmp_path / "store.db"
    store = Store(path)
    store.append("ann", ["a"] * 500)
    for part in tmp_path.iterdir():
        part.write_bytes(b"not a database at all" * 400)
    with pytest.raises(Unavailable):
        store.append("ann", ["b"])
    for part in tmp_path.iterdir():
        part.unlink()
    time.sleep(0.2)
    store.append("ann", ["c"])
    assert store.history("ann", 5) == ["c"]
    store.close()


def test_a_user_is_read_and_erased_and_no_history_grows_without_end(tmp_path, monkeypatch):
    monkeypatch.setattr(stores, "KEPT", 3)
    store = Store(tmp_path / "store.db")
    store.append("ann", list("abcde"))
    store.append("bob", ["z"])
    assert [item for item, _ in store.events("ann")] == ["c", "d", "e"]
    assert store.erase("ann") == 3 and store.events("ann") == [] and store.history("bob", 5) == ["z"]
    store.close()


def test_events_of_long_ago_are_dropped(tmp_path):
    store = Store(tmp_path / "store.db", days=0.0)
    store.append("ann", ["a"])
    time.sleep(0.01)
    assert store.history("ann", 5) == [] and store.expire() == 1 and store.events("ann") == []
    store.close()


def test_a_store_of_before_events_had_times_is_taken_over(tmp_path):
    path = tmp_path / "store.db"
    first = Store(path)
    first.append("ann", ["a"])
    first.close()
    old = sqlite3.connect(path)
    old.execute("ALTER TABLE events DROP COLUMN time")
    old.commit()
    old.close()
    second = Store(path)
    second.append("ann", ["b"])
    assert second.history("ann", 5) == ["a", "b"]
    second.close()
