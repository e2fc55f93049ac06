"""The loop: epochs of steps, validation, early stopping on NDCG@10, resumable at every saved epoch."""

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from rexjax import processes
from rexjax.config import Training
from rexjax.data.batches import Batch
from rexjax.errors import UserError
from rexjax.models.recommender import Params, Recommender
from rexjax.progress import track
from rexjax.settings import as_dict
from rexjax.training import checkpoint, disk, log, state
from rexjax.training.catalogue import Catalogue, Constants, place
from rexjax.training.objectives import Objective
from rexjax.training.profile import Steps
from rexjax.training.step import make_step
from rexjax.training.stretch import Stretch, make_run, stretches

SAVE_SECONDS = 15.0
"""At most so much training is lost when a run is killed (plus the epoch under way)."""


class Task(NamedTuple):
    """What is learnt, apart from the hyper-parameters."""

    name: str
    """For logs and bars."""
    recommender: Recommender
    """The model."""
    objective: Objective
    """What is minimised."""
    epoch: Callable[[int], Iterable[tuple[Batch, Any]]]
    """Batches (and the teacher's lists for them, or None) of the epoch with this number: this process's rows."""
    validate: Callable[[Params], dict[str, float]]
    """Validation metrics of parameters on the host, among them ndcg@10."""
    catalogue: Catalogue
    """Constants, on the host."""
    start: Params | None = None
    """Parameters to go on from, on the host; what it leaves out, or all of them, are drawn by the seed."""


class Fitted(NamedTuple):
    """The result of training."""

    params: Params
    """The parameters with the best validation NDCG@10, on the host."""
    summary: dict[str, Any]
    """Best epoch, its NDCG@10, the curve."""


def fit(
    task: Task,
    config: Training,
    *,
    seed: int,
    mesh: jax.sharding.Mesh,
    folder: Path,
    wandb_project: str = "",
) -> Fitted:
    """Trains until the epochs or the patience are used up; goes on where a killed run of the same folder was.

    Args:
        task: model, objective, data.
        config: optimizer and stopping.
        seed: all randomness.
        mesh: where it runs.
        folder: checkpoints (removed at the end by the caller) and logs.
        wandb_project: log there too.
    """
    model, (items, text_width) = task.recommender, task.catalogue.text.shape
    table = model.table(items, config, task.objective.sparse, task.objective.features)
    step = make_step(task.objective, model, config, table, seed=seed, text_width=text_width, mesh=mesh)
    run_steps = Steps(make_run(step), task.name)
    constants = place(task.catalogue, table, mesh)
    current = state.create(model, config, table, seed=seed, text_width=text_width, mesh=mesh)
    current = state.with_params(current, task.start, table, mesh) if task.start else current
    if task.catalogue.scored is not None and "rows" not in (task.start or {}):
        current = state.with_rows_where(current, constants.real)
    abstract = state.abstract(model, config, table, text_width=text_width, mesh=mesh)
    about = abstract, table, mesh
    to_disk, from_disk = disk.writer(*about), disk.reader(*about)
    whole = jax.jit(lambda current: state.whole(current, table, mesh))

    def on_host(current: state.TrainState) -> Params:
        params = processes.gather(whole(current))
        return params | {"rows": params["rows"][:items]}

    best = on_host(current)
    progress = checkpoint.Progress(epoch=0, best_epoch=0, best=-1.0, curve=[])
    saved = time.monotonic()
    steps = None
    with (
        checkpoint.Run(folder / "checkpoints" / task.name) as run,
        _log(folder / "logs", task.name, wandb_project, config) as write,
    ):
        if found := run.restore(disk.like(*about), best):
            progress, current, best = found[0], from_disk(found[1]), found[2]
        while not _finished(progress, config):
            current, values, steps = _run_epoch(task, run_steps, current, constants, progress.epoch, steps, mesh)
            progress = progress._replace(epoch=progress.epoch + 1)
            if progress.epoch % config.validate_every == 0 or progress.epoch == config.epochs:
                candidate = on_host(current)
                values |= task.validate(candidate)
                if processes.everywhere(values["ndcg@10"] > progress.best):
                    best = candidate
                    progress = progress._replace(best=values["ndcg@10"], best_epoch=progress.epoch)
            values["goodput"] = run_steps.goodput()
            progress = progress._replace(curve=[*progress.curve, {"epoch": progress.epoch} | values])
            write(progress.epoch, values)
            if processes.everywhere(time.monotonic() - saved > SAVE_SECONDS):
                run.save(progress, to_disk(current), best)
                saved = time.monotonic()
    processes.wait(f"{task.name} trained")  # before anyone removes the checkpoints
    summary = {"epochs": progress.epoch, "best_epoch": progress.best_epoch, "valid_ndcg@10": progress.best}
    return Fitted(best, summary | {"goodput": run_steps.goodput(), "curve": progress.curve})


