"""A table of 1,000,000 rows that grows to 1,200,000 on eight emulated devices.

    XLA_FLAGS=--xla_force_host_platform_device_count=8 python -m benchmarks.table_growth --json FILE

The table is 64 wide with lazy Adam. A third of a second of compilation is part of the first call; the second call is
another growth of the same shapes. Both results are compared with a table that was made with 1,200,000 rows.
"""

import argparse
import time
from typing import Any

import jax
import numpy as np

from benchmarks import record
from rexjax.embedding import Table
from rexjax.embedding.bound import BoundTable
from rexjax.runtime.mesh import make_mesh

ROWS, MORE, WIDTH, DEVICES = 1_000_000, 1_200_000, 64, 8


def main() -> None:
    """Measures, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", default="", help="where to write the rows")
    flags = parser.parse_args()
    key, small = jax.random.key(0), Table("items", ROWS, WIDTH).on(make_mesh(DEVICES))
    state = jax.block_until_ready(small.init(key))
    seconds = []
    for _ in range(2):
        started = time.perf_counter()
        large, grown = small.grow(state, MORE, key)
        jax.block_until_ready(grown)
        seconds.append(time.perf_counter() - started)
        off = _largest_difference(grown, large, key)
    about = {"rows": ROWS, "rows_after": MORE, "width": WIDTH, "devices": DEVICES, "largest_difference": off}
    names = ("first call, with compilation", "again")
    rows = [record.row(name, "s", s, ceiling=2.0, **about) for name, s in zip(names, seconds, strict=True)]
    record.write(flags.json, rows, ("jax", "numpy"))
    print(*rows, sep="\n")


def _largest_difference(grown: Any, large: BoundTable, key: jax.Array) -> float:
    made = large.init(key)
    pairs = zip(jax.tree.leaves(grown), jax.tree.leaves(made), strict=True)
    return max(float(np.abs(np.asarray(a) - np.asarray(b)).max()) for a, b in pairs)


if __name__ == "__main__":
    main()
