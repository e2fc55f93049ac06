import socket
import threading

import pytest

from rexjax.errors import UserError
from rexjax.runtime.cluster.relay import Relay, check_free


@pytest.fixture
def relay_to():
    """Makes relays that are closed at the end."""
    made = []

    def make(target: str) -> Relay:
        made.append(Relay(target))
        return made[-1]

    yield make
    for relay in made:
        relay.close()


def connect(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=10)


@pytest.fixture
def server():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(10)
        yield listener


def address(listener: socket.socket) -> str:
    return f"127.0.0.1:{listener.getsockname()[1]}"


def test_bytes_go_both_ways_over_each_connection(server, relay_to):
    relay = relay_to(address(server))
    pairs = [(connect(relay.address), server.accept()[0]) for _ in range(2)]
    data = bytes(range(256)) * 2000
    for number, (near, far) in enumerate(pairs):
        for source, sink in ((near, far), (far, near)):
            threading.Thread(target=source.sendall, args=(data[number:],)).start()
            found = b""
            while len(found) < len(data) - number:
                found += sink.recv(1 << 16)
            assert found == data[number:]
    assert relay.reached.is_set() and not relay.lost.is_set()
    for end in (end for pair in pairs for end in pair):
        end.close()


def test_when_the_other_side_is_gone_this_one_stays_and_says_so(server, relay_to):
    relay = relay_to(address(server))
    near, far = connect(relay.address), server.accept()[0]
    far.close()
    assert relay.lost.wait(10)
    near.settimeout(0.2)
    with near, pytest.raises(TimeoutError):
        near.recv(1)


def test_when_this_side_leaves_nothing_is_lost(server, relay_to):
    relay = relay_to(address(server))
    near, far = connect(relay.address), server.accept()[0]
    near.close()
    with far:
        assert far.recv(1) == b""
    assert not relay.lost.wait(0.2)


def test_the_first_process_may_come_later(server, relay_to):
    target = address(server)
    server.close()
    relay = relay_to(target)
    near = connect(relay.address)
    near.sendall(b"x")
    assert not relay.reached.wait(0.3) and not relay.lost.is_set()
    with near, socket.create_server(("127.0.0.1", int(target.rpartition(":")[2]))) as later:
        later.settimeout(10)
        far, _ = later.accept()
        with far:
            assert far.recv(1) == b"x" and relay.reached.wait(10)


def test_a_port_that_is_taken_is_named(server):
    with pytest.raises(UserError, match=f"process 0 cannot listen at {address(server)} .*in use.: take another port"):
        check_free(address(server))
    port = address(server)
    server.close()
    check_free(port)
