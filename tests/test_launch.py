import subprocess
from pathlib import Path

SCRIPT = Path(__file__).parent.parent / "launch" / "local_mesh.sh"


def launch(*arguments):
    return subprocess.run(["bash", SCRIPT, *arguments], capture_output=True, text=True)


def test_a_dry_run_prints_the_command():
    done = launch("configs/x.py", "--devices", "4", "--model", "2", "--dry-run", "--seed", "3")
    assert done.returncode == 0
    assert done.stdout == (
        "JAX_PLATFORMS=cpu XLA_FLAGS=--xla_force_host_platform_device_count=4 "
        "rexjax run configs/x.py --mesh.model 2 --seed 3\n"
    )


def test_no_config_is_told_how():
    done = launch()
    assert done.returncode == 2 and "launch/local_mesh.sh configs/quickstart.py" in done.stdout
