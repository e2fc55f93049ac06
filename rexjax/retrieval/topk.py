"""The k best items of each query, exact, at the cost of the matrix product and less.

The k best items lie in the k blocks of items that have the best maxima. So a first pass keeps only each block's best
score: it goes through the rows in chunks whose scores stay in the cache, and B × N scores never lie in memory. Then the
rows of the best blocks are scored again, and the k best are taken among them. Blocks that hold an excluded item are
always scored again, and no other block is larger for what it may not answer.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rexjax.embedding import rows as reading
from rexjax.models.layers import normalize
from rexjax.retrieval import topk_cpu, topk_tpu
from rexjax.runtime.arguments import check_id_range, check_integers, check_rank, check_shape

FEW, SOME, MANY = 128, 32, 16
"""Items in a block, S: for up to ``_ALONE`` queries of float32 rows, for up to ``_AFEW`` blocks that are scored again,
and for all else; of 16 to 256 the fastest at a million items, k = 10, 20, 50, 100. A few queries are bound by reading
the rows, and maxima over more neighbours are cheaper; many are bound by finding the best maxima and by scoring blocks
again, and the fewer blocks there are to score, the larger they may be."""
_AFEW = 60
_ALONE = 4
SPARE = 8
"""Blocks scored again beyond k: the first pass sums in another order, and rounding must not leave a block out."""
SCORES_OF_CHUNK = 1 << 19
"""Scores of a chunk, B × C: 2 MB, what a core's cache holds."""
SCORES_UNCHUNKED = 1 << 22
"""Scores up to which float32 rows are no chunks: cutting them would cost more than the scores' way through memory."""
_BATCH = 32
"""Queries that a symbolic B is taken for."""
RESCORED_NUMBERS = 1 << 24
"""Numbers of the rows that are scored again at a time: 64 MB."""
_CONVERTED = 1 << 15
"""Rows of a chunk at most, where each is made float32 first."""


class Passes(NamedTuple):
    """The two passes over the rows, as a platform does them."""

    maxima: Callable[..., jax.Array]
    """(queries [B, D], items, mask, cosine) → float32 [B, ceil(N / S)], each block's best score."""
    again: Callable[..., jax.Array]
    """(queries [B, D], items, starts int32 [B, J], cosine) → float32 [B, J, S], scores of S items from each start."""
    block: int
    """S."""
    all: Callable[..., jax.Array] | None = None
    """(queries [B, D], items, mask) → float32 [B, N], for small catalogues; None: XLA's product."""


class Allowed(NamedTuple):
    """Which rows may be answered."""

    mask: jax.Array | None
    """bool [1 or B, N]; None: all."""
    real: jax.Array | None
    """int32, the rows before it; None: all."""


def top_k(
    queries: jax.Array,
    items: Any,
    k: int,
    *,
    exclude: jax.Array | None = None,
    mask: jax.Array | None = None,
    cosine: bool = False,
    real: jax.Array | None = None,
) -> tuple[jax.Array, jax.Array]:
    """The k best items of each query, exact.

    Args:
        queries: float32 [B, D].
        items: float32 or bfloat16 [N, D], or a RowFormat; dense ids are hashes, so their order is an arbitrary one.
        k: at most N.
        exclude: int32 [B, E] item ids that may not be answered, padded with -1.
        mask: bool [N] or [B, N], the items that may be answered.
        cosine: of queries and items instead of their dot product (which it is anyway where both are unit vectors).
        real: int32, how many of the rows are items; the rest is padding, so that one compiled program serves catalogues
            of several sizes.

    Returns:
        scores float32 [B, k], falling, and ids int32 [B, k]; equal scores come in the order of dense ids; where fewer
        than k items are left, the score is -inf. "Equal" is what float32 sums make of it: items whose scores differ
        by its rounding may change places.

    Raises:
        TypeError: excluded ids that are no integers, or a mask that is not bool.
        ValueError: k is not from 1 to N, shapes that do not fit, or a concrete excluded id beyond the items.

    >>> import jax.numpy as jnp
    >>> queries, items = jnp.asarray([[1.0, 0.0]]), jnp.asarray([[0.1, 0.9], [0.8, 0.2], [0.5, 0.5]])
    >>> scores, ids = top_k(queries, items, 2)
    >>> ids.tolist()
    [[1, 2]]
    >>> top_k(queries, items, 2, exclude=jnp.asarray([[1]]))[1].tolist()
    [[2, 0]]
    """
    _check(queries, items, exclude, mask)
    total = reading.count(items)
    if not 1 <= k <= total:
        raise ValueError(f"k is {k}: with {total} items it must lie in 1 … {total}")
    queries = normalize(queries) if cosine else queries
    mask = None if mask is None else jnp.atleast_2d(mask)  # [1 or B, N]
    exclude = jnp.full((queries.shape[0], 0), -1, jnp.int32) if exclude is None else exclude

    blocks = k + SPARE + exclude.shape[1] + (real is not None)

    def on(passes: Passes) -> Callable[..., tuple[jax.Array, jax.Array]]:
        share = 8 if passes.all else 4  # of the rows, above which reading them again would cost as much
        if share * blocks * passes.block >= total:
            return lambda *args: tuple(_sorted(*args, k, cosine, passes.all))
        return lambda *args: _by_blocks(*args, k, cosine, passes)

    arguments = queries, items, exclude, Allowed(mask, real)
    known = isinstance(queries.shape[0], int)  # else B is symbolic, in an export for any batch
    alone = known and queries.shape[0] <= _ALONE and not reading.quantized(items)
    special: dict[str, Callable[..., tuple[jax.Array, jax.Array]]] = {}  # by platform
    if known and topk_tpu.reads(items, mask, cosine):  # the kernels need to know B
        special["tpu"] = on(Passes(topk_tpu.block_maxima, topk_tpu.score_blocks, topk_tpu.BLOCK))
    if topk_cpu.reads(queries, items, cosine):
        again = plain(topk_cpu.BLOCK).again
        special["cpu"] = on(Passes(topk_cpu.block_maxima, again, topk_cpu.BLOCK, topk_cpu.scores))
    default = on(plain(FEW if alone else SOME if blocks <= _AFEW else MANY))
    return jax.lax.platform_dependent(*arguments, **special, default=default) if special else default(*arguments)


