"""Bags: several ids a row, with weights."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from rexjax.data.features import values as raw
from rexjax.data.features.categories import Vocabulary, build_vocabulary
from rexjax.data.features.declared import Bag, Feature
from rexjax.data.features.fitted import Counts, FeatureArray, Fitted
from rexjax.errors import UserError


@dataclass(frozen=True)
class FittedBag(Fitted):
    """Several ids a row."""

    feature: Bag
    vocabulary: Vocabulary

    @property
    def declared(self) -> Feature:
        """See ``Fitted``."""
        return self.feature

    def arrays(self) -> tuple[FeatureArray, ...]:
        """See ``Fitted``."""
        name, most = self.feature.called, self.feature.most
        bag = FeatureArray(name, "bag", self.vocabulary.cardinality, most)
        return (bag, FeatureArray(f"{name}_weights", "weights", 0, most)) if self.feature.weights else (bag,)

    def transform(self, columns: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """See ``Fitted``."""
        feature = self.feature
        found = raw.lists(columns[feature.column], feature.column, feature.delimiter)
        texts = raw.texts(found.values, feature.column)
        there = np.array([text is not None for text in texts.distinct], bool)[texts.codes]
        row = np.repeat(np.arange(len(found.counts)), found.counts)
        places = _places(row[there])
        kept = places < feature.most
        rows, at = row[there][kept], places[kept]
        ids = np.full((len(found.counts), feature.most), -1, np.int32)
        ids[rows, at] = self.vocabulary.ids(texts)[there][kept]
        if not feature.weights:
            return {feature.called: ids}
        weights = np.zeros(ids.shape, np.float32)
        weights[rows, at] = _weights(feature, columns, found.counts)[there][kept]
        return {feature.called: ids, f"{feature.called}_weights": weights}

    def count(self, arrays: Mapping[str, np.ndarray]) -> Counts:
        """See ``Fitted``."""
        ids = arrays[self.feature.called]
        return Counts(int((ids >= 0).sum()), self.vocabulary.count_unknown(ids), int((ids < 0).all(1).sum()))


def fit_bags(feature: Bag, columns: Any) -> FittedBag:
    """See ``Bag.fit``."""
    found = raw.lists(raw.columns_of(columns)[feature.column], feature.column, feature.delimiter)
    return FittedBag(feature, build_vocabulary(raw.texts(found.values, feature.column), feature))


def _places(rows: np.ndarray) -> np.ndarray:
    """The number of each value within its row; ``rows`` (int64) rise."""
    return np.arange(len(rows)) - np.searchsorted(rows, rows)


def _weights(feature: Bag, columns: Mapping[str, Any], counts: np.ndarray) -> np.ndarray:
    """float64, one for each value: 1 where the weight is missing, or the whole row has none."""
    found = raw.lists(columns[feature.weights], feature.weights, feature.delimiter)
    empty = found.counts == 0
    wrong = np.flatnonzero(~empty & (found.counts != counts))
    if len(wrong):
        raise UserError(
            f"row {wrong[0] + 1} has {counts[wrong[0]]} values in {feature.column!r} and {found.counts[wrong[0]]} "
            f"weights in {feature.weights!r}: give each value its weight"
        )
    given = np.repeat(~empty, counts)
    weights = np.ones(int(counts.sum()))
    weights[given] = raw.numbers(found.values, feature.weights)[np.repeat(counts > 0, found.counts)]
    return np.where(np.isnan(weights), 1.0, weights)
