"""The report's part about lists before and after re-ranking."""

from collections.abc import Iterable, Mapping
from typing import Any

from rexjax.evaluation import drawings
from rexjax.evaluation.html_tables import table

MEASURES = {
    "ndcg": "NDCG",
    "distance": "distance",
    "coverage": "coverage",
    "gini": "Gini",
    "divergence": "divergence",
}
"""Measures of lists, as tables name them."""
_CHANGED = (
    "Lists of the test in the order of scores and re-ranked. The strength was chosen on validation. Distance: mean "
    "cosine distance of two items of a list by their content. Divergence: Steck's KL of the user's own categories and "
    "the list's. In the pictures, one line a model joins the strengths that were tried; the mark is the chosen one."
)


def reranked_part(found: Mapping[str, Any]) -> Iterable[str]:
    """HTML of ``rerank`` of ``metrics.json``; nothing where lists were not re-ranked."""
    if not found:
        return
    models, k = found["models"], found["k"]
    yield f"<h2>Re-ranking, {found['method']}</h2>"
    keys = [key for key in MEASURES if any(key in model["test"]["before"] for model in models.values())]
    rows = [
        [f"{name}, {when}", 0.0 if when == "before" else model["strength"], *(values.get(key) for key in keys)]
        for name, model in models.items()
        for when, values in model["test"].items()
    ]
    yield table(["lists", "strength", *(f"{MEASURES[key]}@{k}" for key in keys)], rows, _CHANGED)
    for key in ("distance", "divergence"):
        if key in keys:
            yield f"<figure>{frontier_picture(models, key, k)}</figure>"


def frontier_picture(models: Mapping[str, Any], key: str, k: int) -> str:
    """NDCG on validation against another measure, a line a model.

    Args:
        models: NAME to what ``rexjax.evaluation.reranked.before_and_after`` returned.
        key: the other measure.
        k: length of the lists.
    """
    curves = {name: [(row[key], row["ndcg"]) for row in model["valid"]] for name, model in models.items()}
    chosen = {
        name: min((abs(row["strength"] - model["strength"]), (row[key], row["ndcg"])) for row in model["valid"])[1]
        for name, model in models.items()
    }
    other = MEASURES[key]
    return drawings.tradeoff(f"NDCG@{k} on validation against {other}", curves, chosen, f"{other}@{k}", f"NDCG@{k}")
