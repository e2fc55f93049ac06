"""Wrong arguments of the parts: the error begins with the argument's name, while tracing where that can be."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rexjax import compression, embedding, evaluation, losses, make_mesh, retrieval

B, V, D, M = 4, 10, 6, 3
SCORES, LABELS, IDS = jnp.zeros((B, V)), jnp.arange(B), jnp.asarray([[1, -1]] * B)
QUERIES, ITEMS, SAMPLE_SCORES = jnp.ones((B, D)), jnp.ones((V, D)), jnp.zeros((B, M))
MESH, OTHER_AXES = make_mesh(2, 1), jax.make_mesh((2,), ("x",), axis_types=(jax.sharding.AxisType.Auto,))
EXPLICIT = jax.make_mesh((2, 1), ("data", "model"), axis_types=(jax.sharding.AxisType.Explicit,) * 2)
TABLE = embedding.Table("items", V, D, features=(embedding.Feature("basket", "mean"),))
BOUND = TABLE.on(MESH)
STATE = BOUND.init(jax.random.key(0))


def softmax(labels=LABELS, scores=SCORES, where=None):
    return losses.softmax_cross_entropy(scores, labels, where=where)


def sampled(scores=SAMPLE_SCORES, labels=LABELS, where=None, **about):
    about = {"positive": jnp.zeros(B), "sampled": jnp.arange(M), "log_expected": jnp.zeros(M)} | about
    return losses.sampled_softmax(scores, labels, where=where, **about)


def sharded(users=QUERIES, items=ITEMS, targets=None, real=None, mesh=MESH):
    return losses.sharded_cross_entropy(users, items, targets or losses.one_label(LABELS), real, 1.0, mesh)


def top_k(queries=QUERIES, items=ITEMS, k=2, **about):
    return retrieval.top_k(queries, items, k, **about)


def sharded_top_k(items=ITEMS, k=2, total=V, mesh=MESH, **about):
    return retrieval.sharded_top_k(QUERIES, items, k, mesh=mesh, total=total, **about)


def per_user(greater=((0,), (1,)), equal=((0,), (0,)), mask=((True,), (True,)), ks=(1,), **about):
    return evaluation.per_user(np.asarray(greater), np.asarray(equal), np.asarray(mask), ks, **about)


BEYOND = LABELS.at[2].set(V)
WIDE = jnp.ones((V, D + 1))
FLOAT_TARGETS = losses.Targets(LABELS[:, None] / 1.0, jnp.ones((B, 1)))
UNLIKE_TARGETS = losses.Targets(LABELS[:, None], jnp.ones((B, 2)))

CASES = [
    # losses
    (softmax, {"labels": LABELS[:2]}, ValueError, r"labels has shape \(2,\): with this scores .* \(4,\)"),
    (softmax, {"labels": LABELS / 2}, TypeError, "labels has dtype float32"),
    (softmax, {"where": jnp.ones((1,), bool)}, ValueError, r"where has shape \(1,\)"),
    (losses.soft_cross_entropy, {"scores": SCORES, "labels": SCORES[:, 1:]}, ValueError, "labels has shape"),
    (sampled, {"scores": jnp.zeros((B, M + 1))}, ValueError, "sampled has shape"),
    (sampled, {"labels": LABELS / 2}, TypeError, "labels has dtype"),
    (sampled, {"labels": LABELS[:2]}, ValueError, "labels has shape"),
    (sampled, {"positive": jnp.zeros((B, 1))}, ValueError, "positive has shape"),
    (sampled, {"sampled": jnp.zeros(M)}, TypeError, "sampled has dtype"),
    (sampled, {"log_expected": jnp.zeros(1)}, ValueError, "log_expected has shape"),
    (sampled, {"where": jnp.ones((B, 1), bool)}, ValueError, "where has shape"),
    (losses.one_label, {"labels": IDS}, ValueError, r"labels has shape .* axes \[T\]"),
    (sharded, {"items": WIDE}, ValueError, r"items has shape \(10, 7\): with this users .* \(10, 6\)"),
    (sharded, {"users": QUERIES[:2]}, ValueError, r"targets.rows has shape"),
    (sharded, {"targets": FLOAT_TARGETS}, TypeError, "targets.rows has dtype"),
    (sharded, {"targets": UNLIKE_TARGETS}, ValueError, "targets.weights has shape"),
    (sharded, {"real": jnp.ones(V - 1, bool)}, ValueError, "real has shape"),
    (sharded, {"items": ITEMS[:-1]}, ValueError, "items has 9 rows: pad them to a multiple of the 2 devices"),
    # retrieval
    (top_k, {"items": WIDE}, ValueError, "queries is 6 wide and items 7"),
    (top_k, {"items": compression.quantize_rows(jnp.ones((V, 8)), 4)}, ValueError, "queries is 6 wide and items 8"),
    (top_k, {"queries": QUERIES[0]}, ValueError, r"queries has shape \(6,\): it must have the axes \[B, D\]"),
    (top_k, {"exclude": IDS[:2]}, ValueError, "exclude has shape"),
    (top_k, {"exclude": IDS / 2}, TypeError, "exclude has dtype"),
    (top_k, {"mask": jnp.ones(V)}, TypeError, "mask has dtype float32"),
    (top_k, {"mask": jnp.ones(V - 1, bool)}, ValueError, "mask has shape"),
    (top_k, {"mask": jnp.ones((B - 1, V), bool)}, ValueError, r"mask has shape \(3, 10\): .* \(4, 10\)"),
    (sharded_top_k, {"items": WIDE}, ValueError, "queries is 6 wide and items 7"),
    (sharded_top_k, {"total": V + 2}, ValueError, "items has 10 rows: 12 items on 2 devices are 12"),
    (sharded_top_k, {"mask": jnp.ones(V + 1, bool)}, ValueError, "mask has shape"),
    # embedding
    (BOUND.lookup, {"state": STATE, "ids": LABELS / 2}, TypeError, "ids has dtype float32"),
    (BOUND.lookup, {"state": STATE, "ids": {"basket": IDS / 2}}, TypeError, r"ids\['basket'\] has dtype float32"),
    (BOUND.update, {"state": STATE, "ids": IDS, "gradients": QUERIES, "step": 0}, ValueError, "gradients has shape"),
    (BOUND.update, {"state": STATE, "ids": IDS, "gradients": {}, "step": 0}, ValueError, "gradients has another"),
    (embedding.combine, {"rows": jnp.ones((B, 3, D)), "ids": IDS}, ValueError, "rows has shape"),
    (embedding.combine, {"rows": jnp.ones((B, 2, D)), "ids": IDS / 2}, TypeError, "ids has dtype"),
    (embedding.combine, {"rows": jnp.ones((B, 2, D)), "ids": IDS, "weights": LABELS}, ValueError, "weights has shape"),
    # compression
    (compression.quantize_rows, {"rows": LABELS}, TypeError, "rows has dtype int32"),
    (compression.straight_through, {"rows": LABELS, "bits": 8}, TypeError, "rows has dtype int32"),
]

CONCRETE_CASES = [
    # losses
    (softmax, {"labels": BEYOND}, ValueError, "labels holds 10 at place 2: with 10 of them, ids go from 0 to 9"),
    (softmax, {"labels": LABELS - 2}, ValueError, "labels holds -2 at place 0"),
    (sharded, {"mesh": OTHER_AXES}, ValueError, r"mesh has the axes \('x',\): it must have \('data', 'model'\)"),
    (sharded, {"mesh": EXPLICIT}, ValueError, "mesh has axes that are not Auto"),
    (sharded, {"mesh": None}, TypeError, "mesh is a NoneType"),
    # retrieval
    (top_k, {"k": V + 1}, ValueError, "k is 11: with 10 items it must lie in 1 … 10"),
    (top_k, {"k": 0}, ValueError, "k is 0"),
    (top_k, {"exclude": IDS.at[1, 0].set(V)}, ValueError, "exclude holds 10 at place 2"),
    (sharded_top_k, {"k": V + 1}, ValueError, "k is 11"),
    (sharded_top_k, {"exclude": IDS.at[1, 0].set(V)}, ValueError, "exclude holds 10 at place 2"),
    (sharded_top_k, {"mesh": "cpu"}, TypeError, "mesh is a str"),
    (retrieval.place_items, {"items": ITEMS, "mesh": EXPLICIT}, ValueError, "mesh has axes that are not Auto"),
    # embedding
    (embedding.Table, {"name": "a", "rows": V, "width": D, "optimizer": optax.adam(0.1)}, TypeError, "optimizer is a"),
    (TABLE.on, {"mesh": [2, 1]}, TypeError, "mesh is a list"),
    (TABLE.on, {"mesh": EXPLICIT}, ValueError, "mesh has axes that are not Auto"),
    (BOUND.lookup, {"state": STATE, "ids": BEYOND}, ValueError, "ids holds 10 at place 2"),
    (BOUND.lookup, {"state": STATE, "ids": {"basket": IDS - 2}}, ValueError, r"ids\['basket'\] holds -3 at place 1"),
    (BOUND.update, {"state": STATE, "ids": BEYOND, "gradients": QUERIES, "step": 0}, ValueError, "ids holds 10"),
    (BOUND.lookup, {"state": ITEMS, "ids": LABELS}, ValueError, "state is not one of table 'items'"),
    (TABLE.on(make_mesh(4)).lookup, {"state": STATE, "ids": LABELS}, ValueError, "state has shape"),
    (embedding.combine, {"rows": QUERIES, "ids": IDS, "combiner": "max"}, ValueError, "combiner is 'max': .* sqrtn"),
    # compression
    (compression.quantize_rows, {"rows": ITEMS, "bits": 2}, ValueError, "bits is 2: rows are kept in 8 or 4 bits"),
    (compression.straight_through, {"rows": ITEMS, "bits": 2}, ValueError, "bits is 2"),
    (compression.magnitude_prune, {"tree": {"kernel": ITEMS}, "sparsity": 1.0}, ValueError, "sparsity is 1.0"),
    # evaluation
    (per_user, {"equal": ((0, 0), (0, 0))}, ValueError, r"equal has shape \(2, 2\) and mask \(2, 1\)"),
    (per_user, {"greater": (0, 1)}, ValueError, "greater has shape"),
    (per_user, {"mask": ((True,), (False,))}, ValueError, "mask: 1 of 2 users have no target"),
    (per_user, {"ks": (10, 0)}, ValueError, "ks holds 0: cutoffs start at 1"),
    (per_user, {"ties": "random"}, ValueError, "ties is 'random': it must be one of expected, best, worst"),
    (evaluation.coverage, {"lists": np.asarray([[0, V]]), "items": V}, ValueError, "lists holds ids from 0 to 10"),
    (evaluation.coverage, {"lists": np.asarray([[0.5]]), "items": V}, TypeError, "lists has dtype float64"),
]


def arrays_of(arguments):
    """Those that may be traced."""
    return {name: value for name, value in arguments.items() if any(map(_is_array, jax.tree.leaves(value)))}


def _is_array(leaf):
    return isinstance(leaf, jax.Array)


def names(cases):
    return [f"{call.__name__}-{next(iter(sorted(arguments.keys() - {'state'})), '')}" for call, arguments, *_ in cases]


@pytest.mark.parametrize("traced", [False, True], ids=["eager", "traced"])
@pytest.mark.parametrize("call, arguments, error, words", CASES, ids=names(CASES))
def test_shapes_and_dtypes_are_refused_while_tracing_too(call, arguments, error, words, traced):
    arrays = arrays_of(arguments) if traced else {}
    others = {name: value for name, value in arguments.items() if name not in arrays}
    with pytest.raises(error, match=f"^{words}"):
        jax.eval_shape(lambda arrays: call(**arrays, **others), arrays) if traced else call(**arguments)


@pytest.mark.parametrize("call, arguments, error, words", CONCRETE_CASES, ids=names(CONCRETE_CASES))
def test_values_are_refused_where_they_are_concrete(call, arguments, error, words):
    with pytest.raises(error, match=f"^{words}"):
        call(**arguments)


@pytest.mark.parametrize(
    "optimizer, dtype, call, words",
    [
        (embedding.ExactAdam(), "float32", "lookup", "step is None: ExactAdam needs the number of updates so far"),
        (embedding.Sgd(), "bfloat16", "update", "key is None: a bfloat16 table rounds stochastically"),
    ],
)
def test_what_only_some_tables_need_is_asked_for(optimizer, dtype, call, words):
    bound = embedding.Table("items", V, D, dtype, optimizer=optimizer).on(MESH)
    state = bound.init(jax.random.key(0))
    arguments = {"ids": LABELS} | ({"gradients": QUERIES, "step": 0} if call == "update" else {})
    with pytest.raises(ValueError, match=f"^{words}"):
        getattr(bound, call)(state, **arguments)


def test_what_fits_passes_eager_and_traced():
    for call in (softmax, sampled, sharded, top_k, sharded_top_k):
        jax.eval_shape(call)
    assert softmax(jnp.full(B, -1), where=jnp.zeros(B, bool)) == 0
    jax.eval_shape(lambda labels: softmax(labels), BEYOND)  # values of what is traced are not known
