"""Prints what a cluster needs to run a config on TPU slices: a ConfigMap with the config, and a JobSet.

    python launch/gke/manifests.py configs/movielens.py --topology v5e:4x8 --slices 2 --image IMAGE --bucket my-bucket

``launch/gke/launch.sh`` asks the plan first and hands the manifests to kubectl. The cluster has the JobSet controller
(https://jobset.sigs.k8s.io), the Cloud Storage FUSE driver, a node pool for each slice, and a service account that may
read and write the bucket.
"""

import argparse
import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from rexjax.cli.arguments import override
from rexjax.config import load
from rexjax.config.values import check
from rexjax.errors import UserError
from rexjax.planning import topology

# https://cloud.google.com/kubernetes-engine/docs/concepts/plan-tpus
ACCELERATORS = {
    "v4": "tpu-v4-podslice",
    "v5e": "tpu-v5-lite-podslice",
    "v5p": "tpu-v5p-slice",
    "v6e": "tpu-v6e-slice",
    "tpu7x": "tpu7x",
}
CHIPS_OF_A_HOST = 4
ONE_HOST = {"1x1": 1, "2x4": 8}
"""Layouts that are one machine of another size (ct5lp-hightpu-1t, -8t, ct6e-standard-1t, -8t)."""

PORT = 8482  # where the first process waits for the others
SPOT_GRACE, GRACE = 15, 120
"""Seconds to save in. A Spot node grants its pods no more than the first, whatever they ask for."""


@dataclass(frozen=True)
class Request:
    """What is asked for."""

    name: str
    config: Path
    where: topology.Topology
    image: str
    bucket: str
    account: str
    spot: bool
    restarts: int
    overrides: tuple[str, ...]


def hosts(where: topology.Topology) -> tuple[int, int]:
    """Machines of a slice, and chips of each.

    Raises:
        UserError: no node pool has this layout, or not in several slices.
    """
    chips = where.devices // where.chip.devices // where.slices
    each = ONE_HOST.get(where.layout, CHIPS_OF_A_HOST)
    if chips % each:
        raise topology.unknown(where.name)
    if where.slices > 1 and chips == each:
        raise UserError(
            f"{where.name} is one machine, and GKE joins slices of several machines alone: take a larger one"
        )
    return chips // each, each


def manifests(request: Request) -> list[dict[str, Any]]:
    """The ConfigMap and the JobSet, ready for ``kubectl apply``."""
    config = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": f"{request.name}-config"},
        "data": {request.config.name: request.config.read_text()},
    }
    return [config, jobset(request)]


def jobset(request: Request) -> dict[str, Any]:
    """One Job a slice; what fails one fails all, for they compute together."""
    return {
        "apiVersion": "jobset.x-k8s.io/v1alpha2",
        "kind": "JobSet",
        "metadata": {
            "name": request.name,
            # a slice's pods share one node pool, and no other slice's are on it
            "annotations": {"alpha.jobset.sigs.k8s.io/exclusive-topology": "cloud.google.com/gke-nodepool"},
        },
        "spec": {
            "network": {"enableDNSHostnames": True, "subdomain": request.name},
            "failurePolicy": {
                "maxRestarts": request.restarts,
                # the only rule below that fails a Job is the one for a user's mistake
                "rules": [{"name": "mistake", "action": "FailJobSet", "onJobFailureReasons": ["PodFailurePolicy"]}],
            },
            "replicatedJobs": [{"name": "slice", "replicas": request.where.slices, "template": {"spec": job(request)}}],
        },
    }


def job(request: Request) -> dict[str, Any]:
    """The machines of a slice, numbered."""
    machines, _ = hosts(request.where)
    return {
        "parallelism": machines,
        "completions": machines,
        "completionMode": "Indexed",
        "backoffLimit": 0,
        "podFailurePolicy": {"rules": failures()},
        "template": {"metadata": {"annotations": {"gke-gcsfuse/volumes": "true"}}, "spec": pod(request)},
    }


def failures() -> list[dict[str, Any]]:
    """What an end means. Exit code 2 is a mistake that no restart mends. 75, or a node taken away, is no failure: a pod
    is made anew, uncounted. Anything else fails the Job, and the JobSet restarts all, up to ``maxRestarts``."""

    def ends_with(code):
        return {"containerName": "rexjax", "operator": "In", "values": [code]}

    return [
        {"action": "FailJob", "onExitCodes": ends_with(2)},
        {"action": "Ignore", "onExitCodes": ends_with(75)},
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
    ]


