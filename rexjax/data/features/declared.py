"""Columns as features: what a config declares of them.

A declaration is fitted on the training part alone. What is fitted (``rexjax.data.features.fitted``) makes named arrays
of a frame's columns and of a request's values by the same code.
"""

import abc
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from rexjax.artifacts.classes import Open
from rexjax.errors import UserError, check_least

if TYPE_CHECKING:
    from rexjax.data.features.fitted import Fitted

EVENT = "event"
"""Name of the kind of each event, int32 [E]."""
WEIGHT = "weight"
"""Name of the weight of each event, float32 [E]."""
RESERVED = ("user", EVENT, WEIGHT)
"""Names that no declared feature may have."""


@dataclass(frozen=True)
class Feature(Open, abc.ABC):
    """What is known of one feature before any value is read."""

    name: str = field(default="", kw_only=True)
    """Of its array; '': the column's."""
    required: bool = field(default=False, kw_only=True)
    """A request without it is refused; else its value counts as missing."""

    @property
    @abc.abstractmethod
    def sources(self) -> tuple[str, ...]:
        """The columns that it reads."""

    @property
    def called(self) -> str:
        """Its name."""
        return self.name or "_x_".join(self.sources)

    @property
    def numbers(self) -> tuple[str, ...]:
        """The columns among them that hold numbers."""
        return ()

    @abc.abstractmethod
    def fit(self, columns: Any) -> "Fitted":
        """Learns vocabulary, buckets or moments.

        Args:
            columns: raw values of the training part by column: a frame, an Arrow table or a mapping.

        Raises:
            UserError: a column is absent or holds what it must not.
        """


@dataclass(frozen=True)
class Categorical(Feature):
    """One id a row: 0 is a value outside the vocabulary, 1 a missing one, then values by falling frequency.

    >>> fitted = Categorical("colour").fit({"colour": ["red", "blue", "red", None]})
    >>> fitted.transform({"colour": ["blue", "red", "green", None]})["colour"].tolist()
    [3, 2, 0, 1]
    """

    column: str
    """What the frame and the request call it."""
    min_count: int = 1
    """Values of fewer training rows are outside the vocabulary."""
    size: int = 0
    """The vocabulary holds at most so many values; 0: all."""
    hashed: int = 0
    """Buckets that all values are hashed into, without a vocabulary; 0: a vocabulary."""
    oov: int = 0
    """Further buckets that values outside the vocabulary are hashed into; 0: they share the id 0."""
    default: str = ""
    """Takes the place of a missing value, offline and online; '': missing has an id of its own."""

    def __post_init__(self) -> None:
        check_least(self, f"Categorical({self.column!r})", 1, "min_count")
        check_least(self, f"Categorical({self.column!r})", 0, "size", "hashed", "oov")

    @property
    def sources(self) -> tuple[str, ...]:
        """The one column."""
        return (self.column,)

    def fit(self, columns: Any) -> "Fitted":
        """Counts the values."""
        from rexjax.data.features.categories import fit_categories

        return fit_categories(self, columns)


@dataclass(frozen=True)
class Cross(Feature):
    """One id for each combination of several columns' values; missing where one of them is missing.

    >>> fitted = Cross(("place", "device")).fit({"place": ["a", "b"], "device": ["x", "x"]})
    >>> fitted.transform({"place": ["a", "b", "b"], "device": ["x", "x", "y"]})["place_x_device"].tolist()
    [2, 3, 0]
    """

    columns: tuple[str, ...]
    """Two or more."""
    min_count: int = 1
    """See ``Categorical``; likewise the others."""
    size: int = 0
    hashed: int = 0
    oov: int = 0

    def __post_init__(self) -> None:
        if len(self.columns) < 2:
            raise UserError(f"Cross has columns={self.columns}: name two or more")
        check_least(self, f"Cross({self.columns})", 1, "min_count")
        check_least(self, f"Cross({self.columns})", 0, "size", "hashed", "oov")

    @property
    def sources(self) -> tuple[str, ...]:
        """The crossed columns."""
        return self.columns

    def fit(self, columns: Any) -> "Fitted":
        """Counts the combinations."""
        from rexjax.data.features.categories import fit_categories

        return fit_categories(self, columns)


