"""One query over all item rows, by their number format, beside FAISS and beside reading the rows once, in one process.

    pip install faiss-cpu                 # the peer
    python -m benchmarks.one_query --json benchmarks/results/one_query.json

Rows are unit vectors of width 64 drawn at random, and so is each query. All methods take turns on the clock, so what
else the machine does meets all of them alike; a time is the median, with its 95 % interval. FAISS is tuned for one
query: an index has two halves that are searched by two threads (IndexShards); the whole index, which one thread
searches, stands beside it. The floor reads the rows once, with NumPy on two threads.
"""

import argparse
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import record
from rexjax import native
from rexjax.embedding.quantized import ROW_SCALES, quantize_rows
from rexjax.evaluation.cost import interleaved, quantile
from rexjax.retrieval.topk import top_k

WIDTH, SIZES = 64, (12_101, 1 << 20)
PEERS = {"float32": "Flat", "int8": "SQ8", "int4": "SQ4"}
Call = Callable[[np.ndarray], Any]


def main() -> None:
    """Times every method on every size and writes one JSON file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="12,101 rows only")
    parser.add_argument("--repeats", type=int, default=200, help="calls of each method")
    parser.add_argument("--json", default="", help="where to write the figures")
    flags = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for size in SIZES[:1] if flags.quick else SIZES:
        for k in (10, 100):
            rows += compare(size, k, flags.repeats)
    for row in rows:
        print(f"{row['case']:38} {row['ours']:8.3f} ms, {row['peer_name']} {row['ratio']:.2f} x")
    record.write(flags.json, rows, ("jax", "numpy", "faiss-cpu"), width=WIDTH, loops=native.available())


def compare(size: int, k: int, repeats: int) -> list[dict[str, Any]]:
    """Rows of ``size`` items and k answers: each format beside the plain program, FAISS and the floor."""
    rng = np.random.default_rng(0)
    vectors, queries = (_unit(rng.standard_normal((n, WIDTH), np.float32)) for n in (size, 64))
    kept = {"float32": jnp.asarray(vectors)} | {
        f"int{bits}": quantize_rows(jnp.asarray(vectors), bits, ROW_SCALES) for bits in (8, 4)
    }
    calls = _ours(kept, k) | _floors(kept) | (_faiss(vectors, k) if record.has("faiss-cpu") else {})
    asked = [queries[number % 64 : number % 64 + 1] for number in range(64)]
    seconds = interleaved({name: (call, lambda number: (asked[number % 64],)) for name, call in calls.items()}, repeats)
    ms = {name: quantile(times, 0.5) for name, times in seconds.items()}
    return [
        row
        for kind in kept
        for other in ("plain program", "floor", f"FAISS {PEERS[kind]}", f"FAISS {PEERS[kind]}, two halves")
        if (row := _row(f"N={size:,}, k={k}, {kind}", ms, kind, other)) is not None
    ]


def _row(case: str, ms: dict[str, tuple[float, float, float]], kind: str, other: str) -> dict[str, Any] | None:
    name = other if other.startswith("FAISS") else f"{kind}, {other}"
    if name not in ms:
        return None
    ours, low, high = ms[kind]
    peer = {"peer_name": other, "peer": ms[name][0], "peer_interval": ms[name][1:], "ratio": ms[name][0] / ours}
    return record.row(case, "milliseconds", ours, interval=[low, high], **peer)


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _ours(kept: dict[str, Any], k: int) -> dict[str, Call]:
    """Each format with the C++ loop where it is there, and without."""

    def program(items: Any) -> Call:
        answer = jax.jit(lambda query, items: top_k(query, items, k))
        answer(jnp.zeros((1, WIDTH)), items)  # traced here, with or without the loops
        return lambda query: answer(query, items)

    found = {kind: program(items) for kind, items in kept.items()}
    with native.without():
        return found | {f"{kind}, plain program": program(items) for kind, items in kept.items()}


def _floors(kept: dict[str, Any]) -> dict[str, Call]:
    pool = ThreadPoolExecutor(2)

    def reading(items: Any) -> Call:
        words = np.concatenate([np.asarray(leaf).reshape(-1).view(np.uint8) for leaf in jax.tree.leaves(items)])
        words = words[: len(words) // 16 * 16].view(np.uint64)
        halves = np.split(words, 2)
        return lambda query: list(pool.map(np.bitwise_or.reduce, halves))

    return {f"{kind}, floor": reading(items) for kind, items in kept.items()}


def _faiss(vectors: np.ndarray, k: int) -> dict[str, Call]:
    import faiss

    def index(kind: str, rows: np.ndarray) -> Any:
        made = faiss.index_factory(WIDTH, kind, faiss.METRIC_INNER_PRODUCT)
        made.train(vectors[: 1 << 17])
        made.add(rows)
        return made

    found: dict[str, Call] = {}
    for kind in PEERS.values():
        whole, halves = index(kind, vectors), faiss.IndexShards(WIDTH, True, True)
        for half in np.array_split(vectors, 2):
            halves.add_shard(index(kind, half))
        found[f"FAISS {kind}"] = lambda query, whole=whole: whole.search(query, k)
        found[f"FAISS {kind}, two halves"] = lambda query, halves=halves: halves.search(query, k)
    return found


if __name__ == "__main__":
    main()
