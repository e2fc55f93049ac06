import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rexjax.encoders.bert import Bert, BertConfig, pool

SMALL = BertConfig(vocab=50, width=12, layers=3, heads=3, mlp=20, positions=16, types=2, epsilon=1e-6)


forward = jax.jit(Bert(SMALL).apply)


@pytest.fixture(scope="module")
def params():
    shapes = jax.eval_shape(Bert(SMALL).init, jax.random.key(0), jnp.zeros((1, 4), jnp.int32), jnp.ones((1, 4), bool))
    rng = np.random.default_rng(0)  # no zero biases and no unit scales: those would hide a missing term
    return jax.tree.map(lambda leaf: rng.normal(0, 0.5, leaf.shape).astype(np.float32), shapes)


def batch(lengths, padded):
    rng = np.random.default_rng(1)
    tokens = rng.integers(0, SMALL.vocab, (len(lengths), padded)).astype(np.int32)
    return tokens, np.arange(padded)[None] < np.array(lengths)[:, None]


def normed(x, weights):
    mean = x.mean()
    return (x - mean) / math.sqrt(((x - mean) ** 2).mean() + SMALL.epsilon) * weights["scale"] + weights["bias"]


def slow_bert(params, tokens):
    """One text without padding, position by position and head by head, in float64."""
    p = jax.tree.map(lambda leaf: leaf.astype(np.float64), params["params"])
    tables = [p[name]["embedding"] for name in ("words", "positions", "types")]
    x = [normed(tables[0][t] + tables[1][i] + tables[2][0], p["norm"]) for i, t in enumerate(tokens)]
    for layer in range(SMALL.layers):
        block = p[f"block_{layer}"]
        projection, output = block["attention"]["query_key_value"], block["attention"]["output"]
        attended = [output["bias"].copy() for _ in x]
        for head in range(SMALL.heads):
            q, k, v = (
                [row @ projection["kernel"][:, part, head] + projection["bias"][part, head] for row in x]
                for part in range(3)
            )
            for i in range(len(x)):
                weights = np.array([math.exp(q[i] @ k[j] / math.sqrt(len(k[j]))) for j in range(len(x))])
                mixed = sum(w * value for w, value in zip(weights / weights.sum(), v, strict=True))
                attended[i] += mixed @ output["kernel"][head]
        x = [normed(row + more, block["attention_norm"]) for row, more in zip(x, attended, strict=True)]
        for i, row in enumerate(x):
            inner = row @ block["mlp_in"]["kernel"] + block["mlp_in"]["bias"]
            inner = np.array([0.5 * u * (1 + math.erf(u / math.sqrt(2))) for u in inner])
            x[i] = normed(row + inner @ block["mlp_out"]["kernel"] + block["mlp_out"]["bias"], block["mlp_norm"])
    return np.array(x)


@pytest.mark.parametrize("lengths", [[5], [1, 7, 3], [16, 2]])
def test_forward_equals_the_formulas(params, lengths):
    tokens, mask = batch(lengths, max(lengths))
    hidden = forward(params, tokens, mask)
    assert hidden.shape == (len(lengths), max(lengths), SMALL.width) and hidden.dtype == jnp.float32
    for row, length in enumerate(lengths):
        np.testing.assert_allclose(hidden[row, :length], slow_bert(params, tokens[row, :length]), atol=1e-5)


def test_masked_tokens_do_not_matter(params):
    tokens, mask = batch([3, 6], 8)
    other = np.where(mask, tokens, (tokens + 7) % SMALL.vocab)
    one, two = (forward(params, ids, mask) for ids in (tokens, other))
    np.testing.assert_array_equal(one[mask], two[mask])


def test_a_row_without_a_token_is_finite(params):
    tokens, mask = batch([0, 4], 4)
    assert np.isfinite(forward(params, tokens, mask)).all()


def test_too_long_is_an_error(params):
    tokens, mask = batch([17], 17)
    with pytest.raises(ValueError, match="17 tokens.* 16 rows"):
        forward(params, tokens, mask)


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("mode", ["mean", "cls"])
def test_pool_equals_the_formula(mode, normalize):
    hidden = np.random.default_rng(2).normal(size=(3, 5, 4)).astype(np.float32)
    lengths = [1, 3, 5]
    mask = np.arange(5)[None] < np.array(lengths)[:, None]
    expected = np.stack(
        [row[0] if mode == "cls" else row[:length].mean(axis=0) for row, length in zip(hidden, lengths, strict=True)]
    )
    if normalize:
        expected /= np.sqrt((expected**2).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(pool(hidden, mask, mode, normalize=normalize), expected, rtol=1e-5)


@pytest.mark.parametrize("normalize", [False, True])
def test_the_mean_of_no_token_is_zero_whatever_is_masked(normalize):
    hidden = jnp.full((1, 2, 3), jnp.nan)
    np.testing.assert_array_equal(pool(hidden, jnp.zeros((1, 2), bool), "mean", normalize=normalize), np.zeros((1, 3)))


def test_unknown_pooling_is_an_error():
    with pytest.raises(ValueError, match="'max'"):
        pool(jnp.zeros((1, 2, 3)), jnp.ones((1, 2), bool), "max")
