import os
import shutil
import signal
import subprocess
import time
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
    done = launch(*arguments, script="local_cluster.sh", REXJAX_PORT="9876")
    shared = (
        "JAX_PLATFORMS=cpu XLA_FLAGS=--xla_force_host_platform_device_count=2 "
        "REXJAX_COORDINATOR=127.0.0.1:9876 REXJAX_PROCESSES=3 "
    )
    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        f"{shared}REXJAX_PROCESS_ID={i} rexjax run configs/x.py --mesh.model 1 --seed 3" for i in (2, 1, 0)
    ]


@pytest.mark.parametrize("script", ["local_mesh.sh", "local_cluster.sh", "data/encode_workers.sh"])
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


@pytest.mark.parametrize(
    ("script", "flag"),
    [
        ("local_cluster.sh", "--processes"),
        ("local_cluster.sh", "--devices"),
        ("local_mesh.sh", "--model"),
        ("data/encode_workers.sh", "--workers"),
    ],
)
@pytest.mark.parametrize("value", ["0", "two", "-1", None])
def test_what_is_no_number_is_refused(script, flag, value):
    done = launch("configs/x.py", flag, *filter(None, [value]), script=script)
    says = f"{flag} is a number from 1, not {value}" if value else f"{flag} needs a number"
    assert done.returncode == 2 and done.stderr == f"{Path(script).name}: {says}\n"


@pytest.mark.parametrize("script", ["local_mesh.sh", "local_cluster.sh", "data/encode_workers.sh"])
def test_without_rexjax_one_sentence_says_so(tmp_path, script):
    shutil.copytree(LAUNCH, tmp_path / "launch")  # beside it there is no .venv
    command = ["bash", tmp_path / "launch" / script, "configs/x.py"]
    done = subprocess.run(command, capture_output=True, text=True, env={"PATH": "/usr/bin:/bin"})
    assert done.returncode == 2 and "no rexjax on PATH" in done.stderr and done.stderr.count("\n") == 1


def test_the_readmes_environment_is_found(tmp_path):
    shutil.copytree(LAUNCH, tmp_path / "launch")
    tool = tmp_path / ".venv" / "bin" / "rexjax"
    tool.parent.mkdir(parents=True)
    tool.write_text('#!/usr/bin/env bash\necho "ran $*"\n')
    tool.chmod(0o755)
    command = ["bash", tmp_path / "launch" / "local_mesh.sh", "configs/x.py"]
    done = subprocess.run(command, capture_output=True, text=True, env={"PATH": "/usr/bin:/bin"})
    assert done.returncode == 0 and done.stdout.splitlines()[-1] == "ran run configs/x.py --mesh.model 1"


@pytest.fixture
def cluster(tmp_path):
    """Starts local_cluster.sh with a stand-in for rexjax: process I runs the I-th of these pieces of bash."""

    def start(*pieces: str, **environment: str) -> subprocess.Popen:
        cases = "\n".join(f"{i}) {piece} ;;" for i, piece in enumerate(pieces))
        tool = tmp_path / "rexjax"
        tool.write_text(f"#!/usr/bin/env bash\necho $$ >> {tmp_path}/pids\ncase $REXJAX_PROCESS_ID in\n{cases}\nesac\n")
        tool.chmod(0o755)
        command = ["bash", LAUNCH / "local_cluster.sh", "x.py", "--processes", str(len(pieces))]
        path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
        environment = os.environ | {"PATH": path} | environment
        return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)

    # Children of a background job would ignore SIGINT; one that is handled here is the default again in them.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield start
    signal.signal(signal.SIGINT, before)
    for pid in (tmp_path / "pids").read_text().split():
        with pytest.raises(ProcessLookupError):  # none is left behind
            os.kill(int(pid), 0)


WORK = "while :; do sleep 0.1; done"
SAVE = f"trap 'sleep 0.3; exit 75' TERM; touch ready; {WORK}"


@pytest.mark.parametrize(
    "pieces, code",
    [
        (("exit 0", "exit 0"), 0),
        (("exit 0", "exit 2"), 2),
        (("sleep 0.5; exit 2", "exit 75"), 75),
        (("sleep 0.5; exit 75", "exit 2", "exit 0"), 75),
        (("sleep 0.5; exit 3", "exit 2"), 2),
        (("sleep 0.5; exit 75", "kill -9 $$"), 75),
    ],
)
def test_the_exit_code_says_whether_to_start_again(cluster, pieces, code):
    assert cluster(*pieces).wait(20) == code


@pytest.mark.parametrize("stuck", [WORK, f"trap '' TERM; {WORK}", "kill -STOP $$"])
@pytest.mark.parametrize("dies", ["exit 2", "kill -9 $$"])
def test_when_one_dies_the_others_are_ended(cluster, stuck, dies):
    code = cluster(stuck, dies, REXJAX_PEER_SECONDS="1.5", REXJAX_GRACE_SECONDS="1").wait(20)
    assert code == (2 if dies == "exit 2" else 137)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_go_on_to_all_processes(cluster, tmp_path, number):
    running = cluster(*(SAVE.replace("ready", f"{tmp_path}/ready{i}") for i in range(3)))
    until = time.monotonic() + 20
    while not all((tmp_path / f"ready{i}").exists() for i in range(3)) and time.monotonic() < until:
        time.sleep(0.05)
    running.send_signal(number)
    assert running.wait(20) == 75
