"""The sharded table against a dense oracle on one device: plain NumPy and optax, every row touched by every step."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rexjax.embedding import order
from rexjax.embedding import table as tables
from rexjax.embedding.optimizers import OPTIMIZERS, ExactAdam, LazyAdam, Sgd
from rexjax.embedding.rows import check_ids
from rexjax.embedding.table import Table, TableState
from rexjax.errors import UserError
from rexjax.runtime.mesh import make_mesh
from tests.reference import embedding as reference

V, D, N, RATE = 1003, 8, 64, 0.01
TARGET = np.random.default_rng(1).normal(size=(N, D)).astype(np.float32)


def zipf(step: int) -> np.ndarray:
    """Zipf(1.1) ids with padding; every tenth step all ids are the same, every eleventh all lie on one shard."""
    rng = np.random.default_rng(step)
    ids = (rng.zipf(1.1, N) % V).astype(np.int32)
    ids[::9] = -1
    if step % 10 == 3:
        ids[:] = 5
    if step % 11 == 4:
        ids = (8 * rng.permutation(V // 8)[:N]).astype(np.int32)
    return ids


def sharded_step(table, mesh, parts: int = 1):
    """Squared distance of the looked-up rows to TARGET; ``parts`` micro-batches whose gradients are accumulated."""

    def step(state, ids, number):
        routing = tables.route(ids, table, mesh)
        (rows, _), rounds = tables.gather(state, routing, number, table, mesh)

        def loss(rows, part):
            found = tables.expand(rows.astype(jnp.float32), routing, mesh)
            mine = (ids >= 0) & (jnp.arange(N) % parts == part)
            return jnp.sum(jnp.where(mine[:, None], (found - TARGET) ** 2, 0))

        def accumulate(total, part):
            value, gradient = jax.value_and_grad(loss)(rows.astype(jnp.float32), part)
            return (total[0] + value, total[1] + gradient), None

        zero = (jnp.float32(0), jnp.zeros(rows.shape, jnp.float32))
        (value, gradients), _ = jax.lax.scan(accumulate, zero, jnp.arange(parts))
        state, more = tables.update(state, routing, gradients, number, jax.random.key(3), table, mesh)
        return state, value, jnp.stack([rounds, more])

    return jax.jit(step, donate_argnums=0)


def run(table, mesh, steps: int, ids_of=zipf, parts: int = 1):
    state, step = tables.create(table, jax.random.key(0), mesh), sharded_step(table, mesh, parts)
    losses, rounds = [], []
    for number in range(steps):
        state, loss, took = step(state, ids_of(number), number)
        losses.append(float(loss)), rounds.append(np.asarray(took).tolist())
    return state, losses, rounds


def ragged_all_to_all(operand, output, input_offsets, send_sizes, output_offsets, recv_sizes, *, axis_name):
    """What the TPU's collective does (this CPU has none), by gathering everything; checks both sides' sizes."""
    me, everybody = jax.lax.axis_index(axis_name), lambda x: jax.lax.all_gather(x, axis_name)
    operands, starts, sizes, targets = map(everybody, (operand, input_offsets, send_sizes, output_offsets))
    place = jnp.arange(len(output))
    for source in range(len(starts)):
        size = jnp.where(recv_sizes[source] == sizes[source, me], sizes[source, me], 0)
        there = (place >= targets[source, me]) & (place < targets[source, me] + size)
        found = jnp.take(operands[source], starts[source, me] + place - targets[source, me], axis=0, mode="clip")
        output = jnp.where(there.reshape(-1, *(1,) * (output.ndim - 1)), found, output)
    return output


@pytest.fixture(params=["all_to_all", "ragged_all_to_all", "all_gather"])
def transport(request, monkeypatch):
    """The ways to exchange rows; the TPU's with its collective emulated."""
    if request.param == "ragged_all_to_all":
        made = tables.wire
        monkeypatch.setattr(tables, "wire", lambda table, mesh: made(table, mesh)._replace(kind="ragged_all_to_all"))
        monkeypatch.setattr(jax.lax, "ragged_all_to_all", ragged_all_to_all)
    return "all_gather" if request.param == "all_gather" else "all_to_all"


def rows_of(state, table):
    return tables.split(state, table).rows


def logical(array, mesh) -> np.ndarray:
    return np.asarray(order.to_logical(array, mesh))[:V]


