"""Tables that lie in one piece, bags combined in loops, and optimizers that touch every row in every step."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from rexjax.embedding.bags import Feature


def distinct(ids: np.ndarray, beyond: int) -> list[int]:
    """The ids of [0, beyond) that occur, rising."""
    return sorted({int(i) for i in ids if 0 <= i < beyond})


def rows_of(table: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Rows [..., D] of a whole table [V, D], zeros for -1."""
    found = [table[i] if i >= 0 else np.zeros(table.shape[1]) for i in np.ravel(ids)]
    return np.asarray(found).reshape(*np.shape(ids), table.shape[1])


def with_rows(array: np.ndarray, rows: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The array with some rows replaced, one after another; rows beyond it are dropped."""
    changed = np.array(array)
    for row, value in zip(rows, values, strict=True):
        if row < len(changed):
            changed[row] = value
    return changed


def combine(rows: np.ndarray, ids: np.ndarray, combiner: str, weights: np.ndarray | None = None) -> np.ndarray:
    """Bags [B, D] of rows [B, K, D], where ids [B, K] are not -1; bag by bag."""
    weights = np.ones(ids.shape) if weights is None else weights
    bags = []
    for vectors, own, row in zip(rows, ids, weights, strict=True):
        real = own >= 0
        total = sum((w * vector for w, vector in zip(row[real], vectors[real], strict=True)), np.zeros(rows.shape[2]))
        size = {"sum": 1, "mean": row[real].sum(), "sqrtn": np.sqrt((row[real] ** 2).sum())}[combiner]
        bags.append(total / size if real.any() else np.zeros(rows.shape[2]))
    return np.stack(bags)


def feature_vectors(
    table: jax.Array, features: tuple[Feature, ...], ids: Mapping[str, np.ndarray], weights: Mapping[str, np.ndarray]
) -> dict[str, jax.Array]:
    """Each feature's vectors from the whole table [V, D]; in JAX, so that its gradient is that of the definition."""
    found = {}
    for feature in features:
        if feature.name not in ids:
            continue
        own = ids[feature.name]
        vectors = jnp.where((own >= 0)[..., None], table[own], 0)
        if feature.combiner:
            weight = np.where(own >= 0, weights.get(feature.name, np.ones(own.shape, np.float32)), 0)
            total = jnp.sum(weight[..., None] * vectors, 1)
            sizes = {"sum": np.ones(len(own)), "mean": weight.sum(1), "sqrtn": np.sqrt((weight**2).sum(1))}
            vectors = total / np.where(sizes[feature.combiner] == 0, 1, sizes[feature.combiner])[:, None]
        found[feature.name] = vectors
    return found


def initial_slots(name: str, rows: jax.Array, rate: float) -> Any:
    """The dense state of a rule before its first step."""
    if "adam" in name:
        return optax.adam(rate).init(rows)
    return jnp.zeros(rows.shape if name == "adagrad" else len(rows))


def dense_step(
    name: str, rows: jax.Array, slots: Any, gradient: jax.Array, touched: np.ndarray, rate: float
) -> tuple[jax.Array, Any]:
    """Rows [V, D] and slots after one step with a dense gradient [V, D]; lazy Adam moves ``touched`` [V, 1] alone."""
    if name == "sgd":
        return rows - rate * gradient, slots
    if name == "adagrad":
        slots = slots + gradient**2
        return rows - rate * gradient / (jnp.sqrt(slots) + 1e-10), slots
    if name == "row_wise_adagrad":
        slots = slots + jnp.mean(gradient**2, 1)
        return rows - rate * gradient / (jnp.sqrt(slots) + 1e-8)[:, None], slots
    moves, new = optax.adam(rate).update(gradient, slots)
    if name == "lazy_adam":
        moves = jnp.where(touched, moves, 0)
        new = jax.tree.map(lambda new, old: jnp.where(touched, new, old) if np.ndim(new) else new, new, slots)
    return rows + moves, new


def summed_gradients(gradients: np.ndarray, ids: np.ndarray, rows: int) -> np.ndarray:
    """The dense gradient [V, D] of occurrences [n, D] of ids [n]."""
    total = np.zeros((rows, gradients.shape[1]))
    for i, gradient in zip(ids, gradients, strict=True):
        if i >= 0:
            total[i] += gradient
    return total


def to_physical(logical: np.ndarray, shards: int, rubbish: float = -7) -> np.ndarray:
    """Rows [V, …] as they lie on a mesh, one by one: row r on shard r mod S, at place r div S; ``rubbish`` pads."""
    shard = -(-len(logical) // shards)
    padded = np.full((shard * shards, *logical.shape[1:]), rubbish, logical.dtype)
    for row, values in enumerate(logical):
        padded[row % shards * shard + row // shards] = values
    return padded


def to_logical(physical: np.ndarray, shards: int) -> np.ndarray:
    """All rows [P, …] in the order of ids, one by one."""
    shard = len(physical) // shards
    return np.stack([physical[row % shards * shard + row // shards] for row in range(len(physical))])


def bfloat16_neighbours(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of finite float32 x: the neighbours with 8 bits of mantissa towards and away from zero, and P(away)."""
    mantissa, exponent = np.frexp(np.abs(x).astype(np.float64))
    whole = np.floor(mantissa * 256)
    low, high = (np.ldexp(number / 256, exponent) * np.sign(x) for number in (whole, whole + 1))
    return low, high, mantissa * 256 - whole
