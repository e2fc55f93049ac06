import json
import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from rexjax.cli import main
from rexjax.planning import plan, topology

REPOSITORY = Path(__file__).parent.parent.parent
SCRIPTS = ("create", "setup", "run", "logs", "train", "delete")
SETTINGS = ("--topology", "v5e:4x8", "--bucket", "my-bucket", "--config", "configs/quickstart.py")
WHEEL = ("--wheel", "dist/rexjax-0.1.0-py3-none-any.whl")


def dry(script, *arguments):
    where = ("--dry-run", "--project", "my-project", "--zone", "us-east5-a")
    command = ["bash", f"launch/tpu_vm/{script}.sh", *where, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_dry_run_prints_every_command(script, golden):
    golden(f"{script}.txt", dry(script, *SETTINGS, *WHEEL, "--", "--teacher.training.epochs", "4"))


def test_slices_and_flags_show_in_the_commands(golden):
    flags = ("--slices", "2", "--items", "1000000", "--spot", "no", "--name", "big")
    golden("train_slices.txt", dry("train", *SETTINGS, *WHEEL, *flags, "--", "--data.path", "it's here"))


def test_help_names_every_flag(golden):
    done = subprocess.run(
        ["bash", "launch/tpu_vm/train.sh", "--help"], capture_output=True, text=True, cwd=REPOSITORY, check=True
    )
    golden("help.txt", done.stdout)


@pytest.mark.skipif(not shutil.which("gcloud"), reason="needs Google's own gcloud")
def test_gcloud_knows_every_command_and_flag(tmp_path):
    texts = [path.read_text() for path in sorted((Path(__file__).parent / "golden").glob("*.txt"))]
    commands = sorted({line for text in texts for line in text.splitlines() if line.startswith("gcloud ")})
    (tmp_path / "commands.json").write_text(json.dumps([{"command_string": command} for command in commands]))
    done = subprocess.run(
        ["gcloud", "meta", "lint-gcloud-commands", f"--commands-file={tmp_path / 'commands.json'}"],
        capture_output=True,
        text=True,
        env=os.environ | {"CLOUDSDK_CONFIG": str(tmp_path), "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "1"},
    )
    if done.returncode:
        pytest.skip(f"this gcloud does not offer to look at commands: {done.stderr}")
    found = json.loads(done.stdout)
    assert len(found) == len(commands) > 8
    assert [row["error_message"] for row in found if not row["success"]] == []


def test_rexjax_knows_the_plan_and_the_run(monkeypatch, tmp_path):
    printed = dry("train", *SETTINGS, *WHEEL, "--items", "500", "--slices", "2", "--", "--teacher.training.epochs", "4")
    asked = {}
    answer = {"fits": True, "programs": {}, "topology": "", "devices": 1, "slices": 1, "mesh": {}, "items": 1}
    monkeypatch.setattr(plan, "make", lambda *given: asked.update(given=given) or answer)
    monkeypatch.chdir(REPOSITORY)
    main.main(shlex.split(printed.splitlines()[0])[1:])
    config, where, items = asked["given"]
    assert (config.teacher.training.epochs, where, items) == (4, topology.Topology("v5e", "4x8", 2), 500)
    started = next(line for line in printed.splitlines() if "on_worker.sh start" in line)
    command = shlex.split(next(word for word in shlex.split(started) if word.startswith("--command=")))
    assert command[1:3] == ["on_worker.sh", "start"]
    _, _, config = main.parse(["run", "configs/quickstart.py", *command[4:]])
    assert (config.workdir, config.teacher.training.epochs) == ("bucket/runs/rexjax", 4)


@pytest.mark.parametrize(
    ("name", "flags"),
    [
        ("v5e:2x2", "--accelerator-type=v5litepod-4 --runtime-version=v2-alpha-tpuv5-lite"),
        ("v5p:2x2x1", "--accelerator-type=v5p-8 --runtime-version=v2-alpha-tpuv5"),
        ("v6e:16x16", "--accelerator-type=v6e-256 --runtime-version=v2-alpha-tpuv6e"),
        ("v4:4x4x4", "--type=v4 --topology=4x4x4 --runtime-version=tpu-ubuntu2204-base"),
    ],
)
def test_machines_of_a_topology(name, flags):
    assert flags in dry("create", *SETTINGS, "--topology", name)


def test_every_layout_that_plans_know_has_machines():
    known = (REPOSITORY / "launch/tpu_vm/create.sh").read_text()
    for layout in {layout for chip in topology.CHIPS.values() for layout in chip.layouts}:
        assert f" {layout} " in known or f" {layout})" in known


def test_all_goes_well(cloud):
    done = cloud.launch("tpu_vm/train.sh", "--", "--data.path", "a b", CODES="0")
    assert done.returncode == 0, done.stderr
    assert cloud.verbs() == [
        *("plan", "describe", "buckets", "create", "describe", "scp", "setup", "start", "follow", "describe", "ended")
    ]
    assert done.stdout.splitlines()[-3:] == [
        "worker-0 start 1: step 1",
        "worker-0 start 1: step 2",
        "rexjax: done",
    ]
    for worker in ("worker-0", "worker-1"):
        assert cloud.lines(f"ran-{worker}") == ["run config.py --workdir bucket/runs/rexjax --data.path a b"]
    assert cloud.lines("installed")[:4] == [
        "python3 -m pip install -q --user uv",
        "uv venv -q --python 3.11 rexjax",
        "uv pip install -q --python rexjax/bin/python rexjax-0.1.0-py3-none-any.whl[all] jax[tpu]",
        "gcsfuse --implicit-dirs --metadata-cache-ttl-secs=0 my-bucket bucket",
    ]


def test_a_worker_without_gcsfuse_gets_it(cloud):
    (cloud.folder / "bin/gcsfuse").rename(cloud.folder / "gcsfuse")
    cloud.launch("tpu_vm/create.sh")
    done = cloud.launch("tpu_vm/setup.sh")
    assert done.returncode == 0, done.stderr
    assert [line for line in cloud.lines("installed") if line.startswith(("sudo", "gcsfuse"))] == [
        "sudo tee /etc/apt/sources.list.d/gcsfuse.list",
        "sudo tee /usr/share/keyrings/gcsfuse.asc",
        "sudo apt-get update -qq",
        "sudo apt-get install -y -qq gcsfuse",
        *["gcsfuse --implicit-dirs --metadata-cache-ttl-secs=0 my-bucket bucket"] * 2,
    ]


def test_preempted_and_saved_runs_again_on_the_same_machines(cloud):
    done = cloud.launch("tpu_vm/train.sh", CODES="75 0")
    assert done.returncode == 0, done.stderr
    assert "rexjax: preempted, restart 1 of 20" in done.stdout
    assert cloud.verbs().count("create") == 1 and len(cloud.lines("ran-worker-1")) == 2


@pytest.mark.parametrize("moment", ["SETUP", "FOLLOW"])
def test_machines_taken_back_are_made_anew(cloud, moment):
    done = cloud.launch("tpu_vm/train.sh", CODES="0 0", **{f"PREEMPT_{moment}": "1"})
    assert done.returncode == 0, done.stderr
    assert "preempted: the machines of rexjax were taken back" in done.stderr
    assert cloud.verbs().count("create") == 2 and cloud.verbs().count("delete") == 1
    assert cloud.verbs().count("plan") == 1


def test_a_request_that_waits_already_is_waited_for(cloud):
    (cloud.folder / "states").write_text("WAITING_FOR_RESOURCES\n" * 2 + "ACTIVE\n")
    for worker in ("worker-0", "worker-1"):
        (cloud.folder / worker).mkdir()
    done = cloud.launch("tpu_vm/train.sh")
    assert done.returncode == 0, done.stderr
    assert "create" not in cloud.verbs() and "rexjax: done" in done.stdout


def test_a_worker_that_began_anew_is_no_failure(cloud):
    for script in ("create", "setup", "run", "logs"):
        cloud.launch(f"tpu_vm/{script}.sh")
    (cloud.folder / "worker-1/rexjax.code").unlink()
    done = cloud.launch("tpu_vm/logs.sh")
    assert (done.returncode, done.stderr) == (
        75,
        "logs.sh: a worker hung or began anew: setup.sh and run.sh go on from the last checkpoint\n",
    )


def test_restarts_end(cloud):
    done = cloud.launch("tpu_vm/train.sh", "--restarts", "1", CODES="75 75 0")
    assert done.returncode == 75
    assert done.stderr.endswith("preempted more than 1 times: the same command goes on where it was\n")


def test_a_lost_connection_is_followed_again_without_repeating_lines(cloud):
    cloud.launch("tpu_vm/create.sh")
    cloud.launch("tpu_vm/setup.sh")
    cloud.launch("tpu_vm/run.sh")
    lost = {"FAIL_FOLLOW": "[/usr/bin/ssh] exited with return code [255].", "FAIL_FOLLOW_TIMES": "2"}
    done = cloud.launch("tpu_vm/logs.sh", **lost)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "logs.sh: ssh lost, try 1 of 5\nlogs.sh: ssh lost, try 2 of 5\n"
    assert done.stdout.count("step 1") == 1


_DENIED = "ERROR: (gcloud.x) PERMISSION_DENIED: Permission 'tpu.queuedResources.create' denied on 'projects/my-project'"
_FORBIDDEN = "ERROR: (gcloud.x) me@example.com does not have storage.buckets.get access to the bucket: 403"
_CAPACITY = "ERROR: (gcloud.x) There is no more capacity in the zone us-east5-a"
_LOST = "ERROR: (gcloud.x) [/usr/bin/ssh] exited with return code [255]."


@pytest.mark.parametrize(
    ("environment", "code", "sentence"),
    [
        ({"PLAN_CODE": "1"}, 1, "the plan says no: config.py does not fit on v5e:4x4 x 1 (above); nothing was created"),
        ({"PLAN_CODE": "2"}, 2, "there is no plan for v5e:4x4 (above); nothing was created"),
        (
            {"FAIL_BUCKET": "ERROR: (gcloud.storage.buckets.describe) gs://my-bucket not found: 404."},
            2,
            "gs://my-bucket --location=us-east5 --enable-hierarchical-namespace --uniform-bucket-level-access",
        ),
        ({"FAIL_BUCKET": _FORBIDDEN}, 2, "no permission: your account lacks storage.buckets.get in my-project"),
        ({"FAIL_CREATE": _DENIED}, 2, "no permission: your account lacks tpu.queuedResources.create in my-project"),
        ({"FAIL_CREATE": _CAPACITY}, 1, "capacity refused: us-east5-a has no v5e:4x4 now (There is no more capacity"),
        ({"FAIL_CREATE": "ERROR: (gcloud.x) Quota limit 'TPUV5s' has been exceeded"}, 1, "the quota of my-project"),
        ({"FAIL_CREATE": "ERROR: (gcloud.x) ALREADY_EXISTS: it is there"}, 2, "rexjax exists already in us-east5-a"),
        (
            {"FAIL_CREATE": "ERROR: (gcloud.x) You do not currently have an active account selected."},
            2,
            "gcloud has no",
        ),
        ({"FAIL_CREATE": "ERROR: (gcloud.x) SERVICE_DISABLED"}, 2, "the Cloud TPU API is off in my-project"),
        ({"FAIL_CREATE": "ERROR: (gcloud.x) something else"}, 1, "gcloud failed: something else"),
        ({"STATES": "PROVISIONING FAILED"}, 1, "capacity refused: us-east5-a has no v5e:4x4 now (no reason given)"),
        ({"STATES": "PROVISIONING SUSPENDED", "RESTARTS": "0"}, 75, "taken back before the run began"),
        ({"FAIL_SCP": _LOST}, 1, "ssh lost ([/usr/bin/ssh] exited with return code [255].): rexjax cannot be reached"),
        ({"FAIL_FOLLOW": _LOST}, 1, "ssh lost"),
        ({"FAIL_START": "Could not prepare all 2 nodes, attempting to ssh into the rest."}, 1, "ssh lost"),
        ({"PIP_CODE": "1"}, 1, "the setup failed on a worker: its last words are above"),
        ({"CODES": "2"}, 2, "the run refused what it was given (above): mend it, then run.sh"),
        ({"CODES": "1"}, 1, "the run failed on a worker (exit codes: 1): the log above says why"),
        ({"CONFIG": "none.py"}, 2, "no config file none.py"),
        ({"TOPOLOGY": "tpu7x:2x2x1"}, 2, "no TPU VM of tpu7x:2x2x1: v4, v5e, v5p and v6e are; tpu7x is on GKE alone"),
        ({"TOPOLOGY": "v5e:3x5"}, 2, "no TPU VM of layout 3x5"),
        ({"BUCKET": ""}, 2, "--bucket is missing: pass it or set BUCKET; see --help"),
        ({"SLICES": "two"}, 2, "--slices two is not a whole number"),
    ],
)
def test_each_failure_is_one_sentence(cloud, environment, code, sentence):
    done = cloud.launch("tpu_vm/train.sh", **environment)
    assert done.returncode == code, done.stderr
    last = [line for line in done.stderr.splitlines() if "preempted more than" not in line][-1]
    assert sentence in last


def test_a_refused_plan_asks_nothing_of_the_cloud(cloud):
    cloud.launch("tpu_vm/train.sh", PLAN_CODE="1")
    assert cloud.verbs() == ["plan"]


def test_without_gcloud_it_says_so(cloud, tmp_path):
    tools = tmp_path / "tools"
    tools.mkdir()
    for tool in ("bash", "basename", "dirname", "mktemp", "rm"):
        (tools / tool).symlink_to(shutil.which(tool))
    done = cloud.launch("tpu_vm/create.sh", PATH=str(tools))
    assert done.returncode == 2
    assert done.stderr == "create.sh: no gcloud on PATH: install the Google Cloud CLI, then run gcloud auth login\n"


def test_deleting_nothing_is_no_failure(cloud):
    done = cloud.launch("tpu_vm/delete.sh", FAIL_DELETE="ERROR: (gcloud.x) NOT_FOUND: it is not there")
    assert (done.returncode, done.stdout) == (0, "rexjax: nothing to delete\n")


def test_a_run_that_goes_on_is_left_alone(cloud):
    cloud.launch("tpu_vm/create.sh")
    cloud.launch("tpu_vm/setup.sh")
    (cloud.folder / "worker-0/rexjax.pid").write_text(str(os.getpid()))
    done = cloud.launch("tpu_vm/run.sh")
    assert done.stdout == "a run is going on here already: it was left alone\n"
    assert not cloud.lines("ran-worker-0") and done.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--colour", "red"), "no flag --colour; see --help"),
        (("--zone",), "--zone needs a value; see --help"),
        (("x",), "what is x? Overrides of the config go after --; see --help"),
        (("--name", "Mine"), "--name Mine must be small letters, digits and -, a letter first"),
        (("--spot", "maybe"), "--spot maybe must be yes or no"),
    ],
)
def test_wrong_flags(cloud, arguments, sentence):
    done = cloud.launch("tpu_vm/logs.sh", *arguments)
    assert (done.returncode, done.stderr) == (2, f"logs.sh: {sentence}\n")
