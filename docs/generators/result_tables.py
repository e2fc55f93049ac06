"""What each page of measured figures shows."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from docs.generators.equivalence import verdict
from docs.generators.markdown import escape, figure, percent, quality

Row = dict[str, Any]


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


def _counts(kinds: dict[str, int] | None) -> str:
    if not kinds:
        return ""
    return escape(", ".join(f"{name}: {number:,}" for name, number in sorted(kinds.items())))


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
    Column("Verdict at ±2 %", "verdict"),
    Column("Detectable", "detects"),
    Column("FLOPs of a request", "flops_per_request"),
    Column("FLOPs of the user vector", "flops_user_encoding"),
    Column("Bytes an item", "bytes_per_item"),
    Column("p50, ms", "p50_ms"),
)


def of_students(rows: list[Row]) -> list[Row]:
    """Each row with the verdict on its difference to the teacher of its data set and protocol."""
    means = {(row["dataset"], row["case"]): row["ndcg@10"] for row in rows if row["model"] == "teacher"}
    return [row | (verdict(row, means[row["dataset"], row["case"]]) if "kept" in row else {}) for row in rows]


def of_parts(rows: list[Row]) -> list[Row]:
    """Points of learning curves that are fits of their own, without the epochs of one."""
    return [row for row in rows if "events" in row]


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


def of_two_stages(rows: list[Row]) -> list[Row]:
    """One row a model: its difference to the first stage and its cost."""
    found = []
    for row in rows:
        pair = row.get("against first stage")
        difference = {"difference": pair["difference"], "interval": [pair["low"], pair["high"]]} if pair else {}
        found.append(row | row["cost"] | difference)
    return found


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
            Table(
                "What the gates of gated blocks read",
                "blocks.json",
                (
                    Column("Comparison", "case", escape),
                    Column("Data", "dataset"),
                    Column("NDCG@10", "ours", quality),
                    Column("Of the other", "other", quality),
                    Column("Difference", "difference", quality),
                    Column("95 % interval", "interval", quality),
                    Column("Verdict at ±2 %", "verdict"),
                    Column("Detectable difference", "detectable", quality),
                ),
                note="The residual itself (the library's choice, eSASRec's code) against its norm, at small size. The "
                "interval is over users and two seeds of each side.",
            ),
        ),
    ),
    "students": (
        "Students",
        "What students keep of their teacher, and what they cost.",
        (
            Table(
                "Students beside their teacher",
                "students.json",
                _STUDENT,
                of_students,
                "Here Online Retail has a transformer as teacher. Whole runs, below, have its present one. Verdict: on "
                "the paired difference over users, with a margin of 2 % of the teacher's NDCG@10. Detectable: the "
                "smallest difference, as a share of it, that the test finds with probability 0.8.",
            ),
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
                "Corrected for what was shown, beside the truth of simulated shops",
                "propensity.json",
                (
                    Column("Shop", "case"),
                    Column("Model", "model"),
                    Column("NDCG@10, log", "log", quality),
                    Column("Corrected (SNIPS)", "corrected", quality),
                    Column("95 % interval", "interval", quality),
                    Column("Expected DCG@10, true", "true", quality),
                    Column("Regret", "regret", quality),
                    Column("Bias of the log", "log bias", percent),
                    Column("Bias of the corrected", "corrected bias", percent),
                ),
                note="The shop knows what its users want. A bias is a share of the true figure.",
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
    "rankers": (
        "Rankers",
        "Rankers on labelled data, and behind retrieval.",
        (
            Table(
                "Labelled data",
                "rankers.json",
                (
                    _CASE,
                    Column("Metric", "metric"),
                    Column("Trials", "trials"),
                    Column("Validation", "valid", quality),
                    Column("Test", "ours", quality),
                    Column("Published, BARS", "published", quality),
                    Column("ECE", "ece", quality),
                    Column("ECE, temperature", "ece_temperature", quality),
                    Column("ECE, isotonic", "ece_isotonic", quality),
                    Column("Epochs", "epochs"),
                    Column("Fit, s", "fit_seconds"),
                ),
                note="frappe's published training negatives are not to be had. They are drawn anew in each epoch, or "
                "once where a case says so. The published figures used the authors' negatives.",
            ),
            Table(
                "Two stages",
                "two_stage.json",
                (
                    Column("Data set", "dataset"),
                    Column("Model", "case"),
                    Column("NDCG@10, validation", "valid", quality),
                    Column("NDCG@10, test", "ours", quality),
                    Column("Difference to the first stage", "difference", quality),
                    Column("95 % interval", "interval", quality),
                    Column("FLOPs of a request", "flops_per_request"),
                    Column("p50, ms", "p50_ms"),
                ),
                of_two_stages,
            ),
        ),
    ),
    "features": (
        "Features, measured",
        "Models with features against the same models without them.",
        (
            Table(
                "NDCG@10 with and without features",
                "features.json",
                (
                    Column("Data set", "dataset"),
                    _CASE,
                    Column("Features", "features"),
                    Column("Metric", "metric"),
                    Column("Users", "users"),
                    Column("With", "ours", quality),
                    Column("Without", "without", quality),
                    Column("Difference", "difference", quality),
                    Column("Low", "low", quality),
                    Column("High", "high", quality),
                ),
                note="Low and high are the ends of a 95 % interval over users.",
            ),
        ),
    ),
    "top-k": (
        "Top-k",
        "Exact top-k beside other libraries.",
        (
            Table("Exact top-k", "topk.json", _PEER),
            Table(
                "One query, by number format",
                "one_query.json",
                _PEER,
                note="All methods take turns in one process. The floor reads the rows once, with NumPy on two threads. "
                "FAISS in two halves searches each on a thread of its own.",
            ),
        ),
    ),
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
                note="On Beauty the padded PyTorch peer computes 8.55 times the real tokens; on ML-1M 1.79 times.",
            ),
            Table(
                "Learning curves of a small transformer on the simulated shop",
                "curves.json",
                (
                    Column("Part", "case"),
                    Column("Users", "users"),
                    Column("Items", "items"),
                    Column("Training events", "events"),
                    Column("NDCG@10, validation", "ndcg@10", quality),
                    Column("95 % interval", "interval", quality),
                    Column("Random order", "random", quality),
                ),
                of_parts,
                "A share of the log is that of its users. A smaller catalogue is an easier task: compare a point with "
                "the random order. Nothing here looks at the test.",
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
            Table("Requests without a known history", "large_catalogue.json", _PEER[:4]),
        ),
    ),
    "robustness": (
        "Robustness",
        "Kills, races, the gate, meshes and texts without spaces.",
        (
            Table("Kills of training", "kills.json", _PEER),
            Table("Workdirs under kills and races", "workdirs.json", _PEER),
            Table("Registry under kills", "registry_kills.json", _PEER),
            Table("Decisions of the gate", "gate.json", _PEER),
            Table(
                "A server under attack",
                "attacks.json",
                (
                    _CASE,
                    Column("Unit", "unit", figure),
                    Column("Found", "ours"),
                    *_LATENCY,
                    Column("Longest, ms", "max_ms"),
                    Column("By status", "kinds", _counts),
                ),
            ),
            Table(
                "Swaps under load",
                "swaps.json",
                (
                    _CASE,
                    Column("Found", "ours"),
                    Column("Of", "of"),
                    Column("Median, s", "median_seconds"),
                    *_LATENCY,
                    Column("By status", "kinds", _counts),
                    Column("Said of the last one", "why"),
                ),
            ),
            Table("Meshes", "meshes.json", _PEER),
            Table(
                "Text without spaces",
                "unspaced.json",
                (_CASE, Column("Metric", "metric"), Column("Test", "test", quality), Column("Users", "users")),
            ),
        ),
    ),
}
