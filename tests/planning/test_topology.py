import pytest

from rexjax.errors import UserError
from rexjax.planning import topology
from rexjax.planning.topology import CHIPS, Topology, larger, parse


@pytest.mark.parametrize(
    ("name", "slices", "devices"),
    [("v5p:2x2x1", 1, 4), ("v5p:8x8x8", 2, 1024), ("v5e:16x16", 1, 256), ("tpu7x:2x2x1", 1, 8), ("v5p:4x4x12", 1, 192)],
)
def test_parse(name, slices, devices):
    found = parse(name, slices)
    assert (found.name, found.devices) == (name, devices)


@pytest.mark.parametrize("name", ["v9:2x2x1", "v5p", "v5p:2x2", "v5e:2x2x1", "v5e:32x32", "v5p:0x2x1", "v5p:2x2x", ""])
def test_an_unknown_topology_is_answered_with_the_known_ones(name):
    with pytest.raises(UserError, match=r"v5p: 2x2x1, 2x2x2.*tpu7x"):
        parse(name)


def test_slices_must_be_positive():
    with pytest.raises(UserError, match="--slices 0"):
        parse("v5p:2x2x1", 0)


@pytest.mark.parametrize(("layout", "links"), [("1x1x1", 0), ("2x2x1", 2), ("2x2x2", 3), ("4x4x4", 6), ("2x4x4", 5)])
def test_links_follow_from_the_neighbours(layout, links):
    assert Topology("v5p", layout).links == links


def test_a_device_may_be_half_a_chip():
    chip = CHIPS["tpu7x"]
    assert Topology("tpu7x", "2x2x1").flops == chip.flops / 2
    assert Topology("tpu7x", "2x2x1").interconnect == 2 * chip.link / 2


def test_larger_begins_with_the_next_of_its_own_generation():
    found = larger(parse("v5p:2x2x1"))
    own = [t for t in found if t.generation == "v5p"]
    assert found[0].name == "v5p:2x2x2" and found[: len(own)] == own
    assert {t.generation for t in found} == set(CHIPS)


@pytest.mark.parametrize("generation", CHIPS)
def test_layouts_grow(generation):
    devices = [Topology(generation, layout).devices for layout in CHIPS[generation].layouts]
    assert devices == sorted(devices) and len(set(devices)) == len(devices)
    assert isinstance(topology.unknown(generation), UserError)
