import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import threading
import time

import pytest

from rexjax.errors import UserError
from rexjax.serving import redis_store, sqlite_store, user_ids
from rexjax.serving import store as stores
from rexjax.serving.redis_protocol import Connection
from rexjax.serving.store import Unavailable
from rexjax.serving.stores import open_store
from rexjax.serving.user_ids import UserIds

KEY, OTHER = UserIds([b"k" * 32]), UserIds([b"o" * 32])
needs_redis = pytest.mark.skipif(not shutil.which("redis-server"), reason="needs redis-server")


class RedisServer:
    """A server of its own on loopback, without files."""

    def __init__(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.start()

    def start(self):
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self.process = subprocess.Popen([*command, "--requirepass", "p@ss"], stdout=subprocess.DEVNULL)
        for _ in range(200):
            with socket.socket() as tried:
                if tried.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)

    def url(self, database=0):
        return f"redis://:p%40ss@127.0.0.1:{self.port}/{database}"


@pytest.fixture(scope="module")
def redis_server():
    server = RedisServer()
    yield server
    server.process.kill()
    server.process.wait()


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=needs_redis)])
def where(request, tmp_path):
    """A place for a store that is empty, of each kind."""
    if request.param == "sqlite":
        return tmp_path / "store.db"
    server = request.getfixturevalue("redis_server")
    connection = Connection(server.url(), 1.0)
    connection.ask([(b"FLUSHALL",)])
    connection.close()
    return server.url()


def test_the_latest_come_last_and_others_users_stay_apart(where):
    store = open_store(where, KEY)
    store.append("ann", ["a", "b"])
    store.append("bob", ["z"])
    store.append("ann", ["c"])
    assert store.history("ann", 10) == ["a", "b", "c"] and store.history("ann", 2) == ["b", "c"]
    assert store.history("bob", 10) == ["z"] and store.history("eve", 10) == []
    assert store.history("ann", 10, "another shop") == []
    store.append("ann", ["q"], "another shop")
    assert store.history("ann", 10, "another shop") == ["q"] and store.history("ann", 1) == ["c"]
    store.close()


def test_what_was_appended_is_there_for_another_process_and_later(where):
    first, second = open_store(where, KEY), open_store(where, KEY)
    first.append("ann", ["a"])
    second.append("ann", ["b"])
    assert first.history("ann", 5) == ["a", "b"]
    first.close(), second.close()
    third = open_store(where, KEY)
    assert third.history("ann", 5) == ["a", "b"]
    third.close()


def test_threads_lose_nothing(where):
    store = open_store(where, KEY)

    def work(name):
        return [store.append(name, [f"{name}{i}"]) for i in range(20)]

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    [thread.start() for thread in threads], [thread.join() for thread in threads]
    assert all(store.history(name, 100) == [f"{name}{i}" for i in range(20)] for name in "abcd")
    store.close()


def test_a_user_is_read_and_erased_and_no_history_grows_without_end(where, monkeypatch):
    for module in (stores, sqlite_store, redis_store):
        monkeypatch.setattr(module, "KEPT", 3)
    store, began = open_store(where, KEY), time.time()
    store.append("ann", list("abcde"))
    store.append("bob", ["z"])
    assert [item for item, _ in store.events("ann")] == ["c", "d", "e"]
    assert all(began - 1 < moment < time.time() + 1 for _, moment in store.events("ann"))
    assert store.erase("ann") == 3 and store.events("ann") == [] and store.history("bob", 5) == ["z"]
    assert store.erase("ann") == 0
    store.close()


def test_events_of_long_ago_are_dropped(where):
    store = open_store(where, KEY, days=1.0 / 86400)
    store.append("ann", ["a"])
    assert store.history("ann", 5) == ["a"]
    time.sleep(0.7)
    store.append("ann", ["b"])
    time.sleep(0.5)
    assert store.history("ann", 5) == ["b"] and store.expire() == 1 and store.history("ann", 5) == ["b"]
    store.close()


def test_keys_are_replaced_and_a_store_of_another_key_is_refused(where):
    store = open_store(where, KEY)
    store.append("ann", ["a"])
    store.close()
    with pytest.raises(UserError, match="was written with another key of users' ids") as refused:
        open_store(where, OTHER)
    assert "p%40ss" not in str(refused.value)
    both = open_store(where, UserIds([b"o" * 32, b"k" * 32]))
    both.append("ann", ["b"])
    assert both.history("ann", 5) == ["a", "b"]
    both.close()
    alone = open_store(where, OTHER)
    assert alone.history("ann", 5) == ["b"] and alone.erase("ann") == 1
    alone.close()


@needs_redis
def test_redis_that_is_gone_or_hangs_costs_a_moment_and_is_asked_again_later(monkeypatch):
    monkeypatch.setattr(stores, "REST_SECONDS", 0.2)
    server = RedisServer()
    try:
        store = open_store(server.url(), KEY)
        store.append("ann", ["a"])
        os.kill(server.process.pid, signal.SIGSTOP)
        started = time.monotonic()
        for _ in range(50):
            with pytest.raises(Unavailable, match="does not answer"):
                store.append("ann", ["b"])
        assert time.monotonic() - started < 2 and store.resting
        server.process.kill()
        server.process.wait()
        time.sleep(0.3)
        with pytest.raises(Unavailable):
            store.history("ann", 5)
        server.start()
        time.sleep(0.3)
        store.append("ann", ["c"])
        assert store.history("ann", 5) == ["c"] and not store.resting
        store.close()
    finally:
        server.process.kill()
        server.process.wait()