def dense(name: str, rows: np.ndarray, steps: int):
    """Losses and final rows of the same training with a dense gradient."""
    rows, losses = jnp.asarray(rows), []
    slots = reference.initial_slots(name, rows, RATE)
    for number in range(steps):
        ids = zipf(number)
        known = (ids >= 0)[:, None]

        def loss(rows, ids=ids, known=known):
            return jnp.sum(jnp.where(known, (rows[jnp.maximum(ids, 0)] - TARGET) ** 2, 0))

        value, gradient = jax.value_and_grad(loss)(rows)
        losses.append(float(value))
        rows, slots = reference.dense_step(name, rows, slots, gradient, np.isin(np.arange(V), ids)[:, None], RATE)
    return losses, np.asarray(rows)


@pytest.mark.parametrize(
    "name, mesh, exchange",
    [(name, mesh, "all_to_all") for name in OPTIMIZERS for mesh in [(1, 1), (8, 1)]]
    + [("lazy_adam", (4, 2), "all_to_all"), ("adagrad", (1, 2), "all_to_all")]
    + [("exact_adam", (8, 1), "all_gather"), ("lazy_adam", (4, 2), "all_gather")],
    ids=str,
)
def test_fifty_skewed_steps_are_those_of_the_dense_twin(name, mesh, exchange):
    mesh, table = make_mesh(*mesh), Table("items", V, D, optimizer=OPTIMIZERS[name](RATE), exchange=exchange)
    start = logical(rows_of(tables.create(table, jax.random.key(0), mesh), table), mesh)
    expected_losses, expected = dense(name, start, 50)
    state, losses, rounds = run(table, mesh, 50)
    np.testing.assert_allclose(losses, expected_losses, rtol=1e-6)
    final = logical(tables.current_rows(state, jnp.int32(50), table), mesh)
    np.testing.assert_allclose(final, expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())
    if mesh.size == 8 and exchange == "all_to_all":
        assert rounds[3] == [1, 1] and min(rounds[4]) > 1  # all the same id; all on one shard


@pytest.mark.parametrize("parts", [2, 4])
def test_accumulated_micro_batches_are_the_full_batch(parts):  # openxla/xla#49143
    mesh, table = make_mesh(8, 1), Table("items", V, D, optimizer=LazyAdam(RATE))
    whole, losses, _ = run(table, mesh, 5)
    split, same, _ = run(table, mesh, 5, parts=parts)
    np.testing.assert_allclose(same, losses, rtol=1e-6)
    np.testing.assert_allclose(rows_of(split, table), rows_of(whole, table), rtol=1e-5, atol=1e-7)


CROWDS = {
    "one id": np.full(N, 8),
    "one shard": np.tile(np.arange(8) * 8, 8),
    "one shard, each device its own": np.arange(N) * 8,
    "spread": np.arange(N),
}


@pytest.mark.parametrize("capacity", [0.01, 0.3, 1.25, 8.0])
def test_no_id_is_dropped_whatever_the_capacity(capacity, transport):
    mesh = make_mesh(8, 1)
    table = Table("items", V, D, optimizer=Sgd(0.5), capacity=capacity, exchange=transport)
    start = tables.create(table, jax.random.key(0), mesh)
    before = logical(rows_of(start, table), mesh)

    @jax.jit
    def step(state, ids):
        routing = tables.route(ids, table, mesh)
        (rows, _), _ = tables.gather(state, routing, jnp.int32(0), table, mesh)
        ones = jax.grad(lambda rows: tables.expand(rows, routing, mesh).sum())(rows)
        state, rounds = tables.update(state, routing, ones, jnp.int32(0), jax.random.key(0), table, mesh)
        return tables.expand(rows, routing, mesh), state, rounds

    for crowd, ids in CROWDS.items():
        found, state, rounds = step(start, ids.astype(np.int32))
        np.testing.assert_array_equal(found, before[ids], crowd)
        expected = before - 0.5 * np.bincount(ids, minlength=V)[:, None]
        np.testing.assert_allclose(logical(rows_of(state, table), mesh), expected, rtol=1e-6, err_msg=crowd)
        if capacity == 8.0 or crowd == "one id" or transport == "all_gather":
            assert rounds == 1
        elif capacity < 1 and crowd == "one shard, each device its own":
            assert rounds > 1


