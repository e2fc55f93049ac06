"""Categories: vocabularies, hashed values and crosses.

Ids are: 0 a value outside the vocabulary, 1 a missing one, then the vocabulary, then the buckets of hashed values.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from rexjax.data.features import values
from rexjax.data.features.declared import Bag, Categorical, Cross, Feature
from rexjax.data.features.fitted import Counts, FeatureArray, Fitted
from rexjax.data.features.values import Texts
from rexjax.errors import UserError

FIRST = 2
"""The first id of a vocabulary."""
MOST_BYTES = 1 << 26
"""Of a vocabulary's text: more is refused."""
_BETWEEN = "\x1f"
"""Unit separator, between the values of a cross."""


@dataclass(frozen=True)
class Vocabulary:
    """Texts with ids."""

    values: tuple[str, ...] = ()
    """In the order of their ids, which begin at ``FIRST``."""
    buckets: int = 0
    """Other texts are hashed into so many ids behind them; 0: they have the id 0."""

    @property
    def cardinality(self) -> int:
        """Ids are below it."""
        return FIRST + len(self.values) + self.buckets

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {value: FIRST + place for place, value in enumerate(self.values)}

    def ids(self, texts: Texts) -> np.ndarray:
        """int32 [n] of n texts."""
        return np.array([self._id(text) for text in texts.distinct], np.int32)[texts.codes]

    def _id(self, text: str | None) -> int:
        if text is None:
            return 1
        known = self._ids.get(text, 0)
        if known or not self.buckets:
            return known
        digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        return FIRST + len(self.values) + int.from_bytes(digest, "little") % self.buckets

    def count_unknown(self, ids: np.ndarray) -> int:
        """Ids of texts that training did not know; with hashing alone there are none."""
        behind = FIRST + len(self.values)
        return int(((ids == 0) | ((ids >= behind) if self.values else False)).sum())


def build_vocabulary(texts: Texts, feature: Categorical | Cross | Bag) -> Vocabulary:
    """By falling frequency, ties in the order of the texts."""
    if feature.hashed:
        return Vocabulary((), feature.hashed)
    counted: dict[str, int] = {}
    for text, count in zip(
        texts.distinct, np.bincount(texts.codes, minlength=len(texts.distinct)).tolist(), strict=True
    ):
        if text is not None:
            counted[text] = counted.get(text, 0) + count
    rows = sorted((-count, text) for text, count in counted.items())
    kept = [text for count, text in rows if -count >= feature.min_count]
    kept = kept[: feature.size] if feature.size else kept
    size = sum(len(text.encode("utf-8", "surrogatepass")) for text in kept)
    if size > MOST_BYTES:
        raise UserError(
            f"feature {feature.called!r} has {len(kept):,} distinct values, {size / 1e6:,.0f} MB of text, and at most "
            f"{MOST_BYTES / 1e6:,.0f} MB are kept: hash them with hashed=, or raise min_count or set size"
        )
    if not kept:
        raise UserError(
            f"feature {feature.called!r} has no value in {feature.min_count} training rows or more "
            f"({', '.join(feature.sources)}): lower min_count, or leave the feature out"
        )
    return Vocabulary(tuple(kept), feature.oov)


@dataclass(frozen=True)
class FittedCategories(Fitted):
    """One id a row."""

    feature: Feature
    """Categorical or Cross."""
    vocabulary: Vocabulary

    @property
    def declared(self) -> Feature:
        """See ``Fitted``."""
        return self.feature

    def arrays(self) -> tuple[FeatureArray, ...]:
        """See ``Fitted``."""
        return (FeatureArray(self.feature.called, "ids", self.vocabulary.cardinality),)

    def transform(self, columns: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """See ``Fitted``."""
        return {self.feature.called: self.vocabulary.ids(_crossed(self.feature, columns))}

    def count(self, arrays: Mapping[str, np.ndarray]) -> Counts:
        """See ``Fitted``."""
        ids = arrays[self.feature.called]
        return Counts(ids.size, self.vocabulary.count_unknown(ids), int((ids == 1).sum()))


def fit_categories(feature: Categorical | Cross, columns: Any) -> FittedCategories:
    """See ``Categorical.fit``."""
    return FittedCategories(feature, build_vocabulary(_crossed(feature, values.columns_of(columns)), feature))


def _crossed(feature: Feature, columns: Mapping[str, Any]) -> Texts:
    """Texts of one column, or of several joined, missing where one of them is."""
    parts = [values.texts(columns[name], name) for name in feature.sources]
    if isinstance(feature, Categorical) and feature.default:
        return Texts([text or feature.default for text in parts[0].distinct], parts[0].codes)
    return parts[0] if len(parts) == 1 else _joined(parts)


def _joined(parts: list[Texts]) -> Texts:
    """By the distinct combinations."""
    rows, codes = np.unique(np.stack([part.codes for part in parts]), axis=1, return_inverse=True)
    columns = [[part.distinct[code] for code in row] for part, row in zip(parts, rows.tolist(), strict=True)]
    joined = [None if None in row else _BETWEEN.join(map(str, row)) for row in zip(*columns, strict=True)]
    return Texts(joined, codes.reshape(-1))
