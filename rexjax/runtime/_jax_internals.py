"""The parts of JAX that have no public name: all uses of ``jax._src`` stand here."""

from typing import Any

from jax._src import cloud_tpu_init, distributed
from jax._src.clusters import ClusterEnv


def detect_cluster(seconds: int) -> tuple[Any, ...]:
    """Coordinator, number of processes, this process's number and its devices, from the environment; None where it does
    not say. ``jax.distributed.initialize`` alone uses it, and does not tell what it found."""
    return ClusterEnv.auto_detect_unset_distributed_params(None, None, None, None, None, seconds)


def key_value_client() -> Any:
    """The client by which processes talk before they compute; None before they have joined."""
    return distributed.global_state.client


def runs_on_cloud_tpu_vm() -> bool:
    """Whether JAX found itself on a Cloud TPU VM."""
    return cloud_tpu_init.running_in_cloud_tpu_vm
