"""One run on one page: quality, cost, curves and data, as a single HTML file that needs nothing else."""

import base64
import html
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_QUALITY = ("ndcg@10", "hit_rate@10", "recall@10", "mrr@10", "coverage@10")
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


def write_report(
    path: str | Path,
    *,
    card: Mapping[str, Any],
    models: Mapping[str, Mapping[str, Any]],
    curves: Mapping[str, Sequence[Mapping[str, float]]],
    comparisons: Sequence[Mapping[str, Any]],
    frontier_metric: str = "ndcg@10",
) -> None:
    """Writes the report of one run.

    Args:
      path: of the HTML file; its folder exists.
      card: nested facts about the data; under ``cleaning`` a list of ``{"step", "removed", "users", "items",
        "interactions"}``, under ``history_lengths`` optionally ``{"edges": [bins + 1], "counts": [bins]}``.
      models: NAME to ``{"quality": {"valid": {metric: value}, "test": ...}, "cost": {...}}``, as in ``metrics.json``.
      curves: stage to one ``{"epoch", "loss", frontier_metric}`` per epoch; either value may be missing.
      comparisons: ``{"name", "metric", "difference", "low", "high", "relative"}`` each, from a paired bootstrap.
      frontier_metric: the metric of the pictures.
    """
    parts = [
        "<h1>Quality and cost of the recommenders</h1>",
        f"<p>{_HOW_TO_READ}</p>",
        *_models_part(models, frontier_metric),
        *_comparisons_part(comparisons),
        *_curves_part(curves, frontier_metric),
        *_card_part(card),
    ]
    page = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>Quality and cost</title>\n'
        f"<style>{_STYLE}</style>\n</head>\n<body>\n" + "\n".join(parts) + "\n</body>\n</html>\n"
    )
    Path(path).write_text(page, encoding="utf-8")


def _models_part(models: Mapping[str, Mapping[str, Any]], metric: str) -> Iterable[str]:
    yield "<h2>Models</h2>"
    wanted = dict.fromkeys((metric, *_QUALITY))
    for split in ("test", "valid"):
        quality = {name: model.get("quality", {}).get(split, {}) for name, model in models.items()}
        names = [name for name in wanted if any(name in values for values in quality.values())]
        rows = [[model, *(values.get(name) for name in names)] for model, values in quality.items()]
        yield _table(["model", *names], rows, f"Quality, {split}")
    costs = {name: model.get("cost", {}) for name, model in models.items()}
    keys = [key for key in _COST if any(key in cost for cost in costs.values())]
    rows = [[model, *(_short(cost.get(key)) for key in keys)] for model, cost in costs.items()]
    yield _table(["model", *(_COST[key] for key in keys)], rows, "Cost")
    for key in ("flops_per_request", "bytes_resident"):
        points = {name: (costs[name].get(key), _test(model, metric)) for name, model in models.items()}
        points = {name: point for name, point in points.items() if None not in point and point[0] > 0}
        if points:
            title = f"{metric} on test against {_COST[key]}"
            yield _picture(_frontier(points, _COST[key], f"{metric} (test)"), title)


def _comparisons_part(comparisons: Sequence[Mapping[str, Any]]) -> Iterable[str]:
    if not comparisons:
        return
    yield "<h2>Differences</h2>"
    rows = []
    for row in comparisons:
        relative = row.get("relative")
        share = None if relative is None else f"{relative:+.1%}"
        clear = "yes" if row["low"] > 0 or row["high"] < 0 else "no"
        signed = (f"{row[key]:+.4f}" for key in ("difference", "low", "high"))
        rows.append([row["name"], row["metric"], *signed, share, clear])
    header = ["comparison", "metric", "difference", "low", "high", "relative", "clear of 0"]
    yield _table(header, rows, "Paired bootstrap over users: the difference and its interval")


def _curves_part(curves: Mapping[str, Sequence[Mapping[str, float]]], metric: str) -> Iterable[str]:
    if any(curves.values()):
        yield "<h2>Training</h2>"
    for key, label in (("loss", "training loss"), (metric, f"{metric} (valid)")):
        lines = _lines(curves, key)
        if any(lines.values()):
            yield _picture(_curve_figure(lines, label), f"{label} per epoch")


def _card_part(card: Mapping[str, Any]) -> Iterable[str]:
    yield "<h2>Data</h2>"
    facts = {key: value for key, value in card.items() if key not in ("cleaning", "history_lengths")}
    yield _table(["fact", "value"], _flat(facts), "Data card")
    if cleaning := card.get("cleaning"):
        keys = ["step", "removed", "users", "items", "interactions"]
        yield _table(keys, [[row.get(key) for key in keys] for row in cleaning], "Cleaning, step by step: what is left")
    if lengths := card.get("history_lengths"):
        figure, axes = _axes("items in the history", "users")
        axes.stairs(lengths["counts"], lengths["edges"], fill=True, color="#4477aa")
        yield _picture(figure, "Length of history")


