import dataclasses
from collections import defaultdict
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax.sharding import PartitionSpec as P

from rexjax.errors import UserError
from rexjax.runtime import compile_cache
from rexjax.runtime import mesh as meshes


@pytest.mark.parametrize(
    "data, model, shape",
    [(0, 1, (8, 1)), (0, 2, (4, 2)), (0, 8, (1, 8)), (1, 1, (1, 1)), (2, 2, (2, 2)), (4, 2, (4, 2))],
)
def test_make_mesh(data, model, shape):
    mesh = meshes.make_mesh(data, model)
    assert (mesh.shape["data"], mesh.shape["model"]) == shape
    assert mesh.axis_names == ("data", "model")


@pytest.mark.parametrize(
    "data, model, words",
    [
        (16, 1, ("16 × 1", "needs 16", "found 8")),
        (8, 2, ("8 × 2", "needs 16", "found 8")),
        (0, 9, ("1 × 9", "needs 9", "found 8")),
        (0, 0, ("--mesh.model",)),
        (1, -1, ("--mesh.model",)),
        (-1, 1, ("--mesh.data",)),
    ],
)
def test_make_mesh_refuses(data, model, words):
    with pytest.raises(UserError) as error:
        meshes.make_mesh(data, model)
    assert all(word in str(error.value) for word in words)


@pytest.mark.parametrize(
    "axes, spec",
    [
        (("batch",), P("data")),
        (("rows", "embed"), P(("data", "model"), None)),
        (("embed", "heads", "head"), P(None, "model", None)),
        (("embed", "mlp"), P(None, "model")),
        (("mlp", "embed"), P("model", None)),
        ((None, "embed"), P(None, None)),
        ((), P()),
    ],
)
def test_rules(axes, spec):
    assert meshes.sharding(meshes.make_mesh(4, 2), *axes).spec == spec


def test_shardings_of_a_boxed_tree():
    mesh = meshes.make_mesh(4, 2)
    tree = {
        "rows": nn.LogicallyPartitioned(jnp.zeros((128, 4)), ("rows", "embed")),
        "up": nn.LogicallyPartitioned(jnp.zeros((4, 16)), ("embed", "mlp")),
    }
    found = meshes.shardings(tree, mesh)
    assert found["rows"].spec == P(("data", "model"), None)
    assert found["up"].spec == P(None, "model")


