"""TPU generations and the shapes they come in. Holds numbers and names only: nothing here imports jax."""

import math
import re
from dataclasses import dataclass

from rexjax.errors import UserError

GiB = 2**30

ENVIRONMENT = {
    "JAX_PLATFORMS": "cpu",
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5p-8",  # any: the topology that is compiled for is named in the call
    "TPU_WORKER_HOSTNAMES": "localhost",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",  # plans hold no TPU: they may run beside each other and beside a training
}
"""What libtpu must find where there is no TPU, else it asks a metadata server and complains."""


@dataclass(frozen=True)
class Chip:
    """One generation, figures of a whole chip."""

    flops: float
    """Peak bf16 FLOP/s."""
    hbm: float
    """Bytes."""
    hbm_bandwidth: float
    """Bytes/s."""
    link: float
    """Bytes/s that one inter-chip link carries in one direction."""
    dcn: float
    """Bytes/s to other slices through the data-centre network."""
    layouts: tuple[str, ...]
    """Slices on offer, smallest first."""
    devices: int = 1
    """jax devices on a chip."""
    compiler_config: str = ""
    """libtpu's chip configuration, where its default is not what a TPU VM runs."""


_CUBES = ("2x2x1", "2x2x2", "2x2x4", "2x4x4", "4x4x4", "4x4x8", "4x8x8", "8x8x8", "8x8x16", "8x16x16")
_PLANES = ("1x1", "2x2", "2x4", "4x4", "4x8", "8x8", "8x16", "16x16")

# Peak FLOP/s, HBM and inter-chip bandwidth (the pages give it for all links of a chip together; v5e, v6e and tpu7x in
# both directions, hence halved): cloud.google.com/tpu/docs/v4, /v5e, /v5p, /v6e, /tpu7x. Data-centre network: per-pod
# figures of the same pages over the chips of a pod; v4, v5p: "How to Scale Your Model", jax-ml.github.io/scaling-book.
CHIPS = {
    "v5e": Chip(197e12, 16 * GiB, 819e9, 200e9 / 4, 3.1e9, _PLANES),
    "v6e": Chip(918e12, 32 * GiB, 1638e9, 400e9 / 4, 12.5e9, _PLANES),
    "v4": Chip(275e12, 32 * GiB, 1228e9, 300e9 / 6, 6.25e9, (*_CUBES, "12x16x16"), compiler_config="megacore"),
    "v5p": Chip(459e12, 96 * GiB, 2765e9, 600e9 / 6, 6.25e9, (*_CUBES, "16x16x16", "16x16x24")),
    "tpu7x": Chip(2307e12, 192 * GiB, 7380e9, 600e9 / 6, 12.5e9, (*_CUBES, "16x16x16"), devices=2),
}


@dataclass(frozen=True)
class Topology:
    """``slices`` equal slices of one generation."""

    generation: str
    layout: str
    slices: int = 1

    @property
    def name(self) -> str:
        """As libtpu spells one slice."""
        return f"{self.generation}:{self.layout}"

    @property
    def chip(self) -> Chip:
        """The generation's figures."""
        return CHIPS[self.generation]

    @property
    def sides(self) -> tuple[int, ...]:
        """Chips along each dimension of a slice."""
        return tuple(int(side) for side in self.layout.split("x"))

    @property
    def devices(self) -> int:
        """jax devices in all slices."""
        return math.prod(self.sides) * self.chip.devices * self.slices

    @property
    def flops(self) -> float:
        """Peak bf16 FLOP/s of a device."""
        return self.chip.flops / self.chip.devices

    @property
    def hbm_bandwidth(self) -> float:
        """Bytes/s of a device."""
        return self.chip.hbm_bandwidth / self.chip.devices

    @property
    def links(self) -> int:
        """Links of a chip in this layout: a side of 2 has one neighbour, a longer one two."""
        return sum(min(side - 1, 2) for side in self.sides)

    @property
    def interconnect(self) -> float:
        """Bytes/s that a device can send within its slice, all its links together."""
        return max(self.links, 1) * self.chip.link / self.chip.devices

    @property
    def dcn(self) -> float:
        """Bytes/s that a device can send to other slices."""
        return self.chip.dcn / self.chip.devices


def parse(name: str, slices: int = 1) -> Topology:
    """``v5p:8x8x8`` as a Topology.

    Raises:
        UserError: no such generation, dimensions or size; the message lists what exists.
    """
    if slices < 1:
        raise UserError(f"--slices {slices}: a plan needs at least one slice")
    found = re.fullmatch(r"([a-z0-9]+):(\d+(?:x\d+)+)", name)
    if not found or found[1] not in CHIPS:
        raise unknown(name)
    topology = Topology(found[1], found[2], slices)
    largest = Topology(found[1], CHIPS[found[1]].layouts[-1])
    if len(topology.sides) != len(largest.sides) or not 0 < math.prod(topology.sides) <= math.prod(largest.sides):
        raise unknown(name)
    return topology


def unknown(name: str) -> UserError:
    """The error for a topology that does not exist."""
    known = "; ".join(f"{generation}: {', '.join(chip.layouts)}" for generation, chip in CHIPS.items())
    return UserError(f"no TPU topology {name!r}: write it like v5p:2x2x1; there are {known}")


def larger(topology: Topology) -> list[Topology]:
    """Single slices with more devices than ``topology``: those of its generation, then all of the others."""
    first = [Topology(topology.generation, layout) for layout in topology.chip.layouts]
    others = [Topology(g, layout) for g, chip in CHIPS.items() if g != topology.generation for layout in chip.layouts]
    return [candidate for candidate in first if candidate.devices > topology.devices] + others
