import sqlite3
import threading

import pytest

from rexjax.errors import UserError
from rexjax.serving.store import Store


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
