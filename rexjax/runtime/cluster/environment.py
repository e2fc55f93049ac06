"""Which processes work together and which one this is: read from the environment, by one rule.

The first of these that is there decides; without any, and where it counts one process, this process works alone:

1. ``REXJAX_COORDINATOR``, ``REXJAX_PROCESSES``, ``REXJAX_PROCESS_ID``: set by hand or by the scripts in ``launch/``.
2. What JAX reads, in its own order: Open MPI (``mpirun``), SLURM (``srun``: ``SLURM_JOB_ID``, ``SLURM_STEP_NODELIST``,
   ``SLURM_NTASKS``, ``SLURM_PROCID``, ``SLURM_LOCALID``), TPUs on GKE (``TPU_WORKER_HOSTNAMES``, ``TPU_WORKER_ID``, and
   ``MEGASCALE_*`` for several slices: JobSet and GKE set them), TPU VMs (their metadata server), an Indexed Job of
   Kubernetes (``JOB_COMPLETION_INDEX`` and the package ``kubernetes``).
"""

import os
import warnings
from typing import NamedTuple

from rexjax.errors import UserError
from rexjax.runtime import _jax_internals

VARIABLES = ("REXJAX_COORDINATOR", "REXJAX_PROCESSES", "REXJAX_PROCESS_ID")
"""Address HOST:PORT of the first process, how many there are, and which one this is, counted from 0."""

SIGNS = ("OMPI_MCA_orte_hnp_uri", "SLURM_STEP_NODELIST", "JOB_COMPLETION_INDEX")
"""Without one of these, and off TPUs, JAX is not asked: it would ask Kubernetes about any pod."""

LOOK_SECONDS = 300
"""So long the name of the first host may take to become known."""


class Place(NamedTuple):
    """Where a process stands among those that work together."""

    coordinator: str
    """HOST:PORT at which the first process listens."""
    count: int
    """How many there are."""
    index: int
    """Which one this is, from 0."""
    devices: tuple[int, ...] | None = None
    """Which of its host's GPUs are its own, where several processes share a host; None: all."""


def find() -> Place | None:
    """Reads the environment by the rule above; None: this process works alone.

    Raises:
        UserError: what the environment says is incomplete or contradicts itself.
    """
    found = {name: os.environ.get(name, "") for name in VARIABLES}
    place = _explicit(found) if any(found.values()) else _detected()
    return place if place and place.count > 1 else None


def _explicit(found: dict[str, str]) -> Place:
    if missing := [name for name, value in found.items() if not value]:
        raise UserError(f"several processes need {', '.join(VARIABLES)} in the environment: set {', '.join(missing)}")
    coordinator, *numbers = found.values()
    if not all(number.isdecimal() for number in numbers) or not int(numbers[1]) < int(numbers[0]):
        raise UserError(f"{VARIABLES[2]}={numbers[1]} must be a number from 0 to below {VARIABLES[1]}={numbers[0]}")
    if not coordinator.rpartition(":")[2].isdecimal():
        raise UserError(f"{VARIABLES[0]}={coordinator} must be HOST:PORT of the first process, such as 10.0.0.2:9876")
    return Place(coordinator, int(numbers[0]), int(numbers[1]))


def _detected() -> Place | None:
    signs = [name for name in SIGNS if name in os.environ]
    if not signs and not _jax_internals.runs_on_cloud_tpu_vm():
        return None
    try:
        with warnings.catch_warnings(action="ignore"):  # that the package kubernetes is missing, said better below
            found = _jax_internals.detect_cluster(LOOK_SECONDS)
    except (RuntimeError, ValueError, KeyError, OSError) as error:
        raise UserError(f"other processes work too, but their addresses are unknown ({error}): {_BY_HAND}") from error
    coordinator, count, index, devices = found
    if coordinator is None and "JOB_COMPLETION_INDEX" in signs:
        raise UserError(f"JOB_COMPLETION_INDEX is set, but the number of pods is unknown: {_BY_HAND}")
    return None if coordinator is None else Place(coordinator, count, index, devices and tuple(devices))


_BY_HAND = f"set {', '.join(VARIABLES)}"
