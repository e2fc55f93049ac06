"""TPU devices that are not here, for ahead-of-time compilation."""

import os

import jax
from jax.experimental import topologies
from jax.sharding import Mesh

from rexjax.planning.topology import ENVIRONMENT, Topology, unknown
from rexjax.runtime.mesh import arrange_devices


def make_mesh(topology: Topology, model: int) -> Mesh:
    """The mesh ("data", "model") of all devices of ``topology``, as a run there makes it.

    Raises:
        UserError: libtpu knows no such topology, or ``model`` does not divide a slice.
    """
    return arrange_devices(describe_devices(topology), model)


def describe_devices(topology: Topology) -> list[jax.Device]:
    """All devices of ``topology`` as libtpu describes them.

    Raises:
        UserError: libtpu knows no such topology.
    """
    os.environ.update(ENVIRONMENT)
    options = {"chip_config_name": topology.chip.compiler_config} if topology.chip.compiler_config else {}
    if topology.slices > 1:
        options["num_slices"] = topology.slices
    try:
        description = topologies.get_topology_desc(platform="tpu", topology_name=topology.name, **options)
    except jax.errors.JaxRuntimeError as error:
        if "INVALID_ARGUMENT" in str(error):
            raise unknown(topology.name) from error
        raise
    return list(description.devices)
