"""Stage baselines: the simple models that stand beside the others."""

from pathlib import Path
from typing import Any

from rexjax.artifacts.store import Artifact
from rexjax.config.schema import Config
from rexjax.config.stage import Stage
from rexjax.families.base import Unsuitable, fit, named
from rexjax.pipeline.stages import inputs
from rexjax.runtime.progress import notice


def run(config: Config, folder: Path, artifacts: dict[str, Artifact]) -> dict[str, Any]:
    """Writes the state of each model of ``config.baselines`` that suits the log.

    Returns:
        Validation metrics by name, the reasons of those left out, digests.
    """
    data = inputs.training_data(config, artifacts)
    metrics: dict[str, Any] = {"content": {}, "valid": {}, "left_out": {}}
    for number, (name, model) in enumerate(named(config.baselines).items()):
        own = inputs.run_of(config, data, folder, name, f"baselines.{number}")
        try:
            state = fit(model, data, own)
        except Unsuitable as error:
            metrics["left_out"][name] = str(error)
            notice(f"{name} is left out: {error}")
            continue
        metrics["content"][name] = inputs.save(folder / name, state)
        metrics["valid"][name] = own.validate(model.scorer(state))
    return metrics


STAGE = Stage(
    name="baselines",
    run=run,
    needs=("prepare", "encode"),
    keys=("seed", "data.length", "data.targets", "baselines", "evaluate.selection", "evaluate.exclude_seen"),
    packages=("jax", "jaxlib", "scipy", "numpy"),
    what="fit the simple models that stand beside the others",
)
