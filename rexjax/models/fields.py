"""The named arrays that a ranker reads, and how one table holds the rows of all of them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rexjax.errors import UserError

Arrays = Mapping[str, Any]
"""Ids int32 [B], bags int32 [B, K] (-1 pads), their weights float32 [B, K], and numbers float32 [B], by name."""


class Field(NamedTuple):
    """A named array of ids."""

    name: str
    rows: int
    """Its ids are 0 … rows - 1; 0 is the value that is not known, and larger ids count as it. -1 has no vector."""
    shares: str = ""
    """The field whose rows it reads; "": it has its own."""
    weights: str = ""
    """The array float32 [B, K] that weighs a bag; "": a bag is the mean of its rows."""


class Slots(NamedTuple):
    """What a batch looks up in a table."""

    ids: jax.Array
    """int32 [B, S], -1 is padding."""
    weights: jax.Array
    """float32 [B, S], what each row is multiplied by."""


@dataclass(frozen=True)
class Fields:
    """Which arrays a ranker reads. Hashable, so that it may be a static argument of a jitted function.

    >>> import numpy as np
    >>> fields = Fields((Field("user", 10), Field("seen", 5)), ("price",))
    >>> arrays = {"user": np.asarray([3]), "seen": np.asarray([[1, 4, -1]]), "price": np.asarray([0.5], np.float32)}
    >>> slots = fields.slots(arrays)
    >>> slots.ids.tolist(), slots.weights.tolist()
    ([[3, 11, 14, -1, 15]], [[1.0, 0.5, 0.5, 0.0, 0.5]])
    """

    ids: tuple[Field, ...]
    numeric: tuple[str, ...] = ()
    """Numbers, about standard normal; each has a row of its own, which it multiplies."""

    def __post_init__(self) -> None:
        names = [field.name for field in self.ids]
        for field in self.ids:
            if field.rows < 1:
                raise UserError(f"the field {field.name} has {field.rows} values: give it at least one")
            if field.shares and field.shares not in names:
                raise UserError(f"the field {field.name} shares rows of {field.shares}: there are {', '.join(names)}")

    @property
    def count(self) -> int:
        """F, vectors of an example."""
        return len(self.ids) + len(self.numeric)

    @property
    def rows(self) -> int:
        """V of the one table."""
        return sum(field.rows for field in self.ids if not field.shares) + len(self.numeric)

    def offsets(self) -> dict[str, int]:
        """The first row of each field and number."""
        found, start = {}, 0
        for field in self.ids:
            if not field.shares:
                found[field.name] = start
                start += field.rows
        found |= {field.name: found[field.shares] for field in self.ids if field.shares}
        return found | {name: start + place for place, name in enumerate(self.numeric)}

    def slots(self, arrays: Arrays) -> Slots:
        """The rows of all fields and numbers of a batch, side by side, with their weights.

        Raises:
            UserError: an array is missing.
        """
        self.check(arrays)
        offsets, ids, weights = self.offsets(), [], []
        for field in self.ids:
            values = _in_columns(arrays[field.name])
            known = jnp.where(values < field.rows, values, 0)
            ids.append(jnp.where(values >= 0, known + offsets[field.name], -1))
            weights.append(_shares(values, arrays[field.weights] if field.weights else None))
        for name in self.numeric:
            number = jnp.asarray(arrays[name], jnp.float32)[:, None]
            ids.append(jnp.full(number.shape, offsets[name], jnp.int32))
            weights.append(number)
        return Slots(jnp.concatenate(ids, 1).astype(jnp.int32), jnp.concatenate(weights, 1))

    def widths(self, arrays: Arrays) -> tuple[int, ...]:
        """How many slots each field and number has: F numbers."""
        of_ids = [_in_columns(arrays[field.name]).shape[1] for field in self.ids]
        return (*of_ids, *(1 for _ in self.numeric))

    def numbers(self, arrays: Arrays) -> jax.Array:
        """float32 [B, M]."""
        batch = len(jnp.asarray(arrays[self.ids[0].name]))
        columns = [jnp.asarray(arrays[name], jnp.float32)[:, None] for name in self.numeric]
        return jnp.concatenate([jnp.zeros((batch, 0), jnp.float32), *columns], 1)

    def names(self) -> tuple[str, ...]:
        """All arrays that are read."""
        return (
            *(field.name for field in self.ids),
            *(field.weights for field in self.ids if field.weights),
            *self.numeric,
        )

    def check(self, arrays: Arrays) -> None:
        """Raises ``UserError`` where an array is missing."""
        if missing := [name for name in self.names() if name not in arrays]:
            raise UserError(
                f"the ranker reads {', '.join(self.names())}, and {', '.join(missing)} is missing: give it by name"
            )


def combine_slots(rows: jax.Array, slots: Slots, widths: tuple[int, ...]) -> jax.Array:
    """Weighted sums of each field's rows: float32 [B, S, D] → [B, F, D].

    Args:
        rows: what a table has at ``slots.ids``.
        slots: of the batch.
        widths: slots of each field, ``Fields.widths``.
    """
    weighted = rows * slots.weights[..., None]
    if all(width == 1 for width in widths):
        return weighted
    edges = np.cumsum([0, *widths])
    parts = [weighted[:, a:b].sum(1, keepdims=True) for a, b in zip(edges[:-1], edges[1:], strict=True)]
    return jnp.concatenate(parts, 1)


@dataclass(frozen=True)
class Crosses:
    """Products of fields, each value of which has a weight of its own (Cheng et al. 2016).

    A product of no more values than ``buckets`` is exact. A larger one is hashed into them.

    >>> import numpy as np
    >>> fields = Fields((Field("user", 10), Field("item", 5)))
    >>> crosses = Crosses((("user", "item"),), buckets=64)
    >>> crosses.ids(fields, {"user": np.asarray([3, 9]), "item": np.asarray([2, 4])}).tolist()
    [[17], [49]]
    """

    of: tuple[tuple[str, ...], ...] = ()
    """Names of the fields of each product; none is a bag."""
    buckets: int = 1 << 17
    """Weights of each product, at most."""

    def sizes(self, fields: Fields) -> list[int]:
        """Weights of each product."""
        rows = {field.name: field.rows for field in fields.ids}
        for names in self.of:
            if unknown := set(names) - set(rows):
                raise UserError(f"a cross names {', '.join(sorted(unknown))}: there are {', '.join(rows)}")
        return [min(math.prod(rows[name] for name in names), self.buckets) for names in self.of]

    def ids(self, fields: Fields, arrays: Arrays) -> jax.Array:
        """int32 [B, C], rows of one table of all products."""
        rows = {field.name: field.rows for field in fields.ids}
        columns, start = [], 0
        for names, size in zip(self.of, self.sizes(fields), strict=True):
            exact = math.prod(rows[name] for name in names) <= self.buckets
            code = jnp.zeros(len(jnp.asarray(arrays[names[0]])), jnp.uint32)
            for name in names:
                value = jnp.asarray(arrays[name])
                known = jnp.where((value >= 0) & (value < rows[name]), value, 0).astype(jnp.uint32)
                code = code * jnp.uint32(rows[name]) + known if exact else _scattered(code ^ _scattered(known + 1))
            columns.append((code % jnp.uint32(size)).astype(jnp.int32) + start)
            start += size
        return jnp.stack(columns, 1)


def _scattered(x: jax.Array) -> jax.Array:
    """A bijection of uint32 ("lowbias32": Wellons 2018) after an odd step, so that the order of a product matters."""
    x = x * jnp.uint32(0x9E3779B1) + jnp.uint32(0x85EBCA6B)
    x = (x ^ (x >> 16)) * jnp.uint32(0x7FEB352D)
    x = (x ^ (x >> 15)) * jnp.uint32(0x846CA68B)
    return x ^ (x >> 16)


def _in_columns(values: Any) -> jax.Array:
    values = jnp.asarray(values)
    return values[:, None] if values.ndim == 1 else values


def _shares(values: jax.Array, weights: Any) -> jax.Array:
    """float32 [B, K]: the weights of a bag divided by their sum, so that it is a mean; 0 at padding."""
    there = (values >= 0).astype(jnp.float32)
    weighed = there if weights is None else there * jnp.asarray(weights, jnp.float32)
    return weighed / jnp.maximum(weighed.sum(1, keepdims=True), 1e-12)
