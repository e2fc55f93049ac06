import subprocess
import sys

import pytest

from rexjax.runtime.cluster import join
from rexjax.runtime.cluster.environment import Place
from tests.runtime.cluster.test_gone import free_port


@pytest.mark.parametrize(
    "index, said",
    [
        (0, "not all of the 2 processes have come (this is process 0) within 1 s: start all of them again"),
        (1, "nothing answered at 127.0.0.1:{port}, where process 0 should listen within 1 s: start all"),
    ],
)
def test_a_process_that_nobody_joins_ends_with_a_sentence(index, said):
    port = free_port()
    call = f"join.join(join.Place('127.0.0.1:{port}', 2, {index}))"
    code = f"from rexjax.runtime.cluster import join\njoin.JOIN_SECONDS = 1\n{call}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == join.RESTART
    assert done.stderr.strip().splitlines()[-1].startswith("rexjax: " + said.format(port=port))


def test_a_process_joins_by_way_of_its_relay(monkeypatch):
    calls = []
    monkeypatch.setattr(join.jax.distributed, "initialize", lambda *arguments, **_: calls.append(arguments))
    monkeypatch.setattr(join.jax.config, "update", lambda *_: None)
    target = f"127.0.0.1:{free_port()}"
    first, other = (join.join(Place(target, 4, index)) for index in (0, 3))
    rest = (None, "deactivate")
    try:
        assert first.relay is None
        assert calls == [(target, 4, 0, *rest), (other.relay.address, 4, 3, *rest)] and other.relay.address != target
    finally:
        other.relay.close()
