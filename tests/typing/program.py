"""A program that uses the public API; mypy checks the types that it asserts. It is not run."""

from pathlib import Path
from typing import assert_type

import jax
import numpy as np
import pyarrow as pa

import rexjax
from rexjax.config import Blend, Config, Data, Ease, Pooled, Student, Training, Transformer
from rexjax.embedding import Table
from rexjax.families import Run, TrainingData
from rexjax.models import Query, Scorer
from rexjax.retrieval import top_k

log = pa.table({"user_id": ["a"], "item_id": ["b"], "timestamp": [1.0]})
dataset = rexjax.Dataset.from_frames(log, user="user_id", item="item_id", time="timestamp")
assert_type(dataset, rexjax.Dataset)
assert_type(dataset.data(min_user_events=1), Data)

config = Config(
    workdir="runs/x",
    teacher=Blend(members=(Transformer(width=64, training=Training(epochs=3)), Ease(l2=300.0))),
    student=Student(model=Pooled(width=32), top_k=20),
)
experiment = rexjax.fit(dataset, "runs/x", config)
assert_type(experiment, rexjax.Experiment)
assert_type(experiment.verdict, str)
assert_type(experiment.workdir, Path)
assert_type(experiment.users, list[str])
assert_type(experiment.model("ease"), Scorer)
assert_type(rexjax.load("runs/x"), rexjax.Experiment)
assert_type(rexjax.load_config("configs/quickstart.py"), Config)

scores, ids = top_k(jax.numpy.zeros((2, 8)), jax.numpy.zeros((10, 8)), 3)
assert_type(scores, jax.Array)
assert_type(ids, jax.Array)
mesh = rexjax.make_mesh()
assert_type(mesh, jax.sharding.Mesh)
table = Table("items", 10, 8)
assert_type(table, Table)
query = Query(jax.numpy.zeros((1, 4), jax.numpy.int32))
assert_type(query.histories, jax.Array)
requests = rexjax.evaluation.Requests(
    histories=np.zeros((1, 4), np.int32),
    seen_items=np.zeros(0, np.int32),
    seen_offsets=np.zeros(2, np.int64),
    target_items=np.zeros(1, np.int32),
    target_offsets=np.arange(2),
)
result = rexjax.evaluate(experiment.model("ease"), requests)
assert_type(result.means, dict[str, float])


def fit_by_hand(data: TrainingData, run: Run) -> Scorer:
    """A family is fitted on arrays, without a workdir."""
    model = Ease(l2=10.0)
    return model.scorer(model.fit(data, run))
