import jax
import numpy as np
import pytest
from flax import linen as nn
from jax.sharding import PartitionSpec as P

from rexjax.models.items import ItemEncoder

D, W = 6, 4


@pytest.mark.parametrize("shape", [(5,), (2, 3)])
def test_row_plus_projected_text(shape):
    rng = np.random.default_rng(0)
    rows, text = (rng.normal(size=(*shape, width)).astype(np.float32) for width in (D, W))
    variables = nn.unbox(ItemEncoder(D).init(jax.random.key(0), rows, text))
    kernel = np.asarray(variables["params"]["text"]["kernel"])
    assert kernel.shape == (W, D) and np.abs(kernel).max() > 0
    found = ItemEncoder(D).apply(variables, rows, text)
    np.testing.assert_allclose(found, rows + text @ kernel, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(ItemEncoder(D).apply(variables, rows, np.zeros_like(text)), rows)  # no text: the row


def test_the_kernel_names_its_logical_axes():
    arrays = np.zeros((1, D), np.float32), np.zeros((1, W), np.float32)
    specs = nn.get_partition_spec(jax.eval_shape(lambda: ItemEncoder(D).init(jax.random.key(0), *arrays)))
    assert specs["params"]["text"]["kernel"] == P(None, "embed")


def test_gated_items_mix_row_and_text_and_text_items_have_no_row():
    rng = np.random.default_rng(1)
    rows, text = (rng.normal(size=(5, width)).astype(np.float32) for width in (D, W))
    gated, alone = ItemEncoder(D, "gated"), ItemEncoder(D, "text")
    variables = nn.unbox(gated.init(jax.random.key(0), rows, text))
    p = jax.tree.map(np.asarray, variables["params"])
    projected = text @ p["text"]["kernel"]
    logits = np.concatenate([rows, projected], -1) @ p["gate"]["kernel"] + p["gate"]["bias"]
    share = 1 / (1 + np.exp(-logits))
    found = gated.apply(variables, rows, text)
    np.testing.assert_allclose(found, share * rows + (1 - share) * projected, rtol=0, atol=1e-5)
    only = {"params": {"text": p["text"]}}
    np.testing.assert_allclose(alone.apply(only, rows, text), projected, rtol=0, atol=1e-5)
