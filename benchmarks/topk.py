"""Exact top-k beside FAISS, beside the bare matrix product, and as the TPU compiler makes it, in one run.

    pip install faiss-cpu                 # the peer
    python -m benchmarks.topk --json benchmarks/results/topk.json

Rows are unit vectors of width 64 drawn at random, queries likewise; each case runs in three processes of its own, of
which the middle one counts (where buffers come to lie decides), on a machine that does nothing else (FAISS suffers more
from company). ``bare`` is the plain matrix product followed by a maximum over its scores, which lie in memory between
the two. int8 recall is that of the exact answer from the float32 rows. On TPUs nothing is timed: libtpu compiles the
program, and bytes are counted: those of the kernels from their block specifications, the others as the compiler counts
them.
"""

import argparse
import json
import os
import resource
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import record

WIDTH, MILLION, QUARTER = 64, 1 << 20, 1 << 18
CASES = [(MILLION, 1, 100), (MILLION, 64, 10), (MILLION, 64, 100), (QUARTER, 64, 100)]
BARS = {(MILLION, 1, 100): 2.2, (MILLION, 64, 10): 6.0, (MILLION, 64, 100): 4.0, (QUARTER, 64, 100): 3.0}
CHIPS = ("v5e:2x2", "v5p:2x2x1", "v6e:2x2")


def main() -> None:
    """Runs every case and writes one JSON file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="262,144 rows only")
    parser.add_argument("--json", default="", help="where to write the figures")
    parser.add_argument("--one", nargs="+", help=argparse.SUPPRESS)
    flags = parser.parse_args()
    os.environ["JAX_PLATFORMS"] = "cpu"
    if flags.one:
        what, *about = flags.one
        print(
            json.dumps({"tpu": tpu, "many": many}.get(what, case)(*(about if what in ("tpu", "many") else flags.one)))
        )
        return
    rows = []
    for n, users, k in CASES:
        if not flags.quick or n == QUARTER:
            rows += _beside(n, users, k)
    if not flags.quick:
        found = record.in_a_process("benchmarks.topk", "many", "10000000")
        rows.append(_row("10,000,000 int8 rows, B=1, k=100", "milliseconds", found["ms"]))
        rows.append(_row("10,000,000 int8 rows", "peak memory over the rows", found["memory"] / found["rows_bytes"]))
    for chip in CHIPS if record.has("libtpu") else ():
        found = record.in_a_process("benchmarks.topk", "tpu", chip, "bfloat16")
        rows.append(_row(f"{chip}, 1,048,576 x 128 bfloat16, B=128, k=100", "temp MiB", found["temp_mib"]))
        ratio = found["hbm_bytes"] / found["rows_bytes"]
        rows.append(_row(f"{chip}, 1,048,576 x 128 bfloat16, B=128, k=100", "HBM bytes over the rows", ratio))
    for row in rows:
        print(row)
    record.write(flags.json, rows, ("jax", "numpy", "faiss-cpu", "libtpu"), width=WIDTH)


def _beside(n: int, users: int, k: int) -> list[dict[str, Any]]:
    found = {}
    for who in ("rexjax", "rexjax_int8", "bare", "faiss", "faiss_sq8"):
        three = [record.in_a_process("benchmarks.topk", who, str(n), str(users), str(k)) for _ in range(3)]
        found[who] = sorted(three, key=lambda one: one["ms"])[1]
    name = f"N={n:,}, B={users}, k={k}"
    exact, ours, small = (np.asarray(found[who]["ids"]) for who in ("faiss", "rexjax", "rexjax_int8"))

    def shared(ids):
        return float(np.mean([len(np.intersect1d(a, b)) / k for a, b in zip(ids, exact, strict=True)]))

    ms = {who: one["ms"] for who, one in found.items()}
    return [
        _row(name, "milliseconds", ms["rexjax"], "FAISS IndexFlatIP", ms["faiss"]) | {"same_ids": shared(ours)},
        _row(name, "milliseconds", ms["rexjax"], "bare product and maximum", ms["bare"]),
        _row(f"{name}, int8", "milliseconds", ms["rexjax_int8"], "rexjax float32", ms["rexjax"]),
        _row(f"{name}, int8", "milliseconds", ms["rexjax_int8"], "FAISS SQ8", ms["faiss_sq8"]),
        _row(f"{name}, int8", "recall of the exact answer", shared(small)),
    ]


def _row(case: str, unit: str, ours: float, peer_name: str = "", peer: float = 0.0) -> dict[str, Any]:
    row = {"case": case, "unit": unit, "ours": ours}
    return row | ({"peer_name": peer_name, "peer": peer, "ratio": peer / ours} if peer_name else {})


def _vectors(n: int, users: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    rows, queries = (rng.standard_normal((size, WIDTH), np.float32) for size in (n, users))
    return tuple(x / np.linalg.norm(x, axis=1, keepdims=True) for x in (rows, queries))


def _median(run: Callable[[], Any], seconds: float = 3.0) -> float:
    """Milliseconds; the first three runs do not count."""
    found, started = [], time.perf_counter()
    while len(found) < 13 or (time.perf_counter() - started < seconds and len(found) < 103):
        before = time.perf_counter()
        run()
        found.append(time.perf_counter() - before)
    return 1e3 * float(np.median(found[3:]))


def case(who: str, n: str, users: str, k: str) -> dict[str, Any]:
    """Median milliseconds of one answer for all queries, and its ids."""
    rows, queries = _vectors(int(n), int(users))
    if who.startswith("faiss"):
        import faiss

        flat = faiss.IndexFlatIP(WIDTH)
        index = (
            flat
            if who == "faiss"
            else faiss.IndexScalarQuantizer(WIDTH, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT)
        )
        index.train(rows)
        index.add(rows)
        return {"ms": _median(lambda: index.search(queries, int(k))), "ids": index.search(queries, int(k))[1].tolist()}
    import jax
    import jax.numpy as jnp

    from rexjax.embedding import quantized
    from rexjax.retrieval.topk import top_k

    placed, asked = jnp.asarray(rows), jnp.asarray(queries)
    if who == "bare":
        product = jax.jit(lambda queries, rows: jnp.einsum("bd,nd->bn", queries, rows, precision="highest").max(1))
        return {"ms": _median(lambda: product(asked, placed).block_until_ready())}
    items = quantized.quantize_rows(placed, 8, quantized.ROW_SCALES) if who == "rexjax_int8" else placed
    answer = jax.jit(lambda queries, items: top_k(queries, items, int(k)))
    found = {"ms": _median(lambda: jax.block_until_ready(answer(asked, items)))}
    return found | {"ids": np.asarray(answer(asked, items)[1]).tolist()}


def many(n: str) -> dict[str, float]:
    """int8 rows made piece by piece, so that the peak of memory is the answer's."""
    import jax
    import jax.numpy as jnp

    from rexjax.embedding.quantized import QuantizedRows
    from rexjax.evaluation.cost import tree_bytes
    from rexjax.retrieval.topk import top_k

    rng, total, step = np.random.default_rng(0), int(n), 1 << 20
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    values, scales = _aligned((total, WIDTH), np.int8), _aligned((total, 1), np.float16)
    scales[:] = 1 / 127 / WIDTH**0.5
    for start in range(0, total, step):
        part = values[start : start + step]
        part[:] = rng.integers(-127, 128, part.shape, np.int8)
    placed = jax.device_put((values, scales), may_alias=True)  # aligned host arrays are not copied, nor mapped files
    items = QuantizedRows(*placed)
    answer = jax.jit(lambda queries, items: top_k(queries, items, 100))
    asked = jnp.asarray(rng.standard_normal((1, WIDTH), np.float32))
    milliseconds = _median(lambda: jax.block_until_ready(answer(asked, items)))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    return {"ms": milliseconds, "memory": peak, "rows_bytes": tree_bytes(items)}


