"""Networks that rank: how the vectors of an example's fields meet, from sums to crosses and streams.

Each takes ``Embedded`` and gives logits float32 [B], or [B, T] for T tasks. Tables are not theirs: see
``rexjax.models.fields``.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from rexjax.models.layers import Dropout


class Embedded(NamedTuple):
    """A batch of examples."""

    vectors: jax.Array
    """float32 [B, F, D], of each field."""
    linear: jax.Array
    """float32 [B], the sum of the fields' weights."""
    numbers: jax.Array
    """float32 [B, M]."""


class Layers(nn.Module):
    """Dense layers with ReLU: each with batch normalisation and dropout, as the settings say."""

    widths: tuple[int, ...]
    dropout: float = 0.0
    """Dropped share of activations."""
    norm: bool = True
    """Batch normalisation before each rectifier (Ioffe & Szegedy 2015)."""

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """[B, W] → [B, last width]."""
        for width in self.widths:
            x = nn.Dense(width, use_bias=not self.norm)(x)  # normalisation has a bias of its own
            if self.norm:
                x = nn.BatchNorm(use_running_average=not train, momentum=0.9, epsilon=1e-5)(x)
            x = Dropout(self.dropout)(nn.relu(x), not train)
        return x


def pairwise_sum(vectors: jax.Array) -> jax.Array:
    """The sum of all dot products of two fields' vectors (Rendle 2010), in O(F D): [B, F, D] → [B].

    >>> import jax.numpy as jnp
    >>> pairwise_sum(jnp.asarray([[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]])).tolist()  # 11 + 17 + 39
    [67.0]
    """
    return 0.5 * (jnp.square(vectors.sum(1)) - jnp.square(vectors).sum(1)).sum(-1)


def dot_products(vectors: jax.Array) -> jax.Array:
    """Dot products of each two fields' vectors (Naumov et al. 2019): [B, F, D] → [B, F (F - 1) / 2].

    >>> import jax.numpy as jnp
    >>> dot_products(jnp.asarray([[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]])).tolist()
    [[11.0, 17.0, 39.0]]
    """
    rows, columns = jnp.tril_indices(vectors.shape[1], -1)
    return jnp.einsum("bfd,bgd->bfg", vectors, vectors)[:, rows, columns]


def _logit(x: jax.Array, name: str = "logit") -> jax.Array:
    return nn.Dense(1, name=name)(x)[:, 0]


def _flat(embedded: Embedded) -> jax.Array:
    return embedded.vectors.reshape(len(embedded.vectors), -1)


class LinearNet(nn.Module):
    """Logistic regression: the sum of the fields' weights."""

    @nn.compact
    def __call__(self, embedded: Embedded, train: bool = False) -> jax.Array:
        """→ [B]."""
        return embedded.linear + self.param("bias", nn.initializers.zeros, ())


class FactorizationNet(nn.Module):
    """A factorisation machine of second order (Rendle 2010)."""

    @nn.compact
    def __call__(self, embedded: Embedded, train: bool = False) -> jax.Array:
        """→ [B]."""
        return embedded.linear + pairwise_sum(embedded.vectors) + self.param("bias", nn.initializers.zeros, ())


class WideDeepNet(nn.Module):
    """The weights of fields and crosses, and a network of the fields' vectors (Cheng et al. 2016)."""

    hidden: tuple[int, ...]
    dropout: float = 0.0
    norm: bool = True

    @nn.compact
    def __call__(self, embedded: Embedded, train: bool = False) -> jax.Array:
        """→ [B]."""
        return embedded.linear + _logit(Layers(self.hidden, self.dropout, self.norm)(_flat(embedded), train))


class DeepFMNet(nn.Module):
    """A factorisation machine and a network of the same vectors (Guo et al. 2017)."""

    hidden: tuple[int, ...]
    dropout: float = 0.0
    norm: bool = True

    @nn.compact
    def __call__(self, embedded: Embedded, train: bool = False) -> jax.Array:
        """→ [B]."""
        deep = _logit(Layers(self.hidden, self.dropout, self.norm)(_flat(embedded), train))
        return embedded.linear + pairwise_sum(embedded.vectors) + deep


class CrossLayers(nn.Module):
    """Cross layers: ``x ← x_0 ⊙ (W x + b) + x`` (DCN-V2: Wang et al. 2021)."""

    count: int
    rank: int = 0
    """``W = U Vᵀ`` with so many columns; 0: W is whole."""

    @nn.compact
    def __call__(self, first: jax.Array) -> jax.Array:
        """[B, W] → [B, W]."""
        x = first
        for number in range(self.count):
            inner = nn.Dense(self.rank, use_bias=False, name=f"low_{number}")(x) if self.rank else x
            x = first * nn.Dense(first.shape[1], name=f"cross_{number}")(inner) + x
        return x


