"""Recurrent blocks, for histories whose order matters more than what lies far back."""

from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from rexjax.models.layers import Dropout


class RecurrentBlock(nn.Module):
    """A gated recurrent unit with a residual (GRU4Rec: Hidasi et al. 2016; the unit: Cho et al. 2014).

    Its parameters are whole on every device: steps follow one another, and with a split unit each would wait for an
    exchange.
    """

    heads: int
    """Not read: there is no attention."""
    dropout: float
    """Dropped share of what the unit gives."""
    attends: ClassVar[bool] = False

    @nn.compact
    def __call__(
        self, x: jax.Array, mask: jax.Array, bias: jax.Array | None, queries: int, deterministic: bool
    ) -> jax.Array:
        """As ``layers.Block``, in O(B L D²). The state starts anew where a position does not see the one before it;
        ``bias`` is not read."""
        width = x.shape[-1]
        kernel = nn.with_logical_partitioning(nn.initializers.xavier_uniform(), ("embed", None))
        inputs = nn.Dense(3 * width, kernel_init=kernel, name="input")(nn.LayerNorm()(x))
        recurrent = self.param("kernel", kernel, (width, 3 * width))
        offset = self.param("offset", nn.initializers.zeros, (width,))
        states = run_gru(inputs, starts_of(mask), recurrent, offset)
        out = nn.Dense(width, kernel_init=kernel, name="out")(states[:, -queries:])
        return x[:, -queries:] + Dropout(self.dropout)(out, deterministic)


def starts_of(mask: jax.Array) -> jax.Array:
    """Which positions do not see the one before them: bool [B, L, L] (query, key) → bool [B, L]."""
    before = jnp.diagonal(mask, offset=-1, axis1=1, axis2=2)
    return ~jnp.pad(before, [(0, 0), (1, 0)])


def run_gru(inputs: jax.Array, starts: jax.Array, kernel: jax.Array, offset: jax.Array) -> jax.Array:
    """States of a gated recurrent unit after each position.

    With the parts a, b, c of an input and u, v, w of ``h @ kernel``, for the state h before it, the next state is
    ``z h + (1 - z) tanh(c + r (w + offset))``, where ``z = sigmoid(a + u)`` and ``r = sigmoid(b + v)``. The gate r
    comes after the product, so that a step has one product.

    Args:
        inputs: float [B, L, 3 D], what the items give to the three parts; no product with them is left for the steps.
        starts: bool [B, L], where the state before is zeros.
        kernel: float [D, 3 D].
        offset: float [D].

    Returns:
        [B, L, D], of the inputs' type; states are summed up in float32.
    """

    def step(state: jax.Array, at: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        given, new = at
        state = jnp.where(new[:, None], 0, state)
        product = jnp.matmul(state.astype(kernel.dtype), kernel, preferred_element_type=jnp.float32)
        from_input, from_state = (jnp.split(x.astype(jnp.float32), 3, -1) for x in (given, product))
        keep, reset = (nn.sigmoid(a + b) for a, b in zip(from_input[:2], from_state[:2], strict=True))
        candidate = jnp.tanh(from_input[2] + reset * (from_state[2] + offset))
        state = keep * state + (1 - keep) * candidate
        return state, state.astype(given.dtype)

    empty = jnp.zeros((inputs.shape[0], kernel.shape[0]), jnp.float32)
    _, states = jax.lax.scan(step, empty, (inputs.swapaxes(0, 1), starts.T))
    return states.swapaxes(0, 1)
