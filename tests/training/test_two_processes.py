import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).with_name("two_processes.py")
SECONDS = 240


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def begin(folder: Path, count: int) -> list[subprocess.Popen]:
    """Begins ``count`` processes with eight devices together; what they say goes to ``folder``."""
    folder.mkdir()
    shared = os.environ | {
        "PYTHONPATH": os.pathsep.join(sys.path),
        "PYTHONWARNINGS": "error",
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={8 // count}",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",  # most of the time would go into compiling
    }
    if count > 1:
        shared |= {"REXJAX_COORDINATOR": f"127.0.0.1:{free_port()}", "REXJAX_PROCESSES": str(count)}
    running = []
    for i in range(count):
        with (folder / f"output{i}").open("w") as output:
            environment = shared | ({"REXJAX_PROCESS_ID": str(i)} if count > 1 else {})
            command = [sys.executable, SCRIPT, folder]
            running.append(subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT))
    return running


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where one process ("1") and two ("2") have trained, at the same time."""
    folder = tmp_path_factory.mktemp("processes")
    running = {(count, i): each for count in (1, 2) for i, each in enumerate(begin(folder / str(count), count))}
    try:
        codes = [process.wait(SECONDS) for process in running.values()]
    finally:
        for process in running.values():
            process.kill()
            process.wait()
    said = [(folder / str(count) / f"output{i}").read_text()[-3000:] for count, i in running]
    assert codes == [0, 0, 0], "\n".join(said)
    return folder


@pytest.fixture(scope="module")
def found(folder):
    """What each of one and of two processes found."""
    return {
        count: [json.loads((folder / str(count) / f"process{i}.json").read_text()) for i in range(count)]
        for count in (1, 2)
    }


@pytest.mark.parametrize("mesh", ["8x1", "4x2"])
def test_two_processes_of_four_devices_learn_what_one_of_eight_learns(found, mesh):
    (alone,), pair = found[1], found[2]
    assert [one["devices"] for one in pair] == [[4, 8]] * 2 and alone["devices"] == [8, 8]
    assert len(alone[mesh]["losses"]) == 20 and len(set(alone[mesh]["losses"])) == 20
    assert pair[0][mesh] == pair[1][mesh]
    np.testing.assert_allclose(pair[0][mesh]["losses"], alone[mesh]["losses"], rtol=1e-6)
    np.testing.assert_allclose(pair[0][mesh]["ndcg"], alone[mesh]["ndcg"], rtol=1e-6)
    np.testing.assert_allclose(pair[0][mesh]["parameters"], alone[mesh]["parameters"], rtol=1e-6)


def test_each_process_holds_the_rows_of_its_devices(found):
    whole, half = list(range(0, 80, 10)), [list(range(4)), list(range(4, 8))]
    for one, rows in zip(found[2], half, strict=True):
        # where "model" reaches over both processes, each holds all rows
        assert one["placed"] == [[rows, whole]] * 3 + [[list(range(8)), whole]]
    assert found[1][0]["placed"] == [[list(range(8)), whole]] * 4


def test_only_the_first_process_keeps_a_log(folder):
    for mesh, steps in (("8x1", [*range(1, 21)]), ("4x2", [*range(1, 13), *range(11, 21)])):
        lines = (folder / "2" / mesh / "logs" / "teacher.jsonl").read_text().splitlines()
        assert [json.loads(line)["epoch"] for line in lines] == steps
