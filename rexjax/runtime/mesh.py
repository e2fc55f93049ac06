"""The device mesh, axes ("data", "model"), and the rules from logical axes to mesh axes.

Modules and tables name *logical* axes ("batch", "rows", "heads", "mlp", "embed"); only this file knows which mesh axis
each one lies on.
"""

from typing import Any

import flax.linen as nn
import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from rexjax.errors import UserError

RULES = (
    ("batch", "data"),
    ("rows", ("data", "model")),  # an item table lies over the whole mesh
    ("heads", "model"),
    ("mlp", "model"),
    ("embed", None),
    ("head", None),
)


def make_mesh(data: int = 0, model: int = 1) -> jax.sharding.Mesh:
    """A mesh of ``data`` × ``model`` devices; ``data`` = 0 takes all devices that ``model`` leaves."""
    found = jax.device_count()
    data = data or max(found // max(model, 1), 1)
    if model < 1 or data < 1 or data * model > found:
        raise UserError(
            f"a mesh of {data} × {model} devices needs {data * model}, found {found}: see --mesh.data, --mesh.model"
        )
    # by process: the rows of a process are neighbours, and "model" stays inside a host where it fits
    devices = sorted(jax.devices(), key=lambda device: (device.process_index, device.id))[: data * model]
    if len({device.process_index for device in devices}) < jax.process_count():
        raise UserError(
            f"a mesh of {data} × {model} devices leaves some of {jax.process_count()} processes without a device: "
            f"use all {found}, or start fewer processes"
        )
    return jax.make_mesh((data, model), ("data", "model"), axis_types=(AxisType.Auto,) * 2, devices=devices)


def shardings(boxed: Any, mesh: jax.sharding.Mesh) -> Any:
    """NamedShardings for a tree whose leaves carry logical axes (``nn.Partitioned``); leaves without are replicated."""
    return nn.logical_to_mesh_sharding(nn.get_partition_spec(boxed), mesh, RULES)


def sharding(mesh: jax.sharding.Mesh, *axes: str | None) -> NamedSharding:
    """The NamedSharding of one array with these logical axes."""
    return NamedSharding(mesh, nn.logical_to_mesh_axes(axes, RULES))


def replicated(mesh: jax.sharding.Mesh) -> NamedSharding:
    """Every device holds all of it."""
    return NamedSharding(mesh, PartitionSpec())


def place(tree: Any, where: Any) -> Any:
    """Host arrays (the same on every process) as global arrays with the given sharding or tree of shardings."""
    return jax.device_put(tree, where)


def local_rows(mesh: jax.sharding.Mesh, batch: int) -> np.ndarray:
    """Which rows of a global batch of B lie on devices of this process: int64 [B'], ascending.

    All B of them where "model" reaches over all processes.
    """
    rows = np.arange(batch)
    held = sharding(mesh, "batch").addressable_devices_indices_map((batch,)).values()
    return np.unique(np.concatenate([rows[index] for index in held]))


def place_batches(tree: Any, mesh: jax.sharding.Mesh) -> Any:
    """Host arrays [M, B', …], the ``local_rows`` of each process, as global arrays [M, B, …], B over "data"."""
    return jax.make_array_from_process_local_data(sharding(mesh, None, "batch"), tree)
