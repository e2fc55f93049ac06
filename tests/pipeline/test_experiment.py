"""The Python front door on a small log of data frames."""

import time
from concurrent.futures import ThreadPoolExecutor

import jax
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import rexjax
from rexjax.config import Compress, Config, Ease, Evaluate, Pooled, Popularity, Student, Training, Transformer
from rexjax.errors import UserError

USERS, ITEMS, EVENTS = 50, 30, 12
FEW = Training(epochs=1, batch=8, warmup=1, validate_users=20)
CONFIG = Config(
    workdir="replaced",
    baselines=(Popularity(), Ease(l2=10.0)),
    teacher=Transformer(width=8, layers=1, training=FEW),
    student=Student(model=Pooled(width=8, profiles=2, hidden=8, training=FEW), top_k=5),
    compress=Compress(variants=("int8",), training=FEW),
    evaluate=Evaluate(k=(1, 5), resamples=20, latency_repeats=3),
)


def log_frame() -> pd.DataFrame:
    """Each user goes through the items from a place of his own; ids are words."""
    rows = [
        {"who": f"user {user}", "what": f"item {(user + step) % ITEMS}", "when": 1_700_000_000 + 86_400 * step + user}
        for user in range(USERS)
        for step in range(EVENTS)
    ]
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def dataset() -> rexjax.Dataset:
    return rexjax.Dataset.from_frames(log_frame(), user="who", item="what", time="when")


@pytest.fixture(scope="module")
def experiment(dataset, tmp_path_factory) -> rexjax.Experiment:
    workdir = tmp_path_factory.mktemp("front") / "run"
    with ThreadPoolExecutor(1) as thread:  # where no signal handler can be set, and flags of JAX are the user's
        return thread.submit(fit_in_double_precision, dataset, workdir).result()


def fit_in_double_precision(dataset, workdir) -> rexjax.Experiment:
    with jax.enable_x64(True), jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        return rexjax.fit(dataset, workdir, CONFIG, say=lambda line: None, min_item_events=1)


def test_flags_of_the_users_process_change_no_dtype_and_no_answer(experiment):
    scorer = experiment.model("teacher")
    assert scorer.vectors(scorer.state).dtype == np.float32
    plain = experiment.recommend(["user 3"], k=4)
    with jax.enable_x64(True), jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        pd.testing.assert_frame_equal(experiment.recommend(["user 3"], k=4), plain)


def test_the_table_has_every_model_and_the_verdict_names_the_best(experiment):
    table = experiment.table
    assert isinstance(table, pd.DataFrame)
    assert list(table["model"]) == ["popularity", "ease", "teacher", "student", "student_control", "student_int8"]
    best = table.set_index("model")["valid ndcg@10"].idxmax()
    assert experiment.verdict.startswith(f"Best on validation: {best}, ")
    assert len(experiment.verdict.splitlines()) <= 5
    assert set(experiment.curves["model"]) == {"teacher", "student", "control"}


def test_recommendations_leave_out_what_the_user_has(experiment):
    log = log_frame()
    found = experiment.recommend(users=["user 3", "user 7"], k=4)
    assert list(found.columns) == ["user", "item", "title", "rank", "score"]
    assert found.groupby("user").size().to_dict() == {"user 3": 4, "user 7": 4}
    for user, rows in found.groupby("user"):
        assert not set(rows["item"]) & set(log[log["who"] == user]["what"])
        assert rows["score"].is_monotonic_decreasing
        assert list(rows["rank"]) == [1, 2, 3, 4]


def test_all_users_at_once_answer_as_each_alone(experiment):
    everyone = experiment.recommend("all", k=3)
    assert everyone["user"].nunique() == USERS
    for user in ("user 0", "user 49"):
        alone = experiment.recommend([user], k=3)
        among = everyone[everyone["user"] == user]
        assert list(alone["item"]) == list(among["item"])
        np.testing.assert_allclose(alone["score"], among["score"], rtol=1e-5)


def test_a_history_answers_as_its_user(experiment):
    log = log_frame()
    history = list(log[log["who"] == "user 5"]["what"])
    by_history, by_user = experiment.recommend(histories=[history], k=5), experiment.recommend(["user 5"], k=5)
    assert list(by_history["item"]) == list(by_user["item"])


def test_exclude_and_only(experiment):
    first = experiment.recommend(["user 1"], k=3)
    without = experiment.recommend(["user 1"], k=3, exclude=[first["item"][0]])
    assert list(without["item"])[:2] == list(first["item"])[1:]
    only = experiment.recommend(["user 1"], k=3, only=list(first["item"])[::-1])
    assert list(only["item"]) == list(first["item"])
    np.testing.assert_allclose(only["score"], first["score"], rtol=1e-4)
    few = experiment.recommend(["user 1"], k=3, only=[first["item"][2]])
    assert list(few["item"]) == [first["item"][2]]


def test_unknown_users_get_the_most_popular_items_and_it_is_said(experiment, capsys):
    found = experiment.recommend(["nobody"], k=3)
    assert len(found) == 3
    assert "1 users are not in the log and get the most popular items: nobody" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "users or histories"),
        ({"users": "all", "histories": [[]]}, "users or histories"),
        ({"users": ["user 1"], "k": 99}, "set k from 1 to"),
        ({"users": ["user 1"], "only": ["item 1", "nothing", "at all"]}, "only names 2 items .*: nothing, at all"),
        ({"users": ["user 1"], "exclude": ["nothing"]}, "exclude names 1 items"),
    ],
)
def test_wrong_questions_get_a_sentence(experiment, arguments, words):
    with pytest.raises(UserError, match=words):
        experiment.recommend(**arguments)


def test_one_user_after_another_compiles_nothing(experiment):
    experiment.recommend(["user 0"])
    counted = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda name, seconds, **_: counted.append(name) if "compile" in name else None
    )
    try:
        started = time.perf_counter()
        for user in range(10):
            experiment.recommend([f"user {user}"])
        assert not counted
        assert time.perf_counter() - started < 10  # milliseconds each; benchmarks.front_door measures them
    finally:
        jax.monitoring.clear_event_listeners()


def test_a_workdir_is_loaded_with_its_overrides(experiment):
    loaded = rexjax.load(experiment.workdir, frame="arrow")
    assert loaded.config.teacher == CONFIG.teacher
    assert loaded.config.data.min_item_events == 1
    again = loaded.recommend(["user 3"], k=4)
    assert isinstance(again, pa.Table)
    assert again["item"].to_pylist() == list(experiment.recommend(["user 3"], k=4)["item"])


@pytest.mark.parametrize("name", ["popularity", "ease", "teacher", "student", "student_int8"])
def test_every_model_of_the_table_is_there(experiment, name):
    assert experiment.model(name).items == ITEMS


def test_a_model_that_is_not_there_is_named_with_those_that_are(experiment):
    with pytest.raises(UserError, match="no model 'slim': it has popularity, ease, teacher"):
        experiment.model("slim")


def test_a_folder_that_is_no_workdir_gets_a_sentence(tmp_path):
    with pytest.raises(UserError, match="has no config.json"):
        rexjax.load(tmp_path)


def test_a_second_fit_skips_everything(experiment, dataset):
    said = []
    rexjax.fit(dataset, experiment.workdir, CONFIG, say=said.append, min_item_events=1)
    assert len(said) == 8 and all("unchanged, skipped" in line for line in said)
