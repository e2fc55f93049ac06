import itertools

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text

from rexjax.evaluation import looks, pictures


def axes_of(*size):
    return Figure(figsize=size or (7, 4)).add_subplot()


@pytest.mark.parametrize(
    "wanted, expected",
    [([], []), ([0.2, 0.8], [0.2, 0.8]), ([0.5, 0.5], [0.5, 0.6]), ([1.0, 1.0], [0.9, 1.0]), ([0.0, 0.0], [0.0, 0.1])],
)
def test_names_are_moved_apart(wanted, expected):
    assert pictures.spread_labels(wanted, 0.1) == pytest.approx(expected)


def test_frontier_joins_the_undominated():
    points = {"a": (1, 0.2), "b": (2, 0.1), "c": (3, 0.3), "d": (3, 0.25), "e": (9, 0.3)}
    assert pictures.undominated(points) == [(1, 0.2), (3, 0.3)]


def test_points_are_of_models_that_have_both():
    quality = {"test": {"ndcg@10": 0.0, "mrr@10": 0.5}}
    models = {
        "a": {"quality": quality, "cost": {"bytes": 8}},
        "free": {"quality": quality, "cost": {"bytes": 0}},
        "no cost": {"quality": quality},
        "no quality": {"cost": {"bytes": 8}},
    }
    assert pictures.frontier_points(models, "bytes") == {"a": (8, 0.0)}
    assert pictures.frontier_points(models, "bytes", "mrr@10") == {"a": (8, 0.5)}


def test_a_curve_for_each_stage_that_has_one():
    axes = axes_of()
    curves = {
        "teacher": [{"loss": 9.0}, {"loss": 3.0, "ndcg@10": 0.1}],
        "none": [],
        "student": [{"epoch": 4, "loss": 0.1}],
    }
    assert pictures.draw_curves(axes, curves, "loss") and axes.get_yscale() == "log"
    found = [(line.get_label(), line.get_xydata().tolist()) for line in axes.lines]
    assert found == [("teacher", [[1, 9], [2, 3]]), ("student", [[4, 0.1]])]
    assert to_hex(axes.lines[1].get_color()) == looks.FIXED["student"]  # its own, whoever else is drawn
    assert not pictures.draw_curves(axes_of(), curves, "mrr@10")


def test_a_map_turns_the_widest_spread_to_the_right():
    vectors = np.array([[0, 0, -9], [0, 0, 9], [1, 0, 0], [-1, 0, 0]]) + 5.0
    axes = axes_of()
    pictures.draw_map(axes, vectors, ["b", "a", "a", "b"], ["left", "right", "up", "down"], named=2)
    places = np.concatenate([np.asarray(points.get_offsets()) for points in axes.collections])
    np.testing.assert_allclose(np.abs(places), [[9, 0], [0, 1]] * 2, atol=1e-9)
    assert [text.get_text() for text in axes.get_legend().texts] == ["a", "b"]
    assert {text.get_text() for text in axes.texts} == {"left", "right"}
    assert axes.get_xlabel() == "first component (99% of the variance)"


@pytest.mark.parametrize("named", [0, 6, 99])
def test_titles_of_a_map_do_not_overlap(named):
    rng = np.random.default_rng(0)
    kinds = [f"kind {i % 17}" for i in range(40)]
    axes = axes_of(7, 5)
    titles = [f"a title of ${i}" for i in range(40)]
    pictures.draw_map(axes, rng.normal(size=(40, 8)), kinds, titles, min(named, 14))
    axes.figure.draw_without_rendering()
    boxes = [Text.get_window_extent(text) for text in axes.texts]  # without the line
    assert len(boxes) == min(named, 14)
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
