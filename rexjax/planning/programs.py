"""The programs of a config as jitted functions on abstract arguments: the only place that knows how each is made.

Letters: B batch rows, L history length, P padded item rows, W text width, K list length, S excluded items.
"""

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from rexjax.compression.quantize import quantize
from rexjax.config.schema import Config
from rexjax.data.batches import Batch
from rexjax.embedding import table as tables
from rexjax.encoders import loading, text
from rexjax.encoders.bert import Bert, BertConfig
from rexjax.errors import UserError
from rexjax.families.base import Planned, need
from rexjax.families.gradient import Recipe
from rexjax.models.recommender import scorer_of
from rexjax.models.scorer import Query
from rexjax.models.served import Served
from rexjax.retrieval import sharded
from rexjax.runtime.mesh import replicated, sharding
from rexjax.training import state, step
from rexjax.training.catalogue import Constants, block_size
from rexjax.training.objectives import Lists
from rexjax.training.settings import with_batch, with_steps

_MANY_ROWS = 1 << 20  # of an epoch, where a config leaves the batch open
REQUESTS = 128
"""Users in one retrieval batch."""
ROWS_TIMED = 1024
"""Rows on a device of ``Program.timed``."""
TEXTS, TOKENS = 64, 32
"""Texts of a batch of the text encoder at this length: its defaults."""
MINILM = BertConfig(vocab=30522, width=384, layers=6, heads=12, mlp=1536, positions=512)


class Program(NamedTuple):
    """One program, ready to be lowered."""

    name: str
    run: Callable[..., Any]
    """Jitted."""
    arguments: tuple[Any, ...]
    """Trees of ShapeDtypeStruct."""
    kinds: dict[str, int]
    """Bytes of the arguments on one device, by what they are; tiling not counted."""
    batch: int
    """Rows (histories packed to L positions, requests or texts) of one run."""
    asked: int
    """Rows that the config asks for, before rounding up to the data axis."""
    table: int
    """Bytes of the whole item table, 0 where there is none."""
    timed: "Program | None" = None
    """The same with a small table, where a step's work does not depend on the table's size: the compiler counts the
    whole operand of a gather or scatter as read and written, so bytes and time are taken from this one."""


def build(name: str, config: Config, items: int, mesh: jax.sharding.Mesh) -> Program:
    """The program ``name``, one of ``names(config)``, for a catalogue of ``items``."""
    return _builders(config)[name](config, items, mesh)


def names(config: Config) -> tuple[str, ...]:
    """The programs that ``config`` runs, in the order of the stages."""
    return tuple(_builders(config))


def _builders(config: Config) -> dict[str, Callable[..., Program]]:
    found: dict[str, Callable[..., Program]] = {}
    if config.data.text and not config.encode.vectors:
        found["encode"] = _encode
    if isinstance(config.teacher, Planned):  # what is counted compiles no training step
        for part, recipe in config.teacher.recipes(config.data.length).items():
            found[f"teacher{part}"] = partial(_teacher, recipe=recipe, name=f"teacher{part}")
    return found | {"distill": _distill, "retrieval": _retrieval}


def text_width(config: Config) -> int:
    """Width W of the text vectors: 0 for items without text."""
    return config.encode.width if config.data.text else 0


def bytes_on_device(tree: Any) -> int:
    """Bytes of a tree of ShapeDtypeStruct with shardings on each device."""
    return sum(math.prod(x.sharding.shard_shape(x.shape)) * x.dtype.itemsize for x in jax.tree.leaves(tree))


def _teacher(config: Config, items: int, mesh: jax.sharding.Mesh, recipe: Recipe, name: str) -> Program:
    heads, split = getattr(recipe.recommender.history, "heads", 0), mesh.shape["model"]
    if heads % split:
        raise UserError(f"--teacher.heads {heads} must be divided by --mesh.model {split}")
    program, few = _training(name, recipe, config, items, mesh, lists=0), ROWS_TIMED * mesh.size
    if not recipe.objective.sparse or items <= few:
        return program
    return program._replace(timed=_training(name, recipe, config, few, mesh, lists=0))


def _distill(config: Config, items: int, mesh: jax.sharding.Mesh) -> Program:
    student = config.student
    aligned = getattr(config.teacher, "width", 0) if student.alignment_weight else 0
    model = need(student.model, Planned, "student.model")
    (recipe,) = model.recipes(config.data.length, aligned, soft=True).values()
    return _training("distill", recipe, config, items, mesh, lists=student.top_k)


