"""CPU time of a request without a known history on catalogues of up to ten million items.

    python -m benchmarks.large_catalogue --json benchmarks/results/large_catalogue.json

Popularity and 200 categories are drawn. Counted is the CPU time of the thread that answers (``time.thread_time``), so
that what else runs on the machine does not count: that is what such a request takes from the event loop.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from benchmarks import record
from rexjax.serving.popular import Allowed, Popular

SIZES, CATEGORIES, IDS, TIMES = (100_000, 1_000_000, 10_000_000), 200, 10_000, 50
LIMIT_MS = 2.0


def cpu_ms(call: Callable[[], Any]) -> float:
    """The median of some calls after one that does not count."""
    found = []
    for _ in range(TIMES + 1):
        began = time.thread_time()
        call()
        found.append(1e3 * (time.thread_time() - began))
    return float(np.median(found[1:]))


def cases(items: int) -> dict[str, Callable[[Popular], Any]]:
    """Requests by name."""
    rng = np.random.default_rng(1)
    many = rng.choice(items, IDS, replace=False).astype(np.int32)
    some = frozenset(rng.choice(CATEGORIES, 64, replace=False).tolist())
    return {
        "no history": lambda popular: popular.top(10, []),
        "100 answers, 64 excluded": lambda popular: popular.top(100, many[:64].tolist()),
        "10,000 excluded": lambda popular: popular.top(10, many.tolist()),
        "64 categories": lambda popular: popular.top(10, [], Allowed(categories=some)),
        "only 10,000 items": lambda popular: popular.top(10, [], Allowed(only=many)),
        "only 10,000 items, 64 categories": lambda popular: popular.top(10, [], Allowed(many, some)),
    }


def main() -> None:
    """Measures all and writes one JSON file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", default="", help="where to write the figures")
    parser.add_argument("--quick", action="store_true", help="one million items at most")
    flags = parser.parse_args()
    rows = []
    for items in SIZES[: 2 if flags.quick else None]:
        rng = np.random.default_rng(0)
        began = time.process_time()
        popular = Popular(rng.random(items), rng.integers(0, CATEGORIES, items).astype(np.int32), CATEGORIES)
        rows.append(record.row(f"{items:,} items, sorted once at the start", "s of CPU", time.process_time() - began))
        for name, ask in cases(items).items():
            rows.append(record.row(f"{items:,} items, {name}", "ms of CPU", cpu_ms(partial(ask, popular))))
    for row in rows:
        print(row)
    record.write(flags.json, rows, ("numpy",), seeds=[0, 1], limit_ms=LIMIT_MS)


if __name__ == "__main__":
    main()
