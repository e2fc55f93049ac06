"""The frontier: quality against what an answer costs, for each log, from the figures of ``benchmarks.students``.

    python -m benchmarks.frontier

Reads benchmarks/results/students.json; writes frontier.json (every model's NDCG@10 on test with the bytes it holds and
the FLOPs of encoding a user, as shares of the teacher's) and frontier.svg beside it.
"""

import argparse
from pathlib import Path
from typing import Any

from benchmarks import record
from rexjax.config import Config
from rexjax.evaluation.pictures import draw_frontier
from rexjax.pipeline.stages.baselines import named

RESULTS = Path("benchmarks/results")
NAMES = {
    "beauty": "Beauty",
    "sports": "Sports",
    "movielens": "ML-1M",
    "online_retail": "Online Retail (a real shop)",
    "quickstart": "quickstart (a simulated shop)",
}
SIMPLE = named(Config("").baselines)
"""Models that are not pictured."""
COSTS = {
    "bytes_resident": "bytes held, of the teacher's",
    "flops_user_encoding": "FLOPs of a user's vector, of the teacher's",
}


def main() -> None:
    """Collects, writes and draws."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    rows = points(record.rows(str(RESULTS / "students.json")))
    record.write(str(RESULTS / "frontier.json"), rows, ("jax", "flax", "optax", "numpy"))
    draw(rows, RESULTS / "frontier.svg")


def points(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of each log the teacher, its students and what they were compressed to; costs as shares of the teacher's."""
    found = []
    for name in NAMES:
        own = [row for row in rows if row["dataset"] == name and "cold_items" not in row["case"] and "kept" in row]
        own = [row for row in own if row["case"] == own[0]["case"] and row["model"] not in SIMPLE]
        known = {row["model"] for row in own}
        # "64 bytes: int8" is int8 again, "64 bytes: w60_int8" is new
        own = [row for row in own if ": " not in row["model"] or row["model"].split(": ")[1] not in known]
        for row in own:
            shares = {cost: row[cost] / own[0][cost] for cost in COSTS}  # the teacher comes first
            fixed = {key: row[key] for key in ("dataset", "case", "model", "seeds", "ndcg@10", "kept")}
            found.append(fixed | shares)
    return found


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """A line of pictures for each log, one for each cost; what no cheaper model equals is joined."""
    import matplotlib
    from matplotlib.figure import Figure

    matplotlib.rcParams["svg.hashsalt"] = "rexjax"  # the same file from the same figures
    logs = [name for name in NAMES if any(row["dataset"] == name for row in rows)]
    figure = Figure(figsize=(12, 3.4 * len(logs)), layout="constrained", facecolor="white")
    for line, name in zip(figure.subplots(len(logs), len(COSTS), squeeze=False), logs, strict=True):
        own = [row for row in rows if row["dataset"] == name]
        for axes, (cost, label) in zip(line, COSTS.items(), strict=True):
            draw_frontier(axes, {row["model"]: (row[cost], row["ndcg@10"]) for row in own}, gap=0.09)
            axes.axhline(own[0]["ndcg@10"], color="#000000", linewidth=0.6, linestyle=":")
            axes.set(title=NAMES[name], xlabel=label, ylabel="NDCG@10, test")
            axes.grid(True, color="#dddddd", linewidth=0.6)
            axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
