"""Trains a tiny teacher for 20 steps on 8 devices, each "epoch" a step, and writes its curve; a test runs it.

REXJAX_COORDINATOR=… REXJAX_PROCESSES=2 REXJAX_PROCESS_ID=0 python two_processes.py FOLDER
"""

import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np

from rexjax.config import Config, Data, Training, Transformer
from rexjax.data import splits
from rexjax.data.histories import Histories
from rexjax.families.base import TrainingData
from rexjax.models import recommender
from rexjax.pipeline.stages import inputs
from rexjax.runtime import preemption, processes
from rexjax.runtime.mesh import local_rows, make_mesh, place_batches
from rexjax.training import loop, objectives, save_policy
from rexjax.training.catalogue import Catalogue

N, W, L, B, STEPS = 50, 8, 12, 16, 20
TRAINING = Training(epochs=STEPS, batch=B, learning_rate=3e-3, warmup=5, validate_every=10, patience=9)
TEACHER = Transformer(width=16, layers=1, heads=2, dropout=0.3, training=TRAINING)
CONFIG = Config("", data=Data(length=L), teacher=TEACHER)


def prepared() -> TrainingData:
    rng = np.random.default_rng(0)
    lengths = rng.integers(3, 20, 150)
    walks = [(rng.integers(N) + np.cumsum(rng.integers(1, 4, length))) % N for length in lengths]
    items, offsets = np.concatenate(walks).astype(np.int32), np.append(0, np.cumsum(lengths))
    log = Histories(items, np.arange(len(items), dtype=float), offsets, *splits.leave_one_out(offsets))
    text = np.random.default_rng(1).normal(size=(N, W)).astype(np.float32)
    return TrainingData(log, [log._asdict()], N, np.bincount(items, minlength=N), L, {"text": text})


def catalogue_of(data: TrainingData) -> Catalogue:
    return Catalogue(data.vectors, data.popularity)


def train(folder: Path, mesh: jax.sharding.Mesh, *, end: str) -> loop.Fitted:
    """A run that ends in its 13th step and goes on: by a "kill", three steps after its only checkpoint, or by a
    "signal" that one process alone gets."""
    data, model = prepared(), TEACHER.recommender(L)
    catalogue, batches = catalogue_of(data), data.epochs(CONFIG.seed, B, mesh)
    stream = [batch for epoch in range(5) for batch in batches(epoch)]
    asked = []

    def epoch(number: int, first: int):
        asked.append((number, first))
        save_policy.SECONDS, save_policy.SHARE = 0 if len(asked) == 10 else 1e9, np.inf
        if len(asked) == 13:
            if end == "kill":
                raise KeyboardInterrupt
            if jax.process_index() == jax.process_count() - 1:
                os.kill(os.getpid(), signal.SIGTERM)
        return [(stream[number], None)][first:]

    judge, template = inputs.validator(data, CONFIG), recommender.scorer_of(model, None, N)

    def validate(params: recommender.Params) -> dict[str, float]:
        return judge(replace(template, state=recommender.serve(model, params, catalogue.text, N)))

    task = loop.Task("teacher", model, objectives.full_softmax(model), epoch, validate, catalogue)
    try:
        with preemption.watched():
            loop.train(task, TRAINING, seed=7, mesh=mesh, folder=folder)
    except (KeyboardInterrupt, preemption.Preempted):
        fitted = loop.train(task, TRAINING, seed=7, mesh=mesh, folder=folder)
    again = [(12, 1)] if end == "signal" else [(number, 0) for number in range(10, 13)]
    assert asked == [(number, 0) for number in range(13)] + again + [(number, 0) for number in range(13, STEPS)], asked
    return fitted


def placed(data: int, model: int) -> tuple[list[int], list[int]]:
    """The rows of this process, and the global array that all of them make together."""
    mesh = make_mesh(data, model)
    rows = local_rows(mesh, 8)
    return rows.tolist(), processes.gather(place_batches(10 * rows[None], mesh)[0]).tolist()


def main(folder: Path) -> None:
    with preemption.watched():  # from now on SIGTERM is not JAX's
        processes.start()
    found = {"devices": [jax.local_device_count(), jax.device_count()]}
    found["placed"] = [placed(data, model) for data, model in ((8, 1), (4, 2), (2, 4), (1, 8))]
    for data, model, end in ((8, 1, "signal"), (4, 2, "kill")):
        fitted = train(folder / f"{data}x{model}", make_mesh(data, model), end=end)
        curve, leaves = fitted.summary["curve"], jax.tree.leaves(fitted.params)
        found[f"{data}x{model}"] = {
            "losses": [point["loss"] for point in curve],
            "ndcg": [point["ndcg@10"] for point in curve if "ndcg@10" in point],
            "parameters": float(sum(np.abs(leaf, dtype=np.float64).sum() for leaf in leaves)),
        }
    (folder / f"process{jax.process_index()}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
