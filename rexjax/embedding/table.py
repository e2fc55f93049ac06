"""A table of rows, sharded over the whole mesh: declared once, then created, looked up and updated by pure functions.

Row r lies on shard r mod S, at place r div S: popular neighbours never share a shard. Ids are logical everywhere
outside this room; the arrays of a ``TableState`` are in physical order, padded to the mesh (``order`` says more). No
host ever has a whole table.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from rexjax.embedding import exchange, order, row_access
from rexjax.embedding.bags import Feature, pack, unpack
from rexjax.embedding.exchange import Routing, Wire
from rexjax.embedding.optimizers import LazyAdam, RowOptimizer, Slots
from rexjax.embedding.rounding import stochastic_bfloat16
from rexjax.errors import UserError
from rexjax.runtime.arguments import check_integers

if TYPE_CHECKING:
    from rexjax.embedding.bound import BoundTable

_RAGGED = ("TPU v5", "TPU v6 lite", "TPU7x")
"""Devices with a ragged exchange worth having, by their kind in jax: v5p, v6e, tpu7x. For v4 and v5e libtpu 0.0.52
makes it of collectives that move 3.4 x the bytes that must move, and on v5e beyond 4x4 not at all; padded buckets move
1.26 x."""


@dataclass(frozen=True)
class Table:
    """The declaration."""

    name: str
    """For messages."""
    rows: int
    """V, logical."""
    width: int
    """D."""
    dtype: str = "float32"
    """float32, or bfloat16 (updates are rounded stochastically: plain rounding loses small ones, pytorch#120376)."""
    stddev: float = 0.02
    """Rows start as N(0, stddev²), a function of (seed, row) alone; or see ``initializer``."""
    initializer: Callable[[jax.Array, tuple[int, ...]], jax.Array] | None = None
    """(key, (D,)) → one row."""
    features: tuple[Feature, ...] = ()
    """Those that share it."""
    optimizer: RowOptimizer = field(default_factory=LazyAdam)
    """How touched rows move."""
    sparse: bool = True
    """Only the rows that a batch names move. False: all move in every step (``update_all``)."""
    exchange: Literal["all_to_all", "all_gather"] = "all_to_all"
    """How rows travel: to each device what it asked for, or for a small table everything to all (see ``Wire``)."""
    capacity: float = 1.25
    """Size of the exchange's buckets relative to even demand; smaller ones need more rounds, none loses anything."""

    def __post_init__(self) -> None:
        if self.rows < 1 or self.width < 1:
            raise UserError(
                f"table {self.name!r} has {self.rows} rows of width {self.width}: give it at least one each"
            )
        if self.capacity <= 0:
            raise UserError(f"table {self.name!r} has an exchange capacity of {self.capacity}: it must be above 0")
        if self.dtype not in ("float32", "bfloat16"):
            raise UserError(f"table {self.name!r} has dtype {self.dtype}: it is float32 or bfloat16")
        if not isinstance(self.optimizer, RowOptimizer):
            raise TypeError(
                f"optimizer is a {type(self.optimizer).__name__}: a table takes a RowOptimizer (Sgd, Adagrad, "
                "RowWiseAdagrad, LazyAdam, ExactAdam), as an optax optimizer would move every row in every step"
            )

    def on(self, mesh: Mesh) -> "BoundTable":
        """The table on a mesh, for any training loop: ``init``, ``lookup`` and ``update``.

        Args:
            mesh: any axes, all of them Auto; the rows lie over all of its devices.

        Raises:
            TypeError: ``mesh`` is no Mesh.
            ValueError: an axis of the mesh is not Auto.

        >>> import jax, jax.numpy as jnp
        >>> from rexjax.embedding import Sgd, Table
        >>> from rexjax import make_mesh
        >>> items = Table("items", rows=100, width=4, optimizer=Sgd(0.5)).on(make_mesh(1))
        >>> state = items.init(jax.random.key(0))
        >>> ids = jnp.asarray([7, 7, -1])
        >>> before = items.lookup(state, ids)
        >>> gradients = jax.grad(lambda rows: rows.sum())(before)
        >>> state = items.update(state, ids, gradients, step=0)
        >>> moves = items.lookup(state, ids) - before  # row 7 was named twice
        >>> moves.round(3).tolist()
        [[-1.0, -1.0, -1.0, -1.0], [-1.0, -1.0, -1.0, -1.0], [0.0, 0.0, 0.0, 0.0]]
        """
        from rexjax.embedding.bound import BoundTable  # it is made of this module's functions

        return BoundTable(self, mesh)


class TableState(NamedTuple):
    """A table's values as they are stored, in physical order; ``split`` tells rows and slots apart.

    A sparse table keeps a row and its slots side by side, so that reaching them costs one miss of cache and TLB and
    not one for each array; a dense one keeps its rows apart, as one matrix.
    """

    packed: jax.Array
    """[P, K * D] in the table's dtype, P = S * R: rows, and beside them the slots of the same width and dtype."""
    apart: Slots
    """The other slots, float32 or int32 [P, D] or [P] each."""


class Parts(NamedTuple):
    """What a row optimizer works on: all rows of a table or some."""

    rows: jax.Array
    """[R, D] in the table's dtype."""
    slots: Slots
    """float32 or int32 [R, D] or [R] each."""


def split(state: TableState, table: Table) -> Parts:
    """Rows and slots of a state, or of some rows of it."""

    def cut(place):
        return state.packed[:, place * table.width : (place + 1) * table.width]

    beside = {name: cut(place) for place, name in enumerate(_beside(table), 1)}
    return Parts(cut(0), state.apart | beside)


def join(parts: Parts, table: Table) -> TableState:
    """The inverse of ``split``."""
    beside = _beside(table)
    packed = jnp.concatenate([parts.rows, *(parts.slots[name] for name in beside)], 1) if beside else parts.rows
    return TableState(packed, {name: slot for name, slot in parts.slots.items() if name not in beside})


def _beside(table: Table) -> tuple[str, ...]:
    """Names of the slots that lie beside the rows."""
    slots = jax.eval_shape(lambda: table.optimizer.slots(1, table.width))

    def fits(slot):
        return table.sparse and slot.shape == (1, table.width) and slot.dtype == table.dtype

    return tuple(name for name in sorted(slots) if fits(slots[name]))


def wire(table: Table, mesh: Mesh) -> Wire:
    """How the table lies on the mesh."""
    ragged = mesh.devices.flat[0].device_kind in _RAGGED and table.exchange == "all_to_all"
    kind = "ragged_all_to_all" if ragged else table.exchange
    return Wire(mesh.axis_names, mesh.size, -(-table.rows // mesh.size), table.capacity, kind)


def padded(table: Table, mesh: Mesh) -> int:
    """P: rows with their padding."""
    return mesh.size * wire(table, mesh).rows


def physical(ids: jax.Array, table: Table, mesh: Mesh) -> jax.Array:
    """Logical ids → physical rows; -1 stays -1."""
    lies = wire(table, mesh)
    return jnp.where(ids >= 0, ids % lies.shards * lies.rows + ids // lies.shards, -1)


def shardings(table: Table, mesh: Mesh) -> TableState:
    """Everything over all mesh axes."""
    where = NamedSharding(mesh, PartitionSpec(mesh.axis_names))
    return jax.tree.map(lambda _: where, jax.eval_shape(lambda: untouched(jnp.zeros((1, table.width)), table)))


def abstract(table: Table, mesh: Mesh) -> TableState:
    """Shapes with shardings; no values."""

    def attach(x, s):
        return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s)

    shapes = jax.eval_shape(lambda: untouched(jnp.zeros((padded(table, mesh), table.width)), table))
    return jax.tree.map(attach, shapes, shardings(table, mesh))


def create(table: Table, key: jax.Array, mesh: Mesh) -> TableState:
    """A new table, each shard made where it lies; row r is the same on every mesh."""
    lies = wire(table, mesh)

    def shard(key: jax.Array) -> TableState:
        return new_rows(jnp.arange(lies.rows) * lies.shards + jax.lax.axis_index(lies.axes), key, table)

    over = PartitionSpec(mesh.axis_names)
    made = jax.shard_map(shard, mesh=mesh, in_specs=PartitionSpec(), out_specs=over, check_vma=False)
    return jax.jit(made, out_shardings=shardings(table, mesh))(key)


def new_rows(ids: jax.Array, key: jax.Array, table: Table) -> TableState:
    """Rows as they begin, of logical ids int32 [R]; zeros for ids that are not below V."""
    first = table.initializer or (lambda key, shape: table.stddev * jax.random.normal(key, shape, jnp.float32))
    rows = jax.lax.map(lambda r: first(jax.random.fold_in(key, r), (table.width,)), ids, batch_size=1 << 14)
    return untouched(jnp.where(ids[:, None] < table.rows, rows, 0), table)


def of_rows(rows: jax.Array, table: Table, mesh: Mesh) -> TableState:
    """A new table that begins at the V rows [V, D] on the host."""
    spare = padded(table, mesh) - table.rows

    def made(rows: jax.Array) -> TableState:
        return untouched(order.to_physical(jnp.pad(rows, ((0, spare), (0, 0))), mesh), table)

    return jax.jit(made, out_shardings=shardings(table, mesh))(rows)


def untouched(rows: jax.Array, table: Table) -> TableState:
    """Rows [R, D] with the slots of rows that no update has named."""
    return join(Parts(rows.astype(table.dtype), table.optimizer.slots(*rows.shape)), table)


def route(ids: jax.Array, table: Table, mesh: Mesh) -> Routing:
    """Deduplicates logical ids int32 [n] on each device; -1 is padding; n is divided by the mesh's size."""
    check_integers("ids", ids)
    lies = wire(table, mesh)

    def local(ids: jax.Array) -> Routing:
        return exchange.dedupe(physical(ids, table, mesh), lies.shards * lies.rows)

    return _over_mesh(local, mesh, 1)(ids)


def read(arrays: Any, routing: Routing, table: Table, mesh: Mesh) -> tuple[Any, jax.Array]:
    """Rows of arrays [P, …] that lie as the table does, one for each of the routing's distinct ids.

    Returns:
        arrays [n, …] (zeros where the routing has padding), and the number of exchange rounds.
    """
    return _read(arrays, routing, table, mesh, lambda found: found)


def gather(
    state: TableState, routing: Routing, step: jax.Array, table: Table, mesh: Mesh, beside: Any = None
) -> tuple[tuple[jax.Array, Any], jax.Array]:
    """The table's rows before update ``step``, and in the same exchange those of arrays that lie beside it.

    Returns:
        ([n, D] in the table's dtype, what ``read`` gives for ``beside``), and the number of exchange rounds.
    """

    def current(found: tuple[TableState, Any]) -> tuple[jax.Array, Any]:
        return current_rows(found[0], step, table), found[1]

    return _read((state, beside), routing, table, mesh, current)


def look_up(values: jax.Array, ids: jax.Array, table: Table, mesh: Mesh) -> jax.Array:
    """Rows of values [P, D] (a function of the whole table) for logical ids of any shape: [..., D], zeros for -1.

    Its gradient is dense, as that of every row is wanted anyway; it comes back over the same exchange. On one device
    nothing is exchanged, and duplicates need not be found first.
    """
    check_integers("ids", ids)
    if mesh.size == 1:
        return jnp.take(values, jnp.where(ids >= 0, ids, len(values)), axis=0, mode="fill", fill_value=0)
    routing = route(pack({"": ids}, mesh.size), table, mesh)
    return unpack(expand(_pick(values, routing, table, mesh), routing, mesh), {"": ids}, mesh.size)[""]


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _pick(values: jax.Array, routing: Routing, table: Table, mesh: Mesh) -> jax.Array:
    return read(values, routing, table, mesh)[0]


def _pick_forward(values: jax.Array, routing: Routing, table: Table, mesh: Mesh) -> tuple[jax.Array, Routing]:
    return _pick(values, routing, table, mesh), routing


def _pick_backward(table: Table, mesh: Mesh, routing: Routing, gradients: jax.Array) -> tuple[jax.Array, None]:
    def local(ids: jax.Array, gradients: jax.Array) -> jax.Array:
        lies = wire(table, mesh)

        def add(total, rows, sums):
            return total.at[rows].add(sums, mode="drop", unique_indices=True)

        sums = jnp.zeros((lies.rows, gradients.shape[1]), gradients.dtype)
        return exchange.deliver(add, sums, ids, gradients, lies)[0]

    return _over_mesh(local, mesh, 2)(routing.ids, gradients), None


_pick.defvjp(_pick_forward, _pick_backward)


def expand(values: jax.Array, routing: Routing, mesh: Mesh) -> jax.Array:
    """Values [n, …] of distinct ids → one for each id of the batch, in its order.

    Its gradient sums over the duplicates on a device (and is float32 if the values are).
    """

    def take(values, inverse):
        return jnp.take(values, inverse, axis=0, mode="clip")

    return _over_mesh(take, mesh, 2)(values, routing.inverse)


def update(
    state: TableState, routing: Routing, gradients: jax.Array, step: jax.Array, key: jax.Array, table: Table, mesh: Mesh
) -> tuple[TableState, jax.Array]:
    """Moves the rows that the routing names, and no other.

    Args:
        state: donate it, and it changes in place.
        routing: of the batch.
        gradients: float32 [n, D], by distinct ids; summed over devices here.
        step: int32, updates before this one.
        key: for stochastic rounding.
        table: the declaration.
        mesh: where it lies.

    Returns:
        The state, and the number of exchange rounds.
    """
    lies = wire(table, mesh)

    def write(state: TableState, rows: jax.Array, sums: jax.Array) -> TableState:
        old = split(jax.tree.map(lambda x: row_access.take(x, rows, _platform(mesh)), state), table)
        new, slots = table.optimizer.apply(old.rows.astype(jnp.float32), sums, old.slots, step)
        if table.dtype == "bfloat16":
            logical = rows * lies.shards + jax.lax.axis_index(lies.axes)
            new = stochastic_bfloat16(new, jax.random.fold_in(key, step), logical)

        def put(x, y):
            return row_access.put(x, rows, y, _platform(mesh))

        return jax.tree.map(put, state, join(Parts(new, slots), table))

    def local(state: TableState, ids: jax.Array, gradients: jax.Array) -> tuple[TableState, jax.Array]:
        return exchange.deliver(write, state, ids, gradients.astype(jnp.float32), lies)

    return _over_mesh(local, mesh, 3, rounds=True)(state, routing.ids, gradients)


def update_all(
    state: TableState, gradients: jax.Array, step: jax.Array, key: jax.Array, table: Table, mesh: Mesh
) -> TableState:
    """The dense update: every row moves by gradients [P, D]; with every row touched lazy Adam *is* Adam."""
    old = split(state, table)
    rows, slots = table.optimizer.apply(old.rows.astype(jnp.float32), gradients, old.slots, step)
    if table.dtype == "bfloat16":
        rows = stochastic_bfloat16(rows, jax.random.fold_in(key, step), _logical(table, mesh))
    return join(Parts(rows, slots), table)


def current_rows(state: TableState, step: jax.Array, table: Table) -> jax.Array:
    """Rows as they are before update ``step``, all of them or some (only exact Adam has anything to make up for)."""
    rows, slots = split(state, table)
    return table.optimizer.current(rows.astype(jnp.float32), slots, step).astype(table.dtype)


def _logical(table: Table, mesh: Mesh) -> jax.Array:
    return order.to_physical(jnp.arange(padded(table, mesh), dtype=jnp.int32), mesh)


def _read(
    arrays: Any, routing: Routing, table: Table, mesh: Mesh, finish: Callable[[Any], Any]
) -> tuple[Any, jax.Array]:
    """``finish`` works on the rows at their owner, before they travel."""

    def local(arrays: Any, ids: jax.Array) -> tuple[Any, jax.Array]:
        def take(rows):
            return finish(jax.tree.map(lambda x: row_access.take(x, rows, _platform(mesh)), arrays))

        return exchange.fetch(take, ids, wire(table, mesh))

    return _over_mesh(local, mesh, 2, rounds=True)(arrays, routing.ids)


def _over_mesh(fn: Callable[..., Any], mesh: Mesh, inputs: int, rounds: bool = False) -> Callable[..., Any]:
    """``fn`` on each device's part of everything; with ``rounds`` it also returns a number, the same on all."""
    over = PartitionSpec(mesh.axis_names)
    out = (over, PartitionSpec()) if rounds else over
    return jax.shard_map(fn, mesh=mesh, in_specs=(over,) * inputs, out_specs=out, check_vma=False)


def _platform(mesh: Mesh) -> str:
    return mesh.devices.flat[0].platform
