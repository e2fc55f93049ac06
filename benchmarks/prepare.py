"""The data path at size: the simulated shop is prepared, then one epoch's batches are read back.

    python -m benchmarks.prepare --interactions 1000000 10000000 --json benchmarks/results/prepare.json

Each size runs in a process of its own, so that its peak memory is its own. What must move: each interaction is written
as 12 bytes (item and time) and read once; cleaning sorts the log once.
"""

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import record

_PACKAGES = ("jax", "duckdb", "ibis-framework", "tensorflow-datasets", "grain", "numpy")


def main() -> None:
    """Measures every size asked for and writes one JSON file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--interactions", type=int, nargs="+", default=[1_000_000, 10_000_000], help="sizes of the log")
    parser.add_argument("--quick", action="store_true", help="100,000 interactions only")
    parser.add_argument("--json", default="", help="where to write the figures")
    parser.add_argument("--one", type=int, default=0, help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.one:
        print(json.dumps(measure(flags.one)))
        return
    rows = []
    for interactions in [100_000] if flags.quick else flags.interactions:
        found = record.in_a_process("benchmarks.prepare", str(interactions))
        rows += [
            {"case": f"shop, {interactions:,} interactions", "metric": name, "unit": unit, "ours": found[name]}
            for name, unit in (("prepare", "s"), ("peak_memory", "GB"), ("read_back", "histories/s"))
        ]
        print(f"{interactions:,} interactions: {found}")
    record.write(flags.json, rows, _PACKAGES)


def measure(interactions: int) -> dict[str, Any]:
    """Seconds to prepare, peak memory in GB, histories read back per second."""
    from rexjax.config import Config, Data, Shop
    from rexjax.data import batches, histories
    from rexjax.pipeline.stages import prepare

    shop = Shop(users=interactions // 20, items=max(1000, interactions // 1000), interactions=interactions)
    config = Config(workdir="", data=Data(source=shop, strict=False, catalogue="log"))
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        card = prepare.run(config, Path(folder), {})
        prepared = time.perf_counter()
        source = histories.source(Path(folder))
        targets = sum(
            int((batch.labels >= 0).sum()) for batch in batches.epoch(source, seed=0, epoch=0, batch=64, length=50)
        )
        read = time.perf_counter() - prepared
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {
        "prepare": round(prepared - started, 1),
        "peak_memory": round(peak, 2),
        "read_back": round(card["users"] / read),
        "targets": targets,
    }


if __name__ == "__main__":
    main()
