"""What a connection may cost before its request is trusted, over the wire."""

import contextlib
import json
import signal
import socket
import time
import urllib.request
from pathlib import Path

import pytest

from rexjax.serving import limits
from tests.serving.test_run import Running


def connect(server):
    host, port = server.address.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=20)


def status_of(connection):
    answer = b""
    while b"}" not in answer and (part := connection.recv(65536)):
        answer += part
    return int(answer.split()[1]) if answer else None


def metric(server, name):
    with urllib.request.urlopen(server.address + "/metrics", timeout=20) as response:
        lines = response.read().decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(name))


@pytest.mark.parametrize("files, expected", [(1024, (960, 320)), (64, (8, 4)), (128, (64, 21))])
def test_some_files_are_left_to_the_server(files, expected):
    assert limits.room(files) == expected


@pytest.fixture(scope="module")
def server(five, tmp_path_factory):
    with Running(five, tmp_path_factory.mktemp("limits")) as running:
        yield running


@pytest.mark.parametrize(
    "head",
    [
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n" + b"".join(b"X-%d: a\r\n" % i for i in range(200)),
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Long: " + b"a" * (1 << 17),
        b"GET /" + b"a" * (1 << 17),
    ],
    ids=["many headers", "a long header", "a long line"],
)
def test_a_head_that_does_not_end_is_refused(server, head):
    with connect(server) as connection:
        connection.sendall(head)
        assert status_of(connection) == 431
    assert server.ask("/readyz")["ready"]


def test_a_flood_of_headers_costs_little_memory(server):
    def resident():
        return int(Path(f"/proc/{server.process.pid}/statm").read_text().split()[1]) * 4096

    before = resident()
    for _ in range(20):
        with connect(server) as connection, contextlib.suppress(OSError):  # it is closed meanwhile
            connection.sendall(b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 500_000)
    assert resident() - before < 50e6


@pytest.mark.parametrize("path", [b"/v1/events", b"/nowhere"])
def test_what_follows_a_body_has_an_end(server, path):
    with connect(server) as connection, contextlib.suppress(OSError):
        connection.sendall(
            b"POST " + path + b" HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nT: "
        )
        sent = 0
        while sent < 64 << 20:
            connection.sendall(b"a" * (1 << 16))
            sent += 1 << 16
    assert sent < 16 << 20


@pytest.mark.parametrize("size", [10, 30_000, 60_000])
def test_requests_that_follow_at_once_are_answered(server, size):
    body = json.dumps({"history": ["i" * 100] * (size // 105), "k": 2}).encode()[:size]
    body += b" " * (size - len(body))
    head = b"POST /v1/recommend HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
    with connect(server) as connection:
        connection.sendall(head % len(body) + body + b"GET /healthz HTTP/1.1\r\nHo")
        time.sleep(0.3)
        connection.sendall(b"st: localhost\r\nConnection: close\r\n\r\n")
        found = b""
        while part := connection.recv(65536):
            found += part
    assert found.count(b"HTTP/1.1 ") == 2 and b'"alive"' in found


def test_a_number_of_thousands_of_digits_is_refused(server):
    with connect(server) as connection:
        connection.sendall(b"GET /v1/items?k=" + b"9" * 5000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert status_of(connection) == 422


def test_no_host_is_believed(server):
    with connect(server) as connection:
        connection.sendall(b"GET /readyz HTTP/1.1\r\nHost: elsewhere\r\n\r\n")
        assert status_of(connection) == 403
    with connect(server) as connection:
        connection.sendall(b"GET /readyz/ HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"307" not in connection.recv(65536)  # it would send the client to any host that it named


def test_several_requests_of_one_connection_are_answered(server):
    with connect(server) as connection:
        for _ in range(3):
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert status_of(connection) == 200


def test_half_a_request_is_closed_in_time_and_hinders_no_end(five, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "sitecustomize.py").write_text("import rexjax.serving.limits as l\nl.REQUEST_SECONDS = 1.0\n")
    with Running(five, tmp_path) as server:
        parts = [b"", b"GET / HT", b"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{"]
        open_ones = [connect(server) for _ in parts]
        for connection, part in zip(open_ones, parts, strict=True):
            connection.sendall(part)
        found = [status_of(connection) for connection in open_ones]
        for connection in open_ones:
            connection.close()
        assert found[:2] == [408, 408] and found[2] in (None, 400, 408)
        assert metric(server, "rexjax_refused_connections_total") >= 2
        with connect(server) as waiting:
            waiting.sendall(parts[2])
            started = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            server.process.communicate(timeout=20)
            assert time.monotonic() - started < 10
    log = server.log.read_text()
    assert "Traceback" not in log and all(json.loads(line) for line in log.splitlines())
