import jax
import jax.numpy as jnp
import pytest
from jax import lax
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from rexjax.planning import meshes
from rexjax.planning.collectives import Collective, collectives, dense_arrays, table_gathers
from rexjax.planning.topology import parse

D, M, DM = ("data",), ("model",), ("data", "model")


@pytest.fixture(scope="module")
def mesh():
    """data 4 × model 2 of emulated devices: device = 2 data + model."""
    return jax.make_mesh((4, 2), DM, axis_types=(AxisType.Auto,) * 2)


def line(result, kind, groups, rest=""):
    return f'  %x.1 = {result} {kind}(%p.2), channel_id=1, replica_groups={groups}, {rest}metadata={{op_name="f/g"}}'


@pytest.mark.parametrize(
    ("groups", "axes", "members"),
    [
        ("{{0,1},{2,3},{4,5},{6,7}}", M, 2),
        ("{{0,2,4,6},{1,3,5,7}}", D, 4),
        ("{{0,1,2,3,4,5,6,7}}", DM, 8),
        ("{}", DM, 8),
        ("[4,2]<=[8]", M, 2),
        ("[2,4]<=[4,2]T(1,0)", D, 4),
        ("[1,8]<=[8]", DM, 8),
        ("mesh['axis_0'=8] {'axis_0'}", DM, 8),
        ("mesh['axis_0'=4,'axis_1'=2] {'axis_0'}", D, 4),
        ("mesh['axis_0'=4,'axis_1'=2] {'axis_1'}", M, 2),
        ("mesh['axis_0'=4,'axis_1'=2] {'axis_0','axis_1'}", DM, 8),
        ("mesh['axis_0'=8] {'axis_0':(1)4}", D, 4),
        ("mesh['axis_0'=8] {'axis_0':(4)2}", M, 2),
        ("mesh['a'=2,'b'=4], device_ids=([4,2]T(1,0)) {'b'}", D, 4),
    ],
)
def test_spellings_of_groups(mesh, groups, axes, members):
    found = collectives(line("f32[16]{0}", "all-reduce", groups), mesh)
    assert found == [Collective("all-reduce", 64, axes, "f32[16]", "f/g", members)]


@pytest.mark.parametrize(
    ("result", "kind", "plain", "count", "sent"),
    [
        ("bf16[8,128]{1,0:T(8,128)(2,1)}", "all-gather", "all-gather", 2048, 2048 * 3 / 4),
        ("(f32[4]{0:T(128)}, f32[16]{0})", "all-gather-start", "all-gather", 64, 48),
        ("f32[16]{0}", "all-reduce", "all-reduce", 64, 2 * 48),
        ("f32[16]{0}", "all-reduce-start", "all-reduce", 64, 2 * 48),
        ("(f32[16]{0}, /*index=1*/s32[]{:T(128)})", "all-reduce", "all-reduce", 68, 2 * 51),
        ("f32[4]{0}", "reduce-scatter", "reduce-scatter", 64, 48),
        ("s8[1024,4]{1,0}", "all-to-all", "all-to-all", 4096, 3072),
        ("pred[64]{0}", "ragged-all-to-all", "ragged-all-to-all", 64, 48),
    ],
)
def test_bytes_of_each_kind(mesh, result, kind, plain, count, sent):
    found = collectives(line(result, kind, "[2,4]<=[4,2]T(1,0)"), mesh)
    assert [(c.kind, c.bytes, c.axes, c.sent) for c in found] == [(plain, count, D, sent)]


@pytest.mark.parametrize(
    ("pairs", "axes"),
    [("{{0,2},{2,4},{4,6},{6,0}}", D), ("{{0,1},{1,0}}", M), ("{{0,3},{3,0}}", DM), ("{{0,0}}", None)],
)
@pytest.mark.parametrize("start", [False, True])
def test_permutes(mesh, pairs, axes, start):
    result = "(f32[8]{0}, f32[8]{0}, u32[]{:S(2)}, u32[]{:S(2)})" if start else "f32[8]{0}"
    kind = "collective-permute" + "-start" * start
    found = collectives(f"  ROOT %p = {result} {kind}(%a), source_target_pairs={pairs}, other={{}}", mesh)
    assert [(c.kind, c.bytes, c.axes, c.sent) for c in found] == (
        [("collective-permute", 32, axes, 32)] if axes else []
    )


@pytest.mark.parametrize(
    "text",
    [
        "  %d = f32[8]{0} all-gather-done(%s)",
        "  %f = f32[8]{0} fusion(%all-reduce.1), calls=%all-reduce-scatter",
        line("f32[8]{0}", "all-reduce", "{{0},{1},{2},{3},{4},{5},{6},{7}}"),
        '  %a = f32[8]{0} add(%x, %y), metadata={op_name="all-reduce(x)"}',
    ],
)
def test_what_moves_nothing(mesh, text):
    assert collectives(text, mesh) == []


