"""A family, a stage and a baseline that a config file defines go the whole way; nothing else knows of them."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rexjax.artifacts import classes, store
from rexjax.config import load
from rexjax.data import histories
from rexjax.pipeline import runner, sweep
from rexjax.pipeline.stages import inputs
from rexjax.serving import export
from rexjax.serving.bundle import Bundle

FILE = """from dataclasses import dataclass
import jax.numpy as jnp
import numpy as np
from rexjax.config import *
from rexjax.models.scorer import Scorer

@dataclass(frozen=True)
class NextItem(Model):
    rank: int = 6
    smoothing: float = 1.0

    def fit(self, data, run):
        users, places = data.events()
        items, same = data.log.items[places], users[:-1] == users[1:]
        counts = np.zeros((data.items, data.items))
        np.add.at(counts, (items[:-1][same], items[1:][same]), 1)
        u, s, v = np.linalg.svd(np.log1p(counts / self.smoothing))
        return {"after": np.float32(u * s)[:, : self.rank], "rows": np.float32(v.T)[:, : self.rank]}

    def scorer(self, state):
        return Scorer(state, after_last, products, len(state["rows"]), vectors=lambda state: state["rows"])

def after_last(state, query):
    return jnp.where(query.histories[:, -1:] < 0, 0, state["after"][query.histories[:, -1]])

def products(state, users, ids):
    return jnp.matmul(users, state["rows"][ids].T, precision="highest")

def note(config, folder, artifacts):
    (folder / "note.txt").write_text(str(artifacts["teacher"].metrics["valid"]["ndcg@10"]))
    return {"users": artifacts["prepare"].metrics["users"]}

def get_config():
    few, shop = Training(epochs=1, batch=8, warmup=1), Shop(users=80, items=40, interactions=1200, days=30)
    data = Data(source=shop, text=(), strict=False, min_item_events=1, length=8)
    student, small = Student(Pooled(width=8, hidden=8, training=few), top_k=5), Compress(("int8",), training=few)
    return Config("WORKDIR", data=data, mesh=Mesh(data=1), teacher=NextItem(), student=student, compress=small,
        baselines=(NextItem(rank=2), Popularity()), stages=(Stage("note", note, needs=("teacher", "prepare")),),
        evaluate=Evaluate(k=(1, 5), resamples=50, latency_repeats=3))
"""


def quiet(line):
    pass


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The config, the artifacts by stage, and what was said in a second run."""
    folder = tmp_path_factory.mktemp("own")
    path = folder / "own.py"
    path.write_text(FILE.replace("WORKDIR", str(folder / "run")))
    config, said = load(path), []
    stages = tuple(runner.stages_of(config))
    made = {outcome.stage: outcome.artifact for outcome in runner.run(config, stages, update=False, say=quiet)}
    again = runner.run(config, stages, update=False, say=said.append)
    assert [outcome.stage for outcome in again if outcome.skipped] == list(stages)
    return config, made, said


def teacher_of(config, made):
    state = inputs.fitted(made["teacher"].folder / "model", config.teacher)
    return {name: np.asarray(leaf, float) for name, leaf in state.items()}


def test_the_file_is_short():
    assert len(FILE.splitlines()) <= 45 and len([line for line in FILE.splitlines() if line.strip()]) <= 40


def test_it_stands_in_every_table_as_teacher_and_as_baseline(finished):
    config, made, _ = finished
    found = json.loads((made["evaluate"].folder / "metrics.json").read_text())
    assert found["models"].keys() >= {"next_item", "popularity", "teacher", "student", "student_int8"}
    assert found["models"]["teacher"]["cost"]["parameters"] == 2 * 6 * found["dataset"]["items"]
    assert found["models"]["next_item"]["cost"]["parameters"] == 2 * 2 * found["dataset"]["items"]
    assert made["teacher"].metrics["training"] == {} and made["baselines"].metrics["left_out"] == {}
    assert made["teacher"].manifest["config"]["teacher"]["class"].startswith("own.py@")


def test_the_student_learns_what_it_says(finished):
    config, made, _ = finished
    state, log = teacher_of(config, made), histories.read(made["prepare"].folder)
    ids = np.load(made["distill"].folder / "top_k" / "0" / "ids.npy")
    for user in range(0, log.users, 7):
        event = log.valid_start[user] - 2
        scores = state["rows"] @ state["after"][log.items[event]]
        np.testing.assert_allclose(scores[ids[event]], np.sort(scores)[::-1][:5], atol=1e-5)


def test_a_stage_of_its_own_runs_after_what_it_needs_and_is_skipped_the_second_time(finished):
    config, made, said = finished
    order = list(runner.stages_of(config))
    assert order.index("note") > max(order.index("teacher"), order.index("prepare")) and len(order) == 9
    assert (made["note"].folder / "note.txt").read_text() == str(made["teacher"].metrics["valid"]["ndcg@10"])
    assert made["note"].metrics == {"users": made["prepare"].metrics["users"]}
    assert any(line.startswith("note: unchanged, skipped") for line in said)


def test_a_search_tries_its_numbers(finished):
    config, made, _ = finished
    trials = sweep.run(config, 3, quiet)
    assert [trial.change for trial in trials[:2]] == ["as it is", "more rank"]
    assert trials[0].ndcg == made["teacher"].metrics["valid"]["ndcg@10"]
    assert trials[1].settings["rank"] == 12 and trials[1].settings["class"].endswith(":NextItem")
    assert trials[2].settings["rank"] in (3, 24)


def test_its_item_vectors_are_indexed_exported_and_served(finished, tmp_path):
    config, made, _ = finished
    length = config.data.length
    export.write(Path(config.workdir), tmp_path / "bundle", model="teacher")
    bundle = Bundle(tmp_path / "bundle")
    bundle.check()
    plain = teacher_of(config, made)
    asked = np.full((2, length), -1, np.int32)
    asked[0, -2:], asked[1, -1] = (3, 1), 2
    found = bundle.recommend(asked, np.asarray([[1, 3], [2, -1]]))
    for row, (last, seen) in enumerate(((1, [1, 3]), (2, [2]))):
        scores = plain["rows"] @ plain["after"][last]
        scores[seen] = -np.inf
        np.testing.assert_allclose(found.scores[row, :10], np.sort(scores)[::-1][:10], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(scores[found.ids[row, :10]], found.scores[row, :10], rtol=1e-4, atol=1e-5)
    near = bundle.similar(np.asarray([4])).ids[0, 0]
    units = plain["rows"] / np.linalg.norm(plain["rows"], axis=1, keepdims=True)
    cosines = units @ units[4]
    cosines[4] = -np.inf
    assert cosines[near] == pytest.approx(cosines.max(), abs=1e-5)
    assert bundle.name == "teacher" and not bundle.explains


READ = """
import sys
from pathlib import Path
from rexjax.artifacts import store
from rexjax.retrieval import index
from rexjax.serving import comparison_export
workdir = Path(sys.argv[1])
print(comparison_export.read(workdir, index.read(store.find(workdir / "index").folder))["teacher"].items)
"""


def test_another_process_that_reads_the_workdir_says_that_it_runs_the_file(finished):
    config, made, _ = finished
    name = classes.class_name(type(config.teacher))
    copy = Path(config.workdir) / store.CONFIG_FILES / name.split("@")[1].split(":")[0] / "own.py"
    (Path(config.workdir).parent / "own.py").unlink(missing_ok=True)
    done = subprocess.run([sys.executable, "-c", READ, config.workdir], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{made['prepare'].metrics['items']}\n"
    assert f"rexjax: runs {copy}\n" in done.stderr
