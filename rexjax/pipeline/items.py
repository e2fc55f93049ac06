"""Items are put into the index of a finished workdir and taken out of it; nothing is trained."""

import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from rexjax.artifacts import classes, hashing, lock, paths, store, versions
from rexjax.artifacts.files import file_hash
from rexjax.artifacts.store import Artifact
from rexjax.artifacts.versions import Owner
from rexjax.data import engines, files, interactions
from rexjax.data.dialects import Wanted
from rexjax.data.settings import Data
from rexjax.encoders import loading, text
from rexjax.encoders.loading import TextModel
from rexjax.encoders.settings import Encode
from rexjax.errors import UserError
from rexjax.evaluation.cost import tree_bytes
from rexjax.models import text_map as text_maps
from rexjax.models.text_map import TextMap
from rexjax.retrieval import index_updates
from rexjax.retrieval.index_updates import Contents

_TABLES = (".csv", ".gz", ".tsv", ".parquet")


@dataclass(frozen=True)
class Change:
    """Puts items into the index of a finished workdir by what their text says, and takes items out, without training.

    `rexjax export` into the folder that a server reads swaps the new index in. The log stays as it is: a run that makes
    the index anew makes it without these changes.
    """

    workdir: tyro.conf.Positional[Path]
    """Where `rexjax run` left its artifacts."""
    put: Path | None = None
    """CSV or Parquet with the columns of the log's items file: ids that the index has are replaced, others added."""
    remove: Path | None = None
    """The ids to take out, one a line; or CSV or Parquet with the column of ids."""


def run(change: Change, say: Callable[[str], None]) -> Artifact:
    """Publishes the index with its changes as a new version; readers of the one before stay with it.

    Raises:
        UserError: nothing is to change, a file does not fit, or new texts cannot be read.
    """
    if not (change.put or change.remove):
        raise UserError("nothing is to change: pass --put FILE, --remove FILE or both")
    store.read(change.workdir / "index")  # before a lock is left in a folder that is no workdir
    paths.check_folder(change.workdir, "WORKDIR")
    with lock.of(change.workdir) as owner:
        return _change(change, owner, say)


def _change(change: Change, owner: Owner, say: Callable[[str], None]) -> Artifact:
    started, place = time.monotonic(), change.workdir / "index"
    before, prepare = (store.read(change.workdir / stage) for stage in ("index", "prepare"))
    settings = prepare.manifest["config"]["data"]
    # the source is not read again, and its class may stand in a config file that is not known here
    data = classes.from_dict(Data, {key: value for key, value in settings.items() if key != "source"})
    new = _new(change.put, data) if change.put else {"item_id": []}
    gone = _gone(change.remove, data) if change.remove else []
    old = index_updates.read(before.folder)
    known = set(old.items["item_id"])
    _check(change, known, new["item_id"], gone)
    model = text_model(change.workdir) if change.put else None

    files = [path for path in (change.put, change.remove) if path]
    work = versions.begin(place, hashing.digest([before.hash, *map(file_hash, files)]), owner)
    found, text_map = index_updates.remove(old, set(gone)), index_updates.read_map(before.folder)
    if model:
        text_map, rows = _rows(model, old, text_map, new["text"], before, work / "shards", say)
        found = index_updates.put(found, new, rows)
        shutil.rmtree(work / "shards")
    version = index_updates.write(work, found, text_map, before.folder)
    made = store.finish(
        work,
        before.manifest["key"],  # a run of the stage with the same config keeps this index
        content={},
        seconds=time.monotonic() - started,
        config=before.manifest["config"],
        metrics=before.metrics | {"items": len(found.popularity), "bytes": tree_bytes(found.served)},
        owner=owner,
    )
    replaced = sum(item in known for item in new["item_id"])
    counts = f"{len(new['item_id']) - replaced} items added, {replaced} replaced, {_removed(gone, known)}"
    say(f"{place}: {counts}; {len(found.popularity)} items, version {version}")
    return made


def _check(change: Change, known: set[str], new: list[str], gone: list[str]) -> None:
    if change.remove and not known & set(gone):
        raise UserError(f"none of the {len(gone)} ids in {change.remove} is in the index (such as {gone[0]!r})")
    if both := set(new) & set(gone):
        raise UserError(f"{len(both)} ids are in both {change.put} and {change.remove} (such as {min(both)!r})")
    if not new and known <= set(gone):
        raise UserError(f"{change.remove} names all {len(known)} items: an index needs one at least")


