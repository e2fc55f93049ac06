"""One run on one page: quality, cost, curves and data, as a single HTML file that needs nothing else."""

import base64
import html
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rexjax.artifacts.workdirs import REPORT_MARK
from rexjax.errors import needs_extra
from rexjax.evaluation.comparison import LEVEL, judge
from rexjax.evaluation.pictures import draw_curves, draw_frontier, dress, frontier_points, plain
from rexjax.evaluation.settings import EXPOSED, SHOWN
from rexjax.training.settings import SELECT

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COST = {
    "parameters": "parameters",
    "bytes_resident": "bytes resident",
    "bytes_per_item": "bytes per item",
    "flops_per_request": "FLOPs per request",
    "flops_user_encoding": "FLOPs of user encoding",
    "p50_ms": "p50, ms",
    "p99_ms": "p99, ms",
    "users_per_second": "users/s",
}
_HOW_TO_READ = (
    "Every model answered the same requests: all items the user has not seen are ranked and the items held out are "
    "looked for; where scores tie, the figure is the average over all orders of the tied items. Models are chosen on "
    "validation (valid) and reported on test. Cost is what one answer takes: FLOPs as the compiler counts them, bytes "
    "held in memory, milliseconds for one user. In the pictures up is better and left is cheaper; the grey line joins "
    "the models that no cheaper one equals."
)
_COMPARED = (
    "Paired differences over users, with 95 % intervals. Better or worse: significant at 5 % after Holm's correction "
    "for all rows. Equal: within the margin (evaluate.margin) by two one-sided tests. Detectable: the smallest "
    "difference that the test finds with probability 0.8. One run does not show the spread between training seeds: "
    "rexjax compare takes several runs."
)
_EXPOSED = (
    "Recommended lists of the test: the share of the catalogue in them; the Gini index of item counts; mean training "
    "interactions and mean self-information (bits) of the items; mean cosine distance of two items by their content."
)
_TRUE = (
    "The simulated source knows the probability of each user's next item. The table shows the expected DCG of the "
    "test lists under it, seen items left out. It is a diagnostic: nothing is selected by it."
)
_STYLE = """
:root { color-scheme: light dark; --line: #8886; --soft: #8882; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem; }
caption { text-align: left; padding: .4rem 0; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
thead th { background: var(--soft); }
img { display: block; width: 100%; max-width: 46rem; height: auto; background: #fff; margin: .75rem 0; }
"""
_TABLES = ("cleaning", "histories", "history_lengths")  # of the data card


def write_report(
    path: str | Path,
    found: Mapping[str, Any],
    *,
    card: Mapping[str, Any],
    curves: Mapping[str, Sequence[Mapping[str, float]]],
    columns: Sequence[str] = (),
    shown: Sequence[str] = SHOWN,
) -> None:
    """Writes the report of one run.

    Args:
      path: of the HTML file; its folder exists.
      found: as in ``metrics.json``: ``select``, the metric that models are selected by; ``models``, NAME to
        ``{"quality": {"valid": {metric: value}, "test": ...}, "cost": {...}}``; and, where they are there,
        ``comparisons``, ``truth``, ``segments`` and ``worst``.
      card: nested facts about the data; under ``cleaning`` a list of ``{"step", "removed", "users", "items",
        "interactions"}``, under ``histories`` optionally a list of ``{"user", "interactions", "latest": [event]}``,
        under ``history_lengths`` optionally ``{"edges": [bins + 1], "counts": [bins]}``.
      curves: stage to one ``{"epoch", "loss", found["select"]}`` per epoch; either value may be missing.
      columns: names of the models in the table of segments; the first one is the served model.
      shown: metrics of the tables, besides ``found["select"]``.
    """
    select = found.get("select", SELECT)
    parts = [
        "<h1>Quality and cost of the recommenders</h1>",
        f"<p>{_HOW_TO_READ}</p>",
        *_models_part(found["models"], select, shown),
        *_comparisons_part(found.get("comparisons", ())),
        *_truth_part(found.get("truth", {})),
        *_segments_part(found.get("segments", ()), columns, select),
        *_worst_part(found.get("worst", {}), columns, select),
        *_curves_part(curves, select),
        *_card_part(card),
    ]
    page = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>Quality and cost</title>\n'
        f"{REPORT_MARK}\n"
        f"<style>{_STYLE}</style>\n</head>\n<body>\n" + "\n".join(parts) + "\n</body>\n</html>\n"
    )
    Path(path).write_text(page, encoding="utf-8")