def _check(queries: jax.Array, items: Any, exclude: jax.Array | None, mask: jax.Array | None) -> None:
    check_rank("queries", queries, "[B, D]")
    if queries.shape[1] != reading.width(items):
        raise ValueError(f"queries is {queries.shape[1]} wide and items {reading.width(items)}: they must be alike")
    total = reading.count(items)
    if exclude is not None:
        check_integers("exclude", exclude)
        check_rank("exclude", exclude, "[B, E]")
        check_shape("exclude", exclude, (queries.shape[0], exclude.shape[1]), "queries")
        check_id_range("exclude", exclude, total)
    if mask is not None:
        if mask.dtype != bool:
            raise TypeError(f"mask has dtype {mask.dtype}: it must be bool, True for items that may be answered")
        for_all = mask.shape[:-1] in ((), (1,))
        check_shape("mask", mask, (*mask.shape[:-1], total) if for_all else (queries.shape[0], total), "items")


def _sorted(
    queries: jax.Array, items: Any, exclude: jax.Array, allowed: Allowed, k: int, cosine: bool, score: Any
) -> tuple[jax.Array, jax.Array]:
    """All scores at once: for small catalogues."""
    scores = score(queries, items, None) if score else reading.score(queries, items, cosine)
    if allowed.real is not None:
        scores = jnp.where(jnp.arange(scores.shape[1]) < allowed.real, scores, -jnp.inf)
    if allowed.mask is not None:
        scores = jnp.where(allowed.mask, scores, -jnp.inf)
    at = jnp.where(exclude >= 0, exclude, scores.shape[1])
    scores = scores.at[jnp.arange(scores.shape[0])[:, None], at].set(-jnp.inf, mode="drop")
    return jax.lax.top_k(scores, k)