def _removed(gone: list[str], known: set[str]) -> str:
    unknown = [item for item in gone if item not in known]
    note = f" ({len(unknown)} more were not there, such as {unknown[0]!r})" if unknown else ""
    return f"{len(gone) - len(unknown)} removed{note}"


# --- rows from texts --------------------------------------------------------------------------------------------------


def _rows(
    model: TextModel,
    old: Contents,
    text_map: TextMap | None,
    texts: list[str],
    index: Artifact,
    folder: Path,
    say: Callable[[str], None],
) -> tuple[TextMap, np.ndarray]:
    """The map from texts to rows, fitted here unless the index holds one, and the rows of ``texts``: float32 [M, D]."""
    encoder = hashing.digest(text.identity(model))
    if text_map is None:
        learners = index_updates.learners(old)
        if len(learners) < 2:
            raise UserError(
                f"{len(learners)} of the {len(old.popularity)} items have text: a map from text to rows needs 2 or more"
            )
        known = text.encode_texts(model, [old.items["text"][item] for item in learners], folder / "known", mesh=None)
        text_map = text_maps.fit_map(known, index_updates.rows_of(old, learners))
        text_map = text_map._replace(about=text_map.about | {"index": index.hash, "encoder": encoder})
        about = text_map.about
        say(
            f"from text to rows: learnt from {about['items']} items; a linear function explains "
            f"{about['explained']:.0%} of their variance"
        )
    if text_map.about["encoder"] != encoder:
        raise UserError(
            f"{index.folder} was made with another text model than {model.name}: restore --encode.model, or remove the "
            "index and run `rexjax index CONFIG`"
        )
    return text_map, text_maps.predict(text_map, text.encode_texts(model, texts, folder / "new", mesh=None))


def text_model(workdir: Path) -> TextModel:
    """What reads the texts of ``workdir``.

    Raises:
        UserError: nothing does; its vectors came from a file.
    """
    encode = classes.from_dict(Encode, store.read(workdir / "encode").manifest["config"]["encode"])
    if encode.vectors:
        raise UserError(
            f"the text vectors of {workdir} came from a file (--encode.vectors), so that no new text can be read: "
            "encode by a model, --encode.model, or add the items to the log and run the pipeline again"
        )
    return loading.load_model(Path(encode.model) if encode.model else loading.default_model_folder())


# --- files ------------------------------------------------------------------------------------------------------------


def _new(path: Path, data: Data) -> dict[str, list[str]]:
    """Columns item_id, title, text and, where the log has one, category."""
    if not data.text:
        raise UserError(
            "a new item's row comes from its text, and this log has none (--data.text names no column): name one, or "
            "add the items to the log and run the pipeline again"
        )
    found = _catalogue(path, data)
    if not found["item_id"]:
        raise UserError(f"{path} has no item: it needs a row for each")
    silent = [item for item, said in zip(found["item_id"], found["text"], strict=True) if not said]
    if silent:
        raise UserError(
            f"{len(silent)} items of {path} are without text (such as {silent[0]!r}), and a new item's row comes from "
            f"it: fill in {' or '.join(data.text)}"
        )
    return found


def _gone(path: Path, data: Data) -> list[str]:
    if path.suffix in _TABLES or path.is_dir():
        ids = _catalogue(path, replace(data, text=(), columns=replace(data.columns, category="")))["item_id"]
    else:
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{path} cannot be read as a list of ids ({error}): write one a line") from error
        ids = list(dict.fromkeys(line for line in lines if line.strip()))
    if not ids:
        raise UserError(f"{path} has no id: it needs one a line")
    return ids


def _catalogue(path: Path, data: Data) -> dict[str, Any]:
    """A file as stage prepare would read it, in the order of its lines; ids are strings, as the index has them."""
    columns = data.columns
    wanted = Wanted((columns.item, *filter(None, (*data.text, columns.category))), flag="--data.items-csv")
    root, csv = path if path.is_dir() else None, data.csv.of_items(data.items_csv)
    with (
        tempfile.TemporaryDirectory() as scratch,
        engines.opened("duckdb", Path(scratch) / "engine") as con,
        interactions.reading(f"file {path}"),
    ):
        parts = files.find(path.parent, path.name, "the file")
        table, _ = files.read(con, parts, csv, wanted, Path(scratch) / "files", root)
        rows = interactions.catalogue(table, replace(data, items=str(path))).order_by("row")
        return con.to_pyarrow(rows.rename(item_id="item").drop("row")).to_pydict()
