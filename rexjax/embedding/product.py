"""Rows as product codes: each row is one byte per sub-vector, the number of its centroid in a book of 256.

Product quantisation is Jégou, Douze & Schmid (2011, "Product Quantization for Nearest Neighbor Search"). All rows share
the books, so a model can be trained with fixed codes and free books: JPQ (Zhan et al. 2021) does so for passages,
RecJPQ (Petrov & Macdonald, WSDM 2024) for the items of a recommender.

Rows are decoded in blocks and multiplied. The other way is a table of each query's products with all centroids, of
which M are added up for each row (asymmetric distances): on CPU it is faster for one query and far slower for several.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rexjax.errors import UserError

CENTROIDS = 256
"""Of a book: as many as a byte can tell apart."""
BOOKS = jnp.float16
"""Of stored centroids, whose entries are those of unit vectors."""
ROUNDS = 25
"""Of k-means."""
_AT_ONCE = 4096  # rows whose distances to all centroids lie in memory


class ProductRows(NamedTuple):
    """A row is, side by side, centroid ``codes[..., m]`` of book m for each of M books."""

    codes: jax.Array
    """uint8 [..., M]."""
    books: jax.Array
    """float16 or float32 [M, 256, D / M]."""

    @property
    def shared(self) -> tuple[str, ...]:
        """See ``RowFormat``."""
        return ("books",)

    @property
    def width(self) -> int:
        """D."""
        return self.books.shape[0] * self.books.shape[2]

    def numbers(self) -> jax.Array:
        """float32 [..., D]."""
        return decode(self.codes, self.books)

    def factors(self) -> None:
        """A row has no scale."""

    def alike(self, rows: jax.Array) -> "ProductRows":
        """The nearest codes in the same books."""
        return ProductRows(nearest_codes(rows, self.books), self.books)


def decode(codes: jax.Array, books: jax.Array) -> jax.Array:
    """The rows that codes stand for; differentiable in the books.

    Args:
        codes: uint8 [..., M].
        books: float16 or float32 [M, 256, D / M].

    Returns:
        float32 [..., D].

    >>> import jax.numpy as jnp
    >>> books = jnp.arange(512.0).reshape(2, 256, 1)
    >>> decode(jnp.asarray([[3, 0], [0, 255]], jnp.uint8), books).tolist()
    [[3.0, 256.0], [0.0, 511.0]]
    """
    at = jnp.arange(len(books)), codes.astype(jnp.int32)
    found = books.astype(jnp.float32).at[at].get(mode="promise_in_bounds")
    return found.reshape(*codes.shape[:-1], books.shape[0] * books.shape[2])


def nearest_codes(rows: jax.Array, books: jax.Array) -> jax.Array:
    """The centroid nearest to each sub-vector; of equal distances the first.

    Args:
        rows: float32 [N, D].
        books: float16 or float32 [M, 256, D / M].

    Returns:
        uint8 [N, M].

    >>> import jax.numpy as jnp
    >>> books = jnp.zeros((2, 256, 1)).at[:, 7].set(1.0)  # centroid 7 of both books is 1, the others are 0
    >>> nearest_codes(jnp.asarray([[0.9, 0.1]]), books).tolist()
    [[7, 0]]
    """
    books = books.astype(jnp.float32)
    squares = jnp.sum(books**2, -1)

    def codes(row: jax.Array) -> jax.Array:
        products = jnp.einsum("md,mcd->mc", row, books, precision="highest")
        return jnp.argmin(squares - 2 * products, -1).astype(jnp.uint8)

    return jax.lax.map(codes, _split(rows, len(books)), batch_size=_AT_ONCE)


def weighted_centroids(rows: jax.Array, codes: jax.Array, weights: jax.Array, before: jax.Array) -> jax.Array:
    """Each centroid as the weighted mean of the sub-vectors that have its code; differentiable in the rows.

    Args:
        rows: float32 [N, D].
        codes: integers [N, M].
        weights: float32 [N], 0 or more.
        before: float32 [M, 256, D / M], kept where no weight falls.

    Returns:
        float32 [M, 256, D / M].
    """
    at = jnp.arange(codes.shape[1]), codes.astype(jnp.int32)
    sums = jnp.zeros(before.shape).at[at].add(weights[:, None, None] * _split(rows, codes.shape[1]))
    mass = jnp.zeros(before.shape[:2]).at[at].add(weights[:, None])[..., None]
    return jnp.where(mass > 0, sums / jnp.maximum(mass, 1e-30), before)


@partial(jax.jit, static_argnames="parts")
def fit_books(rows: jax.Array, weights: jax.Array, parts: int, seed: Any = 0, rounds: Any = ROUNDS) -> jax.Array:
    """Weighted k-means in each sub-space, from rows drawn far apart (k-means++, Arthur & Vassilvitskii 2007).

    Rows of at most 256 different sub-vectors in each sub-space are kept exactly.

    Args:
        rows: float32 [N, D].
        weights: float32 [N], 0 or more.
        parts: M, divides D.
        seed: of the first centroids.
        rounds: of Lloyd's algorithm.

    Returns:
        float32 [M, 256, D / M].

    Raises:
        UserError: M does not divide D.

    >>> import jax.numpy as jnp
    >>> rows = jnp.asarray([[1.0, 2.0], [3.0, 4.0]])
    >>> books = fit_books(rows, jnp.ones(2), parts=2)
    >>> codes = nearest_codes(rows, books)
    >>> [[float(books[part, code, 0]) for part, code in enumerate(row)] for row in codes]
    [[1.0, 2.0], [3.0, 4.0]]
    """
    if rows.shape[1] % parts:
        raise UserError(f"rows are {rows.shape[1]} wide, which {parts} bytes do not divide: choose a divisor")
    keys = jax.random.split(jax.random.key(seed), parts)
    first = jax.vmap(_draw_centroids, (1, None, 0))(_split(rows, parts), weights, keys)

    def improve(_: Any, books: jax.Array) -> jax.Array:
        return weighted_centroids(rows, nearest_codes(rows, books), weights, books)

    return jax.lax.fori_loop(0, rounds, improve, first)


def balanced_axes(rows: jax.Array, weights: jax.Array, parts: int) -> jax.Array:
    """Principal axes, dealt to the sub-spaces so that all have like shares: the parametric solution of optimised
    product quantisation (Ge et al. 2013, "Optimized Product Quantization").

    Args:
        rows: float32 [N, D].
        weights: float32 [N], 0 or more.
        parts: M, divides D.

    Returns:
        float32 [D, D], orthonormal columns; ``rows @ axes`` are to be coded.
    """
    _, principal = jnp.linalg.eigh(jnp.matmul((rows * weights[:, None]).T, rows, precision="highest"))
    return principal[:, ::-1][:, _deal(rows.shape[1], parts)]


def _deal(width: int, parts: int) -> np.ndarray:
    """Dimensions, the largest first, dealt to M sub-spaces there and back: int [D]."""
    rounds = np.arange(width).reshape(-1, parts)
    rounds[1::2] = rounds[1::2, ::-1]
    return rounds.T.ravel()


def _split(rows: jax.Array, parts: int) -> jax.Array:
    return rows.reshape(*rows.shape[:-1], parts, rows.shape[-1] // parts)


def _draw_centroids(vectors: jax.Array, weights: jax.Array, key: jax.Array) -> jax.Array:
    """256 of vectors [N, d], each drawn by its weight and its squared distance to those before: [256, d]."""

    def draw(number: jax.Array, drawn: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        book, distances = drawn
        chosen = jax.random.categorical(jax.random.fold_in(key, number), jnp.log(weights * distances))
        vector = vectors[chosen]
        return book.at[number].set(vector), jnp.minimum(distances, jnp.sum((vectors - vector) ** 2, -1))

    far = jnp.full(len(vectors), jnp.finfo(jnp.float32).max / 1e9)  # so that the first is drawn by its weight alone
    return jax.lax.fori_loop(0, CENTROIDS, draw, (jnp.zeros((CENTROIDS, vectors.shape[1])), far))[0]
