"""The stages of a refresh: those of a run, each of which goes on from what the parent run left."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from rexjax.artifacts import store
from rexjax.artifacts.store import Artifact
from rexjax.config.schema import Config
from rexjax.config.stage import Stage
from rexjax.distillation import warm as distillation
from rexjax.evaluation import ranking
from rexjax.families import warm
from rexjax.families.base import TrainingData, follow, named
from rexjax.pipeline import runner
from rexjax.pipeline.refresh import prepare as preparing
from rexjax.pipeline.stages import compress, distill, inputs, teacher


class Parent(NamedTuple):
    """The artifacts of the run that is refreshed."""

    artifacts: dict[str, Artifact]

    def data(self, config: Config) -> TrainingData:
        """Its log, as its models know it."""
        return inputs.training_data(config, {"prepare": self.artifacts["prepare"]})

    def hashes(self, config: Config) -> dict[str, str]:
        """Of the artifacts, for the identity of a stage."""
        return {f"parent {name}": artifact.hash for name, artifact in self.artifacts.items()}


def read_parent(workdir: Path) -> Parent:
    """Opens a finished run.

    Raises:
        UserError: a stage has not finished, or is damaged.
    """
    return Parent({name: store.read(workdir / name) for name in ("prepare", "teacher", "distill", "compress")})


def stages(parent: Parent, days: float) -> dict[str, Stage]:
    """The stages that take the places of those of a run."""
    runs = {
        "prepare": partial(preparing.run, parent=parent.artifacts["prepare"], days=days),
        "teacher": partial(_teacher, parent=parent),
        "distill": partial(_distill, parent=parent),
        "compress": partial(_compress, parent=parent),
    }

    def external(own: Stage, config: Config) -> dict[str, str]:
        return own.external(config) | parent.hashes(config) | {"days": str(days)}

    known = runner.BY_NAME
    return {name: replace(known[name], run=run, external=partial(external, known[name])) for name, run in runs.items()}


def _teacher(config: Config, folder: Path, artifacts: dict[str, Artifact], parent: Parent) -> dict[str, Any]:
    state = inputs.fitted(parent.artifacts["teacher"].folder / "model", config.teacher)
    return teacher.make(config, folder, artifacts, partial(follow, config.teacher, state, parent.data(config)))


def _distill(config: Config, folder: Path, artifacts: dict[str, Artifact], parent: Parent) -> dict[str, Any]:
    model = config.student.model
    old, data = parent.data(config), inputs.training_data(config, artifacts)
    own = inputs.run_of(config, data, folder, "student", "student.model")
    made = artifacts["teacher"]
    scorer = config.teacher.scorer(inputs.fitted(made.folder / "model", config.teacher))

    def learn(name: str) -> Any:
        state = inputs.fitted(parent.artifacts["distill"].folder / name, model)
        run = replace(own, name=name)
        if name != "student":
            return follow(model, state, old, data, run)
        return distillation.follow(scorer, config.student, state, old, data, run, origin=made.hash)

    return distill.make(model, folder, own, ("student", "control"), learn)


def _compress(config: Config, folder: Path, artifacts: dict[str, Artifact], parent: Parent) -> dict[str, Any]:
    data = inputs.training_data(config, {"prepare": artifacts["prepare"]})
    return compress.make(config, folder, artifacts, data, warm.recent(parent.data(config), data, config.seed))


def forgetting(parent: Parent) -> Stage:
    """A stage that asks the old test again, of the champion and of the challenger. The latter has learnt from it."""
    return Stage(
        name="forgetting",
        run=partial(_forgetting, parent=parent),
        needs=("prepare", "baselines", "compress"),
        keys=("seed", "data.length", "baselines", "compress.serve", "evaluate"),
        what="ask the champion's test again",
        external=parent.hashes,
        show=_show_forgetting,
    )


def _forgetting(config: Config, folder: Path, artifacts: dict[str, Artifact], parent: Parent) -> dict[str, Any]:
    old = replace(parent.data(config), items=artifacts["prepare"].metrics["items"])
    asked, select = inputs.requests_of(old, "test"), config.evaluate.select
    (name, champion), served = next(iter(named(config.baselines).items())), config.compress.serve
    model = inputs.variant_model(artifacts["compress"], served)
    scorers = {
        "champion": champion.scorer(inputs.fitted(artifacts["baselines"].folder / name, champion)),
        "challenger": model.scorer(inputs.fitted(artifacts["compress"].folder / served, model)),
    }
    ks = tuple({10, config.evaluate.select_cutoff(old.items)})
    means = {name: ranking.evaluate(scorer, asked, ks=ks).means[select] for name, scorer in scorers.items()}
    return {"metric": select, "users": len(asked.histories)} | means


def _show_forgetting(metrics: dict[str, Any], config: Config) -> list[str]:
    return [
        f"old test, {metrics['metric']}: champion {metrics['champion']:.4f}, challenger {metrics['challenger']:.4f} "
        f"({metrics['users']} users; the challenger has learnt from these events)"
    ]
