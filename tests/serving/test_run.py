"""A real server in a process of its own, on loopback."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

import pytest

from rexjax.errors import UserError
from rexjax.serving import run
from rexjax.serving.server import Server


class Running:
    """``rexjax serve`` until the block ends."""

    def __init__(self, folder, tmp_path, *flags):
        command = [sys.executable, "-m", "rexjax.cli", "serve", str(folder), "--port", "0"]
        self.log = tmp_path / "log"  # a file: a pipe that nobody reads is full after some hundred requests
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [*command, "--store", str(tmp_path / "store.db"), *flags],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={name: value for name, value in os.environ.items() if name != "XLA_FLAGS"},
            )

    def __enter__(self):
        self.address = self.process.stdout.readline().split(": ")[0]
        assert self.address.startswith("http://127.0.0.1:"), self.log.read_text()
        return self

    def __exit__(self, *error):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def ask(self, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(self.address + path, data, timeout=60) as response:
            return json.load(response)


def test_it_answers_and_ends_in_peace_and_knows_its_users_after_a_restart(exported, tmp_path):
    with Running(exported, tmp_path) as server:
        assert server.ask("/readyz")["ready"]
        assert len(server.ask("/v1/recommend", {"history": ["i1"], "k": 7})["items"]) == 7
        server.ask("/v1/events", {"user": "ann", "items": ["i5"]})
        first = server.ask("/v1/recommend", {"user": "ann"})
        found, burst = [], lambda: found.append(server.ask("/v1/recommend", {"history": ["i2"]}))
        threads = [threading.Thread(target=burst) for _ in range(20)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        assert len(found) == 20
        server.process.send_signal(signal.SIGTERM)
        server.process.communicate(timeout=60)
    log = server.log.read_text()
    assert server.process.returncode in (0, -signal.SIGTERM) and "Traceback" not in log
    lines = [json.loads(line) for line in log.splitlines()]
    assert {line["said"]["path"] for line in lines} == {"/v1/recommend", "/v1/events"} and "ann" not in log
    with Running(exported, tmp_path) as server:
        assert server.ask("/v1/recommend", {"user": "ann"}) == first


def start(folder, port, store):
    run.serve(folder, "127.0.0.1", port, None, store, 10, lambda text: None)


def test_who_cannot_answer_yet_refuses_connections_at_once_and_an_address_in_use_is_said(five, tmp_path, monkeypatch):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        address = other.getsockname()
        other.listen()
        with pytest.raises(UserError, match=f"cannot listen on 127.0.0.1:{address[1]} .* choose another --port"):
            start(five, address[1], tmp_path / "store.db")

    def begins_meanwhile(*args, **about):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address)
        late.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        late.bind(address)
        late.listen()
        return Server(*args, **about)

    with socket.socket() as late:
        monkeypatch.setattr(run, "Server", begins_meanwhile)
        with pytest.raises(UserError, match=f"cannot listen on 127.0.0.1:{address[1]} "):
            start(five, address[1], tmp_path / "store.db")


async def _sent(address, *parts):
    """A connection, over which that was sent."""
    reader, writer = await asyncio.open_connection(*address)
    for part in parts:
        writer.write(part)
    await writer.drain()
    return reader, writer


async def _closed(writer):
    writer.close()
    await writer.wait_closed()


async def _answer(connection):
    """Its status, headers and JSON."""
    reader, writer = connection
    head, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().lower().splitlines()
    headers = dict(line.split(": ", 1) for line in lines if line)
    body = json.loads(await reader.readexactly(int(headers["content-length"])))
    await _closed(writer)
    return int(head.split()[1]), headers, body


def _post(body, length=None):
    length = len(body) if length is None else length
    return f"POST /v1/recommend HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n".encode() + body


def test_a_thousand_connections_at_once(exported, tmp_path):
    """All are answered, some that they shall come again, though 200 further ones are open and send nothing."""
    resource = pytest.importorskip("resource")
    soft, hard = before = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 4096:
        pytest.skip(f"a process may open {hard} files here: 4,096 are needed")
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))  # as most systems begin; the server asks for more
        with Running(exported, tmp_path, "--waiting", "300") as server:
            resource.setrlimit(resource.RLIMIT_NOFILE, (4096, hard))
            found = asyncio.run(_crowd(server))
            assert server.ask("/readyz")["ready"]
            assert len(server.ask("/v1/recommend", {"history": ["i1"]})["items"]) == 10
            assert "Traceback" not in server.log.read_text()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    statuses = [status for status, _, _ in found]
    assert len(found) == 1000 and set(statuses) <= {200, 429} and statuses.count(200) >= 300
    for status, headers, body in found:
        assert headers["content-type"] == "application/json"
        assert (
            len(body["items"]) == 10 if status == 200 else int(headers["retry-after"]) >= 1 and set(body) == {"error"}
        )


async def _crowd(server):
    address = ("127.0.0.1", int(server.address.rpartition(":")[2]))
    silent = [await _sent(address) for _ in range(100)]
    halves = [await _sent(address, _post(b'{"history": ', 100)) for _ in range(100)]  # the rest never comes
    crowd = await asyncio.gather(*(_sent(address) for _ in range(1000)))
    for number, (_, writer) in enumerate(crowd):
        writer.write(_post(json.dumps({"history": [f"i{number}"]}).encode()))
    found = await asyncio.wait_for(asyncio.gather(*map(_answer, crowd)), 120)
    for _, writer in (*silent, *halves):
        await _closed(writer)
    return found


@pytest.mark.parametrize("kilobytes", [600, 5000])
def test_a_body_that_is_too_large_is_refused_over_the_wire_however_much_of_it_comes(five, tmp_path, kilobytes):
    async def send(address):
        body = b'{"history": ["' + b"x" * 1000 * kilobytes + b'"]}'
        return [await _answer(await _sent(address, _post(body))) for _ in range(5)]

    with Running(five, tmp_path) as server:
        for status, _, body in asyncio.run(send(("127.0.0.1", int(server.address.rpartition(":")[2])))):
            assert status == 413 and body == {"error": "a body may have 524288 bytes"}
        assert server.ask("/readyz")["ready"]


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--host", "0.0.0.0"], "can be reached by others: give API keys"),
        (["--waiting", "0"], "at least one request must be able to wait"),
        (["--keys", "nowhere"], "--keys nowhere cannot be read"),
        (["--port", "99999"], "cannot listen on 127.0.0.1:99999"),
    ],
)
def test_mistakes_are_said_in_one_sentence(exported, tmp_path, flags, sentence, monkeypatch, capsys):
    from rexjax.cli import main

    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        main.main(["serve", str(exported), *flags])
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert sentence in said and "Traceback" not in said


def test_a_folder_that_is_no_export_is_refused_and_export_says_what_it_wrote(workdir, tmp_path, monkeypatch, capsys):
    from rexjax.cli import main

    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        main.main(["serve", str(tmp_path), "--port", "0"])
    assert "is no finished export: make one with `rexjax export WORKDIR" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    main.main(["export", str(workdir), "out"])
    assert "out: 12,000 items" in capsys.readouterr().out
    assert not json.loads(Path("out/bundle.json").read_text())["compared"]
    main.main(["export", str(workdir), "out", "--compare"])
    assert set(json.loads(Path("out/bundle.json").read_text())["compared"]) == {"teacher", "student"}


def test_it_keeps_what_its_openapi_promises_whatever_is_sent(exported, tmp_path):
    """Fuzzed by schemathesis: no 5xx, no status or type that is not in the schema, no schema violation accepted."""
    allowed = ", ".join(f'"{status}"' for status in (400, 401, 404, 405, 413, 422, 429))
    (tmp_path / "schemathesis.toml").write_text(f"[checks.negative_data_rejection]\nexpected-statuses = [{allowed}]\n")
    with Running(exported, tmp_path) as server:
        fuzz = subprocess.run(
            [sys.executable, "-m", "schemathesis.cli", "run", server.address + "/openapi.json", "--checks", "all"]
            + ["--max-examples", "25", "--seed", "1", "--request-timeout", "60", "--no-color"],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            check=False,
        )
        assert fuzz.returncode == 0, fuzz.stdout[-6000:] + fuzz.stderr[-2000:]
        assert server.ask("/readyz")["ready"]