def test_a_fused_all_reduce_of_which_a_slice_is_kept_is_a_reduce_scatter(mesh):
    body = line("f32[1024,32]{0,1}", "all-reduce", "{{0,1,2,3,4,5,6,7}}")
    text = f"%all-reduce-scatter.2 (input: f32[1024,32]) -> f32[128,32] {{\n{body}\n}}"
    assert [(c.kind, c.bytes) for c in collectives(text, mesh)] == [("reduce-scatter", 1024 * 32 * 4)]


def test_between_slices(mesh):
    send = (
        "  %send = (f32[512,8]{1,0}, u32[], token[]) send(%b, %t), channel_id=2, frontend_attributes="
        '{_xla_megascale_target="{1,2}x{0:3}",_xla_megascale_transfer_type="KIND"}'
    )
    inside = line("f32[8]{0}", "all-reduce", "{{0,2},{1,3}}")
    text = "\n".join(["HloModule m, num_partitions=4", send.replace("KIND", "ALL_REDUCE"), inside])
    text += "\n" + send.replace("KIND", "ALL_GATHER")
    found = [(c.kind, c.bytes, c.axes, c.group) for c in collectives(text, mesh)]
    each = 512 * 8 * 4
    assert found == [
        ("all-reduce", each, ("slice",), 2),
        ("all-reduce", 32, D, 2),
        ("all-gather", 2 * each, ("slice",), 2),
    ]


def test_table_gathers(mesh):
    text = "\n".join(line(shape, "all-gather", "[1,8]<=[8]") for shape in ("f32[1024,8]{1,0}", "f32[1023,8]{1,0}"))
    assert [c.shape for c in table_gathers(collectives(text, mesh), 1024 * 8 * 4)] == ["f32[1024,8]"]


def test_dense_arrays():
    text = (
        "  %p = f32[1024,8]{1,0} parameter(0)\n"
        "  %g = f32[1024,8]{1,0:T(8,128)} broadcast(%z), dimensions={}\n"
        "  ROOT %h = (f32[8]{0}, bf16[1024,8]{1,0}) fusion(%p, %g), kind=kLoop\n"
        "  %s = f32[128,8]{1,0} add(%p, %g)\n"
    )
    assert dense_arrays(text, (1024, 8)) == ["g", "h"]


# --- what libtpu itself writes ------------------------------------------------------------------------------------

SIZE = 4096 * 1024 * 4  # of the whole array, float32


@pytest.mark.usefixtures("libtpu")
@pytest.mark.parametrize(
    ("function", "inside", "outside", "expected"),
    [
        (lambda x: lax.psum(x, "data"), D, None, ("all-reduce", SIZE / 2, D, SIZE / 2)),
        (lambda x: lax.psum(x, DM), DM, None, ("all-reduce", SIZE / 4, DM, SIZE / 4 * 2 * 3 / 4)),
        (lambda x: lax.all_gather(x, DM, tiled=True), DM, None, ("all-gather", SIZE, DM, SIZE * 3 / 4)),
        (lambda x: lax.psum_scatter(x, "model", tiled=True), D, DM, ("reduce-scatter", SIZE / 2, M, SIZE / 4)),
        (lambda x: lax.all_to_all(x, "data", 0, 0, tiled=True), DM, DM, ("all-to-all", SIZE / 4, D, SIZE / 8)),
        (lambda x: lax.ppermute(x, "model", [(0, 1), (1, 0)]), DM, DM, ("collective-permute", SIZE / 4, M, SIZE / 4)),
    ],
)
def test_compiled(function, inside, outside, expected):
    mesh = meshes.make_mesh(parse("v5p:2x2x1"), model=2)
    mapped = jax.shard_map(
        function, mesh=mesh, in_specs=PartitionSpec(inside), out_specs=PartitionSpec(outside), check_vma=False
    )
    where = NamedSharding(mesh, PartitionSpec(inside))
    shape = jax.ShapeDtypeStruct((4096, 1024), jnp.float32, sharding=where)
    found = collectives(jax.jit(mapped).lower(shape).compile().as_text(), mesh)
    assert [(c.kind, c.bytes, c.axes, c.sent) for c in found] == [expected]


@pytest.mark.usefixtures("libtpu")
def test_compiled_for_two_slices():
    mesh = meshes.make_mesh(parse("v5p:2x2x1", slices=2), model=2)
    mapped = jax.shard_map(
        lambda x: lax.psum(x, "data"), mesh=mesh, in_specs=PartitionSpec("data"), out_specs=PartitionSpec()
    )
    shape = jax.ShapeDtypeStruct((4096, 1024), jnp.float32, sharding=NamedSharding(mesh, PartitionSpec("data")))
    found = collectives(jax.jit(mapped).lower(shape).compile().as_text(), mesh)
    # within a slice scatter, between slices reduce, within a slice gather
    each = SIZE / 4
    assert {(c.kind, c.bytes, c.axes) for c in found} == {
        ("reduce-scatter", each, D),
        ("all-reduce", each / 2, ("slice",)),
        ("all-gather", each, D),
    }
