"""Fewer dimensions for item vectors: principal components, whitening, or a selection of the dimensions there are.

Text vectors are wider than an item table should be, and in most directions the items hardly differ. PCA keeps the
directions in which they differ most; whitening (Su et al., "Whitening Sentence Representations for Better Semantics and
Faster Retrieval", arXiv:2103.15316) gives them equal weight as well; selection keeps single dimensions as they are.

Everything goes through the W×W covariance: 2·N·W² operations for it and about 10·W³ for its eigenvectors, where a thin
SVD of the N×W matrix costs several times as much and holds N×W factors. So N may be millions (N = 10⁶, W = 384: 0.3
Tflop). Sums are in float32, products at the highest precision. Where ``vectors`` is split by rows over a mesh, so are
the sums.

Rows that are zero stand for items without a text. They are left out of the fit, where they would pull the mean towards
zero and pass for variance; and they stay zero when applied, where they would otherwise all become minus the mean, one
vector that makes them look alike.
"""

import functools
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from rexjax.errors import UserError

Method = Literal["pca", "whiten", "select", "none"]
_HIGHEST = jax.lax.Precision.HIGHEST


class Reduction(NamedTuple):
    """An affine map from W to D dimensions: ``(vectors - mean) @ basis``.

    mean: f32 [W], zero for "select" and "none". basis: f32 [W, D]. variances: f32 [D], the variance (divided by the
    number of rows) that each kept direction has in the input, largest first except for "none". explained: share of the
    total variance that lies in the kept directions, in [0, 1]; 1 where there is no variance.
    """

    mean: jax.Array
    basis: jax.Array
    variances: jax.Array
    explained: float


def fit(vectors: jax.Array, width: int, method: Method, *, epsilon: float = 1e-6) -> Reduction:
    """Learns a reduction of ``vectors`` [N, W], taken as f32, to D = ``width`` dimensions.

    "pca": the D eigenvectors of the covariance with the largest eigenvalues. "whiten": the same, each divided by
    √(its eigenvalue + ``epsilon`` · the largest eigenvalue). "select": the D dimensions with the largest variance.
    "none": all of them, D = W. An eigenvector's sign is such that its entry of largest magnitude is positive.

    Raises:
        UserError: ``width`` is out of [1, W], is not W for "none", or exceeds the rank for "whiten"; there is no such
            method; fewer than two rows are not zero.

    >>> import jax.numpy as jnp
    >>> reduction = fit(jnp.asarray([[1.0, 5.0], [3.0, 5.0]]), 1, "pca")
    >>> reduction.basis.tolist(), reduction.mean.tolist()  # only the first number varies
    ([[1.0], [0.0]], [2.0, 5.0])
    """
    vectors = jnp.asarray(vectors, jnp.float32)
    rows, wide = vectors.shape
    if not 1 <= width <= wide:
        raise UserError(f"Cannot reduce {wide} dimensions to {width}: choose a width from 1 to {wide}.")
    if method == "none" and width != wide:
        raise UserError(f"Method 'none' keeps all {wide} dimensions, not {width}: set that width or choose 'pca'.")
    if method not in _FITS:
        raise UserError(f"There is no reduction {method!r}: choose one of {', '.join(_FITS)}.")
    reduction, count, rank = _fit(vectors, width, method, epsilon)
    if count < 2:
        raise UserError(f"Of {rows} vectors {count} are not zero: at least 2 items with a text are needed to reduce.")
    if method == "whiten" and width > rank:
        raise UserError(
            f"The {count} vectors span {rank} directions, not {width}: whiten to a width of at most {rank}."
        )
    return reduction._replace(explained=float(reduction.explained))


@jax.jit
def apply(reduction: Reduction, vectors: jax.Array) -> jax.Array:
    """Reduces ``vectors`` [N, W] to f32 [N, D]; rows that are zero stay zero.

    >>> import jax.numpy as jnp
    >>> vectors = jnp.asarray([[1.0, 5.0], [3.0, 5.0]])
    >>> apply(fit(vectors, 1, "pca"), vectors).tolist()
    [[-1.0], [1.0]]
    """
    vectors = jnp.asarray(vectors, jnp.float32)
    reduced = jnp.matmul(vectors - reduction.mean[None], reduction.basis, precision=_HIGHEST)
    return jnp.where(_present(vectors), reduced, 0.0)


def _present(vectors: jax.Array) -> jax.Array:
    """Bool [N, 1], False for rows that are zero."""
    return (vectors != 0).any(axis=1, keepdims=True)


@functools.partial(jax.jit, static_argnames=("width", "method"))
def _fit(vectors: jax.Array, width: int, method: Method, epsilon: float) -> tuple[Reduction, jax.Array, jax.Array]:
    """The reduction, the number of rows that are not zero, and the rank of their covariance as far as it was needed."""
    present = _present(vectors)
    count = present.sum()
    mean = vectors.sum(axis=0) / jnp.maximum(count, 1)
    centred = jnp.where(present, vectors - mean[None], 0.0)
    mean, basis, variances, total, rank = _FITS[method](mean, centred, jnp.maximum(count, 1), width, epsilon)
    explained = jnp.where(total > 0, jnp.clip(variances.sum() / total, 0.0, 1.0), 1.0)
    return Reduction(mean, basis, variances, explained), count, rank


def _fit_pca(mean, centred, count, width, epsilon):
    covariance = jnp.matmul(centred.T, centred, precision=_HIGHEST) / count
    eigenvalues, vectors = jnp.linalg.eigh(covariance)
    eigenvalues, vectors = jnp.maximum(eigenvalues[::-1], 0.0), vectors[:, ::-1]
    peak = jnp.take_along_axis(vectors, jnp.abs(vectors).argmax(axis=0, keepdims=True), axis=0)
    # The tolerance of numpy.linalg.matrix_rank, on eigenvalues, plus what rounding the mean leaves behind.
    ulp = jnp.finfo(jnp.float32).eps
    rank = (eigenvalues > len(mean) * ulp * (eigenvalues[0] + ulp * jnp.square(mean).sum())).sum()
    basis = (vectors * jnp.where(peak < 0, -1.0, 1.0))[:, :width]
    return mean, basis, eigenvalues[:width], eigenvalues.sum(), rank


def _fit_whiten(mean, centred, count, width, epsilon):
    mean, basis, variances, total, rank = _fit_pca(mean, centred, count, width, epsilon)
    scale = jnp.sqrt(variances + epsilon * variances[0])
    return mean, basis / scale[None], variances, total, rank


def _fit_select(mean, centred, count, width, epsilon):
    variances = jnp.square(centred).sum(axis=0) / count
    kept, dimensions = jax.lax.top_k(variances, width)
    basis = jax.nn.one_hot(dimensions, len(mean), axis=0)
    return jnp.zeros_like(mean), basis, kept, variances.sum(), width


def _fit_none(mean, centred, count, width, epsilon):
    variances = jnp.square(centred).sum(axis=0) / count
    return jnp.zeros_like(mean), jnp.eye(width), variances, variances.sum(), width


_FITS = {"pca": _fit_pca, "whiten": _fit_whiten, "select": _fit_select, "none": _fit_none}
