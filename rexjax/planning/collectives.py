"""Reads a compiled module: which collectives it holds, how many bytes each moves, and along which mesh axes.

The text is what ``compiled.as_text()`` gives. Groups of devices come in four spellings: explicit ``{{0,1},{2,3}}``,
iota ``[2,2]<=[2,2]T(1,0)``, named axes ``mesh['a'=2,'b'=2] {'a'}``, and pairs ``source_target_pairs={{0,1},{1,0}}``.
Between slices there are no groups: libtpu turns that part into a ``send`` to its multi-slice runtime. A loop's body
stands in the text once and is counted once.
"""

import math
import re
from typing import NamedTuple

import numpy as np
from jax.sharding import Mesh

_KINDS = "all-gather|all-reduce|reduce-scatter|ragged-all-to-all|all-to-all|collective-permute|collective-broadcast"
_LINE = re.compile(rf"^\s*(?:ROOT )?%?[\w.-]+ = (?P<result>.*?) (?P<kind>{_KINDS})(?P<start>-start)?\((?P<rest>.*)$")
_SEND = re.compile(r"^\s*(?:ROOT )?%?[\w.-]+ = (?P<result>.*?) send\(.*_xla_megascale_transfer_type=\"(?P<kind>\w+)\"")
_ARRAY = re.compile(r"\b(pred|bf16|[suf]\d+\w*|c64|c128)\[([\d,]*)\]")


class Collective(NamedTuple):
    """One collective operation of one device's program."""

    kind: str
    """As HLO spells it, without "-start"."""
    bytes: int
    """Of the whole array on one device: the result; of a reduce-scatter, what goes in."""
    axes: tuple[str, ...]
    """Mesh axes along which a group extends, outermost first; "slice" is the network between slices."""
    shape: str
    """The result, such as f32[1024,64]; several are joined by " "."""
    op_name: str
    """Where in the program it comes from; may be empty."""
    group: int
    """Devices in a group."""

    @property
    def sent(self) -> float:
        """Bytes that one device sends, in the best known algorithm (ring) for the kind."""
        others = (self.group - 1) / self.group
        factor = {"all-reduce": 2 * others, "collective-permute": 1.0}.get(self.kind, others)
        return self.bytes * factor


