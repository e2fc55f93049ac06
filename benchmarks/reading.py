"""Reading logs: random ones against plain Python, and ten million interactions from CSV and Parquet.

    python -m benchmarks.reading --fuzz 2000
    python -m benchmarks.reading --interactions 10000000 --json benchmarks/results/reading.json

The first writes random tables in random dialects and types, reads them, and counts those that are equal to a reading in
plain Python, those that are refused, and those that differ; one that differs ends it with exit code 1. The second times
reading and cleaning, each in a process of its own, so that its peak memory is its own.
"""

import argparse
import json
import resource
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks import record

_PACKAGES = ("duckdb", "ibis-framework", "pyarrow", "numpy")


def main() -> None:
    """Fuzzes the reader, or times it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fuzz", type=int, default=0, help="random logs to compare with plain Python")
    parser.add_argument("--interactions", type=int, default=10_000_000, help="rows of the log that is timed")
    parser.add_argument("--quick", action="store_true", help="100,000 interactions only")
    parser.add_argument("--json", default="", help="where to write the figures")
    parser.add_argument("--one", nargs=2, default=(), help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.fuzz:
        sys.exit(fuzz(flags.fuzz))
    if flags.one:
        print(json.dumps(measure(Path(flags.one[0]), flags.one[1])))
        return
    interactions, rows = 100_000 if flags.quick else flags.interactions, []
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), interactions)
        for ending in ("csv", "parquet"):
            found = record.in_a_process("benchmarks.reading", folder, ending)
            rows += [
                {"case": f"{ending}, {interactions:,} interactions", "metric": name, "unit": unit, "ours": found[name]}
                for name, unit in (("read", "s"), ("processor", "s"), ("peak_memory", "GB"))
            ]
            print(f"{ending}, {interactions:,} interactions: {found}", flush=True)
    record.write(flags.json, rows, _PACKAGES)


def fuzz(examples: int) -> int:
    """Reads random logs; 1 where one differs from plain Python, else 0."""
    import ibis
    from hypothesis import HealthCheck, given, settings

    from tests.reference.reading import differences, logs

    con = ibis.duckdb.connect()
    outcomes: Counter[str] = Counter()

    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(written=logs())
    def compare(written: Any) -> None:
        with tempfile.TemporaryDirectory() as folder:
            found = differences(written, Path(folder), con)
        kind = found.split(":")[0] if found == "equal" or found.startswith("refused: ") else "different"
        outcomes[f"{Path(written.name).suffix} {kind}"] += 1
        assert kind != "different", (written, found)

    try:
        compare()
    finally:
        print(dict(sorted(outcomes.items())))
    return int(any(name.endswith("different") for name in outcomes))


def write(folder: Path, interactions: int) -> None:
    """A log with ids and times as shops have them, as CSV and as Parquet."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet as pq

    rng = np.random.default_rng(0)
    columns = {
        "user_id": rng.integers(0, interactions // 20, interactions),
        "item_id": rng.zipf(1.2, interactions) % 50_000,
        "timestamp": 1_700_000_000 + rng.integers(0, 30_000_000, interactions),
    }
    pq.write_table(pa.table(columns), folder / "log.parquet")
    pa.csv.write_csv(pa.table(columns), folder / "log.csv")


def measure(folder: Path, ending: str) -> dict[str, Any]:
    """Seconds to open and clean the log in ``folder``, those of all processors, and peak memory in GB."""
    from rexjax.config import Data, Files
    from rexjax.data import engines, interactions

    data = Data(source=Files(), path=str(folder), interactions=f"log.{ending}", items="", text=(), strict=False)
    started, worked = time.perf_counter(), time.process_time()
    with engines.opened("duckdb", folder / f"engine-{ending}") as con:
        log, items, *_ = data.source.read(data, 0, con, folder / f"scratch-{ending}")
        found = interactions.clean(log, items, data)
        rows = sum(batch.num_rows for batch in engines.stream(found.log, folder / "stream"))
    seconds, processor = time.perf_counter() - started, time.process_time() - worked
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {"read": round(seconds, 1), "processor": round(processor, 1), "peak_memory": round(peak, 2), "rows": rows}


if __name__ == "__main__":
    main()
