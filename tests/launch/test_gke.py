import importlib.util
import os
import shlex
import subprocess
import sys
import textwrap
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from rexjax.cli import main
from rexjax.planning import topology
from tests.launch import schemas

REPOSITORY = Path(__file__).parent.parent.parent
ASKED = ("configs/quickstart.py", "--topology", "v5e:4x8", "--image", "registry/rexjax:1", "--bucket", "my-bucket")

_spec = importlib.util.spec_from_file_location("manifests", REPOSITORY / "launch/gke/manifests.py")
manifests = importlib.util.module_from_spec(_spec)
sys.modules["manifests"] = manifests  # dataclasses look there
_spec.loader.exec_module(manifests)


@pytest.fixture(autouse=True)
def _in_the_repository(monkeypatch):
    monkeypatch.chdir(REPOSITORY)


def made(*arguments):
    return manifests.manifests(manifests.parse([*ASKED, *arguments]))


def job_of(jobset):
    return jobset["spec"]["replicatedJobs"][0]["template"]["spec"]


def pod_of(jobset):
    return job_of(jobset)["template"]["spec"]


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("jobset.yaml", ()),
        ("jobset_slices_spot.yaml", ("--slices", "2", "--spot", "--name", "big", "--", "--data.path", "it's here")),
    ],
)
def test_manifests(name, arguments, golden, capsys):
    manifests.main([*ASKED, *arguments])
    text = capsys.readouterr().out
    told = Path("configs/quickstart.py").read_text()
    golden(name, text.replace(textwrap.indent(told, "    "), "    (the config's text)\n"))
    config, jobset = yaml.safe_load_all(text)
    schemas.check(config)
    schemas.check(jobset)
    assert config["data"]["quickstart.py"] == told


@pytest.mark.parametrize(
    "spoil",
    [
        lambda jobset: jobset["spec"].update(failurePolicies={}),
        lambda jobset: jobset["spec"]["failurePolicy"].update(maxRestarts="ten"),
        lambda jobset: jobset["spec"]["failurePolicy"]["rules"][0].update(action="Fail"),
        lambda jobset: job_of(jobset).update(completion=4),
        lambda jobset: job_of(jobset)["podFailurePolicy"]["rules"][0].pop("action"),
        lambda jobset: pod_of(jobset).update(terminationGracePeriod=4),
        lambda jobset: pod_of(jobset)["containers"][0]["ports"][0].update(containerPort="http"),
    ],
)
def test_the_schemas_see_what_is_wrong(spoil):
    _, jobset = made()
    schemas.check(jobset)
    spoil(jobset)
    with pytest.raises((AssertionError, ValueError, kubernetes_validate.ValidationError)):
        schemas.check(jobset)


@pytest.mark.parametrize(
    ("where", "machines", "chips", "accelerator"),
    [
        ("v5e:1x1", 1, 1, "tpu-v5-lite-podslice"),
        ("v5e:2x2", 1, 4, "tpu-v5-lite-podslice"),
        ("v6e:2x4", 1, 8, "tpu-v6e-slice"),
        ("v5e:4x4", 4, 4, "tpu-v5-lite-podslice"),
        ("v6e:16x16", 64, 4, "tpu-v6e-slice"),
        ("v4:2x2x4", 4, 4, "tpu-v4-podslice"),
        ("v5p:2x2x1", 1, 4, "tpu-v5p-slice"),
        ("tpu7x:4x4x4", 16, 4, "tpu7x"),
    ],
)
def test_machines_and_chips(where, machines, chips, accelerator):
    _, jobset = made("--topology", where)
    job, pod = job_of(jobset), pod_of(jobset)
    assert (job["parallelism"], job["completions"], job["completionMode"]) == (machines, machines, "Indexed")
    assert pod["containers"][0]["resources"]["limits"] == {"google.com/tpu": chips}
    assert pod["nodeSelector"] == {
        "cloud.google.com/gke-tpu-accelerator": accelerator,
        "cloud.google.com/gke-tpu-topology": where.partition(":")[2],
    }


def test_every_layout_that_plans_know_has_whole_machines():
    for generation, chip in topology.CHIPS.items():
        for layout in chip.layouts:
            machines, chips = manifests.hosts(topology.Topology(generation, layout))
            assert machines * chips * chip.devices == topology.Topology(generation, layout).devices


def test_processes_are_numbered_slice_by_slice(tmp_path):
    _, jobset = made("--slices", "2", "--topology", "v5e:4x4")
    container = pod_of(jobset)["containers"][0]
    environment = {one["name"]: one.get("value", "") for one in container["env"]}
    (tmp_path / "rexjax").write_text('#!/bin/sh\necho "$REXJAX_PROCESS_ID $REXJAX_PROCESSES $*"\n')
    (tmp_path / "rexjax").chmod(0o755)
    said = []
    for slice_, machine in [(slice_, machine) for slice_ in range(2) for machine in range(4)]:
        place = {"JOB_INDEX": str(slice_), "JOB_COMPLETION_INDEX": str(machine), "PATH": f"{tmp_path}:/usr/bin:/bin"}
        done = subprocess.run(container["command"], env=environment | place, capture_output=True, text=True, check=True)
        said.append(done.stdout.split(maxsplit=2))
    assert [one[:2] for one in said] == [[str(index), "8"] for index in range(8)]
    assert {one[2].strip() for one in said} == {"run /config/quickstart.py --workdir /bucket/runs/rexjax"}
    # the first pod of the first slice: <jobset>-<replicated job>-<job>-<pod>.<subdomain>
    assert environment["REXJAX_COORDINATOR"] == "rexjax-slice-0-0.rexjax:8482"
    assert jobset["spec"]["network"]["subdomain"] == "rexjax"


