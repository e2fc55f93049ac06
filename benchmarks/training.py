"""Training a sequential teacher: a step beside a hand-written PyTorch SASRec, and the loss beside the plain one.

    pip install 'torch==2.13.0'          # the peer; without it its rows are left out
    python -m benchmarks.training --data FOLDER --json benchmarks/results/training.json

FOLDER holds amazon-beauty and ml-1m (with interactions.parquet). Both sides train one architecture (ids alone,
D = 64, two pre-norm blocks of two heads with a GELU MLP of four times the width, dropout 0.5, positions, full
cross-entropy, Adam) on the same histories in the same steps, on two cores. rexjax packs histories into rows. The
peer has three forms: histories padded on the right (its attention then needs no mask but the causal one), the very
rows that rexjax has, with a mask of blocks, and these through ``torch.compile``. Each scores only positions that have a
label. The fastest form counts. Real tokens are positions with a label. The peak is that of a 2,048² matrix product.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import record

WIDTH, LAYERS, HEADS, DROPOUT = 64, 2, 2, 0.5
SETS = {"beauty": ("amazon-beauty", "day_since_first", 50, 48), "movielens": ("ml-1m", "timestamp", 200, 16)}
STEPS = 30
FORMS = ("padded", "packed", "compiled")
"""Of the peer."""


def main() -> None:
    """Runs every case and writes one JSON file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="folder of amazon-beauty and ml-1m")
    parser.add_argument("--quick", action="store_true", help="Beauty only")
    parser.add_argument("--json", default="", help="where to write the figures")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    flags = parser.parse_args()
    os.environ["JAX_PLATFORMS"] = "cpu"
    if flags.one:
        who, name = flags.one
        run_one = {"loss": lambda: _loss(name), "rexjax": lambda: _rexjax(name, flags.data)}
        print(json.dumps(run_one.get(who, lambda: _torch(name, flags.data, who))()))
        return

    def run(*case):
        return record.in_a_process("benchmarks.training", *case, "--data", flags.data)

    rows = []
    plain, fast = run("loss", "plain"), run("loss", "chunked")
    rows.append(_row("cross-entropy, 2,200 × 12,101 × 64", "ms", fast["ms"], "plain", plain["ms"]))
    rows.append(_row("cross-entropy, 2,200 × 12,101 × 64", "MB", fast["mb"], "plain", plain["mb"]))
    for name in list(SETS)[: 1 if flags.quick else None]:
        ours = run("rexjax", name)
        rows.append({"case": name, "metric": "model FLOPs utilisation", "ours": ours["utilisation"]})
        row = {"case": name, "metric": "real tokens", "unit": "1/s", "ours": ours["tokens"]}
        peers = {form: run(form, name)["tokens"] for form in FORMS} if record.has("torch") else {}
        rows += [_beside(row, form, tokens) for form, tokens in peers.items()] or [row]
    for row in rows:
        print(row)
    record.write(flags.json, rows, ("jax", "flax", "optax", "numpy", "torch"))


def _row(case: str, unit: str, ours: float, peer_name: str, peer: float) -> dict[str, Any]:
    return {"case": case, "unit": unit, "ours": ours, "peer_name": peer_name, "peer": peer, "ratio": peer / ours}


def _beside(row: dict[str, Any], form: str, tokens: float) -> dict[str, Any]:
    return row | {"peer_name": f"PyTorch SASRec, {form}", "peer": tokens, "ratio": row["ours"] / tokens}


