import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rexjax.embedding import order
from rexjax.runtime.mesh import make_mesh
from tests.reference.embedding import to_physical


def lying(rows: int, mesh) -> tuple[np.ndarray, jax.Array]:
    """Logical rows [V, 2], and the same as they lie on a mesh, with rubbish where rows only pad."""
    logical = np.arange(2 * rows, dtype=np.float32).reshape(rows, 2)
    return logical, jnp.asarray(to_physical(logical, mesh.size))


@pytest.mark.parametrize("rows", [1, 7, 8, 9, 24, 30])
def test_row_r_lies_on_shard_r_mod_s_at_place_r_div_s(rows):
    mesh = make_mesh(8, 1)
    logical, array = lying(rows, mesh)
    np.testing.assert_array_equal(order.to_logical(array, mesh)[:rows], logical)
    np.testing.assert_array_equal(order.to_physical(order.to_logical(array, mesh), mesh), array)


@pytest.mark.parametrize("rows", [1, 7, 8, 9, 24, 30])
@pytest.mark.parametrize("after", [1, 2, 4, 8])
def test_unpadded_rows_come_back_on_any_mesh(rows, after):
    before, mesh = make_mesh(8, 1), make_mesh(after, 1)
    logical, array = lying(rows, before)
    saved = order.unpad(array, rows, before)
    assert 1 <= len(saved["tail"]) <= 8 and len(saved.get("head", ())) % 8 == 0
    parts = [saved[name] for name in ("head", "tail") if name in saved]
    np.testing.assert_array_equal(np.concatenate(parts), logical)
    padded = -(-rows // after) * after
    head = saved.get("head")
    head = head if head is None else jnp.pad(head, [(0, padded - len(head)), (0, 0)], constant_values=5)
    found = order.pad(head, saved["tail"], rows, padded, mesh)
    np.testing.assert_array_equal(order.to_logical(found, mesh)[:rows], logical)
    assert not np.asarray(order.to_logical(found, mesh)[rows:]).any()
