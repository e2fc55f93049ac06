"""Re-ranking under jit beside NumPy: the definition, and Chen's update for one user at a time.

    python -m benchmarks.rerank --json benchmarks/results/rerank.json

256 users with 200 candidates each, unit vectors of width 64, k = 20, strength .5, on a machine that does nothing else.
``definition`` is the slow twin of the tests. ``per user`` keeps what it computed, as code for one user in NumPy does.
The lists of all three must be equal.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from benchmarks import record
from rexjax import rerank
from tests.reference import rerank as twins

USERS, CANDIDATES, WIDTH, GROUPS, K, STRENGTH = 256, 200, 64, 18, 20, 0.5


def main() -> None:
    """Times every re-ranking and writes one JSON file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="16 users only")
    parser.add_argument("--json", default="", help="where to write the figures")
    flags = parser.parse_args()
    users = 16 if flags.quick else USERS
    rows = []
    for name, (arrays, fast, twin, numpy_of_user) in cases(users).items():
        found = _rows(name, arrays, fast, twin, numpy_of_user)
        print(*found, sep="\n", flush=True)
        rows += found
    record.write(flags.json, rows, ("jax", "numpy"), users=users, candidates=CANDIDATES, width=WIDTH, k=K)


def cases(users: int) -> dict[str, tuple[Any, ...]]:
    """Arrays, the fast path, its slow twin and a NumPy program for one user (or None), by name."""
    rng = np.random.default_rng(0)
    scores = -np.sort(-rng.random((users, CANDIDATES)).astype(np.float32), 1)
    vectors = rng.normal(size=(users, CANDIDATES, WIDTH)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=2, keepdims=True)
    shares = rng.random((users, CANDIDATES, GROUPS)) * (rng.random((users, CANDIDATES, GROUPS)) < 0.15)
    shares = (shares / np.maximum(shares.sum(2, keepdims=True), 1e-9)).astype(np.float32)
    own = rng.dirichlet(np.ones(GROUPS), users).astype(np.float32)
    return {
        "mmr": ((scores, vectors), rerank.mmr, twins.mmr, mmr_of_user),
        "dpp": ((scores, vectors), rerank.dpp, twins.dpp, dpp_of_user),
        "xquad": ((scores, shares, own), rerank.xquad, twins.xquad, None),
        "calibrated": ((scores, shares, own), rerank.calibrated, twins.calibrated, None),
    }


def mmr_of_user(scores: np.ndarray, vectors: np.ndarray, k: int, strength: float) -> list[int]:
    """One user's list in NumPy, with the nearest cosine kept."""
    taken: list[int] = []
    nearest, free = np.full(len(scores), -1.0), np.ones(len(scores), bool)
    for _ in range(k):
        taken.append(int(np.argmax(np.where(free, (1 - strength) * scores - strength * nearest, -np.inf))))
        free[taken[-1]] = False
        nearest = np.maximum(nearest, vectors @ vectors[taken[-1]])
    return taken


def dpp_of_user(scores: np.ndarray, vectors: np.ndarray, k: int, strength: float) -> list[int]:
    """One user's list in NumPy by Chen's Cholesky updates."""
    taken: list[int] = []
    volume, factor, free = np.ones(len(scores)), np.zeros((k, len(scores))), np.ones(len(scores), bool)
    for place in range(k):
        value = (1 - strength) * scores + strength * np.log(np.maximum(volume, 1e-6))
        taken.append(int(np.argmax(np.where(free, value, -np.inf))))
        best = taken[-1]
        free[best] = False
        rest = vectors @ vectors[best] - factor[:place, best] @ factor[:place]
        factor[place] = rest / np.sqrt(volume[best])
        volume = volume - factor[place] ** 2
    return taken


def _rows(name: str, arrays: Any, fast: Any, twin: Any, numpy_of_user: Any) -> list[dict[str, Any]]:
    placed = jax.device_put(arrays)
    strength = jax.numpy.float32(STRENGTH)
    # as in a program that holds it: traced, so that values are not checked again
    program = jax.jit(lambda *arrays: fast(*arrays, K, strength))
    lists = np.asarray(program(*placed))
    ours = milliseconds(lambda: program(*placed).block_until_ready())
    one = [array[:1] for array in placed]
    alone = milliseconds(lambda: program(*one).block_until_ready())
    started = time.perf_counter()
    expected = twin(*arrays, K, STRENGTH)
    slow = 1e3 * (time.perf_counter() - started)
    case = f"{name}, {len(lists)} users"
    rows = [
        record.row(case, "milliseconds", ours, peer_name="NumPy, definition", peer=slow, ratio=slow / ours)
        | {"equal_lists": float((lists == expected).all(1).mean())},
        record.row(f"{name}, one user", "milliseconds", alone),
    ]
    if numpy_of_user:
        each = milliseconds(lambda: [numpy_of_user(*row, K, STRENGTH) for row in zip(*arrays, strict=True)])
        found = np.asarray([numpy_of_user(*row, K, STRENGTH) for row in zip(*arrays, strict=True)])
        rows.append(
            record.row(case, "milliseconds", ours, peer_name="NumPy, per user", peer=each, ratio=each / ours)
            | {"equal_lists": float((lists == found).all(1).mean())}
        )
    return rows


def milliseconds(run: Callable[[], Any], seconds: float = 2.0) -> float:
    """Median; the first three runs do not count."""
    found, started = [], time.perf_counter()
    while len(found) < 8 or (time.perf_counter() - started < seconds and len(found) < 203):
        before = time.perf_counter()
        run()
        found.append(time.perf_counter() - before)
    return 1e3 * float(np.median(found[3:]))


if __name__ == "__main__":
    main()
