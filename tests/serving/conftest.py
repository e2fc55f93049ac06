from pathlib import Path

import jax
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from flax import linen as nn

from rexjax import artifacts
from rexjax.compression import quantize
from rexjax.config import Student
from rexjax.models import recommender
from rexjax.retrieval import index
from rexjax.serving import export

N, L, D = 12_000, 10, 16
CATEGORIES = ["", "mugs", "pots", "rugs", "lamps", "vases", "beds"]


def make(workdir: Path, seed: int, categories: bool = False) -> Path:
    """A workdir with a finished index of a student that was never trained."""
    settings = Student(width=D, kernels=2, hidden=16)
    student, folder = recommender.student(settings, L), workdir / "index"
    folder.mkdir(parents=True)
    params = nn.unbox(student.init(jax.random.key(seed), 0))
    rows = jax.random.normal(jax.random.key(seed + 1), (N, D))
    served = recommender.serve(student, params | {"rows": rows}, np.zeros((N, 0), np.float32), N)
    names = {"item_id": [f"i{i}" for i in range(N)], "title": [f"Thing <{i}>" for i in range(N)]}
    if categories:
        names["category"] = [CATEGORIES[i % len(CATEGORIES)] for i in range(N)]
    pq.write_table(pa.table(names), folder / "items.parquet")
    popularity = np.random.default_rng(seed).permutation(N).astype(np.int64)
    index.write(folder, quantize.quantize(served, 8), settings, L, popularity)
    artifacts.finish(folder, "key", content={}, seconds=0.0, config={}, metrics={})
    return workdir


@pytest.fixture(scope="session")
def workdir(tmp_path_factory) -> Path:
    return make(tmp_path_factory.mktemp("workdir"), 0, categories=True)


@pytest.fixture(scope="session")
def exported(workdir, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("bundle") / "v1"
    export.write(workdir, folder)
    return folder


@pytest.fixture(scope="session")
def another(tmp_path_factory) -> Path:
    """An export of another model of the same catalogue, whose categories it does not know."""
    folder = tmp_path_factory.mktemp("bundle") / "v2"
    export.write(make(tmp_path_factory.mktemp("workdir"), 5), folder)
    return folder