class CrossNet(nn.Module):
    """Cross layers beside a network (parallel), as in DCN-V2."""

    crosses: int
    rank: int
    hidden: tuple[int, ...]
    dropout: float = 0.0
    norm: bool = True

    @nn.compact
    def __call__(self, embedded: Embedded, train: bool = False) -> jax.Array:
        """→ [B]."""
        x = _flat(embedded)
        crossed = CrossLayers(self.crosses, self.rank)(x)
        return _logit(jnp.concatenate([crossed, Layers(self.hidden, self.dropout, self.norm)(x, train)], 1))


class DotNet(nn.Module):
    """DLRM (Naumov et al. 2019): the numbers pass a bottom network, meet the fields by dot products, and all of it
    passes a top network. Without numbers the fields meet each other alone."""

    bottom: tuple[int, ...]
    top: tuple[int, ...]
    dropout: float = 0.0
    norm: bool = True

    @nn.compact
    def __call__(self, embedded: Embedded, train: bool = False) -> jax.Array:
        """→ [B]. The vectors of numbers, which are the last M, are replaced by one of the bottom network."""
        numbers, vectors = embedded.numbers.shape[1], embedded.vectors
        if numbers:
            low = Layers((*self.bottom, vectors.shape[2]), 0.0, self.norm, name="bottom")(embedded.numbers, train)
            vectors = jnp.concatenate([vectors[:, :-numbers], low[:, None]], 1)
        met = jnp.concatenate([vectors.reshape(len(vectors), -1), dot_products(vectors)], 1)
        return _logit(Layers(self.top, self.dropout, self.norm, name="top")(met, train))


class TwoStreamNet(nn.Module):
    """FinalMLP (Mao et al. 2023): two networks, each with gates over the fields, whose outputs meet by head-wise
    bilinear forms."""

    first: tuple[int, ...]
    second: tuple[int, ...]
    heads: int
    """Divides both last widths."""
    gates: tuple[int, int] = (-1, -1)
    """The field that each stream's gates are computed of; -1: a learned constant."""
    gate_hidden: int = 64
    dropout: float = 0.0
    norm: bool = True

    @nn.compact
    def __call__(self, embedded: Embedded, train: bool = False) -> jax.Array:
        """→ [B]."""
        streams = []
        for number, widths in enumerate((self.first, self.second)):
            gated = self._gated(embedded, number)
            streams.append(Layers(widths, self.dropout, self.norm, name=f"stream_{number}")(gated, train))
        return _logit(streams[0], "first") + _logit(streams[1], "second") + self._bilinear(*streams)

    def _gated(self, embedded: Embedded, number: int) -> jax.Array:
        """[B, F D], each number times a gate of 0 to 2."""
        flat = _flat(embedded)
        field = self.gates[number]
        start = self.param(f"context_{number}", nn.initializers.normal(0.1), (1, embedded.vectors.shape[2]))
        context = start if field < 0 else embedded.vectors[:, field]
        hidden = nn.relu(nn.Dense(self.gate_hidden, name=f"gate_hidden_{number}")(context))
        return flat * 2 * nn.sigmoid(nn.Dense(flat.shape[1], name=f"gate_{number}")(hidden))

    def _bilinear(self, one: jax.Array, two: jax.Array) -> jax.Array:
        shape = (self.heads, one.shape[1] // self.heads, two.shape[1] // self.heads)
        weights = self.param("bilinear", nn.initializers.xavier_normal(batch_axis=0), shape)
        split = [x.reshape(len(x), self.heads, -1) for x in (one, two)]
        return jnp.einsum("bhi,hij,bhj->b", split[0], weights, split[1])


class SharedBottomNet(nn.Module):
    """One network for all tasks, and a tower for each (Caruana 1997)."""

    tasks: int
    hidden: tuple[int, ...]
    tower: tuple[int, ...] = (64,)
    dropout: float = 0.0
    norm: bool = True

    @nn.compact
    def __call__(self, embedded: Embedded, train: bool = False) -> jax.Array:
        """→ [B, T]."""
        shared = Layers(self.hidden, self.dropout, self.norm, name="shared")(_flat(embedded), train)
        towers = [Layers(self.tower, self.dropout, self.norm)(shared, train) for _ in range(self.tasks)]
        return jnp.stack([_logit(x, f"logit_{task}") for task, x in enumerate(towers)], 1)


class MixtureNet(nn.Module):
    """MMoE (Ma et al. 2018): experts that all tasks share, mixed by a gate of each task, and a tower for each."""

    tasks: int
    experts: int
    hidden: tuple[int, ...]
    tower: tuple[int, ...] = (64,)
    dropout: float = 0.0
    norm: bool = True

    @nn.compact
    def __call__(self, embedded: Embedded, train: bool = False) -> jax.Array:
        """→ [B, T]."""
        x = _flat(embedded)
        experts = [Layers(self.hidden, self.dropout, self.norm)(x, train) for _ in range(self.experts)]
        answers, logits = jnp.stack(experts, 1), []
        for task in range(self.tasks):
            gate = nn.softmax(nn.Dense(self.experts, name=f"gate_{task}")(x))
            mixed = jnp.einsum("be,beh->bh", gate, answers)
            logits.append(_logit(Layers(self.tower, self.dropout, self.norm)(mixed, train), f"logit_{task}"))
        return jnp.stack(logits, 1)
