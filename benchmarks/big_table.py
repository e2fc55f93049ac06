"""Training with a large item table: the step must not notice how many rows there are.

    python -m benchmarks.big_table --json benchmarks/results/big_table.json

A simulated shop log of 1 million interactions, its items scattered over a catalogue of V ids, without text; the teacher
with sampled softmax and row-wise Adagrad through the library's own loop, two epochs, the second one counted. What must
move: the rows of the batch and of 512 negatives, whatever V. Each size runs in a process of its own.
"""

import argparse
import json
import resource
import tempfile
from pathlib import Path

from benchmarks import record

WIDTH, LENGTH, BATCH = 64, 50, 48


def main() -> None:
    """Runs every size and writes one JSON file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 10_000_000], help="sizes of the table")
    parser.add_argument("--quick", action="store_true", help="100,000 rows only")
    parser.add_argument("--json", default="", help="where to write the figures")
    parser.add_argument("--one", type=int, default=0, help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.one:
        print(json.dumps(measure(flags.one)))
        return
    rows = []
    for size in [100_000] if flags.quick else flags.rows:
        found = record.in_a_process("benchmarks.big_table", str(size))
        print(f"{size:>11,} rows: {found}")
        rows += [{"case": f"{size:,} rows", "metric": name, "ours": value} for name, value in found.items()]
    record.write(flags.json, rows, ("jax",))


def measure(rows: int) -> dict[str, float]:
    """Milliseconds a step and targets per second in the second epoch, losses of both, peak memory in GB."""
    import numpy as np

    from rexjax.config import Config, Data, Rows, Shop, Training, Transformer
    from rexjax.data import batches, histories
    from rexjax.pipeline.stages import prepare
    from rexjax.runtime.mesh import make_mesh
    from rexjax.training import loop, save_policy
    from rexjax.training.catalogue import Catalogue

    training = Training(epochs=2, batch=BATCH, warmup=100, rows=Rows("row_wise_adagrad", learning_rate=0.05))
    recipe = Transformer(width=WIDTH, loss="sampled_softmax", training=training).recipe(LENGTH)
    shop = Shop(users=50_000, items=20_000, interactions=1_000_000)
    mesh = make_mesh(1, 1)
    save_policy.SECONDS = float("inf")  # a checkpoint of the table, written beside the steps, would be timed with them
    with tempfile.TemporaryDirectory() as folder:
        prepare.run(
            Config(workdir="", data=Data(source=shop, strict=False, length=LENGTH, catalogue="log")), Path(folder), {}
        )
        log = histories.read(Path(folder))
        place = np.random.default_rng(0).permutation(rows)[: log.items.max() + 1].astype(np.int32)
        log = log._replace(items=place[log.items])
        popularity = np.bincount(log.items, minlength=rows)
        task = loop.Task(
            "teacher",
            recipe.recommender,
            recipe.objective,
            lambda number, first: (
                (batch, None)
                for batch in batches.epoch([log._asdict()], seed=0, epoch=number, batch=BATCH, length=LENGTH)
            ),
            lambda params: {"ndcg@10": 0.0},
            Catalogue(np.zeros((rows, 0), np.float32), popularity),
        )
        curve = loop.train(task, training, seed=0, mesh=mesh, folder=Path(folder)).summary["curve"]
    steps = sum(1 for _ in batches.epoch([log._asdict()], seed=0, epoch=1, batch=BATCH, length=LENGTH))
    return {
        "step_ms": round(1e3 * curve[1]["seconds"] / steps, 2),
        "targets_per_second": round(curve[1]["targets_per_second"]),
        "loss_1": round(curve[0]["loss"], 4),
        "loss_2": round(curve[1]["loss"], 4),
        "peak_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
    }


if __name__ == "__main__":
    main()
