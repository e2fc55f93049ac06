"""The pictures of the report, as SVG: cost against quality, curves of training, lengths of histories."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from rexjax.evaluation import svg
from rexjax.evaluation.looks import PALETTE, colours, marker
from rexjax.evaluation.pictures import undominated


def frontier(title: str, points: Mapping[str, svg.Point], x_label: str, y_label: str, looks: Mapping[str, str]) -> str:
    """Cost against quality, log cost; the stair joins the models that no cheaper one equals.

    Args:
        title: of the picture.
        points: NAME to (cost above 0, quality), at least one.
        x_label: of the cost.
        y_label: of the quality.
        looks: NAME to colour.
    """
    costs, values = zip(*points.values(), strict=True)
    height = max(360, 19 * len(points) + svg.TOP + svg.BOTTOM)
    margin = 0.08 * (max(values) - min(values)) or 0.1 * abs(max(values)) or 0.1
    x = svg.horizontal(min(costs) / 2, max(costs) * 2, x_label, log=True)
    y = svg.vertical(min(values) - margin, max(values) + margin, y_label, height)
    places = {name: (x.place(a), y.place(b)) for name, (a, b) in points.items()}
    marks = [svg.mark(marker(name), *place, looks[name]) for name, place in places.items()]
    named = svg.names(places, looks, svg.WIDTH - svg.RIGHT + 14, y)
    return svg.picture(title, height, [*svg.axes(x, y), svg.steps(undominated(points), x, y), *named, *marks])


def tradeoff(
    title: str, curves: Mapping[str, Sequence[svg.Point]], chosen: Mapping[str, svg.Point], x_label: str, y_label: str
) -> str:
    """One line a model through its points of growing strength; a mark where the chosen strength stands.

    Args:
        title: of the picture.
        curves: NAME to (what strength changes, quality), at least one.
        chosen: NAME to a point.
        x_label: of what strength changes.
        y_label: of the quality.
    """
    points = [point for line in curves.values() for point in line]
    (low, high), (least, most) = ((min(side), max(side)) for side in zip(*points, strict=True))
    height, looks = max(330, 19 * len(curves) + svg.TOP + svg.BOTTOM), colours(curves)
    margins = [0.06 * (b - a) or 0.1 * abs(b) or 0.1 for a, b in ((low, high), (least, most))]
    x = svg.horizontal(low - margins[0], high + margins[0], x_label)
    y = svg.vertical(least - margins[1], most + margins[1], y_label, height)
    drawn = [svg.line(line, x, y, looks[name]) for name, line in curves.items()]
    places = {name: (x.place(a), y.place(b)) for name, (a, b) in chosen.items()}
    marks = [svg.mark(marker(name), *place, looks[name]) for name, place in places.items()]
    named = svg.names(places, looks, svg.WIDTH - svg.RIGHT + 14, y)
    return svg.picture(title, height, [*svg.axes(x, y), *named, *drawn, *marks])


def training(title: str, curves: Mapping[str, Sequence[Mapping[str, float]]], key: str) -> str:
    """One line a model; a log axis where values differ more than twentyfold; '' where there is nothing to draw.

    Args:
        title: of the picture.
        curves: NAME to one ``{"epoch", key}`` an epoch; values may be missing.
        key: what is drawn.
    """
    lines = {name: _line(rows, key) for name, rows in curves.items()}
    lines = {name: line for name, line in lines.items() if line}
    if not lines:
        return ""
    height, looks = max(330, 19 * len(lines) + svg.TOP + svg.BOTTOM), colours(curves)
    epochs = [epoch for line in lines.values() for epoch, _ in line]
    values = [value for line in lines.values() for _, value in line]
    log = min(values) > 0 and max(values) > 20 * min(values)
    margin = 0.06 * (max(values) - min(values)) or 0.1 * abs(max(values)) or 0.1
    low, high = (min(values) / 1.2, max(values) * 1.2) if log else (min(values) - margin, max(values) + margin)
    x = svg.horizontal(min(epochs), max(max(epochs), min(epochs) + 1), "epoch")
    y = svg.vertical(low, high, "", height, log=log)
    drawn = [svg.line(line, x, y, looks[name]) for name, line in lines.items()]
    ends = {name: (x.place(line[-1][0]), y.place(line[-1][1])) for name, line in lines.items()}
    marks = [svg.mark(marker(name), *end, looks[name]) for name, end in ends.items()]
    return svg.picture(
        title, height, [*svg.axes(x, y), *svg.names(ends, looks, svg.WIDTH - svg.RIGHT + 14, y), *drawn, *marks]
    )


class Grown(NamedTuple):
    """A point of a learning curve."""

    size: float
    """Above 0."""
    value: float
    low: float
    """Of the interval."""
    high: float
    random: float
    """The value of a random order."""


def growth(title: str, points: Sequence[Grown], x_label: str) -> str:
    """A metric by the size of what was learnt from, log size, with intervals; the grey line is a random order.

    Args:
        title: of the picture.
        points: one or more.
        x_label: of the size.
    """
    colour, sizes = PALETTE[0], [point.size for point in points]
    top = 1.1 * max(point.high for point in points) or 1.0
    x = svg.horizontal(min(sizes) / 1.2, max(sizes) * 1.2, x_label, log=True, right=24)
    y = svg.vertical(0, top, "", 300)
    lows = "M".join(f"{x.place(p.size)} {y.place(p.low)}V{y.place(p.high)}" for p in points)
    parts = [
        svg.line([(point.size, point.random) for point in points], x, y, "#8888"),
        svg.line([(point.size, point.value) for point in points], x, y, colour),
        f'<path stroke="{colour}" stroke-opacity=".5" d="M{lows}"/>',
        *(svg.mark("circle", x.place(point.size), y.place(point.value), colour) for point in points),
    ]
    return svg.picture(title, 300, [*svg.axes(x, y), *parts])


def stacked(title: str, pictures: Sequence[str]) -> str:
    """Pictures one below the other, as one."""
    parts, top = [], 28.0
    for picture in pictures:
        height = float(picture.partition(f'viewBox="0 0 {svg.WIDTH} ')[2].partition('"')[0])
        parts.append(picture.replace("<svg ", f'<svg y="{top:g}" width="{svg.WIDTH}" height="{height:g}" ', 1))
        top += height
    return svg.picture(title, top, parts)


def _line(rows: Sequence[Mapping[str, float]], key: str) -> list[svg.Point]:
    found = [(row.get("epoch", place), row.get(key)) for place, row in enumerate(rows, 1)]
    return [(epoch, value) for epoch, value in found if value is not None and math.isfinite(value)]


def lengths(title: str, edges: Sequence[float], counts: Sequence[float]) -> str:
    """How many users have histories of each length."""
    height = 300
    x = svg.horizontal(edges[0], edges[-1], "items in the history", right=20)
    y = svg.vertical(0, max(max(counts), 1) * 1.05, "users", height)
    return svg.picture(title, height, [*svg.axes(x, y), *svg.bars(edges, counts, x, y, "#3b7dd8")])