def test_fifty_skewed_steps_by_ragged_exchange(monkeypatch):
    mesh, table = make_mesh(4, 2), Table("items", V, D, optimizer=LazyAdam(RATE))
    state, losses, _ = run(table, mesh, 50)
    padded = logical(rows_of(state, table), mesh)
    made = tables.wire
    monkeypatch.setattr(tables, "wire", lambda table, mesh: made(table, mesh)._replace(kind="ragged_all_to_all"))
    monkeypatch.setattr(jax.lax, "ragged_all_to_all", ragged_all_to_all)
    state, same, _ = run(table, mesh, 50)
    np.testing.assert_allclose(same, losses, rtol=1e-6)
    np.testing.assert_allclose(
        logical(rows_of(state, table), mesh), padded, rtol=1e-6, atol=1e-6 * np.abs(padded).max()
    )


def test_initial_rows_do_not_depend_on_the_mesh_and_padding_is_zero():
    table = Table("items", V, D)
    one, eight = make_mesh(1, 1), make_mesh(8, 1)
    a, b = (tables.create(table, jax.random.key(0), mesh) for mesh in (one, eight))
    np.testing.assert_array_equal(logical(rows_of(a, table), one), logical(rows_of(b, table), eight))
    assert not np.asarray(order.to_logical(rows_of(b, table), eight))[V:].any()
    assert abs(np.std(rows_of(a, table)) - table.stddev) < 1e-3
    shapes = tables.abstract(table, eight)
    assert jax.tree.map(lambda x: (x.shape, x.dtype), shapes) == jax.tree.map(lambda x: (x.shape, x.dtype), b)
    for leaf in jax.tree.leaves(b):
        assert leaf.addressable_shards[0].data.shape[0] == leaf.shape[0] // 8


def test_neighbours_lie_on_different_shards():
    mesh, table = make_mesh(8, 1), Table("items", V, D)
    places = np.asarray(tables.physical(jnp.arange(-1, V), table, mesh))
    assert places[0] == -1 and len(set(places)) == V + 1
    owners = places[1:] // (tables.padded(table, mesh) // 8)
    assert (owners == np.arange(V) % 8).all()
    assert (order.to_logical(jnp.arange(tables.padded(table, mesh)), mesh)[:V] == places[1:]).all()


