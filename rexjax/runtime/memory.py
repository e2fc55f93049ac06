"""How much memory there is, before a large array is made."""

import os

import jax


def host_bytes() -> int:
    """Physical memory of this machine."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def device_bytes(mesh: jax.sharding.Mesh) -> int:
    """Memory of one device of the mesh; emulated devices and CPUs share that of the host, so each has a part of it."""
    devices = mesh.local_devices
    limits = [(device.memory_stats() or {}).get("bytes_limit", 0) for device in devices]
    return min(limits) if min(limits) > 0 else host_bytes() // len(devices)


def all_bytes() -> int:
    """Memory of all devices, of every process."""
    limits = [(device.memory_stats() or {}).get("bytes_limit", 0) for device in jax.local_devices()]
    return sum(limits) * jax.process_count() if min(limits) > 0 else host_bytes() * jax.process_count()
