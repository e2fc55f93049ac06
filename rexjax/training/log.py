"""Training logs: JSONL and TensorBoard always, Weights & Biases on request."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from rexjax.errors import needs_extra


class Log:
    """Writes scalars by epoch to ``FOLDER/NAME.jsonl``, TensorBoard events in ``FOLDER/tensorboard/NAME`` and wandb."""

    def __init__(self, folder: Path, name: str, *, wandb_project: str = "", config: dict[str, Any] | None = None):
        with needs_extra("logs"):
            from tensorboardX import SummaryWriter
        self._wandb = _wandb_run(wandb_project, name, config) if wandb_project else None  # may fail: before any file
        folder.mkdir(parents=True, exist_ok=True)
        self._lines = (folder / f"{name}.jsonl").open("a")
        self._board = SummaryWriter(str(folder / "tensorboard" / name))

    def write(self, epoch: int, values: dict[str, float]) -> None:
        """One line for ``epoch``."""
        self._lines.write(json.dumps({"epoch": epoch} | values) + "\n")
        self._lines.flush()
        for name, value in values.items():
            self._board.add_scalar(name, value, epoch)
        if self._wandb:
            self._wandb.log(values, step=epoch)

    def __enter__(self) -> "Log":
        return self

    def __exit__(self, kind: type | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._lines.close()
        self._board.close()
        if self._wandb:
            self._wandb.finish(exit_code=0 if kind is None else 1)


def _wandb_run(project: str, name: str, config: dict[str, Any] | None) -> Any:
    with needs_extra("wandb"):
        import wandb
    return wandb.init(project=project, name=name, config=config, reinit="finish_previous")


def epoch_line(name: str, epoch: int, epochs: int, values: Mapping[str, float], select: str, best_epoch: int) -> str:
    """What an epoch came to, for people.

    Args:
        name: of the model.
        epoch: its number, from 1.
        epochs: how many there are, at most.
        values: "loss", and the metric ``select`` where the epoch was validated.
        select: the metric that epochs are chosen by.
        best_epoch: the best one so far.
    """
    line = f"{name}, epoch {epoch} of at most {epochs}: loss {values['loss']:.4f}"
    if select not in values:
        return line
    best = ", the best so far" if best_epoch == epoch else ""
    return f"{line}, validation {select} {values[select]:.4f}{best}"