def test_the_library_reads_the_variables():
    known = "".join(path.read_text() for path in (REPOSITORY / "rexjax").rglob("*.py"))
    assert all(f'"{name}"' in known for name in ("REXJAX_COORDINATOR", "REXJAX_PROCESSES", "REXJAX_PROCESS_ID"))


def test_the_command_is_one_that_rexjax_knows():
    _, jobset = made("--", "--teacher.training.epochs", "4")
    command = pod_of(jobset)["containers"][0]["command"]
    _, _, config = main.parse([command[4], "configs/quickstart.py", *command[6:]])
    assert (config.workdir, config.teacher.training.epochs) == ("/bucket/runs/rexjax", 4)


def test_exit_codes_mean_what_they_mean():
    _, jobset = made("--restarts", "3")
    rules = job_of(jobset)["podFailurePolicy"]["rules"]
    acts = {rule["onExitCodes"]["values"][0]: rule["action"] for rule in rules if "onExitCodes" in rule}
    assert acts == {2: "FailJob", 75: "Ignore"}
    assert {rule["onExitCodes"]["containerName"] for rule in rules if "onExitCodes" in rule} == {"rexjax"}
    assert job_of(jobset)["backoffLimit"] == 0 and pod_of(jobset)["restartPolicy"] == "Never"
    policy = jobset["spec"]["failurePolicy"]
    assert policy["maxRestarts"] == 3 and policy["rules"][0]["onJobFailureReasons"] == ["PodFailurePolicy"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ("--topology", "v5e:2x2", "--slices", "2"),
            "v5e:2x2 is one machine, and GKE joins slices of several machines",
        ),
        (("--topology", "v9:2x2"), "no TPU topology 'v9:2x2'"),
        (("--topology", "v5e:3x5"), "no TPU topology 'v5e:3x5'"),
        (("--slices", "0"), "--slices 0: a plan needs at least one slice"),
        (("--name", "My_Run"), "--name My_Run must be at most 40 small letters, digits and -, a letter first"),
    ],
)
def test_what_cannot_be_is_one_sentence(arguments, sentence, capsys):
    with pytest.raises(SystemExit) as ended:
        manifests.main([*ASKED, *arguments])
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith(f"manifests.py: {sentence}")


def test_overrides_must_be_keys_of_the_config(capsys):
    with pytest.raises(SystemExit) as ended:
        manifests.main([*ASKED, "--", "--colour", "red"])
    assert ended.value.code == 2 and "colour" in capsys.readouterr().err


def test_a_dry_run_prints_every_command(golden):
    command = ["bash", "launch/gke/launch.sh", *ASKED, "--items", "500", "--dry-run", "--", "--data.path", "a b"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    golden("gke_launch.txt", done.stdout)


@pytest.fixture
def launch(cloud):
    def run(*arguments, **environment):
        (cloud.folder / "bin/python").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
        (cloud.folder / "bin/python").chmod(0o755)
        path = {"PATH": f"{cloud.folder / 'bin'}:{os.environ['PATH']}", "CLOUD": str(cloud.folder)}
        command = ["bash", "launch/gke/launch.sh", *ASKED, *arguments]
        return subprocess.run(command, capture_output=True, text=True, env=os.environ | path | environment)

    return run


def test_the_plan_comes_first_then_the_bucket_then_the_cluster(launch, cloud):
    done = launch("--slices", "2")
    assert (done.returncode, done.stdout) == (0, "jobset.jobset.x-k8s.io/rexjax created\n")
    assert [line.split()[0] for line in cloud.lines("calls")] == ["rexjax", "gcloud", "kubectl"]
    assert [one["kind"] for one in yaml.safe_load_all("\n".join(cloud.lines("applied")))] == ["ConfigMap", "JobSet"]


@pytest.mark.parametrize(
    ("environment", "code", "sentence"),
    [
        ({"PLAN_CODE": "1"}, 1, "the plan says no: configs/quickstart.py does not fit on v5e:4x8 x 1 (above)"),
        ({"FAIL_BUCKET": "not found: 404"}, 2, "no bucket gs://my-bucket, or none that you may see (above)"),
        ({"FAIL_KUBECTL": 'no matches for kind "JobSet" in version'}, 2, "the cluster has no JobSet controller"),
        (
            {"FAIL_KUBECTL": "Error from server (Forbidden): jobsets is forbidden"},
            2,
            "no permission: (Forbidden): jobsets",
        ),
        ({"FAIL_KUBECTL": "was refused"}, 1, "kubectl failed: was refused"),
    ],
)
def test_each_failure_is_one_sentence(launch, environment, code, sentence):
    done = launch(**environment)
    assert done.returncode == code
    assert done.stderr.splitlines()[-1].startswith(f"launch.sh: {sentence}")
