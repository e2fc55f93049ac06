"""A registry's versions in MLflow: one run a version, and the aliases of a registered model.

The registry stays the only source. Mirroring again adds what is new and moves the aliases.
"""

import math
from collections.abc import Iterator
from typing import Any

from rexjax.artifacts.files import read_json
from rexjax.artifacts.workdirs import CONFIG, METRICS
from rexjax.errors import needs_extra
from rexjax.registry.aliases import CHALLENGER, CHAMPION
from rexjax.registry.registry import Registry
from rexjax.registry.versions import CARD, LINEAGE, Version

_TAG = "rexjax.version"
_LONGEST = 500  # characters of a parameter that MLflow takes
_FILES = CARD, METRICS, LINEAGE, CONFIG


def mirror_to_mlflow(registry: Registry, uri: str, name: str = "") -> int:
    """Brings MLflow up to date.

    Args:
        registry: what is mirrored.
        uri: of the tracking server, or ``file:FOLDER`` or ``sqlite:///FILE``.
        name: of the experiment and of the registered model; "": that of the registry's folder.

    Returns:
        How many versions were new to MLflow.

    Raises:
        UserError: MLflow is not installed.
    """
    with needs_extra("mlflow"):
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

    name, client = name or registry.path.absolute().name, MlflowClient(uri, uri)
    found = client.get_experiment_by_name(name)
    experiment = found.experiment_id if found else client.create_experiment(name)
    try:
        client.get_registered_model(name)
    except MlflowException:
        client.create_registered_model(name)
    known = {entry.tags[_TAG]: entry.version for entry in client.search_model_versions(f"name='{name}'")}
    new = [version for version in registry.versions() if version.id not in known]
    for version in new:
        known[version.id] = _add(client, name, experiment, version)
    _move_aliases(client, name, registry, known)
    return len(new)


def _add(client: Any, name: str, experiment: str, version: Version) -> str:
    """Logs a version as a run; its number in the registered model."""
    tags = {_TAG: version.id, "rexjax.parent": version.parent or "", "rexjax.path": str(version.path.absolute())}
    tags["mlflow.note.content"] = version.note
    run = client.create_run(experiment, int(version.created * 1000), tags, version.id)
    for key, value in _plain(read_json(version.path / CONFIG)):
        client.log_param(run.info.run_id, key, str(value)[:_LONGEST])
    figures = version.metrics["quality"] | version.metrics["cost"]
    for key, value in figures.items():
        if math.isfinite(value):
            client.log_metric(run.info.run_id, key.replace("@", "_at_"), value)
    for file in _FILES:
        if file in version.files:
            client.log_artifact(run.info.run_id, str(version.path / file))
    client.set_terminated(run.info.run_id)
    source = run.info.artifact_uri  # a server takes no other path
    made = client.create_model_version(name, source, run.info.run_id, {_TAG: version.id}, description=version.note)
    return made.version


def _move_aliases(client: Any, name: str, registry: Registry, known: dict[str, str]) -> None:
    state = registry.state
    for alias, version in ((CHAMPION, state.champion), (CHALLENGER, state.challenger)):
        if version:
            client.set_registered_model_alias(name, alias, known[version])
        elif alias in client.get_registered_model(name).aliases:
            client.delete_registered_model_alias(name, alias)


def _plain(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The keys of a config, dotted, with their values."""
    for key, part in value.items():
        if isinstance(part, dict):
            yield from _plain(part, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", part
