import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from rexjax.compression import prune
from rexjax.compression.prune import magnitude_prune
from rexjax.config import Pooled
from rexjax.embedding.rows import gather
from rexjax.models import pooled_axes, recommender
from rexjax.models.served import Served
from tests.reference import compression as reference


@pytest.mark.parametrize("sparsity", [0.0, 0.1, 0.3, 0.5, 0.9, 0.999])
def test_the_smallest_share_of_every_kernel_is_zeroed_and_nothing_else(sparsity):
    rng = np.random.default_rng(0)
    history = {
        "up": {"kernel": rng.normal(size=(7, 5)) * 100, "bias": rng.normal(size=5)},
        "q": {"kernel": rng.normal(size=(2, 3, 4))},
        "decay": rng.normal(size=(4, 6)),  # log-weights: zero is the largest
    }
    history = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), history)
    pruned = magnitude_prune(history, sparsity)
    expected = reference.magnitude_prune(jax.tree.map(np.asarray, history), sparsity)
    jax.tree.map(np.testing.assert_array_equal, pruned, expected)
    assert (pruned["up"]["kernel"] == 0).sum() == int(sparsity * 35)


@pytest.mark.parametrize("value", [0.0, 1.0, -2.0])
def test_ties_do_not_drop_more_than_the_share(value):
    pruned = magnitude_prune({"kernel": jnp.full((4, 5), value)}, 0.3)["kernel"]
    assert (pruned == 0).sum() == (20 if value == 0 else 6)


def test_sign_does_not_matter():
    pruned = magnitude_prune({"kernel": jnp.asarray([[-3.0, 0.5], [-0.1, 2.0]])}, 0.5)["kernel"]
    np.testing.assert_array_equal(pruned, [[-3.0, 0.0], [0.0, 2.0]])


def test_the_share_of_zeros_rises_fast_and_ends_where_it_should():
    shares = prune.gradually(0.5, 4)
    np.testing.assert_allclose(shares, [0.5 * (1 - 0.75**3), 0.5 * (1 - 0.5**3), 0.5 * (1 - 0.25**3), 0.5])
    assert prune.gradually(0.8, 1) == [0.8]


def test_zeros_stay_and_nothing_else_does():
    pruned = {"kernel": jnp.asarray([[0.0, 1.0], [2.0, 0.0]]), "decay": jnp.zeros((1, 2))}
    kept = prune.keep_zeros(jax.tree.map(lambda x: x + 5.0, pruned), pruned)
    np.testing.assert_array_equal(kept["kernel"], [[0, 6], [7, 0]])
    np.testing.assert_array_equal(kept["decay"], [[5, 5]])


N, L, D = 30, 6, 8
STUDENT = Pooled(width=D, profiles=3, hidden=12).recommender(L)


def pooled() -> Served:
    params = nn.unbox(STUDENT.init(jax.random.key(0), 0))
    rows = jax.random.normal(jax.random.key(1), (N, D)) * jnp.arange(1.0, D + 1)
    return recommender.serve(STUDENT, params | {"rows": rows}, np.zeros((N, 0), np.float32), N)


def cosines(model: recommender.Recommender, served: Served) -> np.ndarray:
    histories = np.random.default_rng(0).integers(0, N, (7, L)).astype(np.int32)
    return np.asarray(model.encode(served.history, *gather(served.items, histories)) @ served.items.T)


def test_a_turned_student_answers_as_before_and_its_first_dimensions_carry_most():
    served = pooled()
    turned = pooled_axes.by_importance(served)
    np.testing.assert_allclose(cosines(STUDENT, turned), cosines(STUDENT, served), atol=2e-6)
    weight = np.asarray((turned.items**2).sum(0))
    assert (np.diff(weight) <= 1e-5).all()
    best = np.linalg.svd(np.asarray(served.items), compute_uv=False) ** 2
    np.testing.assert_allclose(weight, best, rtol=1e-4)


def test_even_axes_answer_as_before_and_no_dimension_is_large():
    served = pooled()
    even = pooled_axes.evenly(served)
    np.testing.assert_allclose(cosines(STUDENT, even), cosines(STUDENT, served), atol=2e-6)

    def spread(items):
        return np.abs(np.asarray(items)).max(1).mean()

    assert spread(even.items) < 0.95 * spread(pooled_axes.by_importance(served).items)


@pytest.mark.parametrize("width", [1, 4, D])
def test_a_narrow_student_is_one_of_its_width(width):
    found = pooled_axes.narrow(pooled_axes.by_importance(pooled()), width)
    model = Pooled(width=width, profiles=3, hidden=12).recommender(L)
    shapes = jax.eval_shape(lambda: nn.unbox(model.init(jax.random.key(0), 0)))["history"]
    assert jax.tree.map(jnp.shape, found.history) == jax.tree.map(jnp.shape, shapes)
    assert found.items.shape == (N, width)
    np.testing.assert_allclose(np.linalg.norm(found.items, axis=1), 1, atol=1e-5)
    if width == D:
        np.testing.assert_allclose(cosines(model, found), cosines(STUDENT, pooled()), atol=2e-6)
