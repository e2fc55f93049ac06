"""The frontier: quality against what an answer costs, for each log, from the figures of ``benchmarks.students``.

    python -m benchmarks.frontier

Reads benchmarks/results/students.json; writes frontier.json (every model's NDCG@10 on test with the bytes it holds and
the FLOPs of encoding a user, as shares of the teacher's) and frontier.svg beside it.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from benchmarks import record

RESULTS = Path("benchmarks/results")
NAMES = {
    "beauty": "Beauty",
    "sports": "Sports",
    "movielens": "ML-1M",
    "online_retail": "Online Retail (a real shop)",
    "quickstart": "quickstart (a simulated shop)",
}
COSTS = {
    "bytes_resident": "bytes held, of the teacher's",
    "flops_user_encoding": "FLOPs of a user's vector, of the teacher's",
}
_COLORS = {"teacher": "#000000", "student": "#1f77b4", "control": "#999999"}
_COMPRESSED = "#2ca02c"


def main() -> None:
    """Collects, writes and draws."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    rows = points(record.rows(str(RESULTS / "students.json")))
    (RESULTS / "frontier.json").write_text(json.dumps({"rows": rows}, indent=1) + "\n")
    draw(rows, RESULTS / "frontier.svg")


def points(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of each log the teacher, its students and what they were compressed to; costs as shares of the teacher's."""
    found = []
    for name in NAMES:
        own = [row for row in rows if row["dataset"] == name and "cold_items" not in row["case"] and "kept" in row]
        own = [row for row in own if row["model"] not in ("popularity", "text_cosine")]
        for row in own:
            shares = {cost: row[cost] / own[0][cost] for cost in COSTS}  # the teacher comes first
            fixed = {key: row[key] for key in ("dataset", "case", "model", "seeds", "ndcg@10", "kept")}
            found.append(fixed | shares)
    return found


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """A column for each log, a line of pictures for each cost; what no cheaper model equals is joined."""
    import matplotlib
    from matplotlib.figure import Figure

    matplotlib.rcParams["svg.hashsalt"] = "rexjax"  # the same file from the same figures
    logs = [name for name in NAMES if any(row["dataset"] == name for row in rows)]
    figure = Figure(figsize=(4.2 * len(logs), 3.4 * len(COSTS)), layout="constrained", facecolor="white")
    grid = figure.subplots(len(COSTS), len(logs), squeeze=False)
    for line, (cost, label) in zip(grid, COSTS.items(), strict=True):
        for axes, name in zip(line, logs, strict=True):
            _panel(axes, [row for row in rows if row["dataset"] == name], cost)
            axes.set_xlabel(label)
            axes.set_ylabel("NDCG@10, test" if name == logs[0] else "")
    for axes, name in zip(grid[0], logs, strict=True):
        axes.set_title(NAMES[name])
    figure.savefig(path, metadata={"Date": None})


def _panel(axes: Any, rows: list[dict[str, Any]], cost: str) -> None:
    axes.set_xscale("log")
    axes.grid(True, color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.axhline(rows[0]["ndcg@10"], color="#000000", linewidth=0.6, linestyle=":")
    axes.step(*zip(*_undominated(rows, cost), strict=True), where="post", color="#bbbbbb", linewidth=1.5, zorder=1)
    for number, row in enumerate(sorted(rows, key=lambda row: row[cost])):
        color = _COLORS.get(row["model"], _COMPRESSED)
        axes.plot(row[cost], row["ndcg@10"], "o", color=color, markersize=6, zorder=3)
        above = (4, 6) if number % 2 else (4, -12)
        axes.annotate(
            row["model"], (row[cost], row["ndcg@10"]), above, textcoords="offset points", fontsize=7, color=color
        )
    axes.margins(0.15)


def _undominated(rows: list[dict[str, Any]], cost: str) -> list[tuple[float, float]]:
    front: list[tuple[float, float]] = []
    for row in sorted(rows, key=lambda row: (row[cost], -row["ndcg@10"])):
        if not front or row["ndcg@10"] > front[-1][1]:
            front.append((row[cost], row["ndcg@10"]))
    return front


if __name__ == "__main__":
    main()
