from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from rexjax.artifacts.store import Artifact
from rexjax.config import (
    Compress,
    Config,
    Data,
    Encode,
    Evaluate,
    Mesh,
    Pooled,
    Popularity,
    Shop,
    Student,
    TextCosine,
    Training,
    Transformer,
)
from rexjax.pipeline import runner

FEW = Training(epochs=2, batch=8, warmup=2, validate_users=20)


class Finished(NamedTuple):
    config: Config
    artifacts: dict[str, Artifact]
    said: list[str]


def finish(workdir: Path) -> Finished:
    """All stages on a shop of forty items, with random text vectors."""
    vectors = workdir / "vectors.npy"
    workdir.mkdir(parents=True, exist_ok=True)
    np.save(vectors, np.random.default_rng(0).standard_normal((40, 12)).astype(np.float32))
    config = Config(
        workdir=str(workdir / "run"),
        data=Data(
            source=Shop(users=80, items=40, interactions=1200, days=30), strict=False, min_item_events=1, length=8
        ),
        encode=Encode(vectors=str(vectors), width=6),
        teacher=Transformer(width=16, layers=1, training=FEW),
        student=Student(Pooled(width=8, profiles=2, hidden=8, training=FEW), top_k=5),
        baselines=(Popularity(), TextCosine()),
        compress=Compress(variants=("int8", "int4", "half", "w2_int4", "int8_sparse50", "pq4"), training=FEW),
        mesh=Mesh(data=1),
        evaluate=Evaluate(k=(1, 5), resamples=50, latency_repeats=3),
    )
    said: list[str] = []
    outcomes = runner.run(config, tuple(runner.BY_NAME), update=False, say=said.append)
    return Finished(config, {outcome.stage: outcome.artifact for outcome in outcomes}, said)


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Finished:
    return finish(tmp_path_factory.mktemp("first"))


@pytest.fixture(scope="session")
def finished_again(tmp_path_factory) -> Finished:
    return finish(tmp_path_factory.mktemp("second"))
