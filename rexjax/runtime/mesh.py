"""The device mesh, axes ("data", "model"), and the rules from logical axes to mesh axes.

Modules and tables name *logical* axes ("batch", "rows", "heads", "mlp", "embed"); only this file knows which mesh axis
each one lies on.
"""

import collections
import itertools
import math
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from rexjax.errors import UserError

RULES = (
    ("batch", "data"),
    ("rows", ("data", "model")),  # an item table lies over the whole mesh
    ("heads", "model"),
    ("mlp", "model"),
    ("embed", None),
    ("head", None),
)


def make_mesh(data: int = 0, model: int = 1) -> Mesh:
    """A mesh of ``data`` × ``model`` devices; ``data`` = 0 takes all devices that ``model`` leaves.

    Fewer devices than there are: the first ones by slice, process and id.

    Raises:
        UserError: too few devices, a process without a device, or ``arrange_devices`` refuses.
    """
    found = jax.device_count()
    data = data or max(found // max(model, 1), 1)
    if model < 1 or data < 1 or data * model > found:
        raise UserError(
            f"a mesh of {data} × {model} devices needs {data * model}, found {found}: see --mesh.data, --mesh.model"
        )
    devices = sorted(jax.devices(), key=_position)[: data * model]
    if len({device.process_index for device in devices}) < jax.process_count():
        raise UserError(
            f"a mesh of {data} × {model} devices leaves some of {jax.process_count()} processes without a device: "
            f"use all {found}, or start fewer processes"
        )
    return arrange_devices(devices, model)


def arrange_devices(devices: Sequence[jax.Device], model: int) -> Mesh:
    """The mesh ("data", "model") of all ``devices``, in whatever order they come.

    Slices (``slice_index``) are the outer part of "data", and all are laid out alike. Within a slice of TPUs the axes
    follow the torus. Other devices lie by process and id. The devices need not be attached: the plan's are described.

    Raises:
        UserError: slices of different sizes, a ``model`` that does not divide a slice, or TPUs that form no block.
    """
    slices = [list(members) for _, members in itertools.groupby(sorted(devices, key=_position), key=_slice_index)]
    sizes = [len(members) for members in slices]
    if model < 1 or sizes[0] % model:
        raise UserError(f"--mesh.model {model} does not divide the {sizes[0]} devices of a slice")
    if len(set(sizes)) > 1:
        raise UserError(
            f"a mesh of {sum(sizes) // model} × {model} devices takes {', '.join(map(str, sizes))} devices of "
            f"{len(sizes)} slices: all slices must give as many, see --mesh.data, --mesh.model"
        )
    laid = np.concatenate([_arrange_slice(members, model) for members in slices])
    return Mesh(laid, ("data", "model"), axis_types=(AxisType.Auto,) * 2)


def _slice_index(device: jax.Device) -> int:
    """0 where a device has none: CPUs, and TPUs of a single described slice."""
    return getattr(device, "slice_index", 0)


def _position(device: jax.Device) -> tuple[int, int, int]:
    """By process: the rows of a process are neighbours, and "model" stays inside a host where it fits."""
    return _slice_index(device), device.process_index, device.id


def _arrange_slice(devices: list[jax.Device], model: int) -> np.ndarray:
    """The devices of one slice as an array [data, model]."""
    on_tpu = devices[0].platform == "tpu"
    if on_tpu:
        _check_block(devices)
    # `jax.make_mesh` does not split the torus's axes on most TPUs, and refuses most values of "model" there
    shape = (len(devices) // model, model)
    laid = mesh_utils.create_device_mesh(shape, devices, allow_split_physical_axes=True)
    return _arrange_by_process(devices, model) if on_tpu and not _is_uniform(laid) else laid


def _check_block(devices: list[jax.Device]) -> None:
    """Refuses TPU devices that leave holes in the block of cores that they span: they have no torus to follow."""
    places = np.array([(*device.coords, device.core_on_chip) for device in devices])
    sides = np.ptp(places, axis=0) + 1
    if math.prod(sides) != len(devices):
        raise UserError(
            f"{len(devices)} devices leave holes in a block of {' × '.join(map(str, sides))} TPU cores: "
            "use all devices of the slice, see --mesh.data, --mesh.model"
        )


def _is_uniform(laid: np.ndarray) -> bool:
    """Whether any two processes hold the same rows of "data" or none in common: ``place_batches`` needs it."""
    held: dict[int, set[int]] = {}
    for (row, _), device in np.ndenumerate(laid):
        held.setdefault(device.process_index, set()).add(row)
    parts = {frozenset(rows) for rows in held.values()}
    return sum(map(len, parts)) == len(laid) and len({len(rows) for rows in parts}) == 1


def _arrange_by_process(devices: list[jax.Device], model: int) -> np.ndarray:
    """[data, model] with "model" over as many devices of each process as divide it, then over whole processes."""
    counts = collections.Counter(device.process_index for device in devices)
    local = counts[devices[0].process_index]
    if len(set(counts.values())) > 1:
        raise UserError(
            f"a mesh of {len(devices) // model} × {model} devices takes {min(counts.values())} to "
            f"{max(counts.values())} devices of a process: use all, see --mesh.data, --mesh.model"
        )
    inner = math.gcd(model, local)
    outer = model // inner
    split = np.array(devices, dtype=object).reshape(-1, outer, local // inner, inner)
    return split.transpose(0, 2, 1, 3).reshape(-1, model)


def shardings(boxed: Any, mesh: Mesh) -> Any:
    """NamedShardings for a tree whose leaves carry logical axes (``nn.Partitioned``); leaves without are replicated."""
    return nn.logical_to_mesh_sharding(nn.get_partition_spec(boxed), mesh, RULES)


def sharding(mesh: Mesh, *axes: str | None) -> NamedSharding:
    """The NamedSharding of one array with these logical axes."""
    return NamedSharding(mesh, nn.logical_to_mesh_axes(axes, RULES))


def replicated(mesh: Mesh) -> NamedSharding:
    """Every device holds all of it."""
    return NamedSharding(mesh, PartitionSpec())


def place(tree: Any, where: Any) -> Any:
    """Host arrays (the same on every process) as global arrays with the given sharding or tree of shardings."""
    return jax.device_put(tree, where)


def local_rows(mesh: Mesh, batch: int) -> np.ndarray:
    """Which rows of a global batch of B lie on devices of this process: int64 [B'], ascending.

    All B of them where "model" reaches over all processes.
    """
    rows = np.arange(batch)
    held = sharding(mesh, "batch").addressable_devices_indices_map((batch,)).values()
    return np.unique(np.concatenate([rows[index] for index in held]))


def place_batches(tree: Any, mesh: Mesh) -> Any:
    """Host arrays [M, B', …], the ``local_rows`` of each process, as global arrays [M, B, …], B over "data"."""
    return jax.make_array_from_process_local_data(sharding(mesh, None, "batch"), tree)
