"""A model in an exported folder that is only there to be compared with the one that answers: teacher, student."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import safetensors.numpy

MOST = 20
"""Answers that it gives at most."""


class Compared:
    """Answers one history at a time."""

    def __init__(self, name: str, size: int, weights: bytes, program: Callable[..., Any]) -> None:
        """Reads ``weights``.

        Args:
            name: of the model.
            size: bytes that must be resident for it to answer.
            weights: the content of ``NAME.safetensors``.
            program: (weights, histories int32 [1, L], exclude int32 [1, L]) → scores and ids [1, K], K ≤ ``MOST``.
        """
        self.name, self.bytes_resident, self._program = name, size, program
        self._weights = jax.device_put(safetensors.numpy.load(weights))

    def answer(self, history: np.ndarray, k: int) -> tuple[list[int], list[float]]:
        """Dense ids and scores of the k best items after a history int32 [1, L], which is not answered itself."""
        scores, ids = (np.asarray(found)[0, :k] for found in self._program(self._weights, history, history))
        left = np.isfinite(scores)
        return ids[left].tolist(), scores[left].tolist()
