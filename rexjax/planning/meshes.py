"""Meshes of TPU devices that are not here, for ahead-of-time compilation."""

import os
from typing import Any

import jax
import numpy as np
from jax.experimental import mesh_utils, topologies
from jax.sharding import AxisType, Mesh

from rexjax.errors import UserError
from rexjax.planning.topology import ENVIRONMENT, Topology, unknown


def make_mesh(topology: Topology, model: int) -> Mesh:
    """The mesh ("data", "model") of all devices of ``topology``; slices are the outer part of "data".

    Raises:
        UserError: libtpu knows no such topology, or ``model`` does not divide a slice.
    """
    os.environ.update(ENVIRONMENT)
    each = topology.devices // topology.slices
    if model < 1 or each % model:
        raise UserError(f"--mesh.model {model} does not divide the {each} devices of {topology.name}")
    one = _devices(topology)
    shape, axes, auto = (each // model, model), ("data", "model"), (AxisType.Auto,) * 2
    laid = mesh_utils.create_device_mesh(shape, one, allow_split_physical_axes=True)
    if topology.slices == 1:
        return Mesh(laid, axes, axis_types=auto)
    place = {device.id: number for number, device in enumerate(one)}
    order = np.vectorize(lambda device: place[device.id])(laid)
    devices = np.asarray(_devices(topology, num_slices=topology.slices)).reshape(topology.slices, each)
    return Mesh(devices[:, order].reshape(-1, model), axes, axis_types=auto)


def _devices(topology: Topology, **options: Any) -> list[Any]:
    if topology.chip.compiler_config:
        options["chip_config_name"] = topology.chip.compiler_config
    try:
        description = topologies.get_topology_desc(platform="tpu", topology_name=topology.name, **options)
    except jax.errors.JaxRuntimeError as error:
        if "INVALID_ARGUMENT" in str(error):
            raise unknown(topology.name) from error
        raise
    return list(description.devices)
