"""The frontier: quality against the cost of a whole request, from the figures of ``benchmarks.students``.

    python -m benchmarks.frontier

Reads benchmarks/results/students.json; writes frontier.json and frontier.svg. A point is a model of one log: how many
times cheaper a whole request is than its teacher's (FLOPs as the compiler counts them), and its share of the teacher's
NDCG@10 on test with the 95 % interval of the paired difference.
"""

import argparse
from pathlib import Path
from typing import Any

from benchmarks import record
from rexjax.config import Config
from rexjax.evaluation import svg
from rexjax.evaluation.looks import FIXED, PALETTE
from rexjax.pipeline.stages.baselines import named

RESULTS = Path("benchmarks/results")
LOGS = ("beauty", "sports", "movielens", "quickstart")
"""Not Online Retail: its students were recorded with a teacher that the config has no more."""
NOT_PICTURED = {*named(Config("").baselines), "control", "tuned control"}
"""Simple models, and students without a teacher."""
KINDS = {
    "teacher": ("diamond", FIXED["teacher"]),
    "student": ("circle", FIXED["student"]),
    "compressed student": ("triangle", PALETTE[0]),
}
"""Marker and colour of each kind of model."""
NAMED = {"teacher": 0.0, "student": 0.3, "compressed student": 0.96}
"""Which of a kind's points, by rising cost ratio, its name stands below."""
HEIGHT = 400
X_LABEL = "times cheaper than the teacher, whole request"


def main() -> None:
    """Collects, writes and draws."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    rows = points(record.rows(str(RESULTS / "students.json")))
    record.write(str(RESULTS / "frontier.json"), rows, ("jax", "flax", "optax", "numpy"))
    (RESULTS / "frontier.svg").write_text(svg.document(draw(rows)), encoding="utf-8")


def points(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of each log the teacher, its students and what they were compressed to, with cost and share."""
    found = []
    for name in LOGS:
        own = [row for row in rows if row["dataset"] == name and "cold_items" not in row["case"] and "kept" in row]
        own = [row for row in own if row["case"] == own[0]["case"] and row["model"] not in NOT_PICTURED]
        known = {row["model"] for row in own}
        # "64 bytes: int8" is int8 again, "64 bytes: w60_int8" is new
        own = [row for row in own if ": " not in row["model"] or row["model"].split(": ")[1] not in known]
        found += [_point(row, own[0]) for row in own]  # the teacher comes first
    return found


def _point(row: dict[str, Any], teacher: dict[str, Any]) -> dict[str, Any]:
    fixed = {key: row[key] for key in ("dataset", "case", "model", "seeds", "ndcg@10", "kept")}
    return fixed | {
        "times_cheaper": teacher["flops_per_request"] / row["flops_per_request"],
        "kept_interval": [1 + bound / teacher["ndcg@10"] for bound in row["interval"]],
    }


def kind_of(model: str) -> str:
    """Teacher, student or compressed student."""
    return {"teacher": "teacher", "student": "student", "sequential": "student"}.get(model, "compressed student")


def draw(rows: list[dict[str, Any]]) -> str:
    """One panel; each kind of model is named once, beside one of its points."""
    x = svg.horizontal(0.8, 1.5 * max(row["times_cheaper"] for row in rows), X_LABEL, log=True, right=24)
    y = svg.vertical(0, 1.05, "share of the teacher's NDCG@10", HEIGHT)
    parts = svg.axes(x, y, "{:g} ×".format, "{:.0%}".format)
    for row in rows:
        shape, colour = KINDS[kind_of(row["model"])]
        at, (low, high) = x.place(row["times_cheaper"]), (y.place(min(share, 1.05)) for share in row["kept_interval"])
        parts.append(f'<path stroke="{colour}" stroke-opacity=".5" d="M{at} {low}V{high}"/>')
        parts.append(svg.mark(shape, at, y.place(row["kept"]), colour))
    return svg.picture("Quality kept, and how much cheaper a request is", HEIGHT, [*parts, *_names(rows, x, y)])


def _names(rows: list[dict[str, Any]], x: svg.Axis, y: svg.Axis) -> list[str]:
    """The name of each kind, below one of its points."""
    found = []
    for kind, (_, colour) in KINDS.items():
        own = sorted((row["times_cheaper"], row["kept"]) for row in rows if kind_of(row["model"]) == kind)
        cost, share = own[int(NAMED[kind] * (len(own) - 1))]
        at, line = x.place(cost), y.place(0.7)
        found.append(f'<path stroke="{colour}" d="M{at} {line - 14}V{y.place(share) + 9}"/>')
        found.append(f'<text x="{at}" y="{line}" text-anchor="middle" style="fill:{colour}">{kind}</text>')
    return found


if __name__ == "__main__":
    main()
