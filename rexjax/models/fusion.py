"""How an item's vectors of several kinds (text, image, audio) become one. A kind is a modality; one of zeros is absent.

Each ``Fusion`` is a choice in a config, and each network is what it makes. What lies in the columns of an absent
modality never reaches the result, and an item without any has a vector of zeros.
"""

import abc
from collections.abc import Sequence
from dataclasses import dataclass

import flax.linen as nn
import jax
import jax.numpy as jnp

from rexjax.artifacts.classes import Open
from rexjax.errors import UserError, check_least, check_share

Widths = tuple[int, ...]
_ABSENT = -1e9  # a logit whose softmax is 0, finite, so that gradients are


@dataclass(frozen=True)
class Fusion(Open, abc.ABC):
    """How the vectors that an item has become one."""

    drop: float = 0.0
    """Share of the modalities of each item that a training step leaves out, at random; one at least is kept. Items that
    have one modality alone are then no surprise."""

    def __post_init__(self) -> None:
        check_share(self, "modalities", "drop")

    @abc.abstractmethod
    def network(self, width: int, widths: Widths, name: str) -> nn.Module:
        """A module called ``name``: (vectors float32 [..., W], present bool [..., M] or None) → float32 [..., D].

        Args:
            width: D.
            widths: columns of each of the M modalities, which lie side by side: W in all.
            name: of its parameters.
        """


@dataclass(frozen=True)
class Sum(Fusion):
    """The sum of a projection of each."""

    def network(self, width: int, widths: Widths, name: str) -> nn.Module:
        """See ``Summed``."""
        return Summed(width, widths, name=name)


@dataclass(frozen=True)
class Gated(Fusion):
    """A mixture of a projection of each, with learned shares for each of the D numbers (after Arevalo et al. 2017)."""

    def network(self, width: int, widths: Widths, name: str) -> nn.Module:
        """See ``GatedMixture``."""
        return GatedMixture(width, widths, name=name)


@dataclass(frozen=True)
class Concatenated(Fusion):
    """A network with one hidden layer on all of them side by side."""

    hidden: int = 128
    """Width of the hidden layer."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least(self, "modalities", 1, "hidden")

    def network(self, width: int, widths: Widths, name: str) -> nn.Module:
        """See ``ConcatenatedLayers``."""
        return ConcatenatedLayers(width, widths, self.hidden, name=name)


@dataclass(frozen=True)
class Attended(Fusion):
    """Attention of learned queries, one a head, over a projection of each."""

    heads: int = 2
    """They divide the width of item vectors."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least(self, "modalities", 1, "heads")

    def network(self, width: int, widths: Widths, name: str) -> nn.Module:
        """See ``AttendedMixture``.

        Raises:
            UserError: the heads do not divide the width.
        """
        if width % self.heads:
            raise UserError(f"modalities.heads {self.heads} do not divide the width {width} of item vectors")
        return AttendedMixture(width, widths, self.heads, name=name)


class Summed(nn.Module):
    """``vectors @ kernel``: one matrix, which has the rows of each modality's projection."""

    width: int
    """D."""
    widths: Widths
    """Of the modalities."""

    @nn.compact
    def __call__(self, vectors: jax.Array, present: jax.Array | None = None) -> jax.Array:
        """See ``Fusion.network``; without ``present``, zeros add nothing anyway."""
        vectors = vectors if present is None else masked(vectors, present, self.widths)
        return vectors @ self.param("kernel", _kernel(None, "embed"), (sum(self.widths), self.width))


class GatedMixture(nn.Module):
    """``Σ share · projection``; shares are a softmax over the modalities that are present."""

    width: int
    """D."""
    widths: Widths
    """Of the modalities."""

    @nn.compact
    def __call__(self, vectors: jax.Array, present: jax.Array | None = None) -> jax.Array:
        """See ``Fusion.network``; without ``present``, zeros are absent."""
        present = modalities_present(vectors, self.widths) if present is None else present
        projected = _projected(masked(vectors, present, self.widths), self.widths, self.width)
        beside = projected.reshape(*vectors.shape[:-1], -1)
        logits = nn.Dense(beside.shape[-1], kernel_init=_kernel(None, "embed"), name="gate")(beside)
        return jnp.sum(_shares(logits.reshape(projected.shape), present[..., None], -2) * projected, -2)


class ConcatenatedLayers(nn.Module):
    """``down(gelu(up(vectors, present)))``."""

    width: int
    """D."""
    widths: Widths
    """Of the modalities."""
    hidden: int
    """Width of the hidden layer."""

    @nn.compact
    def __call__(self, vectors: jax.Array, present: jax.Array | None = None) -> jax.Array:
        """See ``Fusion.network``; without ``present``, zeros are absent."""
        present = modalities_present(vectors, self.widths) if present is None else present
        known = jnp.concatenate([masked(vectors, present, self.widths), present.astype(vectors.dtype)], -1)
        hidden = nn.gelu(nn.Dense(self.hidden, kernel_init=_kernel(None, "mlp"), name="up")(known))
        fused = nn.Dense(self.width, kernel_init=_kernel("mlp", "embed"), name="down")(hidden)
        return fused * present.any(-1, keepdims=True)


