"""The two passes of the exact top-k as TPU kernels (Pallas): scores never go back to HBM.

The first reads the rows once, a tile at a time, multiplies it with all queries and writes each block's best score, an
S-th of the scores. The second reads, for each query, its J best blocks alone, all copies under way at once, and scores
them. So HBM moves N × D of the rows once, B × J × S × D of them again, and B × N / S scores a few times.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from rexjax.embedding import rows as reading
from rexjax.embedding.quantized import QuantizedRows
from rexjax.embedding.row_format import RowFormat

TILE = 2048
"""Rows that a grid step of the first pass reads."""
BLOCK = 32
"""Items in a block, S: a copy must take whole tiles of the memory's layout, which are 32 rows of int8."""
_LANES = 128


def reads(items: Any, mask: jax.Array | None, cosine: bool) -> bool:
    """Whether the kernels know such rows: float32, bfloat16 or int8, as wide and as many as whole tiles of the memory's
    layout, with at most one mask for all."""
    if isinstance(items, RowFormat) and not isinstance(items, QuantizedRows):
        return False
    values = items.values if isinstance(items, QuantizedRows) else items
    fits = values.dtype in (jnp.float32, jnp.bfloat16, jnp.int8)
    whole = values.shape[1] % _LANES == 0 and len(values) % BLOCK == 0
    return fits and whole and not cosine and (mask is None or mask.shape[0] == 1)


def block_maxima(
    queries: jax.Array, items: Any, mask: jax.Array | None, cosine: bool = False, *, interpret: bool = False
) -> jax.Array:
    """Each block's best score: queries float32 or bfloat16 [B, D], items [N, D], mask bool [1, N] → float32 [B, M]."""
    del cosine  # ``reads`` refuses it
    total = reading.count(items)
    values, scales = items if isinstance(items, QuantizedRows) else (items, None)
    users, width = queries.shape
    tiles = pl.cdiv(total, TILE)
    across = [x.reshape(total).astype(jnp.float32)[None] for x in (scales, mask) if x is not None]
    kernel = functools.partial(_maxima, total=total, scaled=scales is not None, masked=mask is not None)
    found = pl.pallas_call(
        kernel,
        grid=(tiles,),
        in_specs=[
            pl.BlockSpec((users, width), lambda tile: (0, 0)),
            pl.BlockSpec((TILE, width), lambda tile: (tile, 0)),
            *[pl.BlockSpec((1, TILE), lambda tile: (0, tile)) for _ in across],
        ],
        out_specs=pl.BlockSpec((TILE // BLOCK, users), lambda tile: (tile, 0)),
        out_shape=jax.ShapeDtypeStruct((tiles * TILE // BLOCK, users), jnp.float32),
        interpret=interpret,
        name="block_maxima",
    )(queries, values, *across)
    return found[: pl.cdiv(total, BLOCK)].T


def _maxima(queries, values, *rest, total: int, scaled: bool, masked: bool):
    """One tile; what lies behind the last row is not there."""
    *across, out = rest
    scores = _products(queries[...], values[...])  # [B, TILE]
    if scaled:
        scores = scores * across[0][...]
    ids = pl.program_id(0) * TILE + jax.lax.broadcasted_iota(jnp.int32, (1, TILE), 1)
    may = ids < total
    if masked:
        may &= across[-1][...] > 0
    scores = jnp.where(may, scores, -jnp.inf)
    out[...] = scores.T.reshape(TILE // BLOCK, BLOCK, -1).max(1)


def _products(queries: jax.Array, values: jax.Array) -> jax.Array:
    """float32 [B, D] · [R, D] → float32 [B, R], exact to float32 where queries are float32."""
    if queries.dtype == jnp.bfloat16:
        precision, values = jax.lax.Precision.DEFAULT, values.astype(jnp.bfloat16)
    else:
        precision, values = jax.lax.Precision.HIGHEST, values.astype(jnp.float32)
    return jax.lax.dot_general(
        queries, values, (((1,), (1,)), ((), ())), precision=precision, preferred_element_type=jnp.float32
    )


def score_blocks(
    queries: jax.Array, items: Any, starts: jax.Array, cosine: bool = False, *, interpret: bool = False
) -> jax.Array:
    """Scores float32 [B, J, S] of the S items from each of starts int32 [B, J], of each query [B, D] its own."""
    del cosine
    users, blocks = starts.shape
    values, scales = items if isinstance(items, QuantizedRows) else (items, None)
    width = queries.shape[1]
    found = pl.pallas_call(
        functools.partial(_score, blocks=blocks),
        grid_spec=pltpu.PrefetchScalarGridSpec(
            num_scalar_prefetch=1,
            grid=(users,),
            in_specs=[
                pl.BlockSpec((1, 1, width), lambda user, starts: (user, 0, 0)),
                pl.BlockSpec(memory_space=pl.ANY),
            ],
            out_specs=pl.BlockSpec((1, 1, blocks * BLOCK), lambda user, starts: (user, 0, 0)),
            scratch_shapes=[pltpu.VMEM((blocks * BLOCK, width), values.dtype), pltpu.SemaphoreType.DMA],
        ),
        out_shape=jax.ShapeDtypeStruct((users, 1, blocks * BLOCK), jnp.float32),
        interpret=interpret,
        name="score_blocks",
    )(starts.reshape(-1), queries[:, None], values)
    found = found.reshape(users, blocks, BLOCK)
    if scales is None:
        return found
    return found * scales.reshape(-1, BLOCK)[starts // BLOCK]  # whole blocks: single numbers are dear to gather


def _score(starts, query, values, out, near, arrived, *, blocks: int):
    """One query: fetches its blocks, then multiplies."""
    first = pl.program_id(0) * blocks

    def copy(number: jax.Array) -> Any:
        start = pl.multiple_of(starts[first + number], BLOCK)
        return pltpu.make_async_copy(
            values.at[pl.ds(start, BLOCK)], near.at[pl.ds(pl.multiple_of(number * BLOCK, BLOCK), BLOCK)], arrived
        )

    jax.lax.fori_loop(0, blocks, lambda number, _: copy(number).start(), None)
    jax.lax.fori_loop(0, blocks, lambda number, _: copy(number).wait(), None)
    out[0] = _products(query[0], near[...])
