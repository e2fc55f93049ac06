import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).with_name("two_processes.py")
SECONDS = 120


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def trained(folder: Path, processes: int) -> list[dict]:
    """What each of the processes found, on eight devices together."""
    folder.mkdir()
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(sys.path),
        "PYTHONWARNINGS": "error",
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={8 // processes}",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",  # most of the time would go into compiling
    }
    if processes > 1:
        environment |= {"REXJAX_COORDINATOR": f"127.0.0.1:{free_port()}", "REXJAX_PROCESSES": str(processes)}
    outputs = [(folder / f"output{i}").open("w") for i in range(processes)]
    running = [
        subprocess.Popen(
            [sys.executable, SCRIPT, folder],
            env=environment | ({"REXJAX_PROCESS_ID": str(i)} if processes > 1 else {}),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        for i, output in enumerate(outputs)
    ]
    try:
        codes = [process.wait(SECONDS) for process in running]
    finally:
        for process, output in zip(running, outputs, strict=True):
            process.kill()
            process.wait()
            output.close()
    assert not any(codes), "\n".join((folder / f"output{i}").read_text()[-3000:] for i in range(processes))
    return [json.loads((folder / f"process{i}.json").read_text()) for i in range(processes)]


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes")
    return {count: trained(folder / str(count), count) for count in (1, 2)}


@pytest.mark.parametrize("mesh", ["8x1", "4x2"])
def test_two_processes_of_four_devices_learn_what_one_of_eight_learns(found, mesh):
    (alone,), pair = found[1], found[2]
    assert [one["devices"] for one in pair] == [[4, 8]] * 2 and alone["devices"] == [8, 8]
    assert len(alone[mesh]["losses"]) == 20 and len(set(alone[mesh]["losses"])) == 20
    assert pair[0][mesh] == pair[1][mesh]
    np.testing.assert_allclose(pair[0][mesh]["losses"], alone[mesh]["losses"], rtol=1e-6)
    np.testing.assert_allclose(pair[0][mesh]["ndcg"], alone[mesh]["ndcg"], rtol=1e-6)
    np.testing.assert_allclose(pair[0][mesh]["parameters"], alone[mesh]["parameters"], rtol=1e-6)


def test_only_the_first_process_keeps_a_log(found, tmp_path_factory):
    del found  # they have run
    folder = next(tmp_path_factory.getbasetemp().glob("processes*")) / "2"
    for mesh, steps in (("8x1", [*range(1, 21)]), ("4x2", [*range(1, 13), *range(11, 21)])):
        lines = (folder / mesh / "logs" / "teacher.jsonl").read_text().splitlines()
        assert [json.loads(line)["epoch"] for line in lines] == steps
