from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax.sharding import PartitionSpec as P

from rexjax.errors import UserError
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


class Shard(NamedTuple):
    process_index: int
    id: int


@pytest.mark.parametrize(
    "data, model, expected",
    [(8, 1, [0, 0, 0, 0, 1, 1, 1, 1]), (4, 2, [[0, 0], [0, 0], [1, 1], [1, 1]])],
)
def test_devices_of_a_process_are_neighbours_along_the_batch(monkeypatch, data, model, expected):
    found = [Shard(number % 2, number) for number in range(8)]  # in turn, as a pod may number them
    monkeypatch.setattr(jax, "devices", lambda: found)
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(jax, "make_mesh", lambda shape, *_, devices, **__: np.reshape(devices, (*shape, 2))[..., 0])
    assert meshes.make_mesh(data, model).squeeze().tolist() == expected
    with pytest.raises(UserError, match="a mesh of 4 × 1 devices leaves some of 2 processes without a device: use all"):
        meshes.make_mesh(4, 1)


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
        meshes.keep_compiled_programs()
        after = jax.config.jax_compilation_cache_dir
        # JAX reads its own variable when it is imported; it must not be overridden here
        assert after == (before[0] if variable.startswith("JAX") else str(tmp_path / "rexjax" / "programs"))
    finally:
        jax.config.update("jax_compilation_cache_dir", before[0])
        jax.config.update("jax_persistent_cache_min_compile_time_secs", before[1])
