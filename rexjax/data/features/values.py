"""Raw values of a column or of a request as text, numbers or lists: one reading for both.

A column of a frame is read by its distinct values, a request's value alone. Both go through the same function of one
value, so that a feature is the same offline and online.
"""

import datetime
import decimal
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rexjax.errors import UserError

_NUMBER = re.compile(r"[+-]?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][+-]?[0-9]+)?")
_NAN = re.compile("[+-]?nan", re.IGNORECASE)
_EXACT = 2.0**53
"""From here on float64 skips whole numbers."""


class Texts(NamedTuple):
    """A column of text, by its distinct values."""

    distinct: list[str | None]
    """Texts, None where the value is missing; one may be there several times."""
    codes: np.ndarray
    """int64 [n], the place of each row's text in ``distinct``."""


class Lists(NamedTuple):
    """Lists, one after another."""

    counts: np.ndarray
    """int64 [n], the values of each list."""
    values: Any
    """[counts.sum()], an Arrow array or a list of raw values."""


def columns_of(frame: Any) -> Mapping[str, Any]:
    """A frame of pandas or polars, an Arrow table or a mapping, as columns by name."""
    if isinstance(frame, Mapping):
        return frame
    table = frame if isinstance(frame, pa.Table) else pa.table(frame)
    return {name: table[name] for name in table.column_names}


def as_array(values: Any, name: str) -> pa.Array:
    """A column of a frame as one Arrow array.

    Raises:
        UserError: the values are of several types, or of one that Arrow does not know.
    """
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    try:
        array = values if isinstance(values, pa.Array) else pa.array(values, from_pandas=True)
    except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
        reason = " ".join(str(error).split()[:40])
        raise UserError(f"feature column {name!r} cannot be read ({reason}): write one type of values") from error
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array


def _is_plain(values: Any) -> bool:
    """Whether these are Python's own values, such as a request's."""
    return isinstance(values, list | tuple)


# --- text -----------------------------------------------------------------------------------------------------------


def texts(values: Any, name: str) -> Texts:
    """A column as text; null, blank and NaN are missing.

    Whole numbers have neither point nor exponent, other floats are as short as their type allows, booleans are true and
    false, dates and times are in ISO 8601. Text is compared as it is written, without blanks around it.

    Args:
        values: an Arrow array, a NumPy array, or a list of raw values.
        name: of the column, for the message.

    Raises:
        UserError: values are of another type.

    >>> texts([3.0, 0.5, float("nan"), " red ", ""], "size").distinct
    ['3', '0.5', None, 'red', None]
    """
    if _is_plain(values):
        return Texts([_spell(value, name) for value in values], np.arange(len(values)))
    array = as_array(values, name)
    if pa.types.is_null(array.type):
        return Texts([None], np.zeros(len(array), np.int64))
    if pa.types.is_nested(array.type):
        raise _no_text(name, array.type)
    encoded = array.dictionary_encode()
    codes = np.asarray(pc.fill_null(encoded.indices, -1)) + 1
    return Texts([None, *(_spell(value, name) for value in _scalars(encoded.dictionary))], codes)


def _scalars(array: pa.Array) -> Sequence[Any]:
    """Floats keep their width, by which they are spelt."""
    return array.to_numpy(zero_copy_only=False) if pa.types.is_floating(array.type) else array.to_pylist()


def _spell(value: Any, name: str) -> str | None:
    if value is None:
        return None
    for kinds, spell in _SPELLINGS:
        if isinstance(value, kinds):
            return spell(value)
    raise _no_text(name, type(value).__name__)


def _no_text(name: str, kind: Any) -> UserError:
    return UserError(
        f"feature column {name!r} holds values of the type {kind}: write text, numbers, booleans, dates or times, or "
        "declare lists as Bag"
    )


def _spell_text(value: str) -> str | None:
    bare = value.strip()
    return None if not bare or _NAN.fullmatch(bare) else bare


def _spell_float(value: Any) -> str | None:
    if math.isnan(value):
        return None
    return str(int(value)) if value % 1 == 0 and abs(value) < _EXACT else str(value)


def _spell_decimal(value: decimal.Decimal) -> str:
    return str(int(value)) if value == value.to_integral_value() else format(value.normalize(), "f")


