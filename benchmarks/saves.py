"""What saving by time costs a larger teacher; ``benchmarks.kills`` runs it in a process of its own.

    python -m benchmarks.saves --one PAIRS

Runs that are saved every minute and runs that are never saved take turns, so that what else the machine does is shared.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

USERS, ITEMS, INTERACTIONS = 4_000, 20_000, 200_000
EPOCHS, BATCH, WIDTH, LENGTH = 40, 64, 128, 32


def main() -> None:
    """Prints the figures as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--one", type=int, required=True)
    pairs = parser.parse_args().one
    from rexjax.config import Config, Data, Shop, Training, Transformer
    from rexjax.pipeline.stages import prepare
    from rexjax.runtime.mesh import make_mesh
    from rexjax.training import checkpoint, loop, save_policy

    training = Training(epochs=EPOCHS, batch=BATCH, warmup=100, patience=EPOCHS)
    shop = Shop(users=USERS, items=ITEMS, interactions=INTERACTIONS)
    data = Data(source=shop, strict=False, length=LENGTH, min_item_events=1, catalogue="log")
    config = Config("", data=data, teacher=Transformer(width=WIDTH, loss="sampled_softmax", training=training))
    waited, sizes, epochs = [], [0], {True: [], False: []}
    save = checkpoint.Run.save

    def timed(run, *arguments):
        started = time.monotonic()
        save(run, *arguments)
        waited.append(time.monotonic() - started)

    checkpoint.Run.save = timed
    by_time = save_policy.SECONDS
    with tempfile.TemporaryDirectory() as folder:
        prepare.run(config, Path(folder), {})
        mesh, total = make_mesh(1, 1), 0.0
        task = _task(config, Path(folder), mesh)
        for number in range(2 * pairs):
            saved = number % 2 == 0
            save_policy.SECONDS = by_time if saved else float("inf")
            place = Path(folder) / str(number)
            started = time.monotonic()
            curve = loop.train(task, training, seed=0, mesh=mesh, folder=place).summary["curve"]
            total += (time.monotonic() - started) * saved
            epochs[saved] += [entry["seconds"] for entry in curve[1:]]  # the first one compiles
            sizes.append(sum(path.stat().st_size for path in place.rglob("checkpoints/**/*") if path.is_file()))
    mean = {saved: statistics.mean(values) for saved, values in epochs.items()}
    found = {
        "megabytes": max(sizes) / 2e6,
        "share of the time that steps wait for saves": sum(waited) / total,
        "saves": len(waited),
        "seconds of an epoch, saved": mean[True],
        "seconds of an epoch, not saved": mean[False],
        "time of an epoch, saved over not saved": mean[True] / mean[False] - 1,
    }
    print(json.dumps(found))


def _task(config, folder: Path, mesh):
    """The teacher on the log that stage prepare left in ``folder``, never validated."""
    import pyarrow.parquet as pq

    from rexjax.artifacts.store import Artifact
    from rexjax.pipeline.stages import inputs
    from rexjax.training import loop
    from rexjax.training.catalogue import Catalogue

    items = pq.read_table(folder / "items.parquet").num_rows
    data = inputs.training_data(config, {"prepare": Artifact(folder, {"metrics": {"items": items}})})
    recipe, labels = config.teacher.recipe(LENGTH), data.epochs(0, BATCH, mesh)

    def epoch(number: int, first: int):
        return ((batch, None) for batch in labels(number, first))

    catalogue = Catalogue(data.vectors, data.popularity)
    return loop.Task("teacher", recipe.recommender, recipe.objective, epoch, lambda _: {"ndcg@10": 0.0}, catalogue)


if __name__ == "__main__":
    main()