@pytest.mark.parametrize(
    "url, said",
    [
        ("redis://127.0.0.1:1/0", "cannot be used as a store of histories"),
        ("redis://:secret@127.0.0.1:1/0", "redis://127.0.0.1:1/0 cannot be used"),
        ("redis://", "a Redis server is written redis://"),
        ("redis://host:port", "a Redis server is written redis://"),
        ("redis://host/name", "a Redis server is written redis://"),
    ],
)
def test_an_address_of_no_redis_server_is_refused(url, said):
    with pytest.raises(UserError, match=said):
        open_store(url, KEY)


def test_redis_needs_a_key_that_its_servers_share():
    with pytest.raises(UserError, match="name the key of the users' ids with --users-key"):
        open_store("redis://127.0.0.1:1/0")


@pytest.mark.parametrize("text", ["", "# none\n", "abc", "g" * 64, "a" * 33])
def test_a_file_without_a_key_is_refused(tmp_path, text):
    (tmp_path / "key").write_text(text)
    with pytest.raises(UserError, match="holds no key: write 32 to 128 hexadecimal digits"):
        user_ids.read(tmp_path / "key", {})


def test_keys_come_from_a_file_or_from_the_environment(tmp_path):
    (tmp_path / "key").write_text("6b" * 32 + "\n# the one before\n" + "6f" * 32 + "\n")
    variable = {user_ids.VARIABLE: f"{'6b' * 32},{'6f' * 32}"}
    found = [user_ids.read(tmp_path / "key", {}), user_ids.read(None, variable)]
    assert [ids.of("ann") for ids in found] == [KEY.of("ann") + OTHER.of("ann")] * 2
    assert user_ids.read(None, {}) is None
    with pytest.raises(UserError, match="--users-key .* cannot be read"):
        user_ids.read(tmp_path / "nowhere", {})


def test_no_user_is_in_the_file_in_clear_and_no_key_either(tmp_path):
    store = open_store(tmp_path / "store.db")
    store.append("ann@example.org", ["a"])
    store.close()
    key = (tmp_path / "store.db.key").read_text().strip()
    content = b"".join(path.read_bytes() for path in tmp_path.iterdir() if path.suffix != ".key")
    assert b"ann@example.org" not in content and bytes.fromhex(key) not in content and key.encode() not in content
    assert all(path.stat().st_mode & 0o077 == 0 for path in tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"", b"no database at all, but a text that is long enough for a header"])
def test_a_file_that_is_no_store_is_refused_and_kept(tmp_path, content):
    path = tmp_path / "store.db"
    path.write_bytes(content)
    if not content:
        return open_store(path).close()
    with pytest.raises(UserError, match="cannot be used as a store"):
        open_store(path)
    assert path.read_bytes() == content
    with pytest.raises(UserError, match="cannot be used as a store"):
        open_store(tmp_path / "no folder" / "store.db")
    assert sqlite3.sqlite_version


def test_a_file_that_others_lock_costs_a_moment_and_is_asked_again_later(tmp_path, monkeypatch):
    monkeypatch.setattr(stores, "REST_SECONDS", 0.3)
    store = open_store(tmp_path / "store.db")
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
    store = open_store(path)
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


def test_a_store_of_before_events_had_times_is_taken_over(tmp_path):
    path = tmp_path / "store.db"
    first = open_store(path)
    first.append("ann", ["a"])
    first.close()
    old = sqlite3.connect(path)
    old.execute("ALTER TABLE events DROP COLUMN time")
    old.commit()
    old.close()
    second = open_store(path)
    second.append("ann", ["b"])
    assert second.history("ann", 5) == ["a", "b"]
    second.close()


def test_a_key_that_an_earlier_version_kept_in_the_file_is_taken_out_of_it(tmp_path):
    path, salt = tmp_path / "store.db", b"an earlier salt."
    earlier = sqlite3.connect(path)
    with earlier:
        earlier.execute("CREATE TABLE salt (value BLOB NOT NULL)")
        earlier.execute("INSERT INTO salt VALUES (?)", (salt,))
        earlier.execute("CREATE TABLE events (user BLOB NOT NULL, item TEXT NOT NULL, time REAL)")
        ann = UserIds([salt]).of("ann")[0]
        earlier.execute("INSERT INTO events VALUES (?, 'a', ?)", (ann, time.time()))
    earlier.close()
    with pytest.raises(UserError, match="holds its own key, of an earlier version"):
        open_store(path, KEY)
    store = open_store(path)
    assert store.history("ann", 5) == ["a"] and (tmp_path / "store.db.key").read_text().strip() == salt.hex()
    store.close()
    assert open_store(path).history("ann", 5) == ["a"]
    assert not sqlite3.connect(path).execute("SELECT 1 FROM sqlite_master WHERE name = 'salt'").fetchall()
