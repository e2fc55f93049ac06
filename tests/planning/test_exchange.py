"""The exchange of rows as the TPU compiler makes it: its bytes follow the ids of one chip, not the number of chips."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.usefixtures("libtpu")
def test_collective_bytes_stay_the_same_from_8_to_64_chips():
    found = []
    for layout in ("v5p:2x2x2", "v5p:4x4x4"):
        run = subprocess.run(
            [sys.executable, "-m", "benchmarks.embedding", "--one", "exchange", layout, "0"],
            cwd=Path(__file__).parents[2],
            env={name: value for name, value in os.environ.items() if name != "XLA_FLAGS"},
            capture_output=True,
            text=True,
            check=True,
        )
        found.append(json.loads(run.stdout.splitlines()[-1]))
    assert [row["chips"] for row in found] == [8, 64]
    assert found[1]["bytes"] < 1.1 * found[0]["bytes"]
    assert all(row["bytes"] <= 1.3 * row["must_move"] for row in found)
