"""The run's mesh maker with libtpu's devices; benchmarks/results/meshes.json has all layouts on offer."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from rexjax.errors import UserError
from rexjax.planning import meshes
from rexjax.planning.topology import CHIPS, parse
from rexjax.runtime.mesh import make_mesh

pytestmark = pytest.mark.usefixtures("libtpu")


def test_a_run_makes_each_mesh_of_up_to_64_chips(tmp_path):
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks.meshes", "--quick", "--json", str(tmp_path / "meshes.json")],
        cwd=Path(__file__).parents[2],
        env={name: value for name, value in os.environ.items() if name != "XLA_FLAGS"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    rows = json.loads((tmp_path / "meshes.json").read_text())["rows"]
    assert [row["case"].split(",")[0] for row in rows] == list(CHIPS)
    assert all(row["ours"] == row["of"] >= 50 and not row["failed"] for row in rows)


@pytest.mark.parametrize("slices", [1, 2])
@pytest.mark.parametrize("name, model", [("v5p:2x2x2", 4), ("v5e:4x4", 8), ("v4:6x2x2", 3), ("tpu7x:2x2x1", 2)])
def test_the_plan_lays_out_devices_as_a_run_does(monkeypatch, name, model, slices):
    topology = parse(name, slices)
    devices = meshes.describe_devices(topology)
    monkeypatch.setattr(jax, "devices", lambda: devices[::-1])
    monkeypatch.setattr(jax, "device_count", lambda: len(devices))
    monkeypatch.setattr(jax, "process_count", lambda: len({device.process_index for device in devices}))
    planned, run = meshes.make_mesh(topology, model), make_mesh(model=model)
    assert planned.shape == run.shape == {"data": topology.devices // model, "model": model}
    assert [device.id for device in planned.devices.flat] == [device.id for device in run.devices.flat]


def test_a_topology_that_libtpu_does_not_know():
    with pytest.raises(UserError, match="no TPU topology 'v5p:3x3x3'"):
        meshes.describe_devices(parse("v5p:3x3x3"))
