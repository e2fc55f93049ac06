"""Checkpoints (Orbax): a training run's whole state, and finished parameters; damaged ones are named."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from flax import traverse_util

from rexjax import processes
from rexjax.artifacts import arrays_digest
from rexjax.errors import UserError


class Progress(NamedTuple):
    """Where a run stands, beside its arrays."""

    epoch: int
    """Epochs finished."""
    best_epoch: int
    """Epochs finished when the best parameters were seen; 0: none yet."""
    best: float
    """Their validation NDCG@10."""
    curve: list[dict[str, float]]
    """One entry an epoch."""


class Run:
    """The checkpoints of one training run, by epoch: state and best parameters so far; the newest two are kept."""

    def __init__(self, folder: Path):
        options = ocp.CheckpointManagerOptions(max_to_keep=2, create=True)
        self._manager = ocp.CheckpointManager(folder.absolute(), options=options)

    def save(self, progress: Progress, state: Any, best: Any) -> None:
        """Saves after ``progress.epoch`` epochs; returns once the arrays are copied."""
        self._manager.save(
            progress.epoch,
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(state),
                best=ocp.args.StandardSave(best),
                progress=ocp.args.JsonSave(progress._asdict() | {"shapes": shapes_of(state)}),
            ),
        )

    def restore(self, like: Callable[[dict[str, list[int]]], Any], best: Any) -> tuple[Progress, Any, Any] | None:
        """The newest checkpoint that can be read, on the shardings of abstract trees; else None.

        Args:
            like: the shapes that were saved, by path → the abstract state to read; an array there that is longer than
                the saved one gets zeros behind. Its ``UserError`` says what is wrong with the shapes.
            best: abstract.

        Raises:
            UserError: the checkpoint is of a model with other shapes.
        """
        for epoch in sorted(self._manager.all_steps(), reverse=True):
            try:
                about = self._manager.restore(epoch, args=ocp.args.Composite(progress=ocp.args.JsonRestore()))
                progress = dict(about["progress"])
                args = ocp.args.Composite(
                    state=ocp.args.StandardRestore(like(progress.pop("shapes")), strict=False),
                    best=ocp.args.StandardRestore(best),
                )
                found = self._manager.restore(epoch, args=args)
            except UserError as error:
                raise UserError(
                    f"checkpoint {self._manager.directory}/{epoch} {error}: restore the config it was made with, or "
                    "take another workdir"
                ) from None
            except Exception:  # Orbax and TensorStore raise many kinds for a damaged file: fall back to the one before
                found = None
            if processes.everywhere(found is not None):
                return Progress(**progress), found["state"], found["best"]
            self._manager.delete(epoch)
        return None

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, *_: object) -> None:
        """Waits until what was saved is on disk, also when training ends by an error or Ctrl-C."""
        self._manager.close()


def save_tree(folder: Path, tree: Any) -> str:
    """Writes ``tree`` (whole on each process; the first one writes) as an Orbax checkpoint and returns its digest."""
    if processes.first():
        with _alone() as checkpointer:
            checkpointer.save(folder.absolute(), jax.tree.map(np.asarray, tree), force=True)
    return tree_digest(tree)


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
