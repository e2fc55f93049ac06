"""What the report and the notebooks draw, each into axes that are given: curves, the frontier, a map of the items."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rexjax.errors import needs_extra
from rexjax.evaluation.looks import MATPLOTLIB, colours, marker
from rexjax.training.settings import SELECT

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def dress(axes: "Axes", x: str, y: str) -> None:
    """Labels, a light grid, no frame at the top and on the right."""
    axes.set_xlabel(plain(x))
    axes.set_ylabel(plain(y))
    axes.grid(True, color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)


def plain(text: str) -> str:
    """Text that matplotlib does not take for mathematics."""
    return text.replace("$", r"\$")


def frontier_points(
    models: Mapping[str, Mapping[str, Any]], cost: str, metric: str = SELECT
) -> dict[str, tuple[float, float]]:
    """(cost, quality on test) of the models that have both, and a cost above 0; ``models`` as in ``metrics.json``."""
    points = {}
    for name, model in models.items():
        price, value = model.get("cost", {}).get(cost), model.get("quality", {}).get("test", {}).get(metric)
        if price and value is not None:
            points[name] = price, value
    return points


def draw_frontier(axes: "Axes", points: Mapping[str, tuple[float, float]], gap: float = 0.065) -> None:
    """Cost against quality, log cost; names in a column on the right, moved apart, with a line to each point.

    Args:
      axes: where to.
      points: NAME to (cost above 0, quality).
      gap: between two names, as a share of the axes' height.
    """
    axes.set_xscale("log")
    axes.xaxis.set_minor_formatter("")  # of less than a decade it would name each step, one over the other
    costs, values = zip(*points.values(), strict=True)
    axes.set_xlim(min(costs) / 2, max(costs) * 2)
    low, high = min(values), max(values)
    margin = 0.08 * (high - low) or 0.1 * abs(high) or 0.1
    axes.set_ylim(low - margin, high + margin)
    steps = undominated(points)
    axes.step(*zip(*steps, strict=True), where="post", color="#bbbbbb", linewidth=1.5, zorder=1)
    ranked = sorted(points.items(), key=lambda item: item[1][1])
    wanted = [(value - low + margin) / (high - low + 2 * margin) for _, (_, value) in ranked]
    looks = colours(points)
    for (name, point), place in zip(ranked, spread_labels(wanted, gap), strict=True):
        color = looks[name]
        axes.plot(*point, MATPLOTLIB[marker(name)], color=color, markersize=8, alpha=0.8, zorder=3)
        line = {"arrowstyle": "-", "color": color, "linewidth": 0.8, "alpha": 0.6, "shrinkA": 1, "shrinkB": 4}
        where = {"xycoords": "data", "textcoords": "axes fraction", "va": "center", "fontsize": 9, "color": color}
        axes.annotate(plain(name), point, (1.03, place), arrowprops=line, annotation_clip=False, **where)


def undominated(points: Mapping[str, tuple[float, float]]) -> list[tuple[float, float]]:
    """The points, by rising cost, that beat every cheaper one."""
    best, front = -math.inf, []
    for cost, value in sorted(points.values(), key=lambda point: (point[0], -point[1])):
        if value > best:
            front.append((cost, value))
            best = value
    return front


def spread_labels(wanted: Sequence[float], gap: float) -> list[float]:
    """Moves labels apart along one axis.

    Args:
      wanted: rising places in [0, 1], one a label.
      gap: the least distance between two labels. Where the labels do not fit, they lie evenly apart instead.

    Returns:
      Rising places in [0, 1], each near the one wanted.
    """
    gap = min(gap, 1 / max(len(wanted) - 1, 1))
    placed: list[float] = []
    for index, place in enumerate(wanted):
        ceiling = 1 - gap * (len(wanted) - 1 - index)
        placed.append(min(max(place, placed[-1] + gap if placed else 0.0), ceiling))
    return placed


def draw_curves(axes: "Axes", curves: Mapping[str, Sequence[Mapping[str, float]]], key: str) -> bool:
    """One line a stage, named in the legend; a log axis where values differ more than twentyfold.

    Args:
      axes: where to.
      curves: stage to one ``{"epoch", key}`` an epoch, as stages report it; values may be missing.
      key: what is drawn.

    Returns:
      Whether there was anything to draw.
    """
    found, looks = [], colours(curves)
    for stage, rows in curves.items():
        line = [(row.get("epoch", place), row[key]) for place, row in enumerate(rows, 1) if row.get(key) is not None]
        if line:  # the colour of a stage is the same in every picture
            shape = MATPLOTLIB[marker(stage)]
            axes.plot(*zip(*line, strict=True), f"{shape}-", color=looks[stage], markersize=3, label=plain(stage))
            found += [value for _, value in line]
    if found and min(found) > 0 and max(found) > 20 * min(found):
        axes.set_yscale("log")
    axes.xaxis.get_major_locator().set_params(integer=True)
    return bool(found)


def draw_map(
    axes: "Axes", vectors: np.ndarray, kinds: Sequence[str], titles: Sequence[str] = (), named: int = 6
) -> None:
    """Item vectors float [N, W] in the plane of their two first principal components, coloured by kind.

    Args:
      axes: where to; the legend goes below them, titles into a column on their right.
      vectors: one for each item.
      kinds: of each item, such as its category.
      titles: of each item; none are written without.
      named: so many items, far from each other, have their titles written.
    """
    with needs_extra("pictures"):
        from matplotlib import colormaps

    centred = np.asarray(vectors, np.float64) - np.mean(vectors, 0)
    left, stretch, _ = np.linalg.svd(centred, full_matrices=False)
    places, shares = left[:, :2] * stretch[:2], stretch**2 / max(np.sum(stretch**2), 1e-30)
    order = ("first", "second")
    dress(
        axes,
        *(f"{name} component ({share:.0%} of the variance)" for name, share in zip(order, shares[:2], strict=True)),
    )
    colors = {kind: colormaps["tab20"](index % 20) for index, kind in enumerate(sorted(set(kinds)))}
    for kind, color in colors.items():
        own = places[np.asarray(kinds) == kind]
        axes.scatter(*own.T, s=14, color=color, label=plain(kind), linewidths=0)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=4, frameon=False, fontsize=8, markerscale=1.5)
    if not len(titles):
        return
    chosen = sorted(_far_apart(places, named), key=lambda item: places[item, 1])
    low, high = axes.get_ylim()
    wanted = [(places[item, 1] - low) / (high - low) for item in chosen]
    for item, place in zip(chosen, spread_labels(wanted, 0.07), strict=True):
        color = colors[kinds[item]]
        axes.plot(*places[item], "o", color=color, markeredgecolor="#333333", markersize=6, zorder=3)
        line = {"arrowstyle": "-", "color": "#999999", "linewidth": 0.7, "shrinkA": 1, "shrinkB": 4}
        where = {"xycoords": "data", "textcoords": "axes fraction", "va": "center", "fontsize": 8}
        axes.annotate(plain(titles[item]), places[item], (1.03, place), arrowprops=line, annotation_clip=False, **where)


def _far_apart(places: np.ndarray, count: int) -> list[int]:
    """The point farthest from the middle, then always the one farthest from those that were taken."""
    distance, chosen = np.linalg.norm(places - places.mean(0), axis=1), []
    for _ in range(min(count, len(places))):
        chosen.append(int(distance.argmax()))
        own = np.linalg.norm(places - places[chosen[-1]], axis=1)
        distance = own if len(chosen) == 1 else np.minimum(distance, own)
    return chosen
