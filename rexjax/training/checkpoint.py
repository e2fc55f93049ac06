"""Checkpoints (Orbax): a training run's whole state, and finished parameters; damaged ones are named."""

import contextlib
import logging
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from flax import traverse_util

from rexjax.artifacts.hashing import arrays_digest
from rexjax.errors import UserError
from rexjax.runtime import processes
from rexjax.runtime.preemption import Preempted
from rexjax.runtime.progress import notice
from rexjax.training import checksums


class Progress(NamedTuple):
    """Where a run stands, beside its arrays."""

    epoch: int
    """Epochs finished."""
    best_epoch: int
    """Epochs finished when the best parameters were seen; 0: none yet."""
    best: float
    """Their validation metric."""
    curve: list[dict[str, float]]
    """One entry an epoch."""
    under_way: dict[str, Any] | None = None
    """What the epoch after those has found so far (``rexjax.training.epoch_metrics``); None: it has not begun."""


class Run:
    """The checkpoints of one training run, numbered: state and best parameters so far; the newest two are kept."""

    def __init__(self, folder: Path):
        self._folder = folder.absolute()
        options = ocp.CheckpointManagerOptions(
            max_to_keep=2,
            create=True,
            async_options=ocp.options.AsyncOptions(post_finalization_callback=self._write_sums),
        )
        _remove_unfinished(self._folder, "*")  # Orbax would do it in a thread that lives on when the run is closed
        # Orbax logs an error of its threads with a page of tracebacks for each thread that passes it on
        logging.getLogger("absl").setLevel(logging.CRITICAL)
        self._manager = ocp.CheckpointManager(self._folder, options=options)
        self._complete: int | None = None

    def save(self, progress: Progress, state: Any, best: Any) -> None:
        """Saves; returns once the arrays are copied, and writes them meanwhile.

        Raises:
            UserError: this one or the one before cannot be written.
        """
        with self._told():
            self._manager.save(
                (self._manager.latest_step() or 0) + 1,
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(state),
                    best=ocp.args.StandardSave(best),
                    progress=ocp.args.JsonSave(progress._asdict() | {"shapes": shapes_of(state)}),
                ),
                force=True,  # also while the one before is being written
            )

    def check(self) -> None:
        """Raises ``UserError`` if what was being written has failed; does not wait."""
        if not self._manager.is_saving_in_progress():
            with self._told():
                self._finish()

    def _finish(self) -> None:
        self._manager.wait_until_finished()
        newest = self._manager.latest_step()
        if processes.first() and newest and newest != self._complete:  # this is called after each stretch of steps
            checksums.complete(self._folder / str(newest))
            self._complete = newest

    def restore(self, like: Callable[[dict[str, list[int]]], Any], best: Any) -> tuple[Progress, Any, Any] | None:
        """The newest checkpoint that is whole, on the shardings of abstract trees; else None. Newer ones are named and
        removed.

        Args:
            like: the shapes that were saved, by path → the abstract state to read; an array there that is longer than
                the saved one gets zeros behind. Its ``UserError`` says what is wrong with the shapes.
            best: abstract.

        Raises:
            UserError: the checkpoint is of a model with other shapes.
        """
        for number in sorted(self._manager.all_steps(), reverse=True):
            damage = checksums.damage(self._folder / str(number)) if processes.first() else ""
            found = None
            if processes.everywhere(not damage):
                found, damage = self._read(number, like, best)
                if processes.everywhere(found is not None):
                    return found
            notice(f"checkpoint {self._folder}/{number} is damaged and skipped: {damage or 'another process says so'}")
            self._manager.delete(number)
        return None

    def _read(
        self, number: int, like: Callable[[dict[str, list[int]]], Any], best: Any
    ) -> tuple[tuple[Progress, Any, Any] | None, str]:
        """What it holds, or why it cannot be read."""
        try:
            about = self._manager.restore(number, args=ocp.args.Composite(progress=ocp.args.JsonRestore()))
            progress = dict(about["progress"])
            args = ocp.args.Composite(
                state=ocp.args.StandardRestore(like(progress.pop("shapes")), strict=False),
                best=ocp.args.StandardRestore(best),
            )
            found = self._manager.restore(number, args=args)
            return (Progress(**progress), found["state"], found["best"]), ""
        except UserError as error:
            raise UserError(
                f"checkpoint {self._folder}/{number} {error}: restore the config it was made with, or take another "
                "workdir"
            ) from None
        except Exception as error:  # Orbax and TensorStore raise many kinds
            return None, _first_line(error)

    def _write_sums(self) -> None:
        """Called in Orbax's thread when all is written and nothing has its final name."""
        if processes.first():
            for folder in self._folder.glob("*.orbax-checkpoint-tmp"):
                checksums.write(folder)

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # Orbax and TensorStore raise many kinds, most of them in their threads
            raise UserError(
                f"no checkpoint could be written to {self._folder} ({_first_line(error)}): mend that (make room, if "
                "the disk is full), and the same command goes on from the last good one"
            ) from error

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Waits until what was saved is on disk, also when training ends by an error or Ctrl-C."""
        if kind is None or issubclass(kind, Preempted):
            with self._told():
                self._finish()
                self._manager.close()
        else:
            with contextlib.suppress(Exception):  # what ended the training says more
                self._manager.close()


def _first_line(error: BaseException) -> str:
    """Of what ``error`` says; of TensorStore's chains of reasons the last, which is the cause."""
    line = (str(error).splitlines() or [type(error).__name__])[0]
    return line if len(line) < 200 else line.rsplit(": ", 1)[-1]


