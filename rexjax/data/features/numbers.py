"""Numbers: buckets with bounds from the training part, or standardised values."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from rexjax.data.features import values as raw
from rexjax.data.features.categories import FIRST
from rexjax.data.features.declared import Feature, Numeric, Weight
from rexjax.data.features.fitted import Counts, FeatureArray, Fitted
from rexjax.errors import UserError


@dataclass(frozen=True)
class FittedBuckets(Fitted):
    """The id of a number's bucket."""

    feature: Numeric
    bounds: tuple[float, ...]
    """Rising, float64: a number is in the bucket behind all bounds that are not above it."""

    @property
    def declared(self) -> Feature:
        """See ``Fitted``."""
        return self.feature

    def arrays(self) -> tuple[FeatureArray, ...]:
        """See ``Fitted``."""
        return (FeatureArray(self.feature.called, "ids", FIRST + len(self.bounds) + 1),)

    def transform(self, columns: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """See ``Fitted``."""
        values = _numbers(self.feature, columns)
        ids = FIRST + np.searchsorted(np.asarray(self.bounds, np.float64), values, side="right")
        return {self.feature.called: np.where(np.isnan(values), 1, ids).astype(np.int32)}

    def count(self, arrays: Mapping[str, np.ndarray]) -> Counts:
        """See ``Fitted``."""
        ids = arrays[self.feature.called]
        return Counts(ids.size, 0, int((ids == 1).sum()))


@dataclass(frozen=True)
class FittedScale(Fitted):
    """A standardised number beside its missing-ness."""

    feature: Numeric
    mean: float
    deviation: float

    @property
    def declared(self) -> Feature:
        """See ``Fitted``."""
        return self.feature

    def arrays(self) -> tuple[FeatureArray, ...]:
        """See ``Fitted``."""
        name = self.feature.called
        return FeatureArray(name, "numbers"), FeatureArray(f"{name}_missing", "numbers")

    def transform(self, columns: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """See ``Fitted``."""
        values, name = _numbers(self.feature, columns), self.feature.called
        absent = np.isnan(values)
        scaled = np.where(absent, 0.0, (values - self.mean) / self.deviation)
        return {name: scaled.astype(np.float32), f"{name}_missing": absent.astype(np.float32)}

    def count(self, arrays: Mapping[str, np.ndarray]) -> Counts:
        """See ``Fitted``."""
        absent = arrays[f"{self.feature.called}_missing"]
        return Counts(absent.size, 0, int(absent.sum()))


@dataclass(frozen=True)
class FittedWeight(Fitted):
    """Numbers as they are."""

    feature: Weight

    @property
    def declared(self) -> Feature:
        """See ``Fitted``."""
        return self.feature

    def arrays(self) -> tuple[FeatureArray, ...]:
        """See ``Fitted``."""
        return (FeatureArray(self.feature.called, "numbers"),)

    def transform(self, columns: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """See ``Fitted``."""
        values = raw.numbers(columns[self.feature.column], self.feature.column)
        return {self.feature.called: np.where(np.isnan(values), 1.0, values).astype(np.float32)}

    def count(self, arrays: Mapping[str, np.ndarray]) -> Counts:
        """A missing weight is 1 and no longer told from others."""
        return Counts(arrays[self.feature.called].size, 0, 0)


def fit_numbers(feature: Numeric, columns: Any) -> FittedBuckets | FittedScale:
    """See ``Numeric.fit``."""
    values = _numbers(feature, raw.columns_of(columns))
    values = values[~np.isnan(values)]
    if not len(values):
        raise UserError(
            f"numeric feature {feature.called!r} has no value in the training part ({feature.column}): leave it out"
        )
    if feature.scale == "standard":
        return FittedScale(feature, float(values.mean()), float(values.std()) or 1.0)
    find = _at_quantiles if feature.scale == "quantile" else _at_logarithms
    return FittedBuckets(feature, tuple(np.unique(find(values, feature.buckets)).tolist()))


def _at_quantiles(values: np.ndarray, buckets: int) -> np.ndarray:
    return np.quantile(values, np.arange(1, buckets) / buckets)


def _at_logarithms(values: np.ndarray, buckets: int) -> np.ndarray:
    ends = np.sign([values.min(), values.max()]) * np.log1p(np.abs([values.min(), values.max()]))
    inner = np.linspace(*ends, buckets + 1)[1:-1]
    return np.sign(inner) * np.expm1(np.abs(inner))


def _numbers(feature: Numeric, columns: Mapping[str, Any]) -> np.ndarray:
    values = raw.numbers(columns[feature.column], feature.column)
    return values if feature.default is None else np.where(np.isnan(values), feature.default, values)
