"""The epoch under way: what its steps have found so far, in a form that a checkpoint keeps."""

import time
from typing import Any

import numpy as np

from rexjax.runtime import processes


class UnderWay:
    """The steps of an epoch that are done: their metrics, which the epoch's means are made from, and their number."""

    def __init__(self, saved: dict[str, Any] | None = None):
        saved = saved or {"metrics": {}, "targets": 0.0, "seconds": 0.0}
        self._found = {name: [np.array(values, dtype)] for name, (dtype, values) in saved["metrics"].items()}
        self.steps = len(self._found["loss"][0]) if self._found else 0
        """How many are done."""
        self._targets, self._before, self._started = saved["targets"], saved["seconds"], time.monotonic()

    @property
    def seconds(self) -> float:
        """Spent on them, also by runs that were cut off."""
        return self._before + time.monotonic() - self._started

    def add(self, metrics: dict[str, np.ndarray], targets: float) -> None:
        """Counts steps with ``metrics``, each [M], and so many labels on this process."""
        for name, values in metrics.items():
            self._found.setdefault(name, []).append(values)
        self.steps += len(metrics["loss"])
        self._targets += targets

    def saved(self) -> dict[str, Any]:
        """For a checkpoint, as JSON values that come back bit for bit."""
        whole = {name: np.concatenate(parts) for name, parts in self._found.items()}
        metrics = {name: [str(values.dtype), values.tolist()] for name, values in whole.items()}
        return {"metrics": metrics, "targets": self._targets, "seconds": self.seconds}

    def means(self) -> dict[str, float]:
        """Of each metric over all steps, and the pace."""
        means = {name: float(np.concatenate(parts).mean()) for name, parts in self._found.items()}
        seconds, targets = self.seconds, processes.mean(self._targets)
        return means | {"seconds": seconds, "targets_per_second": targets / seconds}
