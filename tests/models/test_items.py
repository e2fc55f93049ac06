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
