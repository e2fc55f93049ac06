"""What a config asks for beyond this machine: refused before any stage begins, with the bytes."""

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import jax

from rexjax.config.schema import Config
from rexjax.errors import UserError
from rexjax.families.base import Model
from rexjax.families.gradient import GradientModel
from rexjax.runtime import memory

_COPIES = 4
"""Of a trained array: its values, their gradient, and Adam's two moments."""


def check_memory(config: Config, available: int | None = None) -> None:
    """Adds up what the log and each trained model need at least; the items of a log that was not read count as none.

    Args:
        config: the experiment.
        available: bytes; by default those of this machine's devices, or of the host where they share its memory.

    Raises:
        UserError: something needs more; everything that does is named.
    """
    there = memory.all_bytes() if available is None else available
    needs = {name: needed for name, needed in _needs(config, there) if needed > there}
    if needs:
        named = " and ".join(f"{name} {_giga(needed)}" for name, needed in needs.items())
        raise UserError(f"this machine has {_giga(there)} of memory, and {named}: make it smaller")


def _needs(config: Config, there: int) -> Iterator[tuple[str, int]]:
    sizes = config.data.source.sizes()
    yield "--data.source needs", 24 * sizes.get("interactions", 0)
    for key, model in _models(config, ""):
        if isinstance(model, GradientModel):
            rows = (
                4 * model.width * (_COPIES * sizes.get("items", 0) + max(model.training.batch, 1) * config.data.length)
            )
            # A network that cannot be made is not described either: its constants are made for that.
            yield f"--{key} needs", rows if rows > there else rows + network_bytes(model, config.data.length)


def network_bytes(model: GradientModel, length: int) -> int:
    """The bytes of a network's parameters in training, item rows apart."""
    shapes = jax.eval_shape(lambda: model.recommender(length).init(jax.random.key(0), 0))
    return 4 * _COPIES * sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes))


def _models(part: Any, key: str) -> Iterator[tuple[str, Model]]:
    """All models in a config, members of members included, with their keys."""
    if isinstance(part, Model):
        yield key, part
    if isinstance(part, tuple):
        for number, member in enumerate(part):
            yield from _models(member, f"{key}.{number}")
    elif dataclasses.is_dataclass(part):
        for field in dataclasses.fields(part):
            yield from _models(getattr(part, field.name), f"{key}.{field.name}".lstrip("."))


def _giga(count: int) -> str:
    return f"{count / 1e9:,.1f} GB"
