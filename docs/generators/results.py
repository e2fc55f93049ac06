"""Pages of measured figures, from ``benchmarks/results/*.json``."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from docs.generators.markdown import escape, figure, percent, quality, table

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "benchmarks" / "results"
Row = dict[str, Any]


class Refused(Exception):
    """A file of results that no page can be made from; the message is for the user."""


class Column(NamedTuple):
    """One column of a table."""

    head: str
    key: str
    spell: Callable[[Any], str] = figure


class Table(NamedTuple):
    """One table of a page."""

    title: str
    file: str
    columns: tuple[Column, ...]
    rows: Callable[[list[Row]], Iterable[Row]] = list
    note: str = ""


def read(path: Path) -> dict[str, Any]:
    """A file of results.

    Raises:
        Refused: it, or one of its rows, has no command or no commit.
    """
    found = json.loads(path.read_text(encoding="utf-8"))
    for key in ("command", "commit"):
        if not all(found.get(key) or row.get(key) for row in found["rows"]):
            raise Refused(f"{path.name} has rows without a {key}: run its benchmark again, which writes one")
    return found


def pages() -> dict[str, str]:
    """Text of each page by its path below docs/."""
    made = {f"results/{name}.md": page(title, about, tables) for name, (title, about, tables) in PAGES.items()}
    listed = table(("Page", "Content"), [(f"[{PAGES[name][0]}]({name}.md)", PAGES[name][1]) for name in PAGES])
    return made | {"results/index.md": f"# Results\n\n{_INTRODUCTION}\n\n{listed}\n"}


def page(title: str, about: str, tables: Iterable[Table]) -> str:
    """One page."""
    return "\n\n".join([f"# {title}", about, *map(section, tables)]) + "\n"


def section(one: Table) -> str:
    """One table with its title and where it comes from."""
    found = read(FOLDER / one.file)
    rows = [
        row for row in one.rows(found["rows"]) if any(row.get(column.key) is not None for column in one.columns[1:])
    ]
    kept = [column for column in one.columns if any(row.get(column.key) is not None for row in rows)]
    body = table([column.head for column in kept], [[c.spell(row.get(c.key)) for c in kept] for row in rows])
    notes = [one.note] if one.note else []
    return "\n\n".join([f"## {one.title}", *notes, body, provenance(found, rows)])


def provenance(found: dict[str, Any], rows: list[Row]) -> str:
    """Command, commit, seeds, machine and versions of a table."""
    commands = sorted({row.get("command") or found["command"] for row in rows})
    commits = sorted({str(row.get("commit") or found["commit"])[:10] for row in rows})
    versions = ", ".join(f"{name} {version}" for name, version in found.get("versions", {}).items())
    seeds = sorted({figure(row[key]) for row in rows for key in ("seeds", "seed") if row.get(key) not in (None, [])})
    facts = [
        ("Command", ", ".join(f"`{command}`" for command in commands)),
        ("Recorded at commit", ", ".join(commits)),
        ("Seeds", "; ".join(seeds)),
        ("Machine", found.get("machine", "")),
        ("Versions", versions),
    ]
    return "\n".join(f"- {name}: {escape(text)}" for name, text in facts if text)


def readme_table() -> str:
    """The small table of the README: the best simple model, the teacher and its students on two data sets."""
    found = read(FOLDER / "quality.json")["rows"]
    heads = ("Data set", "Model", "NDCG@10", "Of the teacher's", "A request is cheaper by", "Bytes held")
    return table(heads, [cells for name in _SHOWN for cells in _small([r for r in found if r["dataset"] == name])])


def _small(rows: list[Row]) -> list[list[str]]:
    models: dict[str, dict[str, float]] = {}
    for row in rows:
        models.setdefault(row["model"], {})[row["metric"]] = row["value"]
    simple = [name for name in models if not name.startswith(("teacher", "student")) and " - " not in name]
    best = max(simple, key=lambda name: models[name]["ndcg@10"])
    teacher, found = models["teacher"], []
    for name in (best, "teacher", "student", "student_int8", "student_int4"):
        own = models[name]
        label = f"best simple model: {name}" if name == best else name
        cheaper = f"{teacher['flops_per_request'] / own['flops_per_request']:.0f} ×"
        share = percent(own["ndcg@10"] / teacher["ndcg@10"])
        found.append([_SHOWN[rows[0]["dataset"]], label, quality(own["ndcg@10"]), share, cheaper])
        found[-1].append(figure(own["bytes_resident"]))
    return found


_SHOWN = {"quickstart": "simulated shop", "online_retail": "Online Retail"}
_INTRODUCTION = """These pages are generated from `benchmarks/results`. Each table names the command, the commit, the
seeds and the machine. All models of a table rank the same catalogue for the same users; settings are chosen on
validation. [What a figure must show](../design/figures.md) explains the rules."""
_CASE = Column("Case", "case", escape)
_PEER = (
    _CASE,
    Column("Metric", "metric", figure),
    Column("Unit", "unit", figure),
    Column("rexjax", "ours"),
    Column("Peer", "peer_name"),
    Column("Its figure", "peer"),
    Column("Ratio", "ratio"),
    Column("Of", "of"),
)
_LATENCY = (Column("p50, ms", "p50_ms"), Column("p99, ms", "p99_ms"))
_STUDENT = (
    Column("Data set", "dataset"),
    Column("Protocol", "case"),
    Column("Model", "model"),
    Column("NDCG@10", "ndcg@10", quality),
    Column("Of the teacher's", "kept", percent),
    Column("Difference to the teacher", "difference", quality),
    Column("95 % interval", "interval", quality),
    Column("FLOPs of a request", "flops_per_request"),
    Column("FLOPs of the user vector", "flops_user_encoding"),
    Column("Bytes an item", "bytes_per_item"),
    Column("p50, ms", "p50_ms"),
)


def of_teachers(rows: list[Row]) -> list[Row]:
    """One row a data set and protocol: means over the seeds."""
    groups: dict[tuple[str, str], dict[str, list[float]]] = {}
    for row in rows:
        groups.setdefault((row["dataset"], row["case"]), {}).setdefault(row["metric"], []).append(row["ours"])
    seeds = {key: sorted({row["seed"] for row in rows if (row["dataset"], row["case"]) == key}) for key in groups}
    commits = {(row["dataset"], row["case"]): row["commit"] for row in rows}
    means = {key: {metric: sum(v) / len(v) for metric, v in found.items()} for key, found in groups.items()}
    return [
        {"dataset": key[0], "case": key[1], "seeds": seeds[key], "commit": commits[key]} | found
        for key, found in sorted(means.items())
    ]


def of_quality(rows: list[Row]) -> list[Row]:
    """One row a model: NDCG@10 with its interval, coverage."""
    return [row for row in rows if row["metric"] == "ndcg@10"]


PAGES: dict[str, tuple[str, str, tuple[Table, ...]]] = {
    "teachers": (
        "Teachers",
        "Quality of the teachers alone.",
        (
            Table(
                "Test figures, means over seeds",
                "teachers.json",
                (
                    Column("Data set", "dataset"),
                    Column("Protocol", "case"),
                    Column("NDCG@10", "test ndcg@10", quality),
                    Column("recall@10", "test recall@10", quality),
                    Column("Popularity, NDCG@10", "popularity ndcg@10", quality),
                    Column("Text cosine, NDCG@10", "text_cosine ndcg@10", quality),
                    Column("Training, s", "training seconds"),
                ),
                of_teachers,
                "Figures are of models that read the items' text. Two thirds of the times of ML-1M are exact, the rest "
                "interpolated. 43.5 % of Beauty's test items share a day with the item before.",
            ),
        ),
    ),
    "students": (
        "Students",
        "What students keep of their teacher, and what they cost.",
        (
            Table("Students beside their teacher", "students.json", _STUDENT),
            Table(
                "Whole runs",
                "quality.json",
                (
                    Column("Data set", "dataset"),
                    Column("Split", "split"),
                    Column("Model", "model"),
                    Column("NDCG@10", "value", quality),
                    Column("95 % interval", "interval", quality),
                ),
                of_quality,
            ),
            Table(
                "Items that are put in without training",
                "put_items.json",
                (
                    Column("Data set", "dataset"),
                    _CASE,
                    Column("recall@10", "recall@10", quality),
                    Column("95 % interval", "recall@10 interval", quality),
                    Column("NDCG@10", "ndcg@10", quality),
                ),
            ),
        ),
    ),
    "simple-models": (
        "Simple models",
        "Tuned simple models, beside other libraries.",
        (
            Table(
                "Tuned on validation",
                "shelf.json",
                (
                    Column("Model", "case"),
                    Column("Data set", "dataset"),
                    Column("Trials", "trials"),
                    Column("NDCG@10, validation", "valid", quality),
                    Column("NDCG@10, test", "test", quality),
                    Column("Fit, s", "fit_seconds"),
                    Column("Bytes", "bytes"),
                ),
            ),
            Table(
                "MovieLens-100K by published protocols",
                "ml100k.json",
                (
                    Column("Protocol", "dataset"),
                    Column("Model", "case"),
                    Column("Trials", "trials"),
                    Column("HR@10", "hit_rate@10", quality),
                    Column("NDCG@10", "ndcg@10", quality),
                    Column("95 % interval", "interval", quality),
                    Column("Published", "published"),
                ),
            ),
            Table(
                "Speed beside other libraries",
                "shelf_peers.json",
                (
                    *_PEER[:7],
                    Column("NDCG@10", "ndcg@10", quality),
                    Column("Its NDCG@10", "peer_ndcg@10", quality),
                ),
            ),
        ),
    ),
    "top-k": ("Top-k", "Exact top-k beside other libraries.", (Table("Exact top-k", "topk.json", _PEER),)),
    "tables": (
        "Embedding tables",
        "Lookups and updates of embedding tables.",
        (Table("Updates", "embedding.json", _PEER), Table("Large tables", "big_table.json", _PEER)),
    ),
    "training": (
        "Training",
        "Speed of training, preparing and reading.",
        (
            Table(
                "Training",
                "training.json",
                _PEER,
                note="On Beauty the PyTorch peer computes 8.55 times the real tokens (padding); on ML-1M 1.79 times.",
            ),
            Table("Time to a quality", "recbole.json", _PEER),
            Table("Preparing a log", "prepare.json", _PEER),
            Table("Reading a log", "reading.json", _PEER),
        ),
    ),
    "serving": (
        "Serving",
        "Latency and throughput of the server and of the Python door.",
        (
            Table(
                "Requests",
                "serving.json",
                (
                    _CASE,
                    Column("Connections", "connections"),
                    Column("Requests/s", "rate"),
                    *_LATENCY,
                    *_PEER[2:7],
                ),
            ),
            Table(
                "Endurance", "endurance.json", (*_PEER[:4], Column("p50, ms", "p50_ms"), Column("p99, ms", "p99_ms"))
            ),
            Table("From Python", "front_door.json", _PEER),
        ),
    ),
    "robustness": (
        "Robustness",
        "Kills, races, meshes and texts without spaces.",
        (
            Table("Kills of training", "kills.json", _PEER),
            Table("Workdirs under kills and races", "workdirs.json", _PEER),
            Table("Meshes", "meshes.json", _PEER),
            Table(
                "Text without spaces",
                "unspaced.json",
                (_CASE, Column("Metric", "metric"), Column("Test", "test", quality), Column("Users", "users")),
            ),
        ),
    ),
}
