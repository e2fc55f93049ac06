"""Embedding tables: a training step beside its peers and beside what must move, in one run.

    pip install 'torch==2.13.0'          # peers; without it their rows are left out
    python -m benchmarks.embedding --json benchmarks/results/embedding.json

A step looks up 8,192 ids of width 64 (drawn evenly, the hardest case for caches), takes the gradient of a squared
distance, and updates the rows. What must move: each distinct row is read twice and written once (3 × 2 MB), plus the
optimizer's slots. Every case runs on one CPU device in three processes of its own, of whose medians the middle one
counts (where a process's pages lie makes up to a third of difference). Ids are new in every step; "same ids" are
those of the first step again and again: they stay in the caches, and what is left is what the program does with V.
The exchange between TPUs is counted in what libtpu compiles (8 to 512 chips, 4,096 ids and D = 128 each), not timed.
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from typing import Any

from benchmarks import record

IDS, WIDTH, RATE, STEPS = 8192, 64, 0.01, 305
CASES = [
    *[
        ("rexjax", rule, rows)
        for rows in (100_000, 1_000_000, 10_000_000)
        for rule in ("row_wise_adagrad", "lazy_adam")
    ],
    *[("rexjax", "adagrad", rows) for rows in (1_000_000, 10_000_000)],
    *[("rexjax", "exact_adam", 1_000_000)],
    *[(who, "row_wise_adagrad, same ids", rows) for who in ("rexjax", "bare") for rows in (100_000, 10_000_000)],
    *[("bare", "gather + scatter", rows) for rows in (100_000, 1_000_000, 10_000_000)],
    *[("optax", "adam", 1_000_000)],
    *[("torch", rule, rows) for rows in (1_000_000, 10_000_000) for rule in ("adagrad", "lazy_adam")],
]


def main() -> None:
    """Runs every case and writes one JSON file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="100,000 rows only")
    parser.add_argument("--json", default="", help="where to write the figures")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    flags = parser.parse_args()
    os.environ["JAX_PLATFORMS"] = "cpu"
    if flags.one:
        who, rule, size = flags.one
        print(json.dumps(exchange(rule) if who == "exchange" else measure(who, rule, int(size))))
        return
    rows = []
    for who, rule, size in CASES:
        if (flags.quick and size > 100_000) or (who == "torch" and not record.has("torch")):
            continue
        milliseconds = sorted(record.in_a_process("benchmarks.embedding", who, rule, str(size)) for _ in range(3))[1]
        rows.append({"case": f"{who}, {rule}, {size:,} rows", "metric": "step", "unit": "ms", "ours": milliseconds})
        print(f"{who:7} {rule:17} {size:>11,} rows: {milliseconds:8.3f} ms")
    for layout in [] if flags.quick or not record.has("libtpu") else ("v5p:2x2x2", "v5p:4x4x4", "v5p:8x8x8"):
        found = record.in_a_process("benchmarks.embedding", "exchange", layout, "0")
        rows += [{"case": f"exchange, {layout}", "metric": name, "ours": value} for name, value in found.items()]
        print(f"exchange {layout}: {found}")
    record.write(flags.json, rows, ("jax", "optax", "numpy", "torch", "libtpu"), ids=IDS, width=WIDTH)