def _models_part(models: Mapping[str, Mapping[str, Any]], metric: str, shown: Sequence[str]) -> Iterable[str]:
    yield "<h2>Models</h2>"
    wanted = dict.fromkeys((metric, *shown))
    for split in ("test", "valid"):
        quality = {name: model.get("quality", {}).get(split, {}) for name, model in models.items()}
        names = [name for name in wanted if any(name in values for values in quality.values())]
        rows = [[model, *(values.get(name) for name in names)] for model, values in quality.items()]
        yield _table(["model", *names], rows, f"Quality, {split}")
    exposed = {name: model.get("quality", {}).get("test", {}) for name, model in models.items()}
    if any("gini@10" in values for values in exposed.values()):
        rows = [[model, *(values.get(name) for name in EXPOSED)] for model, values in exposed.items()]
        yield _table(["model", *EXPOSED], rows, _EXPOSED)
    costs = {name: model.get("cost", {}) for name, model in models.items()}
    keys = [key for key in _COST if any(key in cost for cost in costs.values())]
    rows = [[model, *(abbreviate(cost.get(key)) for key in keys)] for model, cost in costs.items()]
    yield _table(["model", *(_COST[key] for key in keys)], rows, "Cost")
    for key in ("flops_per_request", "bytes_resident"):
        if points := frontier_points(models, key, metric):
            title = f"{metric} on test against {_COST[key]}"
            yield _picture(frontier_figure(points, _COST[key], f"{metric} (test)"), title)


def _comparisons_part(comparisons: Sequence[Mapping[str, Any]]) -> Iterable[str]:
    if not comparisons:
        return
    yield "<h2>Differences</h2>"
    rows = []
    for row in comparisons:
        share = None if row["relative"] is None else f"{row['relative']:+.1%}"
        signed = (f"{row[key]:+.4f}" for key in ("difference", "low", "high"))
        rows.append([row["name"], row["metric"], *signed, share, row["detectable"], standing(row)])
    header = ["comparison", "metric", "difference", "low", "high", "relative", "detectable", "verdict"]
    yield _table(header, rows, _COMPARED)


def standing(row: Mapping[str, Any]) -> str:
    """The verdict on a comparison, corrected for the number of rows, such as "better" or "worse, within the margin"."""
    word = judge(row["difference"], row["p_adjusted"] < 1 - LEVEL, row["equal"])
    return f"{word}, within the margin" if row["equal"] and word != "equal" else word


def _truth_part(truth: Mapping[str, Mapping[str, Any]]) -> Iterable[str]:
    if not truth:
        return
    yield "<h2>Known preference</h2>"
    rows = []
    for name, found in truth.items():
        against = found["against_teacher"]
        signed = (f"{against[key]:+.4f}" for key in ("difference", "low", "high"))
        rows.append([name, found["expected_dcg@10"], f"{found['of_oracle']:.1%}", *signed])
    header = ["model", "expected DCG@10", "of the best possible", "minus the teacher", "low", "high"]
    yield _table(header, rows, _TRUE)


def _segments_part(segments: Sequence[Mapping[str, Any]], columns: Sequence[str], metric: str) -> Iterable[str]:
    if not segments:
        return
    yield "<h2>Segments</h2>"
    rows = [
        [row["segment"], row["value"], row["users"], *(_range(row["models"][name]) for name in columns)]
        for row in segments
    ]
    yield _table(["segment", "value", "users", *columns], rows, f"{metric} (test) by segment of users, 95 % intervals")


def _range(found: Mapping[str, float | None]) -> str:
    bounds = "" if found["low"] is None else f" ({_cell(found['low'])} to {_cell(found['high'])})"
    return f"{_cell(found['mean'])}{bounds}"


def _worst_part(worst: Mapping[str, Sequence[Mapping[str, Any]]], columns: Sequence[str], metric: str) -> Iterable[str]:
    if users := worst.get("users"):
        rows = [
            [row["value"], row["events"], *(" · ".join(row[key]) for key in ("history", "wanted"))] for row in users
        ]
        caption = f"The 20 users with the lowest {metric} of {columns[0]}, longest histories first"
        yield _table([metric, "events", "history, latest last", "targets"], rows, caption)
    if items := worst.get("items"):
        rows = [[row["item"], row["value"], row["users"], row["interactions"]] for row in items]
        caption = f"The 20 target items with the lowest mean {metric} of {columns[0]}, most frequent targets first"
        yield _table(["item", metric, "users", "interactions"], rows, caption)


