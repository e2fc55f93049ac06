"""Many steps in one program, and the draw of negatives."""

import jax
import jax.numpy as jnp
import numpy as np

from rexjax.data import batches
from rexjax.embedding import table as tables
from rexjax.runtime.mesh import make_mesh
from rexjax.training import catalogue as catalogues
from rexjax.training import multi_step, negatives
from tests.twin_cases import case, close


@case("training.multi_step:make_run")
def compare_multi_step(fast, twin, rng):
    def step(state, batch, lists, constants):
        value = jnp.sum(batch.items) * constants
        return 0.5 * state + value, {"loss": value}

    items = rng.integers(-1, 9, (5, 8, 4)).astype(np.int32)
    steps = [(batches.Batch(own, own, own, own, own, np.stack([own, own], -1)), None) for own in items]
    run, state, losses = fast(step), jnp.float32(1), []
    for part in multi_step.stretches(steps, make_mesh(8, 1)):
        state, metrics = run(state, part.placed, len(part.steps), jnp.float32(0.1))
        losses += metrics["loss"][: len(part.steps)].tolist()
    close((state, losses), twin(step, jnp.float32(1), steps, jnp.float32(0.1)))


@case("training.catalogue:draw_popular")
def compare_draw_popular(fast, twin, rng):
    mesh, table, popularity = make_mesh(1, 1), tables.Table("items", 21, 4), rng.integers(0, 90, 21)
    constants = catalogues.place(catalogues.Catalogue(np.zeros((21, 0), np.float32), popularity), table, mesh)
    draw = jax.jit(lambda constants, key: fast(constants, key, 100_000, table))
    drawn, log_share = draw(constants, jax.random.key(0))
    shares = twin(popularity, catalogues.block_size(21))
    close(np.exp(log_share), shares[np.asarray(drawn)])
    np.testing.assert_allclose(np.bincount(drawn, minlength=21) / 100_000, shares, atol=5 * np.sqrt(0.2 / 100_000))


@case("training.negatives:draw_unowned")
def compare_draw_unowned(fast, twin, rng):
    pairs = sorted({(int(user), int(item)) for user, item in zip(*rng.integers(0, 9, (2, 40)), strict=True) if user})
    owned = negatives.owned(*np.array(pairs).T, 9)
    draw = jax.jit(fast, static_argnums=(3, 4))
    drawn = np.asarray(draw(jax.random.key(0), owned, np.arange(9), 5000, 9))
    for user, counts in enumerate(np.bincount(row, minlength=9) for row in drawn):
        rest = twin(set(pairs), user, 9)
        expected = np.isin(np.arange(9), rest) / len(rest)
        np.testing.assert_allclose(counts / 5000, expected, atol=5 * np.sqrt(0.25 / 5000))
