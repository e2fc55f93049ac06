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


@pytest.mark.parametrize("script", ["local_mesh.sh", "local_processes.sh", "data/encode_workers.sh"])
def test_no_config_is_told_how(script):
    done = launch(script=script)
    assert done.returncode == 2 and f"launch/{script} configs/quickstart.py" in done.stdout


def test_encode_workers_fill_and_then_the_stage_is_run():
    arguments = ("configs/x.py", "--workers", "3", "--dry-run", "--seed", "3")
    done = launch(*arguments, script="data/encode_workers.sh")
    assert done.returncode == 0
    assert done.stdout.splitlines() == ["rexjax encode configs/x.py --worker --seed 3"] * 3 + [
        "rexjax encode configs/x.py --seed 3"
    ]
    filling = launch(*arguments, "--fill-only", script="data/encode_workers.sh")
    assert filling.stdout.splitlines() == done.stdout.splitlines()[:3]


@pytest.mark.parametrize(("dies", "code"), [("worker", 0), ("stage", 1)])
def test_a_worker_may_die_but_not_the_stage(tmp_path, dies, code):
    stand_in = tmp_path / "rexjax"
    fails = "[[ $* == *--worker* ]]" if dies == "worker" else "[[ $* != *--worker* ]]"
    stand_in.write_text(f'#!/usr/bin/env bash\necho "ran $*"\nif {fails}; then exit 1; fi\n')
    stand_in.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    done = launch("configs/x.py", "--workers", "2", script="data/encode_workers.sh", PATH=path)
    assert done.returncode == code
    assert done.stdout.splitlines().count("ran encode configs/x.py --worker") == 2
    assert done.stdout.splitlines()[-1] == "ran encode configs/x.py"
    assert done.stderr.count("a worker ended with exit code 1") == (2 if dies == "worker" else 0)
