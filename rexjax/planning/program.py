"""Compiles one program for a mesh of absent devices and reads off what it costs."""

import re
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from rexjax.planning.collectives import Collective, collectives, table_gathers
from rexjax.planning.programs import Program
from rexjax.planning.topology import Topology

_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40, "P": 2**50}
_SIZE = r"\(?([\d.]+)([KMGTP]?)i?B?\)?"
_NEEDS = (
    re.compile(rf"memory required for [^()]*{_SIZE} exceeds available HBM {_SIZE}"),
    re.compile(rf"Used {_SIZE} of {_SIZE} hbm"),
)


def out_of_memory(message: str) -> tuple[int, int] | None:
    """Bytes that a device would need and bytes that it has, from the compiler's RESOURCE_EXHAUSTED message."""
    for pattern in _NEEDS:
        if found := pattern.search(message):
            needed, unit, limit, limit_unit = found.groups()
            return round(float(needed) * _UNITS[unit]), round(float(limit) * _UNITS[limit_unit])
    return None


@cache
def hbm_limit(mesh: Mesh, topology: Topology) -> int:
    """Bytes that the compiler lets a program use on a device: less than what the chip has.

    It only says so in the message about a program that is too large.
    """
    everywhere = NamedSharding(mesh, PartitionSpec())
    much = jax.ShapeDtypeStruct((int(topology.chip.hbm),), jnp.float32, sharding=everywhere)
    try:
        jax.jit(jnp.sum).lower(much).compile()
    except jax.errors.JaxRuntimeError as error:
        if found := out_of_memory(str(error)):
            return found[1]
    return int(topology.chip.hbm / topology.chip.devices)


def measure(program: Program, mesh: Mesh, topology: Topology, limit: int) -> dict[str, Any]:
    """Compiles ``program`` and returns its figures, all for one device, as plain JSON values.

    hbm_bytes: by kind. hbm_needed, hbm_limit: bytes. fits. The others only of a program that fits: flops,
    bytes_accessed, collectives, terms (seconds of each), seconds, bound_by; bodies of loops are counted once,
    ``loops`` says how many loops there are.
    """
    sizes = {"batch": program.batch, "batch_asked": program.asked}
    try:
        compiled = program.run.lower(*program.arguments).compile()
    except jax.errors.JaxRuntimeError as error:
        if not (found := out_of_memory(str(error))):
            raise
        rest = {"temporary": max(found[0] - sum(program.kinds.values()), 0)}
        return sizes | {"fits": False, "hbm_bytes": program.kinds | rest, "hbm_needed": found[0], "hbm_limit": found[1]}
    kinds = program.kinds | _memory(compiled.memory_analysis(), sum(program.kinds.values()))
    memory = {"fits": True, "hbm_bytes": kinds, "hbm_needed": sum(kinds.values()), "hbm_limit": limit}
    timed = program.timed or program
    if program.timed:
        compiled = timed.run.lower(*timed.arguments).compile()
    return sizes | memory | _cost(compiled, mesh, topology, timed)


def _memory(stats: Any, arguments: int) -> dict[str, int]:
    return {
        "padding": max(stats.argument_size_in_bytes - arguments, 0),
        "outputs": stats.output_size_in_bytes - stats.alias_size_in_bytes,
        "temporary": stats.temp_size_in_bytes,
        "program": stats.generated_code_size_in_bytes,
    }


def _cost(compiled: Any, mesh: Mesh, topology: Topology, program: Program) -> dict[str, Any]:
    cost, text = compiled.cost_analysis(), compiled_text(program.run, program.arguments, compiled)
    found = collectives(text, mesh)
    flops, accessed = cost.get("flops", 0.0), cost.get("bytes accessed", 0.0)
    terms = {
        "compute": flops / topology.flops,
        "hbm": accessed / topology.hbm_bandwidth,
        "interconnect": sum(c.sent for c in found if c.axes != ("slice",)) / topology.interconnect,
        "dcn": sum(c.sent for c in found if c.axes == ("slice",)) / topology.dcn,
    }
    compiler = cost.get("optimal_seconds", 0.0)
    # the compiler's figure knows its own kernels and leaves communication out
    seconds = max(compiler, *terms.values())
    return {
        "flops": flops,
        "bytes_accessed": accessed,
        "collectives": by_kind(found),
        "table_gathers": len(table_gathers(found, program.table)) if program.table else 0,
        "loops": len(re.findall(r" while\(", text)),
        "terms": terms,
        "peaks": {
            "compute": topology.flops,
            "hbm": topology.hbm_bandwidth,
            "interconnect": topology.interconnect,
            "dcn": topology.dcn,
        },
        "compiler_seconds": compiler,
        "seconds": seconds,
        "bound_by": max(terms, key=terms.get),
        "rows_per_second": program.batch / seconds if seconds else 0.0,
    }


def compiled_text(run: Any, arguments: tuple[Any, ...], compiled: Any = None) -> str:
    """The scheduled module of ``run`` (jitted) for abstract ``arguments``.

    jaxlib 0.10.2 cannot read some that libtpu 0.0.52 writes (SparseCore's async-update): those are compiled once more,
    for the copy that the compiler itself leaves.
    """
    lowered = run.lower(*arguments)
    try:
        return (compiled or lowered.compile()).as_text()
    except jax.errors.JaxRuntimeError:
        with tempfile.TemporaryDirectory() as folder:
            lowered.compile(compiler_options={"xla_dump_to": folder})
            return next(Path(folder).glob("*.after_optimizations.txt")).read_text()


def by_kind(found: list[Collective]) -> dict[str, Any]:
    """Count, bytes and bytes sent of each kind, and the bytes along each set of mesh axes ("data", "data+model", …)."""
    result: dict[str, Any] = {}
    for collective in found:
        row = result.setdefault(collective.kind, {"count": 0, "bytes": 0, "sent": 0, "axes": {}})
        axes = "+".join(collective.axes)
        row["count"] += 1
        row["bytes"] += collective.bytes
        row["sent"] += round(collective.sent)
        row["axes"][axes] = row["axes"].get(axes, 0) + collective.bytes
    return result