class AttendedMixture(nn.Module):
    """Each head's learned query attends to the keys of the modalities that are present, and mixes their projections."""

    width: int
    """D."""
    widths: Widths
    """Of the modalities."""
    heads: int
    """H."""

    @nn.compact
    def __call__(self, vectors: jax.Array, present: jax.Array | None = None) -> jax.Array:
        """See ``Fusion.network``; without ``present``, zeros are absent."""
        present = modalities_present(vectors, self.widths) if present is None else present
        projected = _projected(masked(vectors, present, self.widths), self.widths, self.width)
        kinds = self.param("kinds", nn.initializers.normal(0.02), (len(self.widths), self.width))
        keys = nn.Dense(self.width, kernel_init=_kernel(None, "embed"), name="keys")(projected + kinds)
        size = self.width // self.heads
        query = self.param("query", nn.initializers.normal(1.0), (self.heads, size))
        split = (*projected.shape[:-1], self.heads, size)
        logits = jnp.einsum("...mhd,hd->...mh", keys.reshape(split), query) / jnp.sqrt(float(size))
        shares = _shares(logits, present[..., None], -2)
        mixed = jnp.sum(shares[..., None] * projected.reshape(split), -3).reshape(*vectors.shape[:-1], self.width)
        return nn.Dense(self.width, use_bias=False, kernel_init=_kernel(None, "embed"), name="out")(mixed)


def modalities_present(vectors: jax.Array, widths: Sequence[int]) -> jax.Array:
    """Which modalities are not all zeros: vectors [..., W] of M modalities side by side → bool [..., M].

    >>> modalities_present(jnp.asarray([[0.0, 0.0, 3.0], [1.0, 0.0, 0.0]]), (2, 1)).tolist()
    [[False, True], [True, False]]
    """
    return jnp.stack([(part != 0).any(-1) for part in _parts(vectors, widths)], -1)


def masked(vectors: jax.Array, present: jax.Array, widths: Sequence[int]) -> jax.Array:
    """Vectors [..., W] with zeros for the modalities that are not ``present``, bool [..., M].

    >>> masked(jnp.asarray([[5.0, 6.0, 7.0]]), jnp.asarray([[False, True]]), (2, 1)).tolist()
    [[0.0, 0.0, 7.0]]
    """
    columns = jnp.repeat(present, jnp.asarray(widths), axis=-1, total_repeat_length=sum(widths))
    return jnp.where(columns, vectors, 0)


def keep_some(key: jax.Array, vectors: jax.Array, present: jax.Array, drop: float) -> jax.Array:
    """Modality dropout: leaves each modality of an item out with probability ``drop``; all stay where none would.

    What is drawn for a row depends on ``key`` and on what the row holds, not on where it lies: it is the same on any
    number of devices.

    Args:
        key: of the step.
        vectors: float32 [n, W].
        present: bool [n, M].
        drop: from 0 to below 1.

    Returns:
        bool [n, M].
    """
    names = jax.lax.bitcast_convert_type(vectors.astype(jnp.float32), jnp.uint32).sum(-1, dtype=jnp.uint32)
    draw = jax.vmap(lambda name: jax.random.uniform(jax.random.fold_in(key, name), present.shape[-1:]))
    kept = present & (draw(names) >= drop)
    return jnp.where(kept.any(-1, keepdims=True), kept, present)


def _parts(vectors: jax.Array, widths: Sequence[int]) -> list[jax.Array]:
    bounds = [sum(widths[:number]) for number in range(len(widths) + 1)]
    return [vectors[..., start:stop] for start, stop in zip(bounds, bounds[1:], strict=False)]


def _projected(vectors: jax.Array, widths: Widths, width: int) -> jax.Array:
    """A projection of each modality, in the scope of the calling module: [..., M, D]."""
    layers = [
        nn.Dense(width, use_bias=False, kernel_init=_kernel(None, "embed"), name=f"modality_{n}")
        for n in range(len(widths))
    ]
    return jnp.stack([layer(part) for layer, part in zip(layers, _parts(vectors, widths), strict=True)], -2)


def _shares(logits: jax.Array, present: jax.Array, axis: int) -> jax.Array:
    """A softmax over what is present; zeros where nothing is."""
    return nn.softmax(jnp.where(present, logits, _ABSENT), axis) * present


def _kernel(*axes: str | None) -> nn.initializers.Initializer:
    return nn.with_logical_partitioning(nn.initializers.lecun_normal(), axes)
