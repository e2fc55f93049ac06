import os
import subprocess
from pathlib import Path

import pytest

LAUNCH = Path(__file__).parent.parent / "launch"


def launch(*arguments, script="local_mesh.sh", **environment):
    command = ["bash", LAUNCH / script, *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | environment)


def test_a_dry_run_prints_the_command():
    done = launch("configs/x.py", "--devices", "4", "--model", "2", "--dry-run", "--seed", "3")
    assert done.returncode == 0
    assert done.stdout == (
        "JAX_PLATFORMS=cpu XLA_FLAGS=--xla_force_host_platform_device_count=4 "
        "rexjax run configs/x.py --mesh.model 2 --seed 3\n"
    )


def test_a_dry_run_prints_a_command_for_each_process():
    arguments = ("configs/x.py", "--processes", "3", "--devices", "2", "--dry-run", "--seed", "3")
    done = launch(*arguments, script="local_processes.sh", REXJAX_PORT="9876")
    shared = (
        "JAX_PLATFORMS=cpu XLA_FLAGS=--xla_force_host_platform_device_count=2 "
        "REXJAX_COORDINATOR=127.0.0.1:9876 REXJAX_PROCESSES=3 "
    )
    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        f"{shared}REXJAX_PROCESS_ID={i} rexjax run configs/x.py --mesh.model 1 --seed 3" for i in (2, 1, 0)
    ]


@pytest.mark.parametrize("script", ["local_mesh.sh", "local_processes.sh"])
def test_no_config_is_told_how(script):
    done = launch(script=script)
    assert done.returncode == 2 and f"launch/{script} configs/quickstart.py" in done.stdout