def _test(model: Mapping[str, Any], metric: str) -> float | None:
    return model.get("quality", {}).get("test", {}).get(metric)


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


def _short(value: float | None) -> str:
    """Three digits and k, M, G or T."""
    if value is None:
        return "–"
    size = min(max(int(math.log10(abs(value)) // 3), 0), 4) if value else 0
    unit = ("", " k", " M", " G", " T")[size]
    return f"{value / 1000**size:.3g}{unit}" if abs(value) < 1e15 else f"{value:.3g}"


def _axes(x: str, y: str, height: float = 3.6) -> tuple["Figure", "Axes"]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, height), layout="constrained", facecolor="white")
    axes = figure.add_subplot()
    axes.set_xlabel(_plain(x))
    axes.set_ylabel(_plain(y))
    axes.grid(True, color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)
    return figure, axes


def _frontier(points: Mapping[str, tuple[float, float]], x: str, y: str) -> "Figure":
    figure, axes = _axes(x, y, max(3.6, 0.3 * len(points) + 1))
    draw_frontier(axes, points)
    return figure


def draw_frontier(axes: "Axes", points: Mapping[str, tuple[float, float]], gap: float = 0.065) -> None:
    """Cost against quality, log cost; names in a column on the right, moved apart, with a line to each point.

    Args:
      axes: where to.
      points: NAME to (cost above 0, quality).
      gap: between two names, as a share of the axes' height.
    """
    from matplotlib import colormaps

    axes.set_xscale("log")
    costs, values = zip(*points.values(), strict=True)
    axes.set_xlim(min(costs) / 2, max(costs) * 2)
    low, high = min(values), max(values)
    margin = 0.08 * (high - low) or 0.1 * abs(high) or 0.1
    axes.set_ylim(low - margin, high + margin)
    steps = _undominated(points)
    axes.step(*zip(*steps, strict=True), where="post", color="#bbbbbb", linewidth=1.5, zorder=1)
    ranked = sorted(points.items(), key=lambda item: item[1][1])
    wanted = [(value - low + margin) / (high - low + 2 * margin) for _, (_, value) in ranked]
    for index, ((name, point), place) in enumerate(zip(ranked, _apart(wanted, gap), strict=True)):
        color = colormaps["tab10"](index % 10)
        axes.plot(*point, "o", color=color, markersize=8, alpha=0.8, zorder=3)
        line = {"arrowstyle": "-", "color": color, "linewidth": 0.8, "alpha": 0.6, "shrinkA": 1, "shrinkB": 4}
        where = {"xycoords": "data", "textcoords": "axes fraction", "va": "center", "fontsize": 9, "color": color}
        axes.annotate(_plain(name), point, (1.03, place), arrowprops=line, annotation_clip=False, **where)


def _undominated(points: Mapping[str, tuple[float, float]]) -> list[tuple[float, float]]:
    """The points, by rising cost, that beat every cheaper one."""
    best, front = -math.inf, []
    for cost, value in sorted(points.values(), key=lambda point: (point[0], -point[1])):
        if value > best:
            front.append((cost, value))
            best = value
    return front


def _apart(wanted: Sequence[float], gap: float) -> list[float]:
    """Rising places in [0, 1], each near the one wanted, and ``gap`` or, where that is too much, evenly apart."""
    gap = min(gap, 1 / max(len(wanted) - 1, 1))
    placed: list[float] = []
    for index, place in enumerate(wanted):
        ceiling = 1 - gap * (len(wanted) - 1 - index)
        placed.append(min(max(place, placed[-1] + gap if placed else 0.0), ceiling))
    return placed


def _lines(curves: Mapping[str, Sequence[Mapping[str, float]]], key: str) -> dict[str, list[tuple[float, float]]]:
    return {
        stage: [(row.get("epoch", index), row[key]) for index, row in enumerate(rows, 1) if row.get(key) is not None]
        for stage, rows in curves.items()
    }


def _curve_figure(lines: Mapping[str, list[tuple[float, float]]], label: str) -> "Figure":
    """One line per stage, the names below; a log axis where stages differ more than twentyfold."""
    figure, axes = _axes("epoch", label, 3.6 + 0.25 * math.ceil(len(lines) / 3))
    for index, (stage, line) in enumerate(lines.items()):
        if line:  # the colour of a stage is the same in every picture
            axes.plot(*zip(*line, strict=True), f"C{index}o-", markersize=3, label=_plain(stage))
    values = [value for line in lines.values() for _, value in line]
    if min(values) > 0 and max(values) > 20 * min(values):
        axes.set_yscale("log")
    axes.xaxis.get_major_locator().set_params(integer=True)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    return figure


def _plain(text: str) -> str:
    """Text that matplotlib does not take for mathematics."""
    return text.replace("$", r"\$")


def _picture(figure: "Figure", title: str) -> str:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    figure.axes[0].set_title(_plain(title), fontsize=11, loc="left")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=160)
    picture = base64.b64encode(buffer.getvalue()).decode()
    return f'<img alt="{html.escape(title)}" src="data:image/png;base64,{picture}">'