def _aligned(shape: tuple[int, int], dtype: Any) -> np.ndarray:
    """Host memory that JAX takes as it is, as it does with a file that is mapped."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    raw = np.empty(size + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + size].view(dtype).reshape(shape)


def tpu(chip: str, kind: str) -> dict[str, float]:
    """What libtpu makes of it for one chip: temporary memory, and HBM bytes of kernels and of the rest."""
    from rexjax.planning.topology import ENVIRONMENT

    os.environ |= ENVIRONMENT
    import jax
    import jax.numpy as jnp
    from jax.experimental import topologies

    from rexjax.retrieval import topk, topk_tpu

    n, width, users, k = MILLION, 128, 128, 100
    device = topologies.get_topology_desc(platform="tpu", topology_name=chip).devices[0]
    one = jax.sharding.SingleDeviceSharding(device)

    def shape(*sizes, dtype):
        return jax.ShapeDtypeStruct(sizes, dtype, sharding=one)

    run = jax.jit(lambda queries, rows: topk.top_k(queries, rows, k))
    queries, rows = shape(users, width, dtype=jnp.float32), shape(n, width, dtype=kind)
    lowered = run.lower(queries, rows)
    assert lowered.as_text().count("tpu_custom_call") >= 2, "the kernels are not in the program"
    compiled = lowered.compile()
    rows_bytes = n * width * rows.dtype.itemsize
    again = users * (k + topk.SPARE) * topk_tpu.BLOCK * (width * rows.dtype.itemsize + 4)  # rows read, scores written
    maxima = 4 * users * n // topk_tpu.BLOCK
    asked = 4 * users * width * 2  # the first kernel keeps the queries, the second reads each once
    rest = compiled.cost_analysis()["bytes accessed"]
    return {
        "temp_mib": compiled.memory_analysis().temp_size_in_bytes / 2**20,
        "kernel_bytes": rows_bytes + again + maxima + asked,
        "other_bytes": rest,
        "hbm_bytes": rows_bytes + again + maxima + asked + rest,
        "rows_bytes": rows_bytes,
    }


if __name__ == "__main__":
    main()
