"""The words themselves: TF-IDF of an item's text, reduced by a truncated SVD (Deerwester et al. 1990, "Indexing by
Latent Semantic Analysis").

A language model says what a text is about; a brand, a shade or a size that it has hardly ever read it cannot tell from
another. Here a word is a dimension of its own before the reduction, and a rare one weighs more than a frequent one.
The matrix stays sparse: N × some twenty words. Scripts that put no spaces between words are read as characters and
pairs of characters, which find most words of two characters without a dictionary (Nie, Gao, Zhang & Zhou 2000, "On the
use of words and n-grams for Chinese information retrieval").
"""

import functools
import hashlib
import re
import sys
import unicodedata
from collections import Counter
from typing import Any

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import svds

from rexjax.errors import UserError

_UNSPACED = (
    "\u0e00-\u0eff"  # Thai, Lao
    "\u1000-\u109f\u1780-\u17ff"  # Burmese, Khmer
    "\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff"  # Hiragana, Katakana
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Han
)
"""Ranges of scripts without spaces between words."""
_LEAST_ITEMS = 2  # a word of one item alone says nothing of any other
_NOTHING = 1e-5  # of the largest singular value: float32 cannot tell it from zero


def encode_words(texts: list[str], width: int, fitted: np.ndarray | None = None) -> tuple[np.ndarray, dict[str, Any]]:
    """Word vectors of N texts: float32 [N, W], zeros where a text shares no word with any other.

    Inner products are those of TF-IDF vectors (logarithmic counts, L2-normalised) as far as W directions go. W is
    ``width``, or less where the shared words span fewer directions: then it is their number.

    Args:
        texts: of N items.
        width: W, at most.
        fitted: bool [N], texts that words, their weights and directions are taken from; None: all. The others are
            projected on these directions.

    Returns:
        The vectors, largest direction first, and their provenance.

    Raises:
        UserError: the texts share no word that tells them apart.

    >>> vectors, _ = encode_words(["red mug", "red cup", "blue mug", "blue cup"], width=2)
    >>> vectors.shape
    (4, 2)
    """
    counts = [Counter(words_of(text)) for text in texts]
    known = np.ones(len(texts), bool) if fitted is None else fitted
    items = Counter(word for count, own in zip(counts, known, strict=True) if own for word in count)
    vocabulary = sorted(word for word, number in items.items() if number >= _LEAST_ITEMS)
    if all(items[word] == known.sum() for word in vocabulary):
        raise UserError(
            f"--encode.tfidf-width {width}: no word is in two of the {known.sum()} texts and not in all of them, so "
            "words say nothing: leave the flag out, or name more columns in --data.text"
        )
    share = np.array([items[word] for word in vocabulary]) / known.sum()
    weighed = _tf_idf(counts, share, {word: column for column, word in enumerate(vocabulary)})
    own = weighed[np.flatnonzero(known)]
    _, values, right = _largest_directions(own, width)
    order = np.argsort(-values, kind="stable")
    signs = np.sign(right[order, np.abs(right[order]).argmax(1)])  # an SVD leaves them open
    vectors = np.asarray(weighed @ (right[order] * signs[:, None]).T, np.float32)
    explained = float((values.astype(np.float64) ** 2).sum() / own.multiply(own).sum())
    digest = hashlib.sha256("\0".join(texts).encode()).hexdigest()
    provenance = {"method": "TF-IDF, truncated SVD", "words": len(vocabulary), "texts_sha256": digest}
    return vectors, provenance | {"explained": explained}


def _largest_directions(matrix: sparse.csr_matrix, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Left vectors, values and right vectors of a truncated SVD: ``width`` of them, or the rank where that is less."""
    if width < min(matrix.shape):
        start = np.random.default_rng(0).standard_normal(min(matrix.shape)).astype(np.float32)
        return svds(matrix, k=width, v0=start)
    left, values, right = np.linalg.svd(matrix.toarray(), full_matrices=False)  # no larger than width rows or columns
    rank = int((values > _NOTHING * values[0]).sum())
    return left[:, :rank], values[:rank], right[:rank]


def words_of(text: str) -> list[str]:
    """The words of a text in lower case; of a script without spaces, its characters and pairs of characters.

    >>> words_of("Teak-Stuhl 红木椅")
    ['teak', 'stuhl', '红', '木', '椅', '红木', '木椅']
    """
    unspaced, word = _patterns()
    text = unicodedata.normalize("NFKC", text).lower()
    found = [part for part in word.findall(text) if not unspaced.match(part)]
    for run in unspaced.findall(text):
        found += [*run, *(run[at : at + 2] for at in range(len(run) - 1))]
    return found


@functools.cache
def _patterns() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Runs of unspaced script; and those or words: letters with the marks upon them, which are no letters by themselves
    (vowels of Hindi, points of Hebrew)."""
    marks = "".join(chr(n) for n in range(sys.maxunicode + 1) if unicodedata.category(chr(n))[0] == "M")
    unspaced = f"[{_UNSPACED}]+"
    return re.compile(unspaced), re.compile(f"{unspaced}|(?:(?![{_UNSPACED}])[\\w{marks}])+")


def _tf_idf(counts: list[Counter[str]], share: np.ndarray, columns: dict[str, int]) -> sparse.csr_matrix:
    """float32 [N, words], (1 + log count) × -log(share of items with the word), rows of length 1 (or 0)."""
    kept = [[(columns[word], number) for word, number in count.items() if word in columns] for count in counts]
    flat = np.array([pair for row in kept for pair in row], np.int64).reshape(-1, 2)
    offsets = np.append(0, np.cumsum([len(row) for row in kept]))
    values = ((1 + np.log(flat[:, 1])) * -np.log(share[flat[:, 0]])).astype(np.float32)
    matrix = sparse.csr_matrix((values, flat[:, 0], offsets), (len(counts), len(columns)))
    norms = np.sqrt(np.asarray(matrix.multiply(matrix).sum(1))).ravel()
    return sparse.diags(1 / np.maximum(norms, 1e-12).astype(np.float32)).dot(matrix).tocsr()