def _median(run: Callable[[], Any], times: int = STEPS) -> float:
    """Seconds; the first three runs do not count."""
    found = []
    for _ in range(times + 3):
        started = time.perf_counter()
        run()
        found.append(time.perf_counter() - started)
    return sorted(found[3:])[times // 2]


def _loss(kind: str) -> dict[str, float]:
    """Milliseconds of value and gradients, and megabytes beside arguments and results."""
    import jax
    import jax.numpy as jnp

    from rexjax.losses import sampled, sharded_softmax
    from rexjax.runtime.mesh import make_mesh

    tokens, rows, mesh, rng = 2200, 12_101, make_mesh(1, 1), np.random.default_rng(0)
    users, items = (jnp.asarray(rng.normal(size=(n, WIDTH)), jnp.float32) for n in (tokens, rows))
    labels = jnp.asarray(rng.integers(0, rows, tokens), jnp.int32)

    def plain(users: Any, items: Any) -> Any:
        return sampled.softmax_cross_entropy(users @ items.T, labels)

    def chunked(users: Any, items: Any) -> Any:
        return sharded_softmax.cross_entropy(users, items, sharded_softmax.one_label(labels), None, 1.0, mesh) / tokens

    loss = {"plain": plain, "chunked": chunked}[kind]
    run = jax.jit(jax.value_and_grad(loss, (0, 1))).lower(users, items).compile()
    memory = run.memory_analysis().temp_size_in_bytes
    return {"ms": 1e3 * _median(lambda: jax.block_until_ready(run(users, items))), "mb": memory / 1e6}


def _batches(name: str, folder: str) -> tuple[list[Any], int]:
    """The first batches of an epoch, and the number of items."""
    from rexjax.config import Columns, Config, Data, Files
    from rexjax.data import batches, histories
    from rexjax.pipeline.stages import prepare

    place, moment, length, size = SETS[name]
    data = Data(
        source=Files(),
        path=str(Path(folder) / place),
        columns=Columns(time=moment),
        text=(),
        strict=False,
        length=length,
    )
    with tempfile.TemporaryDirectory() as work:
        card = prepare.run(Config(workdir="", data=data), Path(work), {})
        log = histories.read(Path(work))
    found = batches.epoch([log._asdict()], seed=0, epoch=0, batch=size, length=length)
    return [batch for batch, _ in zip(found, range(STEPS + 3), strict=False)], card["items"]


def _rexjax(name: str, folder: str) -> dict[str, float]:
    import jax
    import jax.numpy as jnp

    from rexjax.config import Training, Transformer
    from rexjax.runtime.mesh import make_mesh
    from rexjax.training import state, step
    from rexjax.training.catalogue import Catalogue, place
    from rexjax.training.multi_step import make_run, stretches

    batches, items = _batches(name, folder)
    training = Training(batch=len(batches[0].items), warmup=100)
    teacher = Transformer(width=WIDTH, layers=LAYERS, heads=HEADS, dropout=DROPOUT, training=training)
    mesh, (model, objective, *_) = make_mesh(1, 1), teacher.recipe(batches[0].items.shape[1])
    table = state.item_table(model, items, training, objective.sparse)
    about = {"seed": 0, "text_width": 0, "mesh": mesh}
    constants = place(Catalogue(np.zeros((items, 0), np.float32), np.ones(items, np.int64)), table, mesh)
    run = make_run(step.make_step(objective, model, training, table, **about))
    current = state.create(model, training, table, **about)
    parts = list(stretches([(batch, None) for batch in batches], mesh))
    seconds = []
    for _ in range(4):
        started = time.perf_counter()
        for part in parts:
            current, _ = run(current, part.placed, len(part.steps), constants)
        jax.block_until_ready(current)
        seconds.append(time.perf_counter() - started)
    best = min(seconds[1:])
    square = jnp.ones((2048, 2048))
    multiply = jax.jit(lambda x: x @ x)
    peak = 2 * 2048**3 / _median(lambda: multiply(square).block_until_ready(), 10)
    return {"tokens": sum(part.targets for part in parts) / best, "utilisation": _flops(batches, items) / best / peak}


def _flops(batches: list[Any], items: int) -> float:
    """Of the products that the model needs for its real tokens, forward and backward: nothing twice, no padding."""
    tokens = sum(int((batch.labels >= 0).sum()) for batch in batches)
    pairs = 0  # of a query and a key that it may see
    for batch in batches:
        for row in batch.segments:
            sizes = np.bincount(row[row > 0])
            pairs += int((sizes * (sizes + 1) // 2).sum())
    dense = LAYERS * 12 * WIDTH**2 + items * WIDTH
    return 3 * 2 * (tokens * dense + LAYERS * 2 * pairs * WIDTH)


def _torch(name: str, folder: str, form: str) -> dict[str, float]:
    import torch
    from torch import nn
    from torch.nn import functional

    batches, items = _batches(name, folder)
    length = batches[0].items.shape[1]
    torch.manual_seed(0)

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norms = nn.ModuleList([nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)])
            self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH, bias=False), nn.Linear(WIDTH, WIDTH)
            self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

        def forward(self, x: torch.Tensor, may: torch.Tensor | None) -> torch.Tensor:
            users, places, _ = x.shape
            parts = self.qkv(self.norms[0](x)).view(users, places, 3, HEADS, -1).permute(2, 0, 3, 1, 4)
            share = DROPOUT if self.training else 0.0
            mixed = functional.scaled_dot_product_attention(*parts, may, is_causal=may is None, dropout_p=share)
            x = x + functional.dropout(self.out(mixed.transpose(1, 2).reshape(x.shape)), DROPOUT)
            hidden = functional.dropout(functional.gelu(self.up(self.norms[1](x)), approximate="tanh"), DROPOUT)
            hidden = self.down(hidden)
            return x + functional.dropout(hidden, DROPOUT)

    class SasRec(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rows, self.positions = nn.Embedding(items, WIDTH), nn.Embedding(length, WIDTH)
            self.blocks, self.norm = nn.ModuleList([Block() for _ in range(LAYERS)]), nn.LayerNorm(WIDTH)

        def forward(self, history: torch.Tensor, places: torch.Tensor, may: torch.Tensor | None) -> torch.Tensor:
            x = functional.dropout(self.rows(history.clamp(min=0)) * WIDTH**0.5 + self.positions(places), DROPOUT)
            for block in self.blocks:
                x = block(x, may)
            return self.norm(x).flatten(0, 1)

    model = SasRec()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    forward = torch.compile(model, dynamic=False) if form == "compiled" else model
    rows = [_inputs(batch, form == "padded") for batch in batches]
    tokens = sum(len(labels) for *_, labels in rows)

    def epoch() -> None:
        for history, places, may, real, labels in rows:
            optimizer.zero_grad(set_to_none=True)
            users = forward(history, places, may)[real]
            functional.cross_entropy(users @ model.rows.weight.T, labels).backward()
            optimizer.step()

    seconds = []
    for _ in range(4):
        started = time.perf_counter()
        epoch()
        seconds.append(time.perf_counter() - started)
    return {"tokens": tokens / min(seconds[1:])}


def _inputs(batch: Any, padded: bool) -> tuple[Any, ...]:
    """Histories, positions, mask, numbers of the places with a label, and these labels."""
    import torch

    if padded:
        history, labels = map(torch.from_numpy, _unpacked(batch))
        places, may = torch.arange(history.shape[1]).expand(history.shape), None
    else:
        history, labels, segments, places = (
            torch.from_numpy(np.asarray(x).astype(np.int64))
            for x in (batch.items, batch.labels, batch.segments, batch.positions)
        )
        causal = torch.ones(history.shape[1], history.shape[1], dtype=torch.bool).tril()
        may = ((segments[:, None] == segments[:, :, None]) & causal)[:, None]
    flat = labels.flatten()
    real = (flat >= 0).nonzero()[:, 0]
    return history, places, may, real, flat[real]


def _unpacked(batch: Any) -> tuple[np.ndarray, np.ndarray]:
    """The batch's histories and labels, one to a row, padded on the right with -1 to the longest: int64 [U, L']."""
    found = []
    for items, labels, segments in zip(batch.items, batch.labels, batch.segments, strict=True):
        found += [(items[segments == s], labels[segments == s]) for s in range(1, segments.max() + 1)]
    width = max(len(items) for items, _ in found)

    def pad(x):
        return np.pad(x, (0, width - len(x)), constant_values=-1)

    return tuple(np.stack([pad(pair[side]) for pair in found]).astype(np.int64) for side in (0, 1))


if __name__ == "__main__":
    main()
