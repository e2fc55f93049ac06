"""Stochastic rounding to bfloat16: right on average, so that small updates are not lost (pytorch#120376)."""

import jax
import jax.numpy as jnp


def stochastic_bfloat16(x: jax.Array, key: jax.Array, rows: jax.Array) -> jax.Array:
    """float32 [R, D] → bfloat16 [R, D], up with the probability of the part cut off.

    Args:
        x: values; NaN and infinity stay what they are.
        key: of this step.
        rows: int32 [R], logical ids: a row's noise does not depend on where it lies.
    """
    noise = jax.vmap(lambda row: jax.random.bits(jax.random.fold_in(key, row), (x.shape[1],), jnp.uint16))(rows)
    bits = jax.lax.bitcast_convert_type(x, jnp.uint32)
    rounded = jnp.where(jnp.isfinite(x), bits + noise, bits) >> 16
    return jax.lax.bitcast_convert_type(rounded.astype(jnp.uint16), jnp.bfloat16)
