"""Evaluating many users on a large catalogue: ranks alone, and with the metrics of lists and the calibration.

    python -m benchmarks.evaluation --json benchmarks/results/evaluation.json

Users and items are unit vectors of width 32 drawn at random; a user has ten seen items and one target. Each case runs
in a process of its own, so that its peak memory is its own; what a process holds before it evaluates is subtracted.
"""

import argparse
import json
import os
import resource
import time

import numpy as np

from benchmarks import record

WIDTH, SEEN = 32, 10
SIZES = ((10_000, 10_000), (100_000, 100_000))
CASES = ("ranks", "everything")


def main() -> None:
    """Runs every case and writes one JSON file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="10,000 users and items only")
    parser.add_argument("--json", default="", help="where to write the figures")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    flags = parser.parse_args()
    os.environ["JAX_PLATFORMS"] = "cpu"
    if flags.one:
        print(json.dumps(measure(flags.one[0], int(flags.one[1]), int(flags.one[2]))))
        return
    rows = []
    for users, items in SIZES[:1] if flags.quick else SIZES:
        found = {case: record.in_a_process("benchmarks.evaluation", case, str(users), str(items)) for case in CASES}
        name, (ranks, everything) = f"{users:,} users x {items:,} items", (found[case] for case in CASES)
        beside = {"peer_name": "ranks alone", "peer": ranks["seconds"]}
        rows += [
            record.row(f"{name}, all metrics", "seconds", everything["seconds"], seeds=[0], **beside)
            | {"ratio": ranks["seconds"] / everything["seconds"]},
            record.row(f"{name}, all metrics", "peak memory, MB", everything["megabytes"], seeds=[0]),
        ]
    for row in rows:
        print(row)
    record.write(flags.json, rows, ("jax", "numpy"), width=WIDTH)


def measure(case: str, users: int, items: int) -> dict[str, float]:
    """Seconds, compilation included, and megabytes beyond what was held before."""
    import jax.numpy as jnp

    from rexjax.evaluation import confidence, models, ranking
    from rexjax.evaluation.metrics import METRICS, ListContext
    from rexjax.models.scorer import Query, Scorer

    rng = np.random.default_rng(0)
    people, rows = (_unit(rng.standard_normal((n, WIDTH), np.float32)) for n in (users, items))

    def encode(state: dict, query: Query):
        return state["users"][query.histories[:, -1]]

    def score(state: dict, encoded, ids):
        return encoded @ state["items"][ids].T

    def vectors(state: dict):
        return state["items"]

    state = {"users": jnp.asarray(people), "items": jnp.asarray(rows)}
    scorer = Scorer(state, encode, score, items, vectors, scale=5.0)
    seen = rng.integers(0, items - 1, (users, SEEN)).astype(np.int32)
    targets = np.full((users, 1), items - 1, np.int32)
    places = np.arange(users + 1, dtype=np.int64)
    asked = ranking.Requests(
        np.arange(users, dtype=np.int32)[:, None] % items, seen.ravel(), SEEN * places, targets.ravel(), places
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    if case == "ranks":
        ranking.evaluate(scorer, asked, ks=[1, 5, 10, 20])
    else:
        context = ListContext(items, rng.integers(1, 100, items), rows)
        models.quality_of("model", scorer, {"test": asked}, (1, 5, 10, 20), METRICS, context)
        confidence.calibration_of(scorer, {"test": _some(asked, confidence.USERS), "valid": asked})
    seconds = time.perf_counter() - started
    return {
        "seconds": seconds,
        "megabytes": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024,
    }


def _some(asked, most: int):
    """The first users."""
    users = min(most, len(asked.histories))
    return asked._replace(
        histories=asked.histories[:users],
        seen_offsets=asked.seen_offsets[: users + 1],
        target_offsets=asked.target_offsets[: users + 1],
    )


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


if __name__ == "__main__":
    main()
