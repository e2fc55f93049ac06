import asyncio
from pathlib import Path

import httpx
import jax
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from flax import linen as nn

from rexjax.artifacts import store, versions
from rexjax.artifacts.classes import as_dict
from rexjax.compression import variants
from rexjax.config import Pooled, Student, Transformer
from rexjax.models import recommender
from rexjax.models.served import flatten
from rexjax.retrieval import index
from rexjax.serving import export
from rexjax.serving.keys import Keys
from rexjax.serving.server import Server
from rexjax.training.checkpoint import save_tree

N, L, D = 12_000, 10, 16
MARKUP = N - 1
"""The item whose title would do something if it were markup."""
CATEGORIES = ["", "mugs", "pots", "rugs", "lamps", "vases", "beds"]


def title(item: int) -> str:
    return f"Thing <{item}>" if item != MARKUP else "Thing <img src=x onerror=\"document.title='owned'\">"


def make(workdir: Path, seed: int, categories: bool = False, items: int = N, variant: str = "int8") -> Path:
    """A workdir with a finished index of a student that was never trained, and with its teacher."""
    model = Pooled(width=D, profiles=2, hidden=16)
    student, folder = model.recommender(L), versions.begin(workdir / "index", "key")
    params = nn.unbox(student.init(jax.random.key(seed), 0))
    rows = jax.random.normal(jax.random.key(seed + 1), (items, D))
    served = recommender.serve(student, params | {"rows": rows}, np.zeros((items, 0), np.float32), items)
    names = {"item_id": [f"i{i}" for i in range(items)], "title": [title(i) for i in range(items)]}
    if categories:
        names["category"] = [CATEGORIES[i % len(CATEGORIES)] for i in range(items)]
    pq.write_table(pa.table(names), folder / "items.parquet")
    popularity = np.random.default_rng(seed).permutation(items).astype(np.int64)
    small = variants.prepare(model, served, variants.parse(variant, D), popularity)
    index.write(folder, small.model, small.stored(), L, popularity, name=f"student_{variant}")
    finish(folder, {"compress.serve": variant})
    distilled = versions.begin(workdir / "distill", "key")
    save_tree(distilled / "student", flatten(served))
    finish(distilled, {"data.length": L, "student": as_dict(Student(model=model))})
    make_teacher(workdir / "teacher", seed, items=items)
    return workdir


def make_teacher(place: Path, seed: int, length: int = L, items: int = N) -> None:
    folder = versions.begin(place, "key")
    settings = Transformer(width=D, layers=1, heads=1)
    teacher = settings.recommender(length)
    params = nn.unbox(teacher.init(jax.random.key(seed + 2), 0))
    rows = jax.random.normal(jax.random.key(seed + 3), (items, D))
    served = recommender.serve(teacher, params | {"rows": rows}, np.zeros((items, 0), np.float32), items)
    save_tree(folder / "model", flatten(served))
    finish(folder, {"data.length": length, "teacher": as_dict(settings)})


def finish(folder: Path, config: dict) -> None:
    store.finish(folder, "key", content={}, seconds=0.0, config=config, metrics={})


@pytest.fixture(scope="session")
def workdir(tmp_path_factory) -> Path:
    return make(tmp_path_factory.mktemp("workdir"), 0, categories=True)


@pytest.fixture(scope="session")
def exported(workdir, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("bundle") / "v1"
    export.write(workdir, folder)
    return folder


@pytest.fixture(scope="session")
def compared(workdir, tmp_path_factory) -> Path:
    """An export that has the teacher and the student to compare with."""
    folder = tmp_path_factory.mktemp("bundle") / "compared"
    export.write(workdir, folder, compare=True)
    return folder


@pytest.fixture(scope="session")
def another(tmp_path_factory) -> Path:
    """An export of another model of the same catalogue, whose categories it does not know."""
    folder = tmp_path_factory.mktemp("bundle") / "v2"
    export.write(make(tmp_path_factory.mktemp("workdir"), 5), folder)
    return folder


@pytest.fixture(scope="session")
def five(tmp_path_factory) -> Path:
    """An export of a catalogue of five."""
    folder = tmp_path_factory.mktemp("bundle") / "five"
    export.write(make(tmp_path_factory.mktemp("workdir"), 0, items=5), folder)
    return folder


class Standing:
    """A server that stays up; its loop runs while something is asked."""

    def __init__(self, folder: Path, **about):
        self.server = Server(folder, store=":memory:", **{"keys": Keys([])} | about)
        self._runner, self._stop = asyncio.Runner(), asyncio.Event()
        self._runner.run(self._start())

    async def _start(self) -> None:
        up = asyncio.Event()
        self._life = asyncio.create_task(self._live(up))
        waiting = asyncio.create_task(up.wait())
        await asyncio.wait({self._life, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if self._life.done():
            self._life.result()

    async def _live(self, up: asyncio.Event) -> None:
        async with self.server.app.router.lifespan_context(self.server.app):
            up.set()
            await self._stop.wait()

    def answers(self, ask):
        """What ``ask(client, server)`` returns."""

        async def run():
            transport = httpx.ASGITransport(self.server.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                return await ask(client, self.server)

        return self._runner.run(run())

    def close(self) -> None:
        self._stop.set()
        self._runner.run(asyncio.wait_for(self._life, 60))
        self._runner.close()


def answers_of_one_alone(folder, ask, **about):
    """What ``ask(client, server)`` returns, of a server that lives as long."""
    one = Standing(folder, **about)
    try:
        return one.answers(ask)
    finally:
        one.close()


@pytest.fixture(scope="session")
def alone():
    """For tests that change their server: ``alone(folder, ask, **about)``."""
    return answers_of_one_alone


@pytest.fixture(scope="session")
def answers():
    """For tests that only ask: ``answers(folder, ask)``, of one server a folder."""
    standing: dict[Path, Standing] = {}

    def asked(folder, ask):
        if folder not in standing:
            standing[folder] = Standing(folder)
        return standing[folder].answers(ask)

    yield asked
    for one in standing.values():
        one.close()
