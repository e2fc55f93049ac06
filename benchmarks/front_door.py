"""The Python front door of a finished workdir: one user after another, and all users at once.

    python -m benchmarks.front_door WORKDIR --json benchmarks/results/front_door.json

WORKDIR is what `rexjax run` has finished.
"""

import argparse
import subprocess
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

import rexjax
from benchmarks import record

CALLS = 40
"""Calls for one user each, after the first."""


def measure(workdir: Path) -> list[dict[str, Any]]:
    """Milliseconds of a call for one user, programs compiled by it, seconds for all users."""
    experiment = rexjax.load(workdir, frame="arrow")
    users = experiment.users
    experiment.recommend(users[:1])
    compiled: list[str] = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda name, seconds, **_: compiled.append(name) if "backend_compile" in name else None
    )
    seconds = []
    for user in users[1 : CALLS + 1]:
        started = time.perf_counter()
        experiment.recommend([user])
        seconds.append(time.perf_counter() - started)
    alone = len(compiled)
    experiment.recommend(users[:2])  # compiles the program for several
    started = time.perf_counter()
    found = experiment.recommend("all")
    whole = time.perf_counter() - started
    about = {"case": f"{workdir.name}, {len(users):,} users, {len(experiment.index.item_ids):,} items"}
    rows = [
        ("one user, median", "milliseconds", 1e3 * float(np.median(seconds))),
        ("one user, longest", "milliseconds", 1e3 * max(seconds)),
        (f"programs compiled in {CALLS} calls", "programs", alone),
        (f"all users, {found.num_rows:,} rows", "seconds", whole),
    ]
    return [about | {"metric": metric, "unit": unit, "ours": ours} for metric, unit, ours in rows]


def main() -> None:
    """Measures and records."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workdir", type=Path)
    parser.add_argument("--json", type=Path, required=True)
    flags = parser.parse_args()
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    about = {"command": f"python -m benchmarks.front_door runs/{flags.workdir.name}", "commit": commit, "seeds": []}
    rows = [row | about for row in measure(flags.workdir)]
    record.write(str(flags.json), rows, ("jax", "jaxlib", "rexjax"))


if __name__ == "__main__":
    main()