def _by_blocks(
    queries: jax.Array, items: Any, exclude: jax.Array, allowed: Allowed, k: int, cosine: bool, passes: Passes
) -> tuple[jax.Array, jax.Array]:
    best = passes.maxima(queries, items, allowed.mask, cosine)
    held = jnp.where(exclude >= 0, exclude // passes.block, best.shape[1])
    if allowed.real is not None:  # the block in which padding begins may hold items; those behind it hold none
        edge = jnp.asarray(allowed.real, jnp.int32) // passes.block
        best = jnp.where(jnp.arange(best.shape[1]) < edge, best, -jnp.inf)
        held = jnp.concatenate([held, jnp.broadcast_to(edge, (held.shape[0], 1))], 1)
    if exclude.shape[1]:
        best = best.at[jnp.arange(best.shape[0])[:, None], held].set(-jnp.inf, mode="drop")
    _, blocks = jax.lax.top_k(best, min(k + SPARE, best.shape[1]))
    blocks = _distinct(jnp.concatenate([blocks, held.astype(jnp.int32)], 1), best.shape[1])
    scores, ids = _scores_of(queries, items, blocks, allowed, cosine, passes)
    if exclude.shape[1]:
        scores = _without(scores, blocks, exclude, passes.block)
    found, at = jax.lax.top_k(scores, k)
    return found, jnp.take_along_axis(ids, at, 1)


def _distinct(blocks: jax.Array, none: int) -> jax.Array:
    """Rising along the last axis; what comes twice is ``none`` the second time."""
    blocks = jnp.sort(blocks, -1)
    again = jnp.concatenate([jnp.zeros((blocks.shape[0], 1), bool), blocks[:, 1:] == blocks[:, :-1]], 1)
    return jnp.sort(jnp.where(again, none, blocks), -1)


def _scores_of(
    queries: jax.Array, items: Any, blocks: jax.Array, allowed: Allowed, cosine: bool, passes: Passes
) -> tuple[jax.Array, jax.Array]:
    """Scores float32 [B, J × S] of the items in blocks int32 [B, J], and their ids; -inf where there is no item."""
    total, block = reading.count(items), passes.block
    starts = jnp.minimum(blocks * block, total - block)  # the last block may be short: it is read from further left
    scores = passes.again(queries, items, starts, cosine)
    ids = blocks[:, :, None] * block + jnp.arange(block)
    if total % block:
        shift = jnp.clip(ids - starts[..., None], 0, block - 1)
        scores = jnp.take_along_axis(scores, shift, 2)
    scores, ids = scores.reshape(blocks.shape[0], -1), ids.reshape(blocks.shape[0], -1)
    there = jnp.minimum(ids, total - 1)
    mask, may = allowed.mask, ids < (total if allowed.real is None else allowed.real)
    if mask is not None:
        may &= mask[0][there] if mask.shape[0] == 1 else jnp.take_along_axis(mask, there, 1)
    return jnp.where(may, scores, -jnp.inf), there.astype(jnp.int32)


def _without(scores: jax.Array, blocks: jax.Array, exclude: jax.Array, block: int) -> jax.Array:
    """Scores [B, J × S] of rising blocks [B, J], with -inf for excluded items, whose blocks are among them."""
    slots = jax.vmap(jnp.searchsorted)(blocks, exclude // block)
    at = jnp.where(exclude >= 0, slots * block + exclude % block, scores.shape[1])
    return scores.at[jnp.arange(scores.shape[0])[:, None], at].set(-jnp.inf, mode="drop")


def plain(block: int) -> Passes:
    """In XLA's own operations."""
    return Passes(partial(_block_maxima, block=block), partial(_score_again, block=block), block)


def _block_maxima(queries: jax.Array, items: Any, mask: jax.Array | None, cosine: bool, *, block: int) -> jax.Array:
    total, chunk = reading.count(items), _chunk(queries.shape[0], items, block)
    whole = total // chunk
    # of many queries, a row's scores lie side by side, so that maxima over rows are taken of whole vectors
    axis = 1 if isinstance(queries.shape[0], int) and queries.shape[0] <= _ALONE else 0
    score = reading.score if axis else reading.score_by_row

    def maxima(start: Any, size: int) -> jax.Array:
        """float32 [size / S, B]."""
        scores = score(queries, reading.piece(items, start, size), cosine)
        if mask is not None:
            may = jax.lax.dynamic_slice_in_dim(mask, start, size, 1)
            scores = jnp.where(may if axis else may.T, scores, -jnp.inf)
        short = -size % block
        if short:
            scores = jnp.pad(scores, [(0, short * (axis == at)) for at in (0, 1)], constant_values=-jnp.inf)
        best = scores.reshape(*scores.shape[:axis], -1, block, *scores.shape[axis + 1 :]).max(axis + 1)
        return best.T if axis else best

    found = [maxima(0, chunk)] if whole == 1 else []
    if whole > 1:
        streamed = jax.lax.map(lambda start: maxima(start, chunk), jnp.arange(whole) * chunk)
        found = [streamed.reshape(-1, queries.shape[0])]
    if total % chunk:
        found.append(maxima(whole * chunk, total % chunk))
    return jnp.concatenate(found).T


def _chunk(batch: Any, items: Any, block: int) -> int:
    """C, rows scored at a time; a multiple of S. A batch of symbolic size (of a program that is exported) is large."""
    batch, total = batch if isinstance(batch, int) else _BATCH, reading.count(items)
    if reading.quantized(items):
        size = min(SCORES_OF_CHUNK // batch, _CONVERTED)
    else:
        size = total if batch * total <= SCORES_UNCHUNKED else SCORES_OF_CHUNK // batch
    return max(block, min(size, total) // block * block)


def _score_again(queries: jax.Array, items: Any, starts: jax.Array, cosine: bool, *, block: int) -> jax.Array:
    def some(queries: jax.Array, starts: jax.Array) -> jax.Array:
        return reading.score(queries, reading.pieces(items, starts, block), cosine).reshape(*starts.shape, block)

    users, blocks = starts.shape
    together = max(1, RESCORED_NUMBERS // (blocks * block * queries.shape[1]))
    if not isinstance(users, int) or users <= together:
        return some(queries, starts)
    # in groups: the rows of all of them would lie in memory at once
    grouped = [
        jnp.pad(x, ((0, -users % together), (0, 0))).reshape(-1, together, x.shape[1]) for x in (queries, starts)
    ]
    return jax.lax.map(lambda group: some(*group), grouped).reshape(-1, blocks, block)[:users]
