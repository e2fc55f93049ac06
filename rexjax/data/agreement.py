"""Whether the log and the items file speak of the same items."""

from typing import Any

from rexjax.data import ids
from rexjax.data.engines import count, fetch
from rexjax.data.settings import Data
from rexjax.data.steps import Steps, materialise
from rexjax.errors import UserError, needs_extra

with needs_extra("data"):
    from ibis import _
    from ibis.expr.types import Table


def repeated_ids(items: Table, data: Data) -> Table:
    """Ids with more than one row in the items file: columns item and rows, stored in the engine."""
    named = items.select(item=ids.to_text(items, data.columns.item, "items file"))
    counted = named.filter(_.item.notnull()).group_by("item").agg(rows=_.count())
    return materialise("repeated", counted.filter(_.rows > 1))


def known_items(steps: Steps, log: Table, known: Table, item_ids: Table, repeated: Table | None, data: Data) -> Table:
    """The interactions whose item has a row in the items file.

    Args:
        steps: counts them.
        log: columns user and item, both codes.
        known: the catalogue, a row per item: columns item, code and text.
        item_ids: those of the log and of the catalogue: columns id and code.
        repeated: what ``repeated_ids`` found; None where the log carries the text.
        data: with ``strict``, files that disagree are refused.

    Raises:
        UserError: no item is in both files; with ``strict``, all ways in which they disagree.
    """
    strange = item_ids.anti_join(known, "code").rename(item="id")
    unknown = strange.semi_join(log, strange.code == log.item)
    unused = known.anti_join(log, known.code == log.item)
    spelt = _spellings(unknown, unused)
    both = log.semi_join(known, log.item == known.code)
    if spelt and not count(both.limit(1)):
        raise UserError(f"no item of the log is in the items file: {spelt}: spell them alike in both files")
    if data.strict:
        wrong = [(unknown, "are in the log only, without a row in the items file")]
        if data.catalogue == "log":
            wrong.append((unused, "are in the items file only, without any interaction"))
        if repeated is not None:
            wrong.append((repeated, "have several rows in the items file"))
        if data.text:
            wrong.append((known.filter(_.text == ""), "are without text"))
        _refuse(wrong)
    reason = "item without a row in the items file"
    return steps.take(reason, both, f"mend the ids: {spelt}") if spelt else steps.keep(reason, log)


def _spellings(unknown: Table, unused: Table) -> str:
    """An id of either file that the other one lacks; "" where the items file lacks none."""
    written = _example(unknown)
    if written is None:
        return ""
    there = _example(unused)
    return f"the log writes {written!r}" + ("" if there is None else f", the items file {there!r}")


def _example(items: Table) -> Any:
    rows = fetch(items.select("item").order_by("item").limit(1))["item"].to_pylist()
    return rows[0] if rows else None


def _refuse(wrong: list[tuple[Table, str]]) -> None:
    counted = [(items, what, count(items)) for items, what in wrong]
    said = [f"{number} items {what} (such as {_example(items)!r})" for items, what, number in counted if number]
    if said:
        raise UserError(f"{'; '.join(said)}: mend the files, or pass --data.no-strict")
