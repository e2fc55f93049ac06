"""A training state as checkpoints hold it, whatever the mesh: of the table's arrays their V logical rows, unpadded."""

from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import Mesh

from rexjax.embedding import order
from rexjax.embedding import table as tables
from rexjax.embedding.table import Table
from rexjax.errors import UserError
from rexjax.runtime.mesh import replicated
from rexjax.training.checkpoint import shapes_of
from rexjax.training.state import TrainState

_HEAD, _TAIL = "['head']", "['tail']"


def writer(shapes: TrainState, table: Table, mesh: Mesh) -> Callable[[TrainState], TrainState]:
    """Jits the way from a state (``shapes`` is abstract, with shardings) to what is saved."""

    def unpad(x):
        return order.unpad(x, table.rows, mesh)

    def where(x):
        return {"head": x.sharding, "tail": replicated(mesh)}

    def kept(x):
        return {name: where(x)[name] for name in jax.eval_shape(unpad, x)}

    out = jax.tree.map(lambda x: x.sharding, shapes)._replace(table=jax.tree.map(kept, shapes.table))

    def run(state):
        return state._replace(table=jax.tree.map(unpad, state.table))

    return jax.jit(run, out_shardings=out)


def reader(shapes: TrainState, table: Table, mesh: Mesh) -> Callable[[TrainState], TrainState]:
    """Jits the way back, from what was read into ``like``."""

    def unpadded(x):
        return isinstance(x, dict) and "tail" in x

    def part(saved, name):
        return jax.tree.map(lambda x: x.get(name), saved.table, is_leaf=unpadded)

    def pad(head, tail):
        return order.pad(head, tail, table.rows, tables.padded(table, mesh), mesh)

    def run(heads: TrainState, tails: Any) -> TrainState:
        return heads._replace(table=jax.tree.map(pad, heads.table, tails, is_leaf=lambda x: x is None))

    where = jax.tree.map(lambda x: x.sharding, shapes)
    jitted = jax.jit(run, out_shardings=where, donate_argnums=0)  # tails fit nowhere
    return lambda saved: jitted(saved._replace(table=part(saved, "head")), part(saved, "tail"))


def like(shapes: TrainState, table: Table, mesh: Mesh) -> Callable[[dict[str, list[int]]], TrainState]:
    """What to read, given the shapes that were saved (by path, perhaps from another mesh): abstract, with shardings.

    Raises:
        UserError: they are not those of this state.
    """
    needed = _whole(shapes_of(jax.eval_shape(writer(shapes, table, mesh), shapes)))

    def fit(saved: dict[str, list[int]]) -> TrainState:
        found = _whole(saved)
        for name, shape in needed.items():
            if found.get(name) != shape:
                raise UserError(f"has {name} of shape {found.get(name)}, this config needs {shape}")
        tail = next(shape[0] for name, shape in saved.items() if name.endswith(_TAIL))

        def parts(x: jax.ShapeDtypeStruct) -> dict[str, Any]:
            last = jax.ShapeDtypeStruct((tail, *x.shape[1:]), x.dtype, sharding=replicated(mesh))
            return {"tail": last} | ({"head": x} if table.rows > tail else {})

        return shapes._replace(table=jax.tree.map(parts, shapes.table))

    return fit


def _whole(shapes: dict[str, list[int]]) -> dict[str, list[int]]:
    """With head and tail of each array put together."""
    whole = {name: shape for name, shape in shapes.items() if not name.endswith((_HEAD, _TAIL))}
    for name in (name for name in shapes if name.endswith(_TAIL)):
        (tail, *rest), array = shapes[name], name.removesuffix(_TAIL)
        whole[array] = [tail + shapes.get(array + _HEAD, [0])[0], *rest]
    return whole
