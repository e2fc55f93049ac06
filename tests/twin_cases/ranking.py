"""Rankers, their optimizer, metrics and calibration."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from rexjax.models.candidates import Candidates
from rexjax.models.fields import Slots
from tests.twin_cases import case, close, normal

FTRL = {"rate": 0.3, "beta": 0.7, "l1": 0.8, "l2": 0.2}


@case("embedding.ftrl:ftrl_step")
def compare_ftrl_step(fast, twin, rng):
    gradients, state = normal(rng, 7, 9), (jnp.zeros(9),) * 3
    for gradient in gradients:
        state = fast(state[0], gradient, state[1], state[2], **FTRL)
    expected = twin(gradients, **FTRL)
    close(state, expected)
    assert 0 < (expected[0] == 0).sum() < 9


@case("embedding.ftrl:Ftrl")
def compare_ftrl_rows(fast, twin, rng):
    rule = fast(FTRL["rate"], beta=FTRL["beta"], l1=FTRL["l1"], l2=FTRL["l2"])
    gradients, rows, slots = normal(rng, 5, 3, 4), jnp.zeros((3, 4)), rule.slots(3, 4)
    for step, gradient in enumerate(gradients):
        rows, slots = rule.apply(rows, gradient, slots, jnp.int32(step))
    close(rows.reshape(-1), twin(gradients.reshape(5, 12), **FTRL)[0])


@case("training.ftrl_rule:ftrl")
def compare_ftrl(fast, twin, rng):
    rule = fast(FTRL["rate"], l1=FTRL["l1"], l2=FTRL["l2"], beta=FTRL["beta"])
    gradients, weights = normal(rng, 6, 5), {"a": jnp.zeros(2), "b": jnp.zeros(3)}
    state = rule.init(weights)
    for gradient in gradients:
        moves, state = rule.update({"a": gradient[:2], "b": gradient[2:]}, state, weights)
        weights = optax.apply_updates(weights, moves)
    close(np.concatenate([weights["a"], weights["b"]]), twin(gradients, **FTRL)[0])


@case("training.label_metrics:auc")
def compare_auc(fast, twin, rng):
    logits, labels = rng.integers(0, 9, 60), rng.integers(0, 2, 60)  # many ties
    close(fast(logits, labels), twin(logits, labels))


@case("models.interactions:pairwise_sum", "models.interactions:dot_products")
def compare_products(fast, twin, rng):
    vectors = normal(rng, 3, 5, 4)
    close(fast(jnp.asarray(vectors)), twin(vectors))


@case("models.interactions:CrossLayers")
def compare_cross_layers(fast, twin, rng):
    x = normal(rng, 4, 6)
    for rank in (0, 2):
        module = fast(2, rank)
        shapes = jax.eval_shape(lambda module=module: module.init(jax.random.key(0), x))
        params = jax.tree.map(lambda leaf: normal(rng, *leaf.shape), shapes)
        close(module.apply(params, x), twin(params["params"], x, 2, rank), 1e-4)


@case("models.fields:combine_slots")
def compare_combine_slots(fast, twin, rng):
    rows, weights = normal(rng, 3, 6, 2), normal(rng, 3, 6)
    slots = Slots(jnp.zeros((3, 6), jnp.int32), jnp.asarray(weights))
    close(fast(jnp.asarray(rows), slots, (1, 3, 2)), twin(rows, weights, (1, 3, 2)))


@case("models.calibration:fit_temperature")
def compare_temperature(fast, twin, rng):
    logits = 3 * rng.normal(size=200)
    labels = (rng.random(200) < 1 / (1 + np.exp(-logits / 2))).astype(float)
    np.testing.assert_allclose(fast(logits, labels), twin(logits, labels), rtol=2e-3)


@case("models.calibration:fit_isotonic")
def compare_isotonic(fast, twin, rng):
    logits, labels = rng.permutation(40).astype(float), rng.integers(0, 2, 40).astype(float)
    order = np.argsort(logits)
    close(fast(logits, labels)(logits[order]), twin(labels[order]))


@case("models.candidates:place_ranked")
def compare_place_ranked(fast, twin, rng):
    ids = np.stack([rng.permutation(9)[:4] for _ in range(5)])
    logits, base = normal(rng, 5, 4), normal(rng, 5, 9)
    scores = fast(Candidates(jnp.asarray(ids), jnp.zeros((5, 4, 1)), jnp.asarray(base)), jnp.asarray(logits))
    assert np.argsort(-scores, 1).tolist() == twin(ids, logits, base)