def _curves_part(curves: Mapping[str, Sequence[Mapping[str, float]]], metric: str) -> Iterable[str]:
    if any(curves.values()):
        yield "<h2>Training</h2>"
    for key, label in (("loss", "training loss"), (metric, f"{metric} (valid)")):
        figure, axes = _axes("epoch", label, 3.6 + 0.25 * math.ceil(len(curves) / 3))
        if draw_curves(axes, curves, key):
            figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=9)
            yield _picture(figure, f"{label} per epoch")


def _card_part(card: Mapping[str, Any]) -> Iterable[str]:
    yield "<h2>Data</h2>"
    facts = {key: value for key, value in card.items() if key not in _TABLES}
    yield _table(["fact", "value"], _flat(facts), "Data card")
    if cleaning := card.get("cleaning"):
        keys = ["step", "removed", "users", "items", "interactions"]
        yield _table(keys, [[row.get(key) for key in keys] for row in cleaning], "Cleaning, step by step: what is left")
    if shown := card.get("histories"):
        rows = [[history["user"], history["interactions"], " · ".join(history["latest"])] for history in shown]
        yield _table(["user", "interactions", "latest"], rows, "Some histories, the latest events")
    if lengths := card.get("history_lengths"):
        figure, axes = _axes("items in the history", "users")
        axes.stairs(lengths["counts"], lengths["edges"], fill=True, color="#4477aa")
        yield _picture(figure, "Length of history")


def _flat(facts: Mapping[str, Any], above: str = "") -> list[list[Any]]:
    """Nested facts as rows of dotted name and value."""
    rows: list[list[Any]] = []
    for key, value in facts.items():
        name = f"{above}{key}"
        if isinstance(value, Mapping):
            rows += _flat(value, f"{name}.")
        else:
            rows.append([name, ", ".join(map(_cell, value)) if isinstance(value, (list, tuple)) else value])
    return rows


def _table(header: Sequence[str], rows: Iterable[Sequence[Any]], caption: str) -> str:
    head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in header)
    body = "\n".join("<tr>" + "".join(f"<td>{html.escape(_cell(x))}</td>" for x in row) + "</tr>" for row in rows)
    return (
        f'<div class="wide"><table><caption>{html.escape(caption)}</caption>'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>"
    )


def _cell(value: Any) -> str:
    """Integers with thousands apart, floats with four digits, a dash for what is missing."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, float):
        return f"{value:.4f}" if 1e-3 <= abs(value) < 1e4 or value == 0 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def abbreviate(value: float | None) -> str:
    """A number as three digits and k, M, G or T, such as "1.5 k"; a dash for None."""
    if value is None:
        return "–"
    size = min(max(int(math.log10(abs(value)) // 3), 0), 4) if value else 0
    unit = ("", " k", " M", " G", " T")[size]
    return f"{value / 1000**size:.3g}{unit}" if abs(value) < 1e15 else f"{value:.3g}"


def _axes(x: str, y: str, height: float = 3.6) -> tuple["Figure", "Axes"]:
    with needs_extra("pictures"):
        from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, height), layout="constrained", facecolor="white")
    axes = figure.add_subplot()
    dress(axes, x, y)
    return figure, axes


def frontier_figure(points: Mapping[str, tuple[float, float]], x: str, y: str) -> "Figure":
    """Draws cost against quality into a figure that is high enough for all names.

    Args:
      points: NAME to (cost above 0, quality), at least one.
      x: label of the cost axis.
      y: label of the quality axis.

    Returns:
      The figure; its only axes are drawn by `rexjax.evaluation.pictures.draw_frontier`.
    """
    figure, axes = _axes(x, y, max(3.6, 0.3 * len(points) + 1))
    draw_frontier(axes, points)
    return figure


def _picture(figure: "Figure", title: str) -> str:
    with needs_extra("pictures"):
        from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    figure.axes[0].set_title(plain(title), fontsize=11, loc="left")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=160)
    picture = base64.b64encode(buffer.getvalue()).decode()
    return f'<img alt="{html.escape(title)}" src="data:image/png;base64,{picture}">'
