"""Metrics that a config file defines: from the file through the evaluator to a run's tables, report and figures."""

import json

import numpy as np
import pytest

from rexjax.artifacts.classes import as_dict, class_name
from rexjax.config import load
from rexjax.config.values import check
from rexjax.errors import UserError
from rexjax.evaluation.models import quality_of
from rexjax.evaluation.ranking import Requests, ragged
from rexjax.models.scorer import score_matrix
from rexjax.pipeline import runner
from rexjax.pipeline.stages import evaluate

CONFIG = """
from dataclasses import dataclass

from rexjax.config import *


def many(groups, k):
    return 1 + groups.hits(k)


def popularity(lists, context):
    assert context.categories is not None and context.vectors.shape == (context.items, 6)
    return (context.popularity[lists] * (lists >= 0)).mean(1)


@dataclass(frozen=True)
class Deep(RankMetric):
    depth: int = 3


def get_config():
    training = Training(epochs=1, batch=8, warmup=2, validate_users=20)
    return Config(
        workdir={workdir!r},
        data=Data(
            source=Shop(users=60, items=40, interactions=900, days=30),
            columns=Columns(category="category"),
            strict=False,
            min_item_events=1,
            length=8,
        ),
        encode=Encode(vectors={vectors!r}, width=6),
        baselines=(Popularity(),),
        teacher=Popularity(),
        student=Student(model=Pooled(width=4, profiles=2, hidden=4, training=training), top_k=5),
        compress=Compress(variants=("int8",), training=training),
        evaluate=Evaluate(
            k=(1, 5),
            select="many@3",
            metrics=(Deep("many", many), ListMetric("popularity", popularity)),
            resamples=50,
            latency_repeats=3,
        ),
        mesh=Mesh(data=1),
    )
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    folder = tmp_path_factory.mktemp("metrics")
    np.save(folder / "vectors.npy", np.random.default_rng(0).standard_normal((40, 12)).astype(np.float32))
    path = folder / "mine.py"
    path.write_text(CONFIG.format(workdir=str(folder / "run"), vectors=str(folder / "vectors.npy")))
    return load(path)


def test_they_are_values_of_the_config_that_are_checked_and_hashed(config):
    check(config)
    rank, listed = as_dict(config.evaluate)["metrics"]
    assert rank["class"].startswith("mine.py@") and rank["class"].endswith(":Deep") and rank["depth"] == 3
    assert listed["class"] == class_name(type(config.evaluate.metrics[1])) == "rexjax.evaluation.metrics:ListMetric"
    assert listed["of_lists"].endswith(":popularity")
    assert as_dict(config.evaluate.selection) == ["many@3", rank]


def test_the_evaluator_computes_them(config):
    users, items = 9, 40
    rng = np.random.default_rng(1)
    picked = rng.permuted(np.tile(np.arange(items), (users, 1)), axis=1)
    histories = np.arange(users, dtype=np.int32)[:, None]
    asked = {"test": Requests(histories, *ragged(picked[:, 4:6]), *ragged(picked[:, :2]))}
    known = {name: config.evaluate.known[name] for name in ("recall", "many")}
    found = quality_of("mine", score_matrix(rng.normal(size=(users, items))), asked, (5,), known)["test"]
    np.testing.assert_allclose(found.per_user["many@5"], 1 + 2 * found.per_user["recall@5"])


def test_a_run_selects_by_one_and_shows_them(config):
    """All of their values follow from the usual metrics: targets are one a user, the teacher is popularity."""
    names = ("prepare", "encode", "baselines", "teacher", "distill", "compress", "evaluate")
    outcomes = {made.stage: made.artifact for made in runner.run(config, names, update=False, say=print)}
    found = outcomes["evaluate"].metrics
    for model in found["models"].values():
        for part in ("valid", "test"):
            quality = model["quality"][part]
            for k in (1, 3, 5, 10):
                assert quality[f"many@{k}"] == pytest.approx(1 + quality[f"hit_rate@{k}"])
                assert quality[f"popularity@{k}"] > 0 and 0 < quality[f"coverage@{k}"] <= 1
        low, high = model["interval"]["many@3"]
        assert low <= model["quality"]["test"]["many@3"] <= high
    assert {row["metric"] for row in found["comparisons"]} == {"many@3"}
    assert found["models"]["teacher"]["quality"] == found["models"]["popularity"]["quality"]
    summary = outcomes["distill"].metrics["training"]["student"]
    assert summary["valid_many@3"] >= 1 and "many@3" in summary["curve"][-1]
    quality, *_ = evaluate.show(found, config)
    assert [column.header for column in quality.columns][1] == "many@3"
    assert {"many", "popularity"} <= {column.header for column in quality.columns}
    folder = outcomes["evaluate"].folder
    assert all(f">{name}<" in (folder / "report.html").read_text() for name in ("many@3", "popularity@10"))
    written = json.loads((folder / "metrics.json").read_text())["models"]
    assert {name: model["quality"] for name, model in written.items()} == {
        name: model["quality"] for name, model in found["models"].items()
    }


def test_one_that_is_named_wrongly_is_refused_as_the_file_is_read(config, tmp_path):
    path = tmp_path / "wrong.py"
    path.write_text(CONFIG.replace("many@3", "popularity@3").format(workdir="w", vectors="v"))
    with pytest.raises(UserError, match="evaluate.select is 'popularity@3': name one of .*, map_of_all, many, then"):
        load(path)