@pytest.mark.parametrize("data, model", [(1, 1), (8, 1), (4, 2), (1, 8)])
def test_place_lays_rows_over_the_whole_mesh(data, model):
    mesh = meshes.make_mesh(data, model)
    rows = np.arange(256.0).reshape(128, 2)
    placed = meshes.place(rows, meshes.sharding(mesh, "rows", "embed"))
    assert len(placed.addressable_shards) == data * model
    assert {shard.data.shape for shard in placed.addressable_shards} == {(128 // (data * model), 2)}
    np.testing.assert_array_equal(placed, rows)


@pytest.mark.parametrize("data, model", [(1, 1), (8, 1), (4, 2), (1, 8)])
def test_one_process_holds_all_rows_of_a_batch(data, model):
    mesh = meshes.make_mesh(data, model)
    np.testing.assert_array_equal(meshes.local_rows(mesh, 16), np.arange(16))
    placed = meshes.place_batches({"items": np.arange(64, dtype=np.int32).reshape(2, 16, 2), "lists": None}, mesh)
    assert placed["lists"] is None and placed["items"].sharding.spec == P(None, "data")
    np.testing.assert_array_equal(placed["items"], np.arange(64).reshape(2, 16, 2))


@dataclass(frozen=True)
class Cpu:
    """What a mesh asks of a device; it has no slice."""

    id: int
    process_index: int
    platform: str = "cpu"
    device_kind: str = "cpu"


@dataclass(frozen=True)
class Tpu(Cpu):
    coords: tuple[int, int, int] = (0, 0, 0)
    slice_index: int = 0
    core_on_chip: int = 0
    platform: str = "tpu"
    device_kind: str = "TPU v5"


def tpus(sides, slices=1):
    """Slices of x × y × 1 chips, four to a process: a column of 2 × 2 blocks after the other."""
    (x, y), found = sides, []
    for slice_index in range(slices):
        for number in range(x * y):
            process, local = divmod(number, 4)
            block = divmod(process, y // 2)
            coords = (2 * block[0] + local % 2, 2 * block[1] + local // 2, 0)
            offset = slice_index * x * y
            found.append(Tpu(offset + number, offset // 4 + process, coords=coords, slice_index=slice_index))
    return found


def attach(monkeypatch, devices):
    """As if ``devices`` were those of this run."""
    monkeypatch.setattr(jax, "devices", lambda: devices)
    monkeypatch.setattr(jax, "device_count", lambda: len(devices))
    monkeypatch.setattr(jax, "process_count", lambda: len({device.process_index for device in devices}))


@pytest.mark.parametrize(
    "data, model, expected",
    [(8, 1, [0, 0, 0, 0, 1, 1, 1, 1]), (4, 2, [[0, 0], [0, 0], [1, 1], [1, 1]]), (1, 8, [0, 0, 0, 0, 1, 1, 1, 1])],
)
def test_devices_of_a_process_are_neighbours_along_the_batch(monkeypatch, data, model, expected):
    attach(monkeypatch, [Cpu(number, number % 2) for number in range(8)])  # in turn, as a pod may number them
    laid = meshes.make_mesh(data, model).devices
    assert np.vectorize(lambda device: device.process_index)(laid).squeeze().tolist() == expected
    with pytest.raises(UserError, match="a mesh of 4 × 1 devices leaves some of 2 processes without a device: use all"):
        meshes.make_mesh(4, 1)


@pytest.mark.parametrize("shape", [(8, 1), (4, 2), (2, 4), (1, 8)])
def test_cpu_devices_lie_in_their_order(shape):
    assert (meshes.make_mesh(*shape).devices == np.array(jax.devices()).reshape(shape)).all()


@pytest.mark.parametrize("model", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("slices", [1, 2, 3])
def test_slices_of_tpus_are_the_outer_part_of_data(monkeypatch, slices, model):
    devices = tpus((4, 4), slices)
    attach(monkeypatch, devices[::-1])
    mesh = meshes.make_mesh(model=model)
    assert dict(mesh.shape) == {"data": 16 * slices // model, "model": model}
    assert set(mesh.devices.flat) == set(devices)
    laid = mesh.devices.reshape(slices, 16)
    assert [{device.slice_index for device in row} for row in laid] == [{number} for number in range(slices)]
    assert all([device.coords for device in row] == [device.coords for device in laid[0]] for row in laid)


@pytest.mark.parametrize(
    "sides, model", [((6, 2), 3), ((6, 4), 3), ((6, 4), 12), ((12, 4), 6), ((6, 2), 1), ((6, 2), 2), ((4, 4), 8)]
)
def test_processes_hold_the_same_rows_or_none_in_common(sides, model):
    """Else a process would have to read a part of the rows of another, which ``place_batches`` refuses."""
    held = defaultdict(set)
    for (row, _), device in np.ndenumerate(meshes.arrange_devices(tpus(sides), model).devices):
        held[device.process_index].add(row)
    assert all(one == other or not one & other for one in held.values() for other in held.values())
    assert len({len(rows) for rows in held.values()}) == 1


@pytest.mark.parametrize(
    "devices, model, words",
    [
        (tpus((4, 4), 2), 3, "--mesh.model 3 does not divide the 16 devices of a slice"),
        (tpus((4, 4), 2), 32, "--mesh.model 32 does not divide the 16 devices of a slice"),
        (tpus((4, 4)), 0, "--mesh.model 0 does not divide the 16 devices"),
        (tpus((4, 4), 2)[:24], 2, "a mesh of 12 × 2 devices takes 16, 8 devices of 2 slices"),
        (tpus((2, 2))[:3], 1, "3 devices leave holes in a block of 2 × 2 × 1 × 1 TPU cores"),
        (
            [device for device in tpus((4, 2)) if device.coords[0] < 3],
            1,
            "a mesh of 6 × 1 devices takes 2 to 4 devices of a process",
        ),
    ],
)
def test_arrange_devices_refuses(devices, model, words):
    with pytest.raises(UserError, match=words):
        meshes.arrange_devices(devices, model)


def test_fewer_tpus_than_there_are(monkeypatch):
    devices = [dataclasses.replace(device, process_index=0) for device in tpus((2, 2))]
    attach(monkeypatch, devices)
    assert list(meshes.make_mesh(2, 1).devices.flat) == devices[:2]
    attach(monkeypatch, tpus((4, 4), 2))
    with pytest.raises(UserError, match="a mesh of 8 × 2 devices leaves some of 8 processes without a device"):
        meshes.make_mesh(8, 2)


def test_replicated():
    mesh = meshes.make_mesh(4, 2)
    placed = meshes.place(np.arange(3.0), meshes.replicated(mesh))
    assert placed.is_fully_replicated and len(placed.addressable_shards) == 8


@pytest.mark.parametrize("variable", ["JAX_COMPILATION_CACHE_DIR", "XDG_CACHE_HOME"])
def test_keep_compiled_programs(monkeypatch, tmp_path, variable):
    before = jax.config.jax_compilation_cache_dir, jax.config.jax_persistent_cache_min_compile_time_secs
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    monkeypatch.setenv(variable, str(tmp_path))
    try:
        compile_cache.keep_compiled_programs()
        after = jax.config.jax_compilation_cache_dir
        # JAX reads its own variable when it is imported; it must not be overridden here
        assert after == (before[0] if variable.startswith("JAX") else str(tmp_path / "rexjax" / "programs"))
    finally:
        jax.config.update("jax_compilation_cache_dir", before[0])
        jax.config.update("jax_persistent_cache_min_compile_time_secs", before[1])