def _training(name: str, recipe: Recipe, config: Config, items: int, mesh: jax.sharding.Mesh, *, lists: int) -> Program:
    model, objective = recipe.recommender, recipe.objective
    settings = with_steps(with_batch(recipe.training, _MANY_ROWS, mesh.shape["data"]), _MANY_ROWS)
    table = state.item_table(model, items, settings, objective.sparse, objective.features)
    length, width = config.data.length, text_width(config)
    now = state.abstract(model, settings, table, text_width=width, mesh=mesh)
    rows = len(now.table.packed)
    size = _rounded(settings.batch, mesh)
    over_batch, over_rows = sharding(mesh, "batch"), sharding(mesh, "rows")
    batch = Batch(*(_shape((size, length), jnp.int32, over_batch) for _ in Batch._fields))
    # how many values a user feature has is not known before the log is read: it is planned as a number
    features = {feature.name: _shape((size, length), jnp.float32, over_batch) for feature in model.user_features}
    times = _shape((size, length, 2), jnp.int32, over_batch)
    batch = batch._replace(times=times, users=None, features=features or None)
    taught = None
    if lists:
        shape = size, length, lists
        taught = Lists(_shape(shape, jnp.int32, over_batch), _shape(shape, jnp.float32, over_batch))
    blocks = -(-items // block_size(items))
    constants = Constants(
        _shape((rows, width), jnp.float32, over_rows),
        _shape((rows,), jnp.bool_, over_rows) if rows > items else None,
        _shape((rows, model.aligned), jnp.float32, over_rows),
        _shape((rows, int(recipe.adjusted)), jnp.float32, over_rows),
        _shape((blocks,), jnp.int32, replicated(mesh)),
    )
    run = step.make_step(objective, model, settings, table, seed=config.seed, text_width=width, mesh=mesh)
    parts = jax.eval_shape(lambda state: tables.split(state, table), now.table)
    parts = jax.tree.map(lambda x: _shape(x.shape, x.dtype, over_rows), parts)
    trees = {
        "table": parts.rows,
        "table_slots": parts.slots,
        "dense": now.params,
        "dense_slots": [now.slots, now.step],
        "catalogue": constants,
        "batch": (batch, taught),
    }
    kinds = {kind: bytes_on_device(tree) for kind, tree in trees.items()}
    whole = parts.rows.size * parts.rows.dtype.itemsize
    return Program(name, run, (now, batch, taught, constants), kinds, size, settings.batch, whole)


def _retrieval(config: Config, items: int, mesh: jax.sharding.Mesh) -> Program:
    """Requests against the int8 student, its item rows spread over the whole mesh, histories on every device."""
    family = need(config.student.model, Planned, "student.model")
    (recipe,) = family.recipes(config.data.length).values()
    model = recipe.recommender
    rows = tables.padded(state.item_table(model, items, recipe.training, sparse=False), mesh)
    length = config.data.length

    def served() -> Served:
        params = nn.unbox(model.init(jax.random.key(0), text_width(config)))
        return quantize(Served(jnp.zeros((rows, model.items.width)), params["history"]), 8)

    everywhere, over_rows = replicated(mesh), sharding(mesh, "rows")
    shapes = jax.eval_shape(served)
    held = Served(
        jax.tree.map(lambda x: _shape(x.shape, x.dtype, over_rows), shapes.items),
        jax.tree.map(lambda x: _shape(x.shape, x.dtype, everywhere), shapes.history),
    )
    asked = [_shape((REQUESTS, length), jnp.int32, everywhere) for _ in ("histories", "exclude")]
    encode, k = scorer_of(model, None, items).encode, min(max(config.evaluate.k), items)

    def answer(held: Served, histories: jax.Array, exclude: jax.Array) -> Any:
        users = encode(held, Query(histories))
        return sharded.top_k(users, held.items, k, mesh=mesh, total=items, exclude=exclude)

    kinds = {
        "table": bytes_on_device(held.items),
        "dense": bytes_on_device(held.history),
        "batch": bytes_on_device(asked),
    }
    whole = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(held.items))
    run = jax.jit(answer, out_shardings=everywhere)
    return Program("retrieval", run, (held, *asked), kinds, REQUESTS, REQUESTS, whole)


def _encode(config: Config, items: int, mesh: jax.sharding.Mesh) -> Program:
    sizes = loading.read_config(Path(config.encode.model) / "config.json") if config.encode.model else MINILM
    batch = max(1, round(TEXTS / mesh.shape["data"])) * mesh.shape["data"]
    tokens = _shape((batch, TOKENS), jnp.int32, sharding(mesh, "batch"))
    lengths = _shape((batch,), jnp.int32, sharding(mesh, "batch"))
    example = jnp.zeros((1, TOKENS), jnp.int32)
    params = jax.eval_shape(lambda: Bert(sizes).init(jax.random.key(0), example, example > 0))
    params = jax.tree.map(lambda x: _shape(x.shape, x.dtype, replicated(mesh)), params)
    kinds = {"dense": bytes_on_device(params), "batch": bytes_on_device((tokens, lengths))}
    run = text.compiled_forward(sizes, "mean", True, mesh)
    return Program("encode", run, (params, tokens, lengths), kinds, batch, TEXTS, 0)


def _rounded(batch: int, mesh: jax.sharding.Mesh) -> int:
    return -(-batch // mesh.shape["data"]) * mesh.shape["data"]


def _shape(shape: tuple[int, ...], dtype: Any, where: jax.sharding.NamedSharding) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, dtype, sharding=where)