def pod(request: Request) -> dict[str, Any]:
    """One machine."""
    where = request.where
    selector = {
        "cloud.google.com/gke-tpu-accelerator": ACCELERATORS[where.generation],
        "cloud.google.com/gke-tpu-topology": where.layout,
    }
    found: dict[str, Any] = {
        "restartPolicy": "Never",
        "serviceAccountName": request.account,
        "terminationGracePeriodSeconds": SPOT_GRACE if request.spot else GRACE,
        "nodeSelector": selector,
        "containers": [container(request)],
        "volumes": volumes(request),
    }
    if request.spot:
        selector["cloud.google.com/gke-spot"] = "true"
        found["tolerations"] = [
            {"key": "cloud.google.com/gke-spot", "operator": "Equal", "value": "true", "effect": "NoSchedule"}
        ]
    return found


def container(request: Request) -> dict[str, Any]:
    """``rexjax run`` as one of the processes of all slices, numbered as JAX numbers TPU hosts: slice by slice."""
    machines, chips = hosts(request.where)
    index = f"$((JOB_INDEX * {machines} + JOB_COMPLETION_INDEX))"
    run = ["run", f"/config/{request.config.name}", "--workdir", f"/bucket/runs/{request.name}", *request.overrides]
    job_index = {"fieldRef": {"fieldPath": "metadata.labels['jobset.sigs.k8s.io/job-index']"}}
    return {
        "name": "rexjax",
        "image": request.image,
        "command": ["/bin/sh", "-c", f'REXJAX_PROCESS_ID={index} exec rexjax "$@"', "rexjax", *run],
        "env": [
            {"name": "JOB_INDEX", "valueFrom": job_index},
            {"name": "REXJAX_COORDINATOR", "value": f"{request.name}-slice-0-0.{request.name}:{PORT}"},
            {"name": "REXJAX_PROCESSES", "value": str(machines * request.where.slices)},
        ],
        "ports": [{"containerPort": PORT}],
        # the chips' device files are root's
        "securityContext": {"runAsUser": 0},
        "resources": {"requests": {"google.com/tpu": chips}, "limits": {"google.com/tpu": chips}},
        "volumeMounts": [{"name": "bucket", "mountPath": "/bucket"}, {"name": "config", "mountPath": "/config"}],
    }


def volumes(request: Request) -> list[dict[str, Any]]:
    """All machines see one workdir, in the bucket, as a folder."""
    mount = {"bucketName": request.bucket, "mountOptions": "implicit-dirs,metadata-cache:ttl-secs:0"}
    return [
        {"name": "bucket", "csi": {"driver": "gcsfuse.csi.storage.gke.io", "volumeAttributes": mount}},
        {"name": "config", "configMap": {"name": f"{request.name}-config"}},
    ]


def parse(arguments: Sequence[str]) -> Request:
    """Flags, and after ``--`` overrides of the config, which must be keys of it.

    Raises:
        UserError: no such config, topology or name.
    """
    parser = argparse.ArgumentParser(prog="manifests.py", allow_abbrev=False, description=__doc__.splitlines()[0])
    parser.add_argument("config", type=Path, help="Python file with get_config()")
    parser.add_argument("--topology", required=True, help="of one slice, as `rexjax plan` writes it: v5e:4x8")
    parser.add_argument("--slices", type=int, default=1, help="equal slices that work as one (1)")
    parser.add_argument("--image", required=True, help="built from launch/Dockerfile with --build-arg JAX=tpu")
    parser.add_argument("--bucket", required=True, help="artifacts go to BUCKET/runs/NAME")
    parser.add_argument("--name", default="rexjax", help="of the JobSet (rexjax)")
    parser.add_argument("--account", default="rexjax", help="service account of the cluster (rexjax)")
    parser.add_argument("--spot", action="store_true", help="on nodes that may be taken back, at a lower price")
    parser.add_argument("--restarts", type=int, default=10, help="after failures; preemptions do not count (10)")
    own, overrides = _parted(list(arguments))
    flags = parser.parse_args(own)
    if not re.fullmatch(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?", flags.name):
        raise UserError(f"--name {flags.name} must be at most 40 small letters, digits and -, a letter first")
    check(override(load(flags.config), overrides))
    bucket, where = flags.bucket.removeprefix("gs://"), topology.parse(flags.topology, flags.slices)
    kept = flags.account, flags.spot, flags.restarts, tuple(overrides)
    return Request(flags.name, flags.config, where, flags.image, bucket, *kept)


def _parted(arguments: list[str]) -> tuple[list[str], list[str]]:
    at = arguments.index("--") if "--" in arguments else len(arguments)
    return arguments[:at], arguments[at + 1 :]


class _Dumper(yaml.SafeDumper):
    """Texts of several lines as they are, for people read manifests."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def main(arguments: Sequence[str]) -> None:
    """Prints the manifests; exits 2 on a user's mistake."""
    try:
        request = parse(arguments)
        found = manifests(request)
    except UserError as error:
        print(f"manifests.py: {error}", file=sys.stderr)
        sys.exit(2)
    print(f"# python launch/gke/manifests.py {shlex.join(arguments)}")
    print(yaml.dump_all(found, Dumper=_Dumper, sort_keys=False, width=120), end="")


if __name__ == "__main__":
    main(sys.argv[1:])
