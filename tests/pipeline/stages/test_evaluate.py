import json
from dataclasses import replace

import jax
import numpy as np
import pytest

from rexjax.embedding.quantized import dequantize
from rexjax.errors import UserError
from rexjax.evaluation import requests
from rexjax.models.scorer import Query
from rexjax.pipeline.stages import evaluate, inputs
from rexjax.retrieval.answer import answer

MODELS = {"popularity", "text_cosine", "teacher", "student", "student_control", "student_int8"}
COST = {
    "parameters",
    "bytes_resident",
    "bytes_per_item",
    "flops_per_request",
    "flops_user_encoding",
    "p50_ms",
    "p99_ms",
}


@pytest.fixture(scope="module")
def result(finished):
    return json.loads((finished.artifacts["evaluate"].folder / "metrics.json").read_text())


def test_every_model_has_quality_and_cost(result):
    assert set(result["models"]) >= MODELS
    for name, model in result["models"].items():
        assert set(model["cost"]) >= COST | {"users_per_second"}, name
        for part in ("valid", "test"):
            for metric in ("ndcg", "hit_rate", "recall", "precision", "f1", "mrr", "map"):
                for k in (1, 5, 10):
                    assert 0 <= model["quality"][part][f"{metric}@{k}"] <= 1, name
        assert 0 < model["quality"]["test"]["coverage@10"] <= 1
        low, high = model["interval"]["ndcg@10"]
        assert low <= model["quality"]["test"]["ndcg@10"] <= high


def test_the_shop_has_corrected_metrics_and_a_regret(finished, result):
    log = inputs.training_data(finished.config, {"prepare": finished.artifacts["prepare"]}).log
    asked, users = requests.build(log, "test", items=40, length=8)
    weights = 1 / log.propensities[log.test_start[users]].astype(float)
    assert result["propensity"]["targets"] == len(users) == len(asked.target_items)
    assert result["propensity"]["effective_sample_size"] == pytest.approx(weights.sum() ** 2 / (weights**2).sum())
    with np.load(finished.artifacts["evaluate"].folder / "per_user.npz") as stored:
        for name, model in result["models"].items():
            found = model["corrected"]["ndcg@10"]
            assert found["mean"] == pytest.approx(weights @ stored[f"{name}/ndcg@10"] / weights.sum(), rel=1e-5)
            assert found["low"] < found["mean"] < found["high"]
            assert found["log"] == pytest.approx(model["quality"]["test"]["ndcg@10"])
    best = result["truth"]["oracle"]["expected_dcg@10"]
    for row in result["truth"].values():
        assert row["regret"]["difference"] == pytest.approx(best - row["expected_dcg@10"])
    page = (finished.artifacts["evaluate"].folder / "report.html").read_text()
    assert "Corrected for what was shown" in page and "effective sample size" in page


def test_scores_are_calibrated_by_a_map_that_is_said(result):
    maps = {name: model["calibration"]["map"] for name, model in result["models"].items()}
    assert maps["popularity"] == maps["text_cosine"] == "isotonic" and maps["student"] == maps["teacher"] == "softmax"
    for model in result["models"].values():
        found = model["calibration"]
        assert 0 <= found["ece"] <= 1 and found["users"] == result["dataset"]["test_users"]
        assert abs(found["confidence"] - found["hit_rate@1"]) <= found["ece"] + 1e-9
    assert result["models"]["popularity"]["quality"]["test"]["serendipity@10"] == pytest.approx(0, abs=1e-3)


def test_popularity_is_what_it_says(finished, result):
    """The slow twin: sort by training counts, drop what the user has, look for the last item (ties: the mean)."""
    data = inputs.training_data(finished.config, {"prepare": finished.artifacts["prepare"]})
    asked, _ = requests.build(data.log, "test", items=data.items, length=8)
    hits = []
    for user in range(len(asked.histories)):
        seen = asked.seen_items[asked.seen_offsets[user] : asked.seen_offsets[user + 1]]
        counts = np.delete(data.popularity.astype(float), seen)
        target = data.popularity[asked.target_items[user]]
        above, level = (counts > target).sum(), (counts == target).sum()
        hits.append(np.clip((5 - above) / level, 0, 1))
    assert result["models"]["popularity"]["quality"]["test"]["hit_rate@5"] == pytest.approx(np.mean(hits), abs=1e-9)


def test_the_student_costs_less_than_its_teacher(result):
    cost = {name: model["cost"] for name, model in result["models"].items()}
    assert cost["student"]["flops_user_encoding"] < cost["teacher"]["flops_user_encoding"]
    assert cost["student_int8"]["bytes_resident"] < cost["student"]["bytes_resident"] / 2
    assert cost["student_int8"]["bytes_per_item"] == 8 + 2  # eight int8 values and a float16 scale


def test_flops_of_the_scores_are_counted(finished, result):
    """Scoring N items of width D takes 2 N D operations; encoding and selection come on top."""
    cost = result["models"]["student"]["cost"]
    items = finished.artifacts["prepare"].metrics["items"]
    assert cost["flops_per_request"] - cost["flops_user_encoding"] >= 2 * items * 8


def test_int8_ranks_as_its_dequantised_self(finished):
    int8 = evaluate.models_of(finished.config, finished.artifacts)["student_int8"]
    histories = np.array([[-1, -1, -1, -1, -1, 3, 1, 2]], np.int32)
    scores, ids = jax.jit(answer(int8, 5))(int8.state, histories, histories)
    items = np.asarray(dequantize(int8.state.items))
    by_hand = np.asarray(int8.encode(int8.state, Query(histories)))[0] @ items.T
    by_hand[[1, 2, 3]] = -np.inf
    assert ids[0].tolist() == np.argsort(-by_hand)[:5].tolist()
    assert scores[0] == pytest.approx(np.sort(by_hand)[::-1][:5], abs=1e-6)


def test_k_beyond_the_catalogue_is_refused(finished, tmp_path):
    config = replace(finished.config, evaluate=replace(finished.config.evaluate, k=(1, 1000)))
    with pytest.raises(UserError, match="evaluate.k has the cut-off 1000: .* from 1 to the catalogue"):
        evaluate.run(config, tmp_path, finished.artifacts)