def _spell_bool(value: bool) -> str:
    return "true" if value else "false"


def _spell_moment(value: Any) -> str:
    return str(value.isoformat())


_SPELLINGS: tuple[tuple[Any, Callable[[Any], str | None]], ...] = (
    (str, _spell_text),
    (bool, _spell_bool),
    (int, str),
    ((float, np.floating), _spell_float),
    (decimal.Decimal, _spell_decimal),
    ((datetime.date, datetime.time), _spell_moment),
)


# --- numbers --------------------------------------------------------------------------------------------------------


def numbers(values: Any, name: str) -> np.ndarray:
    """A column as float64 [n], NaN where a value is missing: null, blank or NaN.

    Args:
        values: an Arrow array, a NumPy array, or a list of raw values.
        name: of the column, for the message.

    Raises:
        UserError: a value is text that is no number, or infinite.

    >>> numbers(["4.5", " 12 ", None], "price").tolist()
    [4.5, 12.0, nan]
    """
    if _is_plain(values):
        found = np.array([_number(value, name) for value in values], np.float64)
    else:
        found = _numbers_of_array(as_array(values, name), name)
    if np.isinf(found).any():
        raise UserError(f"numeric feature column {name!r} holds an infinite number: leave it empty")
    return found


def _numbers_of_array(array: pa.Array, name: str) -> np.ndarray:
    kind = array.type
    if pa.types.is_boolean(kind):
        return _floats(array.cast(pa.uint8()))
    if pa.types.is_null(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return _floats(array)
    if pa.types.is_nested(kind):
        raise _no_number(name, kind)
    encoded = array.dictionary_encode()
    codes = np.asarray(pc.fill_null(encoded.indices, -1))
    read = [_number(value, name) for value in encoded.dictionary.to_pylist()]
    return np.array([math.nan, *read])[codes + 1]


def _floats(array: pa.Array) -> np.ndarray:
    return np.array(pc.fill_null(array.cast(pa.float64(), safe=False), math.nan), np.float64)


def _number(value: Any, name: str) -> float:
    if isinstance(value, str):
        bare = _spell_text(value)
        if bare is None:
            return math.nan
        if _NUMBER.fullmatch(bare):
            return float(bare)
        raise UserError(
            f"numeric feature column {name!r} holds {value!r}, which is no number: write digits with a decimal point, "
            "such as 4.5, or declare the column as Categorical"
        )
    if value is None:
        return math.nan
    if not isinstance(value, int | float | np.number | decimal.Decimal):
        raise _no_number(name, type(value).__name__)
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _no_number(name: str, kind: Any) -> UserError:
    return UserError(f"numeric feature column {name!r} holds values of the type {kind}: write numbers")


# --- lists ----------------------------------------------------------------------------------------------------------


def lists(values: Any, name: str, delimiter: str) -> Lists:
    """A column of lists, or of text with a delimiter between the values.

    Empty parts of a text are no values; any other value than text and lists is a list of one.

    Args:
        values: an Arrow array, a NumPy array, or a list of raw values.
        name: of the column, for the message.
        delimiter: what stands between the values of a text.

    Raises:
        UserError: Arrow does not know the type of the values.

    >>> found = lists(["a|b", None, "c"], "genres", "|")
    >>> found.counts.tolist(), found.values
    ([2, 0, 1], ['a', 'b', 'c'])
    """
    if _is_plain(values):
        parts = [_parts(value, delimiter) for value in values]
        return Lists(np.array([len(part) for part in parts], np.int64), [value for part in parts for value in part])
    array = as_array(values, name)
    if pa.types.is_list(array.type) or pa.types.is_large_list(array.type) or pa.types.is_fixed_size_list(array.type):
        array = array.cast(pa.large_list(array.type.value_type))
        counts = pc.fill_null(pc.list_value_length(array), 0)
        return Lists(np.array(counts, np.int64), array.flatten())
    return lists(array.to_pylist(), name, delimiter)


def _parts(value: Any, delimiter: str) -> Sequence[Any]:
    if isinstance(value, str):
        return [] if _spell_text(value) is None else [part for part in map(str.strip, value.split(delimiter)) if part]
    if isinstance(value, list | tuple):
        return value
    return [] if value is None or value != value else [value]
