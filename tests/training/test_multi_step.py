import jax.numpy as jnp
import numpy as np
import pytest

from rexjax.data.batches import Batch
from rexjax.runtime.mesh import make_mesh
from rexjax.training import multi_step
from tests.reference.training import one_by_one

B, L = 8, 4


def steps(count: int):
    rng = np.random.default_rng(0)
    for _ in range(count):
        items = rng.integers(-1, 9, (B, L)).astype(np.int32)
        yield Batch(items, items, items, items, items, np.stack([items, items], -1)), None


def step(state, batch, lists, constants):
    """Order matters, so that a step too few, too many or out of turn shows."""
    value = jnp.sum(batch.items) * constants
    return 0.5 * state + value, {"loss": value}


@pytest.mark.parametrize("count, most, fit", [(1, 16, 99), (5, 1, 99), (16, 16, 99), (37, 16, 99), (21, 8, 6)])
def test_steps_in_one_program_are_those_one_by_one(monkeypatch, count, most, fit):
    monkeypatch.setattr(multi_step, "STEPS", most)
    monkeypatch.setattr(multi_step, "BYTES", fit * 7 * B * L * 4)
    mesh, run = make_mesh(8, 1), multi_step.make_run(step)
    state, losses, targets = jnp.float32(1), [], 0.0
    for part in multi_step.stretches(steps(count), mesh):
        assert 1 <= len(part.steps) <= min(most, fit) == len(part.placed[0].items)  # one program for all
        assert part.placed[0].items.sharding.shard_shape(part.placed[0].items.shape)[1:] == (B // 8, L)
        state, metrics = run(state, part.placed, len(part.steps), jnp.float32(0.1))
        losses += metrics["loss"][: len(part.steps)].tolist()
        targets += part.targets
    expected, alone = one_by_one(step, jnp.float32(1), steps(count), jnp.float32(0.1))
    np.testing.assert_allclose(losses, alone, rtol=1e-6)
    np.testing.assert_allclose(state, expected, rtol=1e-6)
    assert targets == sum((batch.labels >= 0).sum() for batch, _ in steps(count))