def save_tree(folder: Path, tree: Any) -> str:
    """Writes ``tree`` (whole on each process; the first one writes) as an Orbax checkpoint and returns its digest."""
    if processes.first():
        _remove_unfinished(folder.parent, folder.name)  # it would count as a part of the artifact
        with _alone() as checkpointer:
            checkpointer.save(folder.absolute(), jax.tree.map(np.asarray, tree), force=True)
    return tree_digest(tree)


def _remove_unfinished(folder: Path, name: str) -> None:
    """What a killed run has left there of a checkpoint ``name`` (a glob)."""
    if processes.first():
        for left in folder.glob(f"{name}.orbax-checkpoint-tmp*"):
            _remove(left)


def _remove(folder: Path) -> None:
    """Also where threads of a save that has failed in this process go on writing for a while."""
    for tries_left in reversed(range(50)):
        shutil.rmtree(folder, ignore_errors=tries_left > 0)
        if not folder.exists():
            return
        time.sleep(0.1)


def restore_tree(folder: Path, like: Any = None) -> Any:
    """Reads what ``save_tree`` wrote; ``like`` gives shapes, dtypes and shardings (restoring onto fewer devices needs
    them: orbax#648), without it everything comes as NumPy arrays. Each process reads for itself."""
    with _alone() as checkpointer:
        try:
            if like is not None:
                return checkpointer.restore(folder.absolute(), like)
            described = checkpointer.metadata(folder.absolute()).item_metadata
            if described is None:
                raise ValueError("its metadata is missing or damaged")
            like = jax.tree.map(lambda leaf: np.empty(leaf.shape, leaf.dtype), described.tree)
            return checkpointer.restore(folder.absolute(), like)
        except (ValueError, FileNotFoundError, KeyError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(
                f"{folder} cannot be restored ({reason}): run `rexjax {folder.parent.name} CONFIG` again"
            ) from error


def _alone() -> ocp.StandardCheckpointer:
    """A checkpointer that waits for no other process."""
    index = jax.process_index()
    options = ocp.options.MultiprocessingOptions(
        primary_host=index, active_processes={index}, barrier_sync_key_prefix=f"process{index}"
    )
    return ocp.StandardCheckpointer(multiprocessing_options=options)


def shapes_of(tree: Any) -> dict[str, list[int]]:
    """Shapes of all leaves, by path."""
    return {jax.tree_util.keystr(path): list(leaf.shape) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def tree_digest(tree: Any) -> str:
    """SHA-256 over names, shapes, dtypes and values of all leaves."""
    return arrays_digest({name: np.asarray(leaf) for name, leaf in traverse_util.flatten_dict(tree, sep="/").items()})