@pytest.mark.parametrize("mesh", [(1, 1), (8, 1)], ids=str)
def test_the_dense_update_is_adam_on_all_rows(mesh):
    mesh, table = make_mesh(*mesh), Table("items", V, D, optimizer=LazyAdam(RATE))
    state = tables.create(table, jax.random.key(0), mesh)
    adam, rows = optax.adam(RATE), rows_of(state, table)
    slots = adam.init(rows)
    for number in range(3):
        gradients = jax.random.normal(jax.random.key(number), rows.shape)
        state = tables.update_all(state, gradients, jnp.int32(number), jax.random.key(0), table, mesh)
        moves, slots = adam.update(gradients, slots)
        rows = rows + moves
    np.testing.assert_allclose(rows_of(state, table), rows, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("mesh", [(1, 1), (8, 1)], ids=str)
def test_bfloat16_rows_keep_small_updates_and_do_not_depend_on_the_mesh(mesh):
    mesh = make_mesh(*mesh)
    table = Table("items", V, D, "bfloat16", optimizer=Sgd(1e-4), initializer=lambda key, shape: jnp.ones(shape))
    state = tables.create(table, jax.random.key(0), mesh)
    assert rows_of(state, table).dtype == jnp.bfloat16
    routing = tables.route(jnp.arange(N), table, mesh)
    move = jax.jit(lambda s, g, n: tables.update(s, routing, g, n, jax.random.key(7), table, mesh)[0])
    gradients = jnp.ones((N, D))  # 1 - 1e-4 is 1 in bfloat16: plain rounding would never move
    for number in range(100):
        state = jax.block_until_ready(move(state, gradients, number))
    rows = np.asarray(logical(rows_of(state, table), mesh), np.float32)
    assert abs(rows[:N].mean() - 0.99) < 1e-3
    assert (rows[N:] == 1).all()
    other = make_mesh(8, 1) if mesh.size == 1 else make_mesh(1, 1)
    again = tables.create(table, jax.random.key(0), other)
    there = tables.route(jnp.arange(N), table, other)

    def one(s, r, m):
        return tables.update(s, r, gradients, jnp.int32(0), jax.random.key(7), table, m)[0]

    first = one(tables.create(table, jax.random.key(0), mesh), routing, mesh)
    np.testing.assert_array_equal(
        logical(rows_of(one(again, there, other), table), other), logical(rows_of(first, table), mesh)
    )


@pytest.mark.parametrize("devices", [1, 8])
def test_arrays_that_lie_as_the_table_are_read_by_the_same_routing(devices):
    mesh, table = make_mesh(devices, 1), Table("items", V, D)
    # less than a cache line, a line and a bit, four lines (the longest that are taken by line), more
    side = {str(width): np.arange(float(V * width)).reshape(V, width) for width in (2, 20, 64, 65)}
    side |= {"half": np.arange(V * 40.0).reshape(V, 40).astype(jnp.bfloat16), "log_share": np.arange(float(V))}
    pad = tables.padded(table, mesh) - V
    placed = jax.tree.map(
        lambda x: order.to_physical(jnp.asarray(np.pad(x, [(0, pad)] + [(0, 0)] * (x.ndim - 1))), mesh), side
    )
    ids = jnp.asarray(zipf(0))
    routing = tables.route(ids, table, mesh)
    found, _ = tables.read(placed, routing, table, mesh)
    for name, values in side.items():
        known = np.asarray(ids) >= 0
        expanded = np.asarray(tables.expand(found[name], routing, mesh))
        assert found[name].dtype == placed[name].dtype and not expanded[~known].any()
        np.testing.assert_array_equal(expanded[known], values[ids[known]])


@pytest.mark.usefixtures("optimized")
def test_the_compiled_step_holds_no_whole_table():
    mesh, table = make_mesh(8, 1), Table("items", 80_000, D)
    shape = jax.ShapeDtypeStruct((N,), jnp.int32)
    compiled = sharded_step(table, mesh).lower(tables.abstract(table, mesh), shape, 0).compile()
    text = compiled.as_text()
    assert "all-to-all" in text and "f32[80000,8]" not in text
    assert compiled.memory_analysis().temp_size_in_bytes < 80_000 * D * 4 / 8  # not even a copy of one shard


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"rows": 0}, "has 0 rows"),
        ({"width": 0}, "of width 0"),
        ({"capacity": 0.0}, "capacity of 0.0"),
        ({"dtype": "float16"}, "float16"),
    ],
)
def test_a_bad_declaration_is_refused_in_a_sentence(arguments, message):
    with pytest.raises(UserError, match=message):
        Table(**({"name": "items", "rows": V, "width": D} | arguments))


def test_exact_adam_catches_up_after_a_long_absence():
    mesh, table = make_mesh(1, 1), Table("items", V, D, optimizer=ExactAdam(optax.linear_schedule(RATE, 1e-3, 300)))
    state = tables.create(table, jax.random.key(0), mesh)
    rows = rows_of(state, table)[:V]
    adam = optax.adam(optax.linear_schedule(RATE, 1e-3, 300))
    slots = adam.init(rows)
    touch = jax.jit(
        lambda s, ids, n: tables.update(
            s, tables.route(ids, table, mesh), jnp.ones((N, D)), n, jax.random.key(0), table, mesh
        )[0]
    )
    for number in range(400):
        ids = jnp.arange(N) if number in (0, 350) else jnp.arange(N) + 300
        state = touch(state, ids, number)
        moves, slots = jax.jit(adam.update)(jnp.zeros((V, D)).at[ids].set(1), slots)
        rows = rows + moves
    assert isinstance(state, TableState)
    np.testing.assert_allclose(
        tables.current_rows(state, jnp.int32(400), table)[:V], rows, rtol=1e-5, atol=2e-6 * np.abs(rows).max()
    )


@pytest.mark.parametrize(
    "ids, words", [([0, 3, 10], "'sku' holds the id 10 at place 2"), ([[-1, -2]], "the id -2 at place 1")]
)
def test_ids_beyond_the_table_are_refused_at_the_edge(ids, words):
    check_ids(np.array([-1, 0, 9]), 10, "sku")
    with pytest.raises(UserError, match=words):
        check_ids(np.array(ids), 10, "sku")
