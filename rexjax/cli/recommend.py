"""``rexjax recommend``."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table
from tyro.conf import UseAppendAction

from rexjax.artifacts.paths import check_file
from rexjax.cli import terminal
from rexjax.cli.places import File, Workdir
from rexjax.errors import UserError

if TYPE_CHECKING:
    from rexjax.retrieval.index import Index

MOST_SHOWN = 1000
"""Answers that a terminal is filled with."""
_NAMED = 3


@dataclass(frozen=True)
class Recommend:
    """Recommends items to users of the log, or after a history."""

    workdir: Workdir
    """Where `rexjax run` left its artifacts."""
    users: str = ""
    """'all', or a file of their ids: one a line, or CSV or Parquet with the log's column of users."""
    user: UseAppendAction[tuple[str, ...]] = ()
    """The id of a user of the log. The flag can be repeated."""
    history: str = ""
    """Instead of users: item ids or titles, the oldest first, separated by ';' or ','. '': popular items."""
    k: int = 10
    """How many items."""
    exclude: File = None
    """A file of items that are not recommended: ids, one a line, or CSV or Parquet with the item column."""
    out: File = None
    """Where the answers are written, a .parquet or .csv file with columns user, item, title, rank and score."""


def recommend(request: Recommend) -> None:
    """``rexjax recommend``."""
    asked = [name for name in ("users", "user", "history") if getattr(request, name)]
    if len(asked) > 1:
        raise UserError(f"--{' and --'.join(asked)} are given: choose one of them")
    if request.out and request.out.suffix not in (".parquet", ".csv"):
        raise UserError(f"--out {request.out}: its name must end in .parquet or .csv")
    from rexjax.pipeline import recommend as pipeline

    if request.out:
        check_file(request.out, "--out")
    index = pipeline.read_index(request.workdir)
    if asked and asked != ["history"]:
        _answer_users(request, index)
    else:
        _answer_history(request, index)


def _answer_users(request: Recommend, index: "Index") -> None:
    from rexjax.pipeline import recommend as pipeline
    from rexjax.pipeline.reranking import read_reranking
    from rexjax.runtime.compile_cache import keep_compiled_programs

    keep_compiled_programs()
    log = pipeline.read_log(request.workdir, index)
    if request.users == "all":
        users = list(pipeline.known_users(log))
    elif request.users:
        users = pipeline.read_ids(Path(request.users), pipeline.columns_of(request.workdir)["user"])
    else:
        users = list(dict.fromkeys(request.user))
    if request.out is None and len(users) * request.k > MOST_SHOWN:
        raise UserError(f"{len(users):,} users are too many for a terminal: pass --out FILE.parquet or FILE.csv")
    reranking = read_reranking(request.workdir, index)
    found = pipeline.recommend(index, log, users, request.k, _left_out(request, index), reranking=reranking)
    if found.unknown:
        names = ", ".join(found.unknown[:_NAMED]) + (", …" if len(found.unknown) > _NAMED else "")
        count = f"{len(found.unknown):,} of {len(users):,} users"
        terminal.complain(f"{count} are not in the log and get the most popular items: {names}")
    if request.out is None:
        _print_table("Recommendations", ("user", "rank", "item", "title", "score"), found.table.to_pylist())
    else:
        pipeline.write(request.out, found.table)
        terminal.say_whole(f"{request.out}: {found.table.num_rows:,} answers to {len(users):,} users")


def _answer_history(request: Recommend, index: "Index") -> None:
    import numpy as np

    from rexjax.pipeline import recommend as pipeline
    from rexjax.pipeline.reranking import read_reranking, rerank_answers
    from rexjax.retrieval import batch
    from rexjax.retrieval.index import find_items

    separator = ";" if ";" in request.history else ","
    names = [name.strip() for name in request.history.split(separator) if name.strip()]
    history, unknown = find_items(index, names)
    if unknown:
        terminal.complain(f"not in the catalogue, left out: {', '.join(unknown)}")
    left_out = sorted({*history, *_left_out(request, index)})
    left = len(index.item_ids) - len(left_out)
    if not 1 <= request.k <= left:
        raise UserError(
            f"--k {request.k}: this catalogue has {left} items that can be recommended: set k from 1 to {left}"
        )
    reranking = read_reranking(request.workdir, index)
    wanted = min(reranking.candidates(request.k), left) if reranking else request.k
    ids, scores = batch.recommend(index, [history], [left_out], wanted)
    if reranking:
        ids, scores = rerank_answers(reranking, [np.asarray(history, np.int32)], ids, scores, request.k)
    rows = [
        {"user": "", "rank": rank, "item": index.item_ids[item], "title": index.titles[item], "score": float(score)}
        for rank, (item, score) in enumerate(zip(ids[0], scores[0], strict=True), 1)
        if item >= 0
    ]
    if request.out:
        import pyarrow as pa

        pipeline.write(request.out, pa.Table.from_pylist(rows))
        return terminal.say_whole(f"{request.out}: {len(rows):,} answers")
    title = "After " + ", ".join(index.titles[item] for item in history) if history else "Most popular (empty history)"
    _print_table(title, ("rank", "item", "title", "score"), rows)


def _left_out(request: Recommend, index: "Index") -> list[int]:
    """Dense ids of --exclude."""
    if request.exclude is None:
        return []
    from rexjax.pipeline import recommend as pipeline

    wanted = set(pipeline.read_ids(request.exclude, pipeline.columns_of(request.workdir)["item"]))
    found = [number for number, item in enumerate(index.item_ids) if item in wanted]
    if len(found) < len(wanted):
        missing = sorted(wanted - {index.item_ids[number] for number in found})
        terminal.complain(f"{len(missing):,} items of {request.exclude} are not in the index, such as {missing[0]}")
    return found


def _print_table(title: str, columns: tuple[str, ...], rows: list[dict]) -> None:
    table = Table(title=escape(title))
    for name in columns:
        table.add_column("" if name == "rank" else name, justify="right" if name in ("rank", "score") else "left")
    for row in rows:
        shown = row | {"rank": str(row["rank"]), "score": f"{row['score']:.3f}"}
        table.add_row(*(shown[name] for name in columns))
    terminal.out.print(table, markup=False)
