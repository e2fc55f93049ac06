from dataclasses import replace

import numpy as np
import pytest

from rexjax.artifacts import store
from rexjax.artifacts.store import Artifact
from rexjax.config import Blend, Encode, Mesh, Pooled
from rexjax.errors import UserError
from rexjax.families import gradient
from rexjax.pipeline import runner
from rexjax.pipeline.stages import evaluate, inputs, teacher


def test_the_served_teacher_has_a_vector_for_each_item(finished):
    served = inputs.fitted(finished.artifacts["teacher"].folder / "model", finished.config.teacher)
    assert served.items.shape == (finished.artifacts["prepare"].metrics["items"], 16)
    assert np.isfinite(served.items).all()


def test_the_curve_has_every_epoch_and_its_validation(finished):
    curve = finished.artifacts["teacher"].metrics["training"]["teacher"]["curve"]
    assert [point["epoch"] for point in curve] == [1, 2]
    assert all(0 <= point["ndcg@10"] <= 1 and point["loss"] > 0 for point in curve)


def test_one_seed_one_result(finished, finished_again):
    for stage in runner.BY_NAME:
        assert finished.artifacts[stage].hash == finished_again.artifacts[stage].hash, stage


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"heads": 3}, "--teacher.heads 3 must divide --teacher.width 16"),
        ({"heads": 1}, "be divided by --mesh.model 2"),
    ],
)
def test_heads_that_do_not_fit_are_refused(finished, tmp_path, change, words):
    config = replace(finished.config, teacher=replace(finished.config.teacher, **change), mesh=Mesh(model=2))
    with pytest.raises(UserError, match=words):
        teacher.run(config, tmp_path, finished.artifacts)


def test_a_batch_that_the_mesh_does_not_divide_is_refused(finished, tmp_path):
    training = replace(finished.config.teacher.training, batch=7)
    teacher_config = replace(finished.config.teacher, training=training)
    config = replace(finished.config, teacher=teacher_config, mesh=Mesh(data=8))
    with pytest.raises(UserError, match="batch 7 is not divided by 8"):
        teacher.run(config, tmp_path, finished.artifacts)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"loss": "bpr", "negatives": 40}, "--teacher.loss bpr draws 40 negatives from a catalogue of 40 items"),
        ({"time": "query"}, "--teacher.time query: all interactions of this log have the same time"),
        ({"fusion": "gated"}, "--teacher.fusion gated needs the items' text"),
        ({"fusion": "init_from_text"}, "--teacher.fusion init_from_text needs the items' text"),
    ],
)
def test_what_the_data_cannot_give_is_refused(finished, tmp_path, monkeypatch, change, words):
    config = replace(finished.config, teacher=replace(finished.config.teacher, **change))
    read = inputs.training_data

    def poor(*arguments):
        data = read(*arguments)
        return replace(data, log=data.log._replace(times=np.zeros_like(data.log.times)), content={})

    monkeypatch.setattr(inputs, "training_data", poor)
    with pytest.raises(UserError, match=words):
        teacher.run(config, tmp_path, finished.artifacts)


@pytest.mark.parametrize(
    "make",
    [
        lambda one: replace(one, block="hstu", time="query", fusion="gated", temperature=0.1),
        lambda one: replace(one, block="gated", time="history", loss="gbce", negatives=8, fusion="init_from_text"),
        lambda one: Blend(
            tuple(replace(one, block=block, temperature=0.2, activations="bfloat16") for block in ("hstu", "sasrec")),
            standardized=False,
        ),
        lambda one: Blend(
            (replace(one, time="history"), Pooled(width=16, time="history", training=one.training)), weights=(0.5, 0.5)
        ),
    ],
    ids=["hstu", "gated", "two members of two kinds", "one that pools"],
)
def test_other_teachers_learn_teach_and_are_evaluated(finished, tmp_path, make):
    config = replace(finished.config, teacher=make(finished.config.teacher))
    made = {}
    for name, stage in (("teacher", teacher), ("evaluate", evaluate)):
        (tmp_path / name).mkdir()
        metrics = stage.run(config, tmp_path / name, finished.artifacts | made)
        made[name] = Artifact(tmp_path / name, {"metrics": metrics})
    trained = made["teacher"].metrics["training"]
    assert len(trained) == len(getattr(config.teacher, "members", "1"))
    assert all(np.isfinite(point["loss"]) for summary in trained.values() for point in summary["curve"])
    found = made["evaluate"].metrics["models"]
    assert found["teacher"]["quality"]["test"]["ndcg@10"] > 0
    assert found["student"]["quality"] == finished.artifacts["evaluate"].metrics["models"]["student"]["quality"]


@pytest.mark.parametrize("width", [4, 8, 16])
def test_rows_that_are_initialised_from_text_begin_at_it(finished, monkeypatch, tmp_path, width):
    begun = []
    monkeypatch.setattr(gradient, "train", lambda task, *_, **__: begun.append(task.start) or 1 / 0)
    config = replace(finished.config, teacher=replace(finished.config.teacher, width=width, fusion="init_from_text"))
    with pytest.raises(ZeroDivisionError):
        teacher.run(config, tmp_path, finished.artifacts)
    text, rows = inputs.training_data(config, finished.artifacts).vectors, begun[0]["rows"]
    wide = text.shape[1]
    assert rows.shape == (len(text), width) and 4 < wide < 8 and not rows[:, wide:].any()
    centred = text - text.mean(0)
    error = np.abs(rows @ rows.T - centred @ centred.T).max()  # turning them changes no product
    assert error < 1e-5 if width > wide else 1e-5 < error < np.abs(centred @ centred.T).max()


def test_a_shop_without_text_learns_by_sampled_softmax_and_named_rows(finished, tmp_path):
    config = replace(
        finished.config,
        workdir=str(tmp_path / "run"),
        data=replace(finished.config.data, text=()),
        encode=Encode(),
        teacher=replace(finished.config.teacher, loss="sampled_softmax", negatives=8),
    )
    outcomes = runner.run(config, tuple(runner.BY_NAME), update=False, say=lambda line: None)
    metrics = {outcome.stage: outcome.artifact.metrics for outcome in outcomes}
    assert metrics["encode"]["parts"]["text"]["width"] == 0
    curve = metrics["teacher"]["training"]["teacher"]["curve"]
    assert len(curve) == 2 and all(np.isfinite(point["loss"]) and point["exchange_rounds"] == 1 for point in curve)
    assert "text_cosine" in metrics["baselines"]["left_out"]
    assert "text_cosine" not in store.find(tmp_path / "run" / "evaluate").metrics["models"]
