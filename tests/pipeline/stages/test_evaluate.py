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
