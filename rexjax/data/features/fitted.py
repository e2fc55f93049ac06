"""Fitted features: what makes arrays of raw values, the same offline and online.

A fitted feature is a frozen dataclass of plain values (``rexjax.artifacts.classes.as_dict`` writes it as JSON); nothing
is unpickled.
"""

import abc
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from rexjax.artifacts.classes import Open, as_dict, from_dict
from rexjax.data.features.declared import Feature
from rexjax.data.features.values import columns_of
from rexjax.errors import UserError

Kind = Literal["ids", "numbers", "bag", "weights"]


class FeatureArray(NamedTuple):
    """What a consumer must know of one array."""

    name: str
    kind: Kind
    """Ids int32 [n]; numbers float32 [n]; a bag int32 [n, K], padded with -1; weights float32 [n, K] of a bag."""
    cardinality: int = 0
    """Ids are below it; 0: no ids."""
    width: int = 0
    """K of a bag and of its weights."""
    about: str = ""
    """What n counts, see ``FittedFeatures``."""


class Counts(NamedTuple):
    """Values of a column that have no id of their own."""

    values: int
    """All values."""
    unknown: int
    """Outside the vocabulary."""
    missing: int
    """Rows without a value."""


@dataclass(frozen=True)
class Fitted(Open, abc.ABC):
    """A feature whose values can be read."""

    @property
    @abc.abstractmethod
    def declared(self) -> Feature:
        """What it was fitted from."""

    @abc.abstractmethod
    def arrays(self) -> tuple[FeatureArray, ...]:
        """The arrays that ``transform`` makes."""

    @abc.abstractmethod
    def transform(self, columns: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Arrays by name, of n raw values a column; a column that is absent counts as missing values.

        Raises:
            UserError: a value is of another type.
        """

    @abc.abstractmethod
    def count(self, arrays: Mapping[str, np.ndarray]) -> Counts:
        """Counts unknown and missing values of what ``transform`` made."""


@dataclass(frozen=True)
class FittedFeatures(Open):
    """The fitted features of users, of items, or of events."""

    features: tuple[Fitted, ...] = ()
    about: str = ""
    """"user" [U], "item" [N]; of each event [E]: "user_at", the user just before it, "context", known before its item
    is chosen, or "event", known after it."""

    def arrays(self) -> tuple[FeatureArray, ...]:
        """What ``transform`` makes, in its order."""
        return tuple(array._replace(about=self.about) for feature in self.features for array in feature.arrays())

    def transform(self, frame: Any) -> dict[str, np.ndarray]:
        """Arrays by name, of n rows.

        Args:
            frame: raw values by column. A column that is absent counts as missing values, unless a feature that reads
                it is required. For one request: a mapping of names to lists of one value, see ``of_request``.

        Raises:
            UserError: a required column is absent, or a value is of another type.
        """
        columns = columns_of(frame)
        self._refuse_absent(columns)
        rows = len(next(iter(columns.values()))) if columns else 1
        nothing = [None] * rows
        known = {name: columns.get(name, nothing) for feature in self.features for name in feature.declared.sources}
        found: dict[str, np.ndarray] = {}
        for feature in self.features:
            found |= feature.transform(known)
        return found

    def of_request(self, values: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Arrays [1, ...] by name, of a request's raw values: text, numbers, booleans, None, or lists for bags.

        Raises:
            UserError: as ``transform``, or a name is of no column.
        """
        read = {name for feature in self.features for name in feature.declared.sources}
        if unknown := sorted(values.keys() - read):
            there = ", ".join(sorted(read)) or "none"
            raise UserError(f"no feature reads {', '.join(map(repr, unknown))}: the features' columns are {there}")
        return self.transform({name: [value] for name, value in values.items()})

    def _refuse_absent(self, columns: Mapping[str, Any]) -> None:
        absent = [
            name
            for feature in self.features
            if feature.declared.required
            for name in feature.declared.sources
            if name not in columns
        ]
        if absent:
            raise UserError(f"the required feature {', '.join(map(repr, dict.fromkeys(absent)))} is absent: give it")

    def counts(self, arrays: Mapping[str, np.ndarray]) -> dict[str, dict[str, Any]]:
        """What the data card says of each feature: kind, cardinality, share of unknown and of missing values."""
        return {feature.declared.called: _facts(feature, arrays) for feature in self.features}

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return dict(as_dict(self))


def _facts(feature: Fitted, arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    first, counts = feature.arrays()[0], feature.count(arrays)
    rows = len(arrays[first.name])
    return {
        "kind": type(feature.declared).__name__.lower(),
        "cardinality": first.cardinality,
        "out_of_vocabulary": counts.unknown / max(counts.values, 1),
        "missing": counts.missing / max(rows, 1),
    }


def fit(features: Iterable[Feature], frame: Any, about: str = "") -> FittedFeatures:
    """Fits declarations on the training part.

    Args:
        features: what ``rexjax.data.features.declared`` returned.
        frame: raw values of the training part by column.
        about: see ``FittedFeatures``.

    Raises:
        UserError: columns are absent (all are named), or hold what they must not.

    >>> from rexjax.data.features import Categorical
    >>> fit([Categorical("colour")], {"colour": ["red"]}).of_request({"colour": "red"})["colour"].tolist()
    [2]
    """
    columns, features = columns_of(frame), tuple(features)
    wanted = dict.fromkeys(name for feature in features for name in feature.sources)
    if lacking := [name for name in wanted if name not in columns]:
        raise UserError(
            f"there is no feature column {', '.join(map(repr, lacking))} (there are {', '.join(columns) or 'none'}): "
            "mend the names of the features"
        )
    return FittedFeatures(tuple(feature.fit(columns) for feature in features), about)


def from_json(values: dict[str, Any]) -> FittedFeatures:
    """The inverse of ``FittedFeatures.as_dict``.

    >>> from rexjax.data.features import Categorical
    >>> fitted = fit([Categorical("colour")], {"colour": ["red"]})
    >>> from_json(fitted.as_dict()) == fitted
    True
    """
    return from_dict(FittedFeatures, values)