@dataclass(frozen=True)
class Numeric(Feature):
    """A number: as the id of its bucket (0 is not used, 1 is missing), or standardised beside its missing-ness.

    >>> fitted = Numeric("price", buckets=2).fit({"price": [1.0, 2.0, 3.0, 4.0]})
    >>> fitted.transform({"price": [0.0, 9.0, None]})["price"].tolist()
    [2, 3, 1]
    """

    column: str
    """What the frame and the request call it."""
    scale: Literal["quantile", "log", "standard"] = "quantile"
    """Buckets of as many training rows each; buckets of equal width in sign(x) log(1 + |x|); or (x - mean) / standard
    deviation as float32, 0 where missing, with a second array NAME_missing, 1 where missing."""
    buckets: int = 32
    """At most so many; equal bounds are one."""
    default: float | None = None
    """Takes the place of a missing value, offline and online; None: missing has an id of its own."""

    def __post_init__(self) -> None:
        check_least(self, f"Numeric({self.column!r})", 2, "buckets")

    @property
    def sources(self) -> tuple[str, ...]:
        """The one column."""
        return (self.column,)

    @property
    def numbers(self) -> tuple[str, ...]:
        """The one column."""
        return (self.column,)

    def fit(self, columns: Any) -> "Fitted":
        """Finds the buckets' bounds, or mean and deviation."""
        from rexjax.data.features.numbers import fit_numbers

        return fit_numbers(self, columns)


@dataclass(frozen=True)
class Bag(Feature):
    """Several ids a row, padded with -1, and their weights if there is a column of them.

    >>> fitted = Bag("genres", most=2).fit({"genres": ["a|b", "a", None]})
    >>> fitted.transform({"genres": ["b|a|c", "", "c"]})["genres"].tolist()
    [[3, 2], [-1, -1], [0, -1]]
    """

    column: str
    """A column of lists, or of text with a delimiter."""
    delimiter: str = "|"
    """What stands between the values of a text."""
    weights: str = ""
    """The column with as many numbers; '': all weigh 1. They are the array NAME_weights, float32 [n, K]."""
    most: int = 16
    """At most so many values a row, K: the first ones."""
    min_count: int = 1
    """See ``Categorical``; likewise the others."""
    size: int = 0
    hashed: int = 0
    oov: int = 0

    def __post_init__(self) -> None:
        check_least(self, f"Bag({self.column!r})", 1, "min_count", "most")
        check_least(self, f"Bag({self.column!r})", 0, "size", "hashed", "oov")
        if not self.delimiter:
            raise UserError(f"Bag({self.column!r}) has an empty delimiter: say what stands between the values")

    @property
    def sources(self) -> tuple[str, ...]:
        """The values' column and the weights'."""
        return (self.column, self.weights) if self.weights else (self.column,)

    @property
    def called(self) -> str:
        """The column's name."""
        return self.name or self.column

    def fit(self, columns: Any) -> "Fitted":
        """Counts the values of all rows."""
        from rexjax.data.features.bags import fit_bags

        return fit_bags(self, columns)


@dataclass(frozen=True)
class Weight(Feature):
    """How much each event counts: float32 as it is, 1 where it is missing."""

    column: str
    """What the frame calls it."""
    name: str = field(default=WEIGHT, kw_only=True)
    """Models know it by this name."""

    @property
    def sources(self) -> tuple[str, ...]:
        """The one column."""
        return (self.column,)

    @property
    def numbers(self) -> tuple[str, ...]:
        """The one column."""
        return (self.column,)

    def fit(self, columns: Any) -> "Fitted":
        """Nothing is learnt."""
        from rexjax.data.features.numbers import FittedWeight

        return FittedWeight(self)


def declared(features: Iterable[Feature | str]) -> tuple[Feature, ...]:
    """Declarations of which a plain name stands for ``Categorical`` of that column.

    Raises:
        UserError: something is neither.

    >>> declared(["country", Numeric("age")])[0]
    Categorical(name='', required=False, column='country', min_count=1, size=0, hashed=0, oov=0, default='')
    """
    if isinstance(features, str):
        raise UserError(f"{features!r} is one string: name the feature columns as a tuple, ({features!r},)")
    return tuple(map(_declared, features))


def _declared(feature: Any) -> Feature:
    if isinstance(feature, Feature):
        return feature
    if isinstance(feature, str) and feature:
        return Categorical(feature)
    raise UserError(f"{feature!r} is no feature: write a column's name, Categorical(…), Numeric(…), Bag(…) or Cross(…)")


def check_names(features: Iterable[Feature]) -> None:
    """Refuses features of one name, and names that are taken.

    Raises:
        UserError: names are not distinct; all that are wrong are named.
    """
    names = [array for feature in features for array in array_names(feature)]
    twice = sorted({name for name in names if names.count(name) > 1 or name in RESERVED})
    if twice:
        raise UserError(
            f"several features are called {', '.join(map(repr, twice))}, or the name is taken (taken are "
            f"{', '.join(RESERVED)}): give each another one with name="
        )


def array_names(feature: Feature) -> tuple[str, ...]:
    """The names of a feature's arrays."""
    if isinstance(feature, Bag) and feature.weights:
        return feature.called, f"{feature.called}_weights"
    if isinstance(feature, Numeric) and feature.scale == "standard":
        return feature.called, f"{feature.called}_missing"
    return (feature.called,)
