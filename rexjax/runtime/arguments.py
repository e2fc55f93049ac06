"""Checks of arguments of the parts. Each error begins with the argument's name.

Shapes and dtypes are checked while tracing. Values are checked only where they are concrete and on this host.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh


def check_integers(name: str, array: Any) -> None:
    """Raises TypeError unless ``array`` has an integer dtype."""
    if not jnp.issubdtype(array.dtype, jnp.integer):
        raise TypeError(f"{name} has dtype {array.dtype}: ids and labels are integers, so make it int32")


def check_floats(name: str, array: Any) -> None:
    """Raises TypeError unless ``array`` has a floating dtype."""
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise TypeError(f"{name} has dtype {array.dtype}: make it a floating-point array")


def check_rank(name: str, array: Any, axes: str) -> None:
    """Raises ValueError unless ``array`` has as many axes as ``axes`` names, as in ``"[B, D]"``."""
    if array.ndim != axes.count(",") + 1:
        raise ValueError(f"{name} has shape {array.shape}: it must have the axes {axes}")


def check_shape(name: str, array: Any, shape: tuple[Any, ...], beside: str) -> None:
    """Raises ValueError unless ``array`` has this shape, which follows from the argument ``beside``.

    Symbolic sizes (of a program that is exported) fit any size.
    """
    both_known = [(a, b) for a, b in zip(array.shape, shape, strict=False) if isinstance(a, int) and isinstance(b, int)]
    if array.ndim != len(shape) or any(a != b for a, b in both_known):
        raise ValueError(f"{name} has shape {array.shape}: with this {beside} it must have shape {shape}")


def check_id_range(name: str, ids: Any, count: int) -> None:
    """Raises ValueError where concrete ``ids`` are not in -1 … ``count`` - 1; -1 is padding."""
    if isinstance(ids, jax.core.Tracer) or (isinstance(ids, jax.Array) and not ids.is_fully_addressable):
        return
    flat = np.asarray(ids).reshape(-1)
    wrong = np.flatnonzero((flat < -1) | (flat >= count))
    if len(wrong):
        raise ValueError(
            f"{name} holds {flat[wrong[0]]} at place {wrong[0]}: with {count} of them, ids go from 0 to {count - 1}, "
            "and -1 is padding"
        )


def check_mesh(name: str, mesh: Any, axes: tuple[str, ...] = ()) -> None:
    """Raises TypeError unless ``mesh`` is a Mesh, and ValueError unless its axes are Auto and, if given, ``axes``."""
    if not isinstance(mesh, Mesh):
        raise TypeError(f"{name} is a {type(mesh).__name__}: give a jax.sharding.Mesh, as rexjax.make_mesh makes it")
    if axes and mesh.axis_names != axes:
        raise ValueError(f"{name} has the axes {mesh.axis_names}: it must have {axes}, as rexjax.make_mesh makes it")
    if any(kind != AxisType.Auto for kind in mesh.axis_types):
        raise ValueError(
            f"{name} has axes that are not Auto: make it by rexjax.make_mesh, or give jax.make_mesh "
            f"axis_types=(AxisType.Auto,) * {len(mesh.axis_names)}"
        )
