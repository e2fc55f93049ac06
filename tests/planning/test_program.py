import dataclasses

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from rexjax.config import Encode
from rexjax.embedding.table import Table, padded
from rexjax.planning import meshes, program, programs
from rexjax.planning.collectives import Collective
from rexjax.planning.programs import Program
from rexjax.planning.topology import parse

GiB = 2**30
ROWS = PartitionSpec(("data", "model"))


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            "RESOURCE_EXHAUSTED: E1000: CompileTimeHbmOom: Ran out of memory on HBM, the total memory required for HLO "
            "temporaries (131.16G) exceeds available HBM (95.73G). HLO module: jit_step.",
            (round(131.16 * GiB), round(95.73 * GiB)),
        ),
        (
            "memory required for HLO temporaries (2.56T) exceeds available HBM (512.00M).",
            (round(2.56 * 2**40), 512 * 2**20),
        ),
        ("Ran out of memory in memory space hbm. Used 17.5G of 15.75G hbm.", (round(17.5 * GiB), round(15.75 * GiB))),
        ("UNIMPLEMENTED: something else", None),
    ],
)
def test_out_of_memory(message, expected):
    assert program.out_of_memory(message) == expected


def test_by_kind():
    found = [
        Collective("all-reduce", 100, ("data",), "", "", 2),
        Collective("all-reduce", 40, ("data", "model"), "", "", 4),
        Collective("all-gather", 8, ("model",), "", "", 2),
    ]
    assert program.by_kind(found) == {
        "all-reduce": {"count": 2, "bytes": 140, "sent": 160, "axes": {"data": 100, "data+model": 40}},
        "all-gather": {"count": 1, "bytes": 8, "sent": 4, "axes": {"model": 8}},
    }


@pytest.mark.usefixtures("libtpu")
class TestCompiled:
    topology = parse("v5p:2x2x1")

    def scaled(self, mesh, rows):
        where = NamedSharding(mesh, ROWS)
        table = jax.ShapeDtypeStruct((rows, 128), jnp.float32, sharding=where)
        run = jax.jit(lambda x: jnp.sum(x * x, 0), out_shardings=NamedSharding(mesh, PartitionSpec()))
        return Program("scaled", run, (table,), {"table": rows * 128}, 4, 4, rows * 512)

    def test_what_fits(self):
        mesh = meshes.make_mesh(self.topology, model=2)
        found = program.measure(self.scaled(mesh, 4096), mesh, self.topology, 95 * GiB)
        assert found["fits"] and found["hbm_limit"] == 95 * GiB
        assert found["hbm_bytes"]["table"] + found["hbm_bytes"]["padding"] == 4096 * 512 / 4
        assert found["hbm_needed"] == sum(found["hbm_bytes"].values())
        assert found["collectives"] == {
            "all-reduce": {"count": 1, "bytes": 512, "sent": 2 * 512 * 3 // 4, "axes": {"data+model": 512}}
        }
        assert found["terms"]["hbm"] == found["bytes_accessed"] / 2765e9
        assert found["terms"]["interconnect"] == 768 / 200e9
        assert found["seconds"] == max(found["compiler_seconds"], *found["terms"].values()) > 0
        assert found["table_gathers"] == 0

    def test_what_does_not_fit(self):
        mesh = meshes.make_mesh(self.topology, model=2)
        rows = 2**30  # 512 GiB, a quarter of it on each device
        found = program.measure(self.scaled(mesh, rows), mesh, self.topology, 0)
        assert not found["fits"]
        assert found["hbm_needed"] >= 128 * GiB > found["hbm_limit"] > 95 * GiB

    @pytest.mark.parametrize(
        ("name", "least", "most"),
        [("v5p:2x2x1", 95, 96), ("v5e:2x2", 15, 16), ("v6e:2x2", 31, 32), ("v4:2x2x1", 30, 32)],
    )
    def test_the_limit_is_the_compilers(self, name, least, most):
        topology = parse(name)
        mesh = meshes.make_mesh(topology, model=1)
        assert mesh.size == topology.devices
        assert least * GiB < program.hbm_limit(mesh, topology) < most * GiB

    @pytest.mark.parametrize("slices", [1, 2])
    def test_a_mesh_has_the_slices_outermost(self, slices):
        mesh = meshes.make_mesh(parse("v5p:2x2x2", slices), model=2)
        assert dict(mesh.shape) == {"data": 4 * slices, "model": 2}
        if slices == 2:
            of = [[device.slice_index for device in row] for row in mesh.devices]
            assert of == [[0, 0]] * 4 + [[1, 1]] * 4

    def test_rows_are_a_multiple_of_many_devices(self, tiny):
        mesh = meshes.make_mesh(parse("v5p:4x8x8"), model=1)
        items = Table("items", 1000, 8)
        assert padded(items, mesh) == 1024
        assert padded(items, meshes.make_mesh(parse("v5p:4x4x12"), model=1)) == 1152
        table = programs.build("teacher", tiny, 1000, mesh).kinds["table"]
        assert table == 1024 / 256 * 8 * 4

    def test_kinds_are_counted_by_hand(self, tiny):
        mesh = meshes.make_mesh(self.topology, model=1)
        found = programs.build("teacher", tiny, 1000, mesh)
        assert (found.batch, found.asked) == (8, 6)
        assert found.table == 1000 * 8 * 4
        assert found.kinds["table"] == 1000 * 8 * 4 / 4
        assert found.kinds["table_slots"] == 2 * found.kinds["table"]
        assert found.kinds["dense_slots"] == 2 * found.kinds["dense"] + 3 * 4  # and three counters
        assert found.kinds["catalogue"] == 1000 * 8 * 4 / 4 + 1000 * 4  # and no mask, for no row only pads
        assert found.kinds["batch"] == (5 + 2) * 8 * 8 * 4 / 4  # five numbers and two times a position

    @pytest.mark.parametrize(("name", "kind"), [("v5e:8x8", "all-to-all"), ("v6e:2x2", "ragged-all-to-all")])
    def test_rows_travel_as_the_chip_can(self, tiny, name, kind):
        topology = parse(name)  # on v5e beyond 4x4 the compiler refuses a ragged exchange
        mesh = meshes.make_mesh(topology, model=1)
        found = program.measure(programs.build("teacher", tiny, 1000, mesh), mesh, topology, GiB)
        assert kind in found["collectives"]
        assert ("ragged-all-to-all" in found["collectives"]) == (kind == "ragged-all-to-all")

    def test_which_programs(self, tiny):
        assert programs.names(tiny) == ("teacher", "distill", "retrieval")
        assert programs.names(dataclasses.replace(tiny, encode=Encode())) == ("encode", *programs.names(tiny))

    def test_the_text_encoder_is_minilm(self):
        from rexjax.config import Config

        found = programs.build("encode", Config(workdir=""), 1000, meshes.make_mesh(self.topology, model=1))
        assert found.kinds["dense"] == pytest.approx(22.6e6 * 4, rel=0.01)
        assert found.batch == 64
