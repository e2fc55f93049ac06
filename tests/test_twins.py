"""Every fast path stands beside its slow twin once, on a small random input. Their own tests go further."""

import importlib
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rexjax.data.batches import TARGETS
from rexjax.embedding.optimizers import OPTIMIZERS
from tests import twin_cases
from tests.reference import TWINS

for room in sorted(Path(twin_cases.__file__).parent.glob("[a-z]*.py")):
    importlib.import_module(f"tests.twin_cases.{room.stem}")

FAST_PATHS = {
    "rexjax.retrieval.topk": ["top_k"],
    "rexjax.retrieval.sharded": ["top_k"],
    "rexjax.retrieval.topk_tpu": ["block_maxima", "score_blocks"],
    "rexjax.retrieval.topk_cpu": ["block_maxima"],
    "rexjax.embedding.row_access": ["take", "put"],
    "rexjax.embedding.rows": ["take", "score", "score_by_row"],
    "rexjax.rerank.similar": ["mmr", "dpp"],
    "rexjax.rerank.shares": ["xquad", "calibrated", "divergence"],
    "rexjax.rerank.limits": ["quota", "capped"],
    "rexjax.models.text_map": ["fit_map", "predict"],
    "rexjax.losses.sampled": [
        "softmax_cross_entropy",
        "soft_cross_entropy",
        "sampled_softmax",
        "gbce",
        "bpr",
    ],
    "rexjax.losses.listwise": ["warp", "listnet", "listmle", "lambdarank", "ndcg"],
    "rexjax.losses.sharded_softmax": ["cross_entropy"],
    "rexjax.embedding.exchange": ["dedupe"],
    "rexjax.embedding.table": ["gather", "look_up", "update"],
    "rexjax.embedding.features": ["vectors"],
    "rexjax.embedding.bags": ["combine"],
    "rexjax.embedding.optimizers": [rule.__name__ for rule in OPTIMIZERS.values()],
    "rexjax.embedding.ftrl": ["ftrl_step", "Ftrl"],
    "rexjax.embedding.order": ["to_physical", "to_logical"],
    "rexjax.embedding.rounding": ["stochastic_bfloat16"],
    "rexjax.evaluation.ranking": ["count_ranks", "evaluate", "padded"],
    "rexjax.evaluation.metrics": ["per_user"],
    "rexjax.evaluation.propensity": ["snips"],
    "rexjax.evaluation.confidence": ["expected_calibration_error", "first_items"],
    "rexjax.evaluation.exposure": ["serendipity"],
    "rexjax.evaluation.requests": ["build", "by_target", "target_events"],
    "rexjax.evaluation.significance": ["bootstrap_mean", "paired_bootstrap"],
    "rexjax.embedding.quantized": ["quantize_rows", "straight_through", "numbers", "dequantize"],
    "rexjax.embedding.product": ["decode", "nearest_codes", "weighted_centroids", "fit_books"],
    "rexjax.compression.prune": ["magnitude_prune"],
    "rexjax.training.multi_step": ["make_run"],
    "rexjax.training.catalogue": ["draw_popular"],
    "rexjax.training.negatives": ["draw_unowned"],
    "rexjax.training.ftrl_rule": ["ftrl"],
    "rexjax.training.label_metrics": ["auc"],
    "rexjax.models.rating_towers": ["tower"],
    "rexjax.models.interactions": ["pairwise_sum", "dot_products", "CrossLayers"],
    "rexjax.models.fields": ["combine_slots"],
    "rexjax.models.calibration": ["fit_temperature", "fit_isotonic"],
    "rexjax.models.candidates": ["place_ranked"],
    "rexjax.data.batches": ["pack", "latest", "latest_times", *({*TARGETS} - {"next_item"})],
    "rexjax.data.interactions": ["clean"],
    "rexjax.data.quantiles": ["at_shares"],
    "rexjax.data.features.as_of": ["join"],
    "rexjax.data.splits": ["leave_one_out", "global_time", "last_session", "last_validates", "without_cold"],
    "rexjax.models.layers": ["attend_causally", "Attention", "causal_mask"],
    "rexjax.models.recurrent": ["RecurrentBlock"],
    "rexjax.models.towers": ["ItemTower", "UserTower"],
    "rexjax.models.fusion": ["Summed", "GatedMixture", "ConcatenatedLayers", "AttendedMixture"],
    "rexjax.models.pooled": ["PooledEncoder", "contributions"],
    "rexjax.families.inverse_update": ["updater"],
    "rexjax.serving.delta_arrays": ["changed_rows"],
}
"""Everything public that is an optimised form of something simple. A new one is added here, and its twin to TWINS."""

NAMES = [f"{module}:{name}" for module, names in FAST_PATHS.items() for name in names]
CASES = twin_cases.CASES


class Counted:
    """A function that knows whether it was called."""

    def __init__(self, function: Callable[..., Any]):
        self.function, self.calls = function, 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.calls += 1
        return self.function(*args, **kwargs)


def resolved(name: str) -> Callable[..., Any]:
    module, attribute = name.split(":")
    return getattr(importlib.import_module(module), attribute)


@pytest.mark.parametrize("name", NAMES)
def test_every_fast_path_is_there_and_has_a_twin_and_a_case(name):
    assert callable(resolved(name))
    assert name in TWINS, f"{name} has no slow twin: write it into tests/reference and name it in TWINS"
    assert name in CASES, f"{name} is not compared with its twin: write a case into tests/twin_cases"


def test_no_twin_and_no_case_is_of_something_that_is_gone():
    assert set(TWINS) == set(NAMES) == set(CASES) and len(set(NAMES)) == len(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_fast_path_and_twin_say_the_same(name):
    fast, twin = Counted(resolved(name)), Counted(TWINS[name])
    CASES[name](fast, twin, np.random.default_rng(zlib.crc32(name.encode())))
    assert fast.calls and twin.calls
