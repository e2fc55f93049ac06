"""A stretch: many steps as one compiled program, with no Python between them."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from rexjax.data.batches import Batch
from rexjax.runtime.mesh import place_batches

STEPS = 16
"""Of one stretch, at most: few enough for a bar that moves, and the host needs no time of its own between two."""
BYTES = 1 << 26
"""Batches of one stretch together, on this process, at most."""


class Stretch(NamedTuple):
    """Some steps' batches."""

    steps: list[tuple[Batch, Any]]
    """On the host: this process's rows of each batch, and lists."""
    placed: Any
    """On the devices: the same as [M, B, …], M for all stretches alike, padded."""

    @property
    def targets(self) -> float:
        """Labels in all batches, if the other processes have as many as this one."""
        size = self.placed[0].labels[0].size
        return size * sum(float((batch.labels >= 0).mean()) for batch, _ in self.steps)


def stretches(steps: Iterable[tuple[Batch, Any]], mesh: Mesh) -> Iterator[Stretch]:
    """Cuts the steps of an epoch into stretches."""
    gathered: list[tuple[Batch, Any]] = []
    size = 0
    for step in steps:
        size = size or min(STEPS, max(1, BYTES // sum(np.asarray(x).nbytes for x in jax.tree.leaves(step))))
        gathered.append(step)
        if len(gathered) == size:
            yield Stretch(gathered, _place(gathered, size, mesh))
            gathered = []
    if gathered:
        yield Stretch(gathered, _place(gathered, size, mesh))


def _place(steps: list[tuple[Batch, Any]], size: int, mesh: Mesh) -> Any:
    def stack(*arrays: Any) -> np.ndarray:
        whole = np.zeros((size, *np.shape(arrays[0])), np.asarray(arrays[0]).dtype)
        whole[: len(arrays)] = arrays
        return whole

    return place_batches(jax.tree.map(stack, *steps), mesh)


def make_run(step: Callable[..., Any]) -> Callable[..., Any]:
    """Jits ``(state, batches, count, constants) -> (state, metrics [M])`` from one step; the state is donated."""

    def run(state: Any, batches: Any, count: jax.Array, constants: Any) -> tuple[Any, dict[str, jax.Array]]:
        def at(n):
            return jax.tree.map(lambda x: jax.lax.dynamic_index_in_dim(x, n, keepdims=False), batches)

        size = len(jax.tree.leaves(batches)[0])
        shapes = jax.eval_shape(step, state, *at(0), constants)[1]
        found = jax.tree.map(lambda x: jnp.zeros((size, *x.shape), x.dtype), shapes)

        def one(n: jax.Array, carry: tuple[Any, Any]) -> tuple[Any, Any]:
            state, found = carry
            state, metrics = step(state, *at(n), constants)
            return state, jax.tree.map(lambda all, x: all.at[n].set(x), found, metrics)

        return jax.lax.fori_loop(0, count, one, (state, found))

    return jax.jit(run, donate_argnums=0)
