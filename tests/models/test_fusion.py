import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rexjax.errors import UserError
from rexjax.models.fusion import Attended, Concatenated, Gated, Sum, keep_some, modalities_present
from rexjax.models.items import ItemEncoder
from rexjax.models.towers import ItemTower

D, WIDTHS = 6, (3, 2, 4)
W = sum(WIDTHS)
KINDS = [Sum(), Gated(), Concatenated(hidden=5), Attended(heads=2)]
EACH = pytest.mark.parametrize("fusion", KINDS, ids=lambda fusion: type(fusion).__name__)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def network(fusion, vectors):
    module = fusion.network(D, WIDTHS, "text")
    params = nn.unbox(module.init(jax.random.key(0), vectors))
    return module, jax.tree.map(lambda leaf: leaf + 0.3 * normal(*leaf.shape), params)


@EACH
def test_what_lies_in_a_masked_slot_reaches_nothing(fusion):
    vectors, present = normal(5, W), np.asarray([[1, 1, 1], [0, 1, 1], [1, 0, 0], [0, 0, 1], [0, 0, 0]], bool)
    zeros = np.where(np.repeat(present, WIDTHS, axis=1), vectors, 0)
    module, params = network(fusion, vectors)
    rubbish = jnp.where(np.repeat(present, WIDTHS, axis=1), vectors, 1e6 * normal(5, W, seed=1))
    found = module.apply(params, rubbish, present)
    np.testing.assert_array_equal(found, module.apply(params, zeros, present))
    np.testing.assert_array_equal(found, module.apply(params, zeros))  # zeros are absent
    assert np.abs(found[:4]).max(1).min() > 1e-3  # one modality is enough
    np.testing.assert_array_equal(found[4], np.zeros(D))  # none: nothing is added to the row
    assert found.dtype == jnp.float32


@EACH
def test_a_modality_that_is_there_counts_and_gradients_are_finite(fusion):
    vectors = normal(4, W)
    vectors[2, :3], vectors[3] = 0, 0
    module, params = network(fusion, vectors)
    changed = vectors.copy()
    changed[:, 3:5] += 1
    differences = np.abs(module.apply(params, changed) - module.apply(params, vectors)).max(1)
    assert differences.min() > 1e-4
    gradients = jax.grad(lambda p: (module.apply(p, vectors) ** 2).sum())(params)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))


def test_the_default_is_one_matrix_over_all_columns_bit_for_bit():
    rows, text = normal(5, D), normal(5, W, seed=1)
    plain = nn.Dense(D, use_bias=False, kernel_init=nn.initializers.lecun_normal(), name="text")
    params = nn.unbox(ItemEncoder(D).init(jax.random.key(0), rows, text))
    assert jax.tree.map(jnp.shape, params) == {"params": {"text": {"kernel": (W, D)}}}
    expected = rows + plain.apply({"params": params["params"]["text"]}, text)
    for widths in ((), WIDTHS):
        np.testing.assert_array_equal(ItemEncoder(D, widths=widths).apply(params, rows, text), expected)
    first = nn.unbox(_Around().init(jax.random.key(0), text))["params"]["text"]["kernel"]
    np.testing.assert_array_equal(params["params"]["text"]["kernel"], first)  # and begins as it did


class _Around(nn.Module):
    @nn.compact
    def __call__(self, text):
        return nn.Dense(D, use_bias=False, kernel_init=nn.initializers.lecun_normal(), name="text")(text)


@EACH
@pytest.mark.parametrize("encoder", [ItemEncoder, ItemTower])
def test_item_encoders_fuse_modalities_and_leave_some_out_in_training(fusion, encoder):
    given = {"hidden": 7} if encoder is ItemTower else {}
    dropping = dataclasses.replace(fusion, drop=0.5)
    module = encoder(width=D, fusion="add", modalities=dropping, widths=WIDTHS, **given)
    rows, text = np.zeros((9, D), np.float32), normal(9, W)
    params = nn.unbox(module.init(jax.random.key(0), rows, text))
    whole = module.apply(params, rows, text)
    plain = encoder(width=D, fusion="add", modalities=fusion, widths=WIDTHS, **given)
    np.testing.assert_array_equal(plain.apply(params, rows, text), whole)
    one, same, other = (
        module.apply(params, rows, text, rngs={"modalities": jax.random.key(seed)}) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - whole).max() > 1e-3 and np.abs(one - other).max() > 1e-3
    turned = module.apply(params, rows, text[::-1], rngs={"modalities": jax.random.key(1)})
    np.testing.assert_allclose(turned[::-1], one, rtol=0, atol=1e-6)  # wherever a row lies


def test_modality_dropout_leaves_out_its_share_and_keeps_one():
    vectors = normal(4000, W)
    vectors[:1000, 3:] = 0
    present = modalities_present(vectors, WIDTHS)
    kept = np.asarray(jax.jit(keep_some, static_argnums=3)(jax.random.key(0), vectors, present, 0.3))
    np.testing.assert_array_equal(kept[:1000], np.tile([True, False, False], (1000, 1)))
    assert kept.any(1).all() and not (kept & ~np.asarray(present)).any()
    # 0.3 each, but where all three would go (0.3 cubed) all stay
    np.testing.assert_allclose(1 - kept[1000:].mean(0), 0.3 - 0.3**3, atol=0.03)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Gated(drop=1.0), "modalities has drop=1.0"),
        (lambda: Concatenated(hidden=0), "modalities has hidden=0"),
        (lambda: Attended(heads=0), "modalities has heads=0"),
        (lambda: Attended(heads=4).network(6, WIDTHS, "text"), "modalities.heads 4 do not divide the width 6"),
    ],
)
def test_settings_that_cannot_be_are_refused(make, message):
    with pytest.raises(UserError, match=message):
        make()
