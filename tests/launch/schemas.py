"""Manifests against the schemas of Kubernetes and of JobSet, as packages carry them: no cluster is asked."""

import kubernetes_validate
from kubeflow_trainer_api.models.jobset_v1alpha2_job_set import JobsetV1alpha2JobSet as JobSet

VERSION = "1.33"
ACTIONS = {"FailJobSet", "RestartJobSet", "RestartJobSetAndIgnoreMaxRestarts"}


def check(manifest):
    """Raises where it is wrong, a field that does not exist included."""
    if manifest["kind"] == "JobSet":
        check_jobset(manifest)
    else:
        kubernetes_validate.validate(manifest, VERSION, strict=True)


def check_jobset(manifest):
    """The model drops fields that it does not know and does not know which actions there are; Jobs have a schema."""
    assert _lost(manifest, JobSet.from_dict(manifest).to_dict()) == []
    assert {rule["action"] for rule in manifest["spec"]["failurePolicy"]["rules"]} <= ACTIONS
    for replicated in manifest["spec"]["replicatedJobs"]:
        job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "job"}} | replicated["template"]
        kubernetes_validate.validate(job, VERSION, strict=True)


def _lost(given, found, place=""):
    """Where ``found`` does not have what was given; it may have defaults besides."""
    if isinstance(given, dict) and isinstance(found, dict):
        return [lost for name, one in given.items() for lost in _lost(one, found.get(name), f"{place}.{name}")]
    if isinstance(given, list) and isinstance(found, list) and len(given) == len(found):
        return [lost for i, pair in enumerate(zip(given, found, strict=True)) for lost in _lost(*pair, f"{place}[{i}]")]
    return [] if given == found else [place]
