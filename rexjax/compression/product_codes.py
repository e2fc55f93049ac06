"""A trained student whose item rows are product codes: k-means gives the codes, fine-tuning the books.

Codes stay as they are while a student is fine-tuned. A centroid is the mean of the training rows that have its code,
weighted by popularity; so gradients reach the books, and all rows of a cell move as one (JPQ, Zhan et al. 2021).
"""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from rexjax.compression.quantize import quantize_tree
from rexjax.compression.storage import Quantizer, Storage
from rexjax.embedding import product
from rexjax.embedding.product import BOOKS, ProductRows
from rexjax.families.base import Narrowable
from rexjax.models.served import Served


@dataclass(frozen=True)
class ProductCodes(Storage):
    """One byte for each of M sub-vectors (``rexjax.embedding.product``)."""

    parts: int
    """M."""
    kind = "pq"
    fine_tuned = True

    def item_bytes(self, width: int) -> float:
        """M."""
        return float(self.parts)

    def misfit(self, width: int) -> str:
        """M divides D."""
        if self.parts and width % self.parts == 0:
            return ""
        divisors = ", ".join(f"pq{parts}" for parts in range(1, width + 1) if width % parts == 0)
        return f"{self.parts} bytes an item do not divide rows that are {width} wide; choose one of {divisors}"

    def turn(self, model: Narrowable, state: Served, popularity: np.ndarray) -> Served:
        """Axes that leave like shares to all books."""
        return model.turn(state, product.balanced_axes(state.items, _weights(popularity), self.parts))

    def quantizer(self, state: Served, popularity: np.ndarray, seed: int) -> Quantizer:
        """Books from k-means in which an item weighs one more than its training interactions."""
        books = product.fit_books(state.items, _weights(popularity), self.parts, seed)
        codes = product.nearest_codes(state.items, books)
        content = np.concatenate([np.asarray(codes), np.asarray(popularity)[:, None]], 1).astype(np.float32)
        return Quantizer(partial(_store, content=content, books=books), partial(_fake, books=books), content)


def _weights(popularity: np.ndarray) -> jax.Array:
    return jnp.asarray(popularity, jnp.float32) + 1


def _fake(rows: jax.Array, content: jax.Array, books: jax.Array) -> jax.Array:
    """Content is codes [V, M] beside popularity [V, 1]."""
    codes, popularity = content[:, :-1].astype(jnp.int32), content[:, -1]
    return product.decode(codes, product.weighted_centroids(rows, codes, popularity, books))


def _store(state: Served, content: np.ndarray, books: jax.Array) -> Served:
    """Items that training never met get the nearest codes: their rows did not move with their cell."""
    codes, popularity = jnp.asarray(content[:, :-1], jnp.uint8), jnp.asarray(content[:, -1])
    books = product.weighted_centroids(state.items, codes, popularity, books).astype(BOOKS)
    nearest = product.nearest_codes(state.items, books)
    return Served(ProductRows(jnp.where(popularity[:, None] > 0, codes, nearest), books), quantize_tree(state.history))