def _finished(progress: checkpoint.Progress, config: Training) -> bool:
    waited = progress.epoch - progress.best_epoch >= config.patience * config.validate_every
    return progress.epoch >= config.epochs or (progress.best_epoch > 0 and waited)


@contextlib.contextmanager
def _log(folder: Path, name: str, wandb_project: str, config: Training) -> Iterator[Callable[..., None]]:
    """``write(epoch, values)`` of the log that the first process keeps; the others write nothing."""
    if processes.first():
        with log.Log(folder, name, wandb_project=wandb_project, config=as_dict(config)) as writer:
            yield writer.write
    else:
        yield lambda epoch, values: None


def _run_epoch(
    task: Task,
    run: Steps,
    current: state.TrainState,
    constants: Constants,
    epoch: int,
    steps: int | None,
    mesh: jax.sharding.Mesh,
) -> tuple[state.TrainState, dict[str, float], int]:
    """One pass over the data; ``steps``, the number of steps of the epoch before, is only for the bar."""
    started, targets, found = time.monotonic(), 0.0, []

    def done() -> Iterator[tuple[Stretch, dict[str, jax.Array]]]:
        """While one stretch is with the devices the next one is made, and no more wait: on emulated CPU devices a long
        queue of collectives can block for ever (XLA then aborts the process)."""
        nonlocal current
        under_way = None
        for part in stretches(task.epoch(epoch), mesh):
            if under_way:
                yield under_way
            current, metrics = run(current, part.placed, len(part.steps), constants)
            under_way = part, metrics
        if under_way:
            yield under_way

    size = lambda pair: len(pair[0].steps)  # noqa: E731
    for part, metrics in track(done(), f"{task.name}, epoch {epoch + 1}", steps, size=size):
        metrics = {key: np.asarray(value)[: len(part.steps)] for key, value in run.fetch(metrics).items()}
        _refuse_nan(task.name, epoch, sum(len(m["loss"]) for m in found), part, metrics["loss"])
        found.append(metrics)
        targets += part.targets
    if not found:
        raise UserError("no history has anything to predict in its training part: see --data.split and --data.targets")
    jax.block_until_ready(current)
    values = {name: np.concatenate([metrics[name] for metrics in found]) for name in found[0]}
    means = {name: float(value.mean()) for name, value in values.items()}
    seconds, targets = time.monotonic() - started, processes.mean(targets)
    return current, means | {"seconds": seconds, "targets_per_second": targets / seconds}, len(values["loss"])


def _refuse_nan(name: str, epoch: int, before: int, part: Stretch, losses: np.ndarray) -> None:
    """``losses`` [M] are those of a stretch that follows ``before`` steps of its epoch."""
    if not np.isnan(losses).any():
        return
    step = int(np.isnan(losses).argmax())
    items = part.steps[step][0].items
    first = ", ".join(map(str, items[items >= 0][:8]))
    raise UserError(
        f"the loss of {name} became NaN in step {before + step + 1} of epoch {epoch + 1}, whose batch begins with the "
        f"items {first} (dense ids): lower its learning rate (the last checkpoint is kept, and the run goes on there)"
    )
