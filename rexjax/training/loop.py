"""The loop: epochs of steps, validation, early stopping on a validation metric; a run that was cut off goes on."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from rexjax.artifacts.classes import as_dict
from rexjax.data.batches import Batch
from rexjax.embedding.table import Table
from rexjax.errors import UserError
from rexjax.models.recommender import Params, Recommender
from rexjax.runtime import preemption, processes
from rexjax.runtime.progress import notice, track
from rexjax.training import checkpoint, checkpoint_layout, log, state
from rexjax.training.catalogue import Catalogue, Constants, place
from rexjax.training.epoch_metrics import UnderWay
from rexjax.training.multi_step import Stretch, make_run, stretches
from rexjax.training.objectives import Objective
from rexjax.training.profile import Steps
from rexjax.training.save_policy import Saver
from rexjax.training.settings import SELECT, Training
from rexjax.training.step import make_step


class Task(NamedTuple):
    """What is learnt, apart from the hyper-parameters."""

    name: str
    """For logs and bars."""
    recommender: Recommender
    """The model."""
    objective: Objective
    """What is minimised."""
    epoch: Callable[[int, int], Iterable[tuple[Batch, Any]]]
    """Batches (and the teacher's lists for them, or None) of the epoch with this number, without the first so many:
    this process's rows."""
    validate: Callable[[Params], dict[str, float]]
    """Validation metrics of parameters on the host."""
    catalogue: Catalogue
    """Constants, on the host."""
    start: Params | None = None
    """Parameters to go on from, on the host; what it leaves out, or all of them, are drawn by the seed."""
    select: str = SELECT
    """The validation metric that the best epoch is chosen by."""


class Fitted(NamedTuple):
    """The result of training."""

    params: Params
    """The parameters of the epoch that is best on validation, on the host."""
    summary: dict[str, Any]
    """Epochs, the best one, its validation metric, the curve."""


def train(
    task: Task,
    config: Training,
    *,
    seed: int,
    mesh: jax.sharding.Mesh,
    folder: Path,
    wandb_project: str = "",
    save_every: int = 0,
) -> Fitted:
    """Trains until the epochs or the patience are used up; goes on where a run of the same folder was saved.

    Args:
        task: model, objective, data.
        config: optimizer and stopping.
        seed: all randomness.
        mesh: where it runs.
        folder: checkpoints (removed at the end by the caller) and logs.
        wandb_project: log there too.
        save_every: steps between two saves; 0: by time.

    Raises:
        Preempted: the run was asked to stop and is saved.
    """
    model, (items, text_width) = task.recommender, task.catalogue.text.shape
    table = state.item_table(model, items, config, task.objective.sparse, task.objective.features)
    step = make_step(task.objective, model, config, table, seed=seed, text_width=text_width, mesh=mesh)
    run_steps = Steps(make_run(step), task.name)
    constants = place(task.catalogue, table, mesh)
    current = _first_state(task, config, table, constants, seed, mesh)
    about = state.abstract(model, config, table, text_width=text_width, mesh=mesh), table, mesh
    to_disk, from_disk = checkpoint_layout.writer(*about), checkpoint_layout.reader(*about)
    on_host = _to_host(table, mesh, items)
    best = on_host(current)
    progress = checkpoint.Progress(epoch=0, best_epoch=0, best=-1.0, curve=[])
    steps = None
    with (
        preemption.held(),
        checkpoint.Run(folder / "checkpoints" / task.name) as run,
        _log(folder / "logs", task.name, wandb_project, config) as write,
    ):
        if found := run.restore(checkpoint_layout.like(*about), best):
            progress, current, best = found[0], from_disk(found[1]), found[2]
        saver, done = Saver(run, save_every), None

        def save() -> None:
            run.save(progress._replace(under_way=done.saved() if done else None), to_disk(current), best)

        while not _finished(progress, config):
            done = UnderWay(progress.under_way)
            trained = _train(task, run_steps, current, constants, progress.epoch, done, mesh)
            bar = f"{task.name}, epoch {progress.epoch + 1}"
            for current, count in track(trained, bar, steps, size=lambda pair: pair[1]):  # noqa: B007
                saver.look(count, save)
            values, steps, done = _means(done), done.steps, None
            progress = progress._replace(epoch=progress.epoch + 1, under_way=None)
            if progress.epoch % config.validate_every == 0 or progress.epoch == config.epochs:
                candidate = on_host(current)
                values |= task.validate(candidate)
                if processes.everywhere(values[task.select] > progress.best):
                    best = candidate
                    progress = progress._replace(best=values[task.select], best_epoch=progress.epoch)
            values["goodput"] = run_steps.goodput()
            progress = progress._replace(curve=[*progress.curve, {"epoch": progress.epoch} | values])
            write(progress.epoch, values)
            notice(log.epoch_line(task.name, progress.epoch, config.epochs, values, task.select, progress.best_epoch))
            saver.look(0, save)
    processes.wait(f"{task.name} trained")  # before anyone removes the checkpoints
    summary = {"epochs": progress.epoch, "best_epoch": progress.best_epoch, f"valid_{task.select}": progress.best}
    summary |= {"most_epochs": config.epochs, "steps": steps, "warmup": config.warmup}
    return Fitted(best, summary | {"goodput": run_steps.goodput(), "curve": progress.curve})


def _to_host(table: Table, mesh: jax.sharding.Mesh, items: int) -> Callable[[state.TrainState], Params]:
    """A compiled function: whole parameters on every host, rows by item id."""
    whole = jax.jit(lambda current: state.whole(current, table, mesh))

    def on_host(current: state.TrainState) -> Params:
        params = processes.gather(whole(current))
        return params | {"rows": params["rows"][:items]}

    return on_host


def _first_state(
    task: Task, config: Training, table: Table, constants: Constants, seed: int, mesh: jax.sharding.Mesh
) -> state.TrainState:
    text_width = task.catalogue.text.shape[1]
    current = state.create(task.recommender, config, table, seed=seed, text_width=text_width, mesh=mesh)
    current = state.with_params(current, task.start, table, mesh) if task.start else current
    if task.catalogue.scored is not None and "rows" not in (task.start or {}):
        current = state.with_rows_where(current, constants.real)
    return current


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


def _train(
    task: Task,
    run: Steps,
    current: state.TrainState,
    constants: Constants,
    epoch: int,
    done: UnderWay,
    mesh: jax.sharding.Mesh,
) -> Iterator[tuple[state.TrainState, int]]:
    """The state after each stretch of the rest of an epoch, and the stretch's number of steps; ``done`` counts them.

    While one stretch is with the devices the next one is made, and no more wait: on emulated CPU devices a long queue
    of collectives can block for ever (XLA then aborts the process).
    """
    parts = stretches(task.epoch(epoch, done.steps), mesh)
    part = next(parts, None)
    while part:
        current, metrics = run(current, part.placed, len(part.steps), constants)
        following = next(parts, None)
        metrics = {key: np.asarray(value)[: len(part.steps)] for key, value in run.fetch(metrics).items()}
        _refuse_nan(task.name, epoch, done.steps, part, metrics["loss"])
        done.add(metrics, part.targets)
        yield current, len(part.steps)
        part = following


def _means(done: UnderWay) -> dict[str, float]:
    if not done.steps:
        raise UserError("no history has anything to predict in its training part: see --data.split and --data.targets")
    return done.means()


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
