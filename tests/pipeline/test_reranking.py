"""A run with ``rerank``: evaluate shows lists before and after, recommend answers with the chosen strength."""

from dataclasses import replace

import numpy as np
import pytest

import rexjax
from rexjax.cli.main import main
from rexjax.config import (
    DPP,
    Calibrated,
    Columns,
    Compress,
    Config,
    Data,
    Ease,
    Encode,
    Evaluate,
    Mesh,
    Pooled,
    Popularity,
    Rerank,
    Shop,
    Student,
    Training,
)
from rexjax.errors import UserError
from rexjax.pipeline import recommend, runner
from rexjax.pipeline.reranking import read_reranking


def config_of(folder, method):
    few = Training(epochs=1, batch=8, warmup=1)
    np.save(folder / "vectors.npy", np.random.default_rng(0).normal(size=(40, 16)).astype(np.float32))
    shop, columns = Shop(users=80, items=40, interactions=1200, days=30), replace(Columns(), category="category")
    return Config(
        workdir=str(folder / "workdir"),
        data=Data(source=shop, columns=columns, strict=False, min_user_events=1, min_item_events=1, length=8),
        encode=Encode(vectors=str(folder / "vectors.npy"), width=8),
        baselines=(Popularity(),),
        teacher=Ease(),
        student=Student(model=Pooled(width=8, hidden=8, training=few), top_k=5),
        compress=Compress(variants=("int8",)),
        evaluate=Evaluate(k=(1, 5), resamples=50, latency_repeats=3),
        rerank=method,
        mesh=Mesh(data=1),
    )


def run(folder, method):
    config = config_of(folder, method)
    runner.run(config, tuple(runner.stages_of(config)), update=False, say=print)
    return rexjax.load(config.workdir)


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory):
    return run(tmp_path_factory.mktemp("calibrated"), Calibrated(candidates=20, strength=0.8))


def test_lists_are_shown_before_and_after(calibrated):
    found = calibrated.metrics["rerank"]
    student = found["models"]["student_int8"]
    assert found["method"] == "Calibrated" and student["strength"] == 0.8
    assert student["test"]["after"]["divergence"] < student["test"]["before"]["divergence"]
    ndcg = calibrated.metrics["models"]["student_int8"]["quality"]["test"]["ndcg@10"]
    assert student["test"]["before"]["ndcg"] == pytest.approx(ndcg, abs=0.02)  # but for ties
    (report,) = (path.read_text() for path in calibrated.workdir.rglob("report.html"))
    assert "Re-ranking, Calibrated" in report and "on validation against divergence" in report


def test_recommend_answers_with_the_strength_of_evaluate(calibrated):
    index = recommend.read_index(calibrated.workdir)
    log = recommend.read_log(calibrated.workdir, index)
    users, method = calibrated.users[:20], read_reranking(calibrated.workdir, index)
    plain = recommend.recommend(index, log, users, 5).table.to_pydict()
    chosen = recommend.recommend(index, log, users, 5, reranking=method).table.to_pydict()
    assert chosen["user"] == plain["user"] and chosen["item"] != plain["item"]
    assert chosen["item"] == calibrated.recommend(users, k=5)["item"].tolist()
    as_scored = method._replace(strength=0.0)
    assert recommend.recommend(index, log, users, 5, reranking=as_scored).table.to_pydict() == plain
    left_out = [index.rows[item] for item in chosen["item"][:3]]
    without = recommend.recommend(index, log, users, 5, left_out, reranking=method).table["item"].to_pylist()
    assert not {index.item_ids[item] for item in left_out} & set(without)
    only = [int(item) for item in np.argsort(index.item_ids)[:9]]
    among = recommend.recommend(index, log, users, 5, (), only, method).table["item"].to_pylist()
    assert set(among) <= {index.item_ids[item] for item in only}


def test_the_command_line_re_ranks_users_and_histories(calibrated, capsys):
    user = calibrated.users[0]
    main(["recommend", str(calibrated.workdir), "--user", user, "--k", "3"])
    main(["recommend", str(calibrated.workdir), "--history", calibrated.recommend([user], k=1)["item"][0], "--k", "3"])
    printed = capsys.readouterr().out
    assert all(item in printed for item in calibrated.recommend([user], k=3)["item"])


def test_diversity_is_chosen_on_validation(tmp_path):
    method = DPP(candidates=15, keep=0.9, personal=True)
    student = run(tmp_path, method).metrics["rerank"]["models"]["student_int8"]
    rows = {row["strength"]: row for row in student["valid"]}
    assert rows[student["strength"]]["ndcg"] >= 0.9 * rows[0.0]["ndcg"]
    assert student["test"]["after"]["distance"] >= student["test"]["before"]["distance"]


def test_too_few_candidates_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"rerank.candidates is 5, and lists have 10 items: raise it to 10 or more"):
        run(tmp_path, DPP(candidates=5))


def test_settings_out_of_range_are_refused():
    with pytest.raises(UserError, match="rerank has strength=2.0: set strength to a number from 0 to 1"):
        Rerank(strength=2.0)
