"""What a format of rows says of itself, so that rows are read, scored, cut, spread and stored without its name."""

from collections.abc import Callable
from typing import Any, Protocol, Self, runtime_checkable

import jax


@runtime_checkable
class RowFormat(Protocol):
    """Rows [..., D] as a named tuple of arrays. A plain array of rows is the one format that is no such tuple."""

    @property
    def shared(self) -> tuple[str, ...]:
        """Fields that all rows share; the others have one entry for each row."""

    @property
    def width(self) -> int:
        """D."""

    def numbers(self) -> jax.Array:
        """float32 [..., D], before the factors."""

    def factors(self) -> jax.Array | None:
        """[...], what a row's numbers are multiplied by; None: 1."""

    def alike(self, rows: jax.Array) -> Self:
        """New rows float32 [M, D] in this format, beside the same shared fields."""


def map_rows(change: Callable[..., Any], rows: Any, *others: Any) -> Any:
    """``rows`` with ``change`` of each array that has an entry for each row; shared arrays stay.

    Args:
        change: (array, the same array of each of ``others``) → array.
        rows: an array, or a ``RowFormat``.
        others: rows of the same format.
    """
    if not isinstance(rows, RowFormat):
        return change(rows, *others)
    fields: dict[str, Any] = rows._asdict()  # type: ignore[attr-defined]
    changed = {
        name: change(leaf, *(getattr(other, name) for other in others))
        for name, leaf in fields.items()
        if name not in rows.shared
    }
    return type(rows)(**fields | changed)


def arrays_by_row(rows: Any) -> list[Any]:
    """The arrays that have an entry for each row; what a row costs is theirs."""
    if not isinstance(rows, RowFormat):
        return [rows]
    return [leaf for name, leaf in rows._asdict().items() if name not in rows.shared]  # type: ignore[attr-defined]


def by_field(rows: Any, each: Any, shared: Any) -> Any:
    """A tree like ``rows``: ``each`` in place of arrays with an entry for each row, ``shared`` in place of others."""
    if not isinstance(rows, RowFormat):
        return each
    fields = rows._asdict()  # type: ignore[attr-defined]
    return type(rows)(**{name: shared if name in rows.shared else each for name in fields})
