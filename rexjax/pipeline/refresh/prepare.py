"""Stage prepare of a refresh: the known events and the new ones, with dense ids that stay."""

import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from rexjax.artifacts.store import Artifact
from rexjax.config.schema import Config
from rexjax.data import card, engines, histories, interactions, news, times, vocabulary
from rexjax.data.news import Events
from rexjax.data.sources import Opened
from rexjax.data.steps import Step
from rexjax.errors import UserError
from rexjax.runtime.progress import notice


class _Cleaned(NamedTuple):
    """The log as it is now, in memory, by the ids of this reading."""

    events: Events
    items: pa.Table
    users: pa.Table
    steps: list[dict[str, Any]]
    facts: dict[str, Any]
    """For the data card."""


def run(config: Config, folder: Path, artifacts: dict[str, Artifact], parent: Artifact, days: float) -> dict[str, Any]:
    """Writes what stage prepare writes: the parent's events and those of the log that are new.

    Args:
        config: the experiment; its split is not used, as a refresh splits by time.
        folder: of the artifact.
        artifacts: none.
        parent: stage prepare's of the run that is refreshed.
        days: that test, and as many before them that validate.

    Returns:
        The data card, and in ``refresh`` what is new.

    Raises:
        UserError: the log has no event after the watermark, or its schema changed.
    """
    cleaned = _clean(config, folder / "scratch", parent)
    known = histories.read(parent.folder)
    items, item_of = _joined(pq.read_table(parent.folder / "items.parquet"), cleaned.items, "item")
    users, user_of = _joined(_users_of(parent), cleaned.users, "user")
    now = Events(user_of[cleaned.events.users], item_of[cleaned.events.items], cleaned.events.times)
    before = news.events_of(known)
    new, found = news.take_new(before, now, repeats=config.data.repeats == "keep")
    cuts = news.cuts(found.newest, found.watermark, days)
    whole = news.join(before, new, len(users), cuts)
    shutil.rmtree(folder / "histories", ignore_errors=True)
    histories.write(folder, news.records(whole))
    pq.write_table(items, folder / "items.parquet")
    pq.write_table(users, folder / "users.parquet")
    return _describe(config, folder, cleaned, items, parent) | {
        "refresh": found._asdict()
        | {"cuts": list(cuts), "new_items": len(items) - parent.metrics["items"], "new_users": len(users) - known.users}
    }


def _clean(config: Config, scratch: Path, parent: Artifact) -> _Cleaned:
    data = replace(config.data, split="leave_one_out")  # the k-core counts all events
    try:
        with engines.opened(data.engine, scratch / "engine") as con:
            opened = Opened(*data.source.read(data, config.seed, con, scratch))
            columns = {name: str(kind) for name, kind in opened.log.schema().items()}
            _check_schema(parent.metrics.get("columns", columns), columns)
            rows = None if opened.items is None else engines.count(opened.items)
            kept = interactions.clean(opened.log, opened.items, data)
            log = pa.Table.from_batches(list(engines.stream(kept.log, scratch / "log")))
            facts = {
                "items_without_interactions": kept.unused,
                "items_with_several_rows": kept.repeated,
                "catalogue_rows": rows,
                "time_form": kept.time_form,
                "columns": columns,
                "files": list(opened.files),
            }
            found = engines.fetch(kept.items), engines.fetch(kept.users)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    users, items, moments = (log[name].to_numpy() for name in ("user", "item", "time"))
    return _Cleaned(Events(users, items, moments), *found, kept.steps, facts)


def _check_schema(before: dict[str, str], now: dict[str, str]) -> None:
    gone = [name for name in before if name not in now]
    other = [f"{name} ({before[name]}, now {kind})" for name, kind in now.items() if before.get(name, kind) != kind]
    said = [f"lacks {', '.join(gone)}"] if gone else []
    said += [f"has other types in {', '.join(other)}"] if other else []
    if said:
        raise UserError(
            f"the schema of the log changed since the last run: it {' and '.join(said)}; restore these columns, or "
            "train anew with `rexjax run` into another workdir"
        )


def _users_of(parent: Artifact) -> pa.Table:
    path = parent.folder / "users.parquet"
    if not path.exists():
        raise UserError(
            f"{parent.folder} keeps no ids of users (--data.no-user-ids), so that their new events cannot be told "
            "from other users': train anew with ids"
        )
    return pq.read_table(path)


def _joined(before: pa.Table, now: pa.Table, key: str) -> tuple[pa.Table, np.ndarray]:
    """A row for each id in the order of dense ids, the newest row of each; and the dense id of each row of ``now``."""
    name = f"{key}_id"
    old = before.sort_by(key)
    known = vocabulary.of_rows(old[name].to_pylist())
    ids = now[name].combine_chunks().cast(pa.string())
    new = ids.filter(pc.invert(pc.is_in(ids, known.ids))).to_pylist()
    grown, _ = vocabulary.update(known, new, np.zeros(len(new)), vocabulary.Admission(), 0.0)
    dense = np.empty(len(now), np.int64)
    dense[now[key].to_numpy()] = vocabulary.lookup(grown, ids.to_pylist())
    place = np.arange(grown.rows)  # in old, then now
    place[vocabulary.lookup(grown, ids.to_pylist())] = len(old) + np.arange(len(now))
    rows = pa.concat_tables([old.select(now.column_names).cast(now.schema), now]).take(pa.array(place))
    return rows.set_column(rows.column_names.index(key), key, pa.array(np.arange(grown.rows))), dense


def _describe(config: Config, folder: Path, cleaned: _Cleaned, items: pa.Table, parent: Artifact) -> dict[str, Any]:
    whole = histories.read(folder)
    counts = len(whole.items), whole.users, len(np.unique(whole.items))
    steps = [*cleaned.steps, Step("joined with known events", 0, *counts)._asdict()]
    dated = cleaned.facts["time_form"] not in times.FORMS_OF_NUMBERS
    span = card.Span(float(whole.times.min()), float(whole.times.max()), time.time(), dated)
    data = replace(config.data, split="global_time")
    found = card.describe(histories.each(folder), steps, span, data, items["title"].to_pylist())
    for line in found["notices"]:
        notice(line)
    without_text = items["text"].to_pylist().count("")
    content = {"histories": histories.digest(histories.each(folder))}
    return found | cleaned.facts | {"items_without_text": without_text, "content": content}