def measure(who: str, rule: str, rows: int) -> float:
    """Median milliseconds of a step."""
    rule, _, repeated = rule.partition(", ")
    batches = _ids(rows)
    step = {"rexjax": _rexjax, "bare": _bare, "optax": _optax, "torch": _torch}[who](
        rule, rows, batches[:1] if repeated else batches
    )
    for _ in range(5):
        step()
    times, started = [], time.perf_counter()
    while len(times) < 20 or (time.perf_counter() - started < 10 and len(times) < STEPS - 5):
        before = time.perf_counter()
        step()
        times.append(time.perf_counter() - before)
    return round(1e3 * sorted(times)[len(times) // 2], 4)


def _ids(rows: int) -> Any:
    import numpy as np

    rng = np.random.default_rng(0)
    return [rng.integers(0, rows, IDS).astype(np.int32) for _ in range(STEPS)]


def _cycle(make: Callable[[Any, Any], Any], state: Any, batches: list[Any]) -> Callable[[], None]:
    import jax

    batches, held, turn = [jax.device_put(b) for b in batches], [state], [0]

    def step() -> None:
        held[0] = make(held[0], batches[turn[0] % len(batches)])
        turn[0] += 1
        jax.block_until_ready(held[0])

    return step


def _rexjax(rule: str, rows: int, batches: list[Any]) -> Callable[[], None]:
    import jax
    import jax.numpy as jnp

    from rexjax.embedding import table as tables
    from rexjax.embedding.optimizers import OPTIMIZERS
    from rexjax.runtime.mesh import make_mesh

    mesh = make_mesh(1, 1)
    table = tables.Table("items", rows, WIDTH, optimizer=OPTIMIZERS[rule](RATE))

    def step(state: Any, ids: Any) -> Any:
        table_state, number = state
        routing = tables.route(ids, table, mesh)
        (found, _), _ = tables.gather(table_state, routing, number, table, mesh)

        def loss(found):
            return jnp.sum((tables.expand(found, routing, mesh) - 1) ** 2)

        gradients = jax.grad(loss)(found)
        new, _ = tables.update(table_state, routing, gradients, number, jax.random.key(0), table, mesh)
        return new, number + 1

    start = tables.create(table, jax.random.key(0), mesh), jnp.int32(0)
    return _cycle(jax.jit(step, donate_argnums=0), start, batches)


def _bare(rule: str, rows: int, batches: list[Any]) -> Callable[[], None]:
    """The same rows read for the model, read again and written by the update: no dedupe, no slots, no loss."""
    import jax
    import jax.numpy as jnp

    def step(state: Any, ids: Any) -> Any:
        table, out = state
        found = table.at[ids].get(mode="fill", fill_value=0)
        table = table.at[ids].set(found * 0.999, mode="drop", unique_indices=True)
        return table, found + 0 * out

    start = jnp.zeros((rows, WIDTH)), jnp.zeros((IDS, WIDTH))
    return _cycle(jax.jit(step, donate_argnums=0), start, batches)


def _optax(rule: str, rows: int, batches: list[Any]) -> Callable[[], None]:
    import jax
    import jax.numpy as jnp
    import optax

    adam = optax.adam(RATE)

    def step(state: Any, ids: Any) -> Any:
        table, slots = state
        gradients = jax.grad(lambda table: jnp.sum((table[ids] - 1) ** 2))(table)
        moves, slots = adam.update(gradients, slots)
        return optax.apply_updates(table, moves), slots

    table = 0.02 * jax.random.normal(jax.random.key(0), (rows, WIDTH))
    return _cycle(jax.jit(step, donate_argnums=0), (table, adam.init(table)), batches)


def _torch(rule: str, rows: int, batches: list[Any]) -> Callable[[], None]:
    import torch

    torch.set_num_threads(2)
    table = torch.nn.Embedding(rows, WIDTH, sparse=True)
    kinds = {"adagrad": torch.optim.Adagrad, "lazy_adam": torch.optim.SparseAdam}
    optimizer = kinds[rule](table.parameters(), lr=RATE)
    batches, turn = [torch.from_numpy(ids.astype("int64")) for ids in batches], [0]

    def step() -> None:
        optimizer.zero_grad()
        ((table(batches[turn[0] % len(batches)]) - 1) ** 2).sum().backward()
        optimizer.step()
        turn[0] += 1

    return step


def exchange(layout: str) -> dict[str, float]:
    """Collective bytes of one step on one chip, by the compiled module, beside those that must move: each id there, its
    row back, its gradient there."""
    from rexjax.planning.topology import ENVIRONMENT, parse

    os.environ.update(ENVIRONMENT)
    import jax
    import jax.numpy as jnp
    from jax.sharding import NamedSharding, PartitionSpec

    from rexjax.embedding import table as tables
    from rexjax.embedding.optimizers import RowWiseAdagrad
    from rexjax.planning import meshes
    from rexjax.planning.collectives import collectives
    from rexjax.planning.program import compiled_text

    mesh, ids, width = meshes.make_mesh(parse(layout), 1), 4096, 128
    table = tables.Table("items", 100_000 * mesh.size, width, optimizer=RowWiseAdagrad(RATE))

    def step(state: Any, ids: Any, number: Any) -> Any:
        routing = tables.route(ids, table, mesh)
        (found, _), _ = tables.gather(state, routing, number, table, mesh)
        gradients = jax.grad(lambda found: jnp.sum((tables.expand(found, routing, mesh) - 1) ** 2))(found)
        return tables.update(state, routing, gradients, number, jax.random.key(0), table, mesh)

    over, everywhere = (NamedSharding(mesh, spec) for spec in (PartitionSpec(mesh.axis_names), PartitionSpec()))
    arguments = (
        tables.abstract(table, mesh),
        jax.ShapeDtypeStruct((ids * mesh.size,), jnp.int32, sharding=over),
        jax.ShapeDtypeStruct((), jnp.int32, sharding=everywhere),
    )
    moved = sum(c.bytes for c in collectives(compiled_text(jax.jit(step, donate_argnums=0), arguments), mesh))
    must = ids * (2 * 4 * width + 4)
    return {"chips": mesh.size, "bytes": moved, "must_move": must, "ratio": round(moved / must, 3)}


if __name__ == "__main__":
    main()