def collectives(text: str, mesh: Mesh) -> list[Collective]:
    """All collectives in the compiled module ``text`` of a program that runs on ``mesh``, in the order of the text.

    Operations whose groups are single devices move nothing and are left out.
    """
    partitions = re.search(r"\bnum_partitions=(\d+)", text[: text.find("\n")])
    each = int(partitions[1]) if partitions else mesh.size
    slices = max(mesh.size // each, 1)
    names = tuple(mesh.axis_names)
    sizes = (mesh.devices.shape[0] // slices, *mesh.devices.shape[1:])
    found, computation = [], ""
    for line in text.splitlines():
        if line.endswith("{") and not line.startswith(" "):
            computation = line.removeprefix("ENTRY ")
        elif operation := _LINE.match(line):
            collective = _inside(operation, line, names, sizes)
            # libtpu's fusion of an all-reduce and the slice of it that the device keeps
            scatters = computation.startswith("%all-reduce-scatter")
            found.append(collective._replace(kind="reduce-scatter") if scatters else collective)
        elif "_xla_megascale" in line and (transfer := _SEND.match(line)):
            found.append(_between(transfer, line, slices))
    return [collective for collective in found if collective.axes]


def table_gathers(found: list[Collective], table_bytes: int) -> list[Collective]:
    """Collectives that bring a whole table (or more) onto every device: a sharded table's must stay empty."""
    return [c for c in found if c.kind in ("all-gather", "all-reduce") and c.bytes >= table_bytes]


def dense_arrays(text: str, shape: tuple[int, ...]) -> list[str]:
    """Instructions of ``text`` that make an array of ``shape`` on one device, parameters excluded.

    With the shape of a whole table it finds replication, with that of a shard it finds dense gradients.
    """
    dims = r"\[" + ",".join(map(str, shape)) + r"\]"
    made = re.compile(rf"^\s*(?:ROOT )?%?([\w.-]+) = [^=]*?{dims}[^=]*? (?!parameter\()[\w-]+\(", re.M)
    return [match[1] for match in made.finditer(text)]


def _inside(operation: re.Match[str], line: str, names: tuple[str, ...], sizes: tuple[int, ...]) -> Collective:
    kind, arrays = operation["kind"], _ARRAY.findall(operation["result"])
    if operation["start"] and kind in ("all-gather", "collective-permute"):  # (operands, results, semaphores)
        arrays = [array for array in arrays if array[1] or array[0] != "u32"]
        arrays = arrays[len(arrays) // 2 :]
    groups = _groups(operation["rest"], sizes)
    group = groups.shape[1]
    count = sum(_bytes(*array) for array in arrays)
    if kind == "reduce-scatter":
        count *= group
    axes = tuple(name for name, moves in zip(names, _varies(groups, sizes), strict=True) if moves)
    return Collective(kind, count, axes, _spell(arrays), _op_name(line), group)


def _between(transfer: re.Match[str], line: str, slices: int) -> Collective:
    kind, arrays = transfer["kind"].lower().replace("_", "-"), _ARRAY.findall(transfer["result"])[:1]
    count = sum(_bytes(*array) for array in arrays)
    if kind == "all-gather":  # what is sent is only this slice's part
        count *= slices
    return Collective(kind, count, ("slice",), _spell(arrays), _op_name(line), slices)


def _varies(groups: np.ndarray, sizes: tuple[int, ...]) -> tuple[bool, ...]:
    """Along which axes the members of a group differ, in any of the groups."""
    places = np.stack(np.unravel_index(groups, sizes), -1)
    return tuple(bool(moves) for moves in (places != places[:, :1]).any(axis=(0, 1)))


def _groups(rest: str, sizes: tuple[int, ...]) -> np.ndarray:
    """Positions in the mesh, [groups, members]; without groups, all devices are one."""
    if explicit := re.search(r"(?:replica_groups|source_target_pairs)=\{(\{[\d,{} ]*\})\}", rest):
        rows = [[int(n) for n in row.split(",")] for row in re.findall(r"\{([\d, ]+)\}", explicit[1])]
        width = max(map(len, rows))
        return np.asarray([row + row[-1:] * (width - len(row)) for row in rows])
    if iota := re.search(r"replica_groups=\[([\d,]+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?", rest):
        return _iota(_numbers(iota[2]), _numbers(iota[3])).reshape(_numbers(iota[1]))
    if named := re.search(r"replica_groups=mesh\[([^\]]*)\](?:, device_ids=\(([^)]*\)?)\))? \{([^}]*)\}", rest):
        return _named(named[1], named[2] or "", named[3])
    return np.arange(math.prod(sizes))[None]


def _iota(shape: tuple[int, ...], order: tuple[int, ...]) -> np.ndarray:
    numbers = np.arange(math.prod(shape)).reshape(shape)
    return numbers.transpose(order) if order else numbers


def _named(axes: str, ids: str, grouped: str) -> np.ndarray:
    """Groups along named axes, or parts of axes: ``'a':(2)4`` is the part of size 4 inside the outermost 2."""
    sizes = {name: int(size) for name, size in re.findall(r"'([^']+)'=(\d+)", axes)}
    if iota := re.search(r"<=\[([\d,]+)\](?:T\(([\d,]+)\))?", ids) or re.search(r"\[([\d,]+)\](?:T\(([\d,]+)\))?", ids):
        devices = _iota(_numbers(iota[1]), _numbers(iota[2])).ravel()
    else:
        devices = np.asarray(_numbers(ids)) if ids else np.arange(math.prod(sizes.values()))
    parts = {name: (int(outer or 1), int(size)) for name, outer, size in _part(grouped, sizes)}
    shape, moved = [], []
    for name, size in sizes.items():
        outer, inside = parts.get(name, (size, 1))
        moved += [len(shape) + 1] if name in parts else []
        shape += [outer, inside, size // (outer * inside)]
    kept = [axis for axis in range(len(shape)) if axis not in moved]
    members = math.prod(shape[axis] for axis in moved)
    return devices.reshape(shape).transpose(kept + moved).reshape(-1, members)


def _part(grouped: str, sizes: dict[str, int]) -> list[tuple[str, str, str]]:
    found = re.findall(r"'([^']+)'(?::\((\d+)\)(\d+))?", grouped)
    return [(name, outer, size or str(sizes[name])) for name, outer, size in found]


def _numbers(text: str | None) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", text or ""))


def _bytes(dtype: str, dims: str) -> int:
    bits = {"pred": 8, "c64": 64, "c128": 128}.get(dtype) or int(re.findall(r"\d+", dtype)[0])
    return math.prod(_numbers(dims)) * bits // 8


def _spell(arrays: list[tuple[str, str]]) -> str:
    return " ".join(f"{dtype}[{dims}]" for dtype, dims in arrays)


def _op_name(line: str) -> str:
    found = re.search(r'op_name="([^"]*)"', line)
    return found[1] if found else ""
