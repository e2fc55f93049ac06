import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse as sp
from jax import export

from rexjax.compression import quantize
from rexjax.errors import UserError
from rexjax.families import alternating, conjugate_gradient
from rexjax.families.counting import weigh_events
from rexjax.families.ials import IALS
from rexjax.models.scorer import Query
from rexjax.models.served import flatten, unflatten
from rexjax.runtime.mesh import make_mesh, place, sharding
from tests.families.small_log import ITEMS, LENGTH, make_run
from tests.families.test_linear import matrix_of


def solve_rows(model: IALS, weights: np.ndarray, fixed: np.ndarray) -> np.ndarray:
    """Row by row: (sum c h hᵀ + alpha HᵀH + l2 (sum c + alpha rows of H)^nu I) w = sum c h."""
    found = np.zeros((len(weights), fixed.shape[1]))
    for row, own in enumerate(weights):
        ridge = model.l2 * (own.sum() + model.unobserved_weight * len(fixed)) ** model.l2_exponent
        normal = model.unobserved_weight * fixed.T @ fixed + ridge * np.eye(fixed.shape[1])
        right = np.zeros(fixed.shape[1])
        for column in np.flatnonzero(own):
            normal += own[column] * np.outer(fixed[column], fixed[column])
            right += own[column] * fixed[column]
        found[row] = np.linalg.solve(normal, right)
    return found


def factors(model: IALS, weights: np.ndarray) -> np.ndarray:
    """Item vectors, float64."""
    items = np.asarray(model.first_vectors(weights.shape[1], 0), np.float64)
    for _ in range(model.epochs):
        items = solve_rows(model, weights.T, solve_rows(model, weights, items))
    return items


MODELS = [
    IALS(width=5, epochs=1, l2=0.1),
    IALS(width=8, epochs=6),
    IALS(width=8, epochs=3, unobserved_weight=0.4, l2=0.5, l2_exponent=0.0, init_std=1.0),
]


@pytest.fixture
def compiled_anew():
    """The constants that a compiled half step holds may be patched."""
    alternating.half_step.cache_clear()
    yield
    alternating.half_step.cache_clear()


@pytest.mark.parametrize("devices", [1, 8])
@pytest.mark.parametrize("model", MODELS, ids=["one epoch", "by frequency", "all alike"])
def test_items_are_those_of_plain_alternation(data, tmp_path, monkeypatch, compiled_anew, model, devices):
    monkeypatch.setattr(conjugate_gradient, "TOLERANCE", 1e-5)
    state = model.fit(data, make_run(tmp_path, devices))
    expected = factors(model, matrix_of(data))
    np.testing.assert_allclose(state.items, expected, atol=1e-4)
    np.testing.assert_allclose(state.history["gramian"], model.unobserved_weight * expected.T @ expected, atol=1e-4)


def test_every_half_of_an_epoch_lowers_the_loss(data):
    """The twin's own check: what it alternates is the loss of the docstring."""
    model, matrix = MODELS[1], matrix_of(data)
    alpha, power = model.unobserved_weight, model.l2_exponent
    per_user, per_item = matrix.sum(1) + alpha * ITEMS, matrix.sum(0) + alpha * len(matrix)

    def loss(users, items):
        scores = users @ items.T
        ridge = (per_user**power * (users**2).sum(1)).sum() + (per_item**power * (items**2).sum(1)).sum()
        return (matrix * (scores - 1) ** 2).sum() + alpha * (scores**2).sum() + model.l2 * ridge

    items, losses = np.asarray(model.first_vectors(ITEMS, 0), np.float64), []
    for _ in range(3):
        users = solve_rows(model, matrix, items)
        losses.append(loss(users, items))
        items = solve_rows(model, matrix.T, users)
        losses.append(loss(users, items))
    assert (np.diff(losses) < 0).all()


@pytest.mark.parametrize("devices", [1, 8])
def test_rows_are_solved_piece_by_piece_and_chunk_by_chunk(data, tmp_path, monkeypatch, devices):
    whole = MODELS[1].fit(data, make_run(tmp_path, devices))
    monkeypatch.setattr(alternating, "CHUNK_FLOATS", 100)
    monkeypatch.setattr(alternating, "PIECE", 2)
    parts = MODELS[1].fit(data, make_run(tmp_path, devices))
    np.testing.assert_allclose(parts.items, whole.items, atol=1e-4)


@pytest.mark.parametrize("devices", [1, 3, 8])
@pytest.mark.parametrize("shape", [(20, 9), (7, 30)])
def test_chunks_hold_the_matrix(monkeypatch, devices, shape):
    """Entry by entry; some rows and columns are empty, and some are cut into several pieces."""
    monkeypatch.setattr(alternating, "PIECE", 2)
    monkeypatch.setattr(alternating, "CHUNK_FLOATS", 32)
    matrix = sp.random_array(shape, density=0.3, format="csr", dtype=np.float32, rng=np.random.default_rng(0))
    sides = alternating.arrange(matrix, 4, make_mesh(devices))
    for own, other, expected in zip(sides, sides[::-1], (matrix.toarray(), matrix.toarray().T), strict=True):
        found, chunks = np.zeros((own.size, other.size)), jax.device_get(own.chunks)
        for at, row in np.ndenumerate(chunks.rows):
            place_of_row = at[0] // (len(chunks.first) // devices) * (own.size // devices) + chunks.first[at[0]] + row
            for column, weight in zip(chunks.ids[at], chunks.weights[at], strict=True):
                if weight:
                    found[place_of_row, column] += weight
        np.testing.assert_array_equal(found[own.places][:, other.places], expected)
        assert (np.diff(chunks.rows, axis=1) >= 0).all()


@pytest.mark.parametrize(
    ("pieces", "firsts"),
    [
        ([[5, 3, 2, 1, 1]], [[0, 1, 3]]),
        ([[5, 0, 0], [2, 2, 2]], [[0, 3], [0, 2]]),
        ([[0, 0]], [[0]]),
    ],
    ids=["whole rows", "fewer chunks", "no entries"],
)
def test_a_chunk_has_as_many_whole_rows_as_fit(pieces, firsts):
    assert alternating.first_rows(np.array(pieces), 5).tolist() == firsts


@pytest.mark.parametrize("start", [0.0, 1.0, 100.0])
def test_conjugate_gradients_stop_within_their_tolerance(start):
    """Rows whose matrices have diagonals spread over three decades; the last is only its diagonal."""
    draw = np.random.default_rng(3)
    vectors, weights = draw.normal(size=(9, 12, 6)).astype(np.float32), draw.random((9, 12)).astype(np.float32)
    weights[:, 8:], weights[-1] = 0, 0
    diagonal = (10.0 ** -draw.uniform(0, 3, (9, 6))).astype(np.float32)
    starts = np.where(weights.any(1, keepdims=True), np.float32(start), 0) * np.ones((9, 6), np.float32)

    def normal(direction, target):
        return jnp.einsum("gpd,gp->gd", vectors, weights * (target - jnp.einsum("gpd,gd->gp", vectors, direction)))

    found = conjugate_gradient.solve(normal, diagonal, jnp.asarray(starts))
    for row, read in enumerate(vectors.astype(np.float64)):
        exact = np.linalg.solve((read.T * weights[row]) @ read + np.diag(diagonal[row]), read.T @ weights[row])
        error, size = ((vector**2 @ diagonal[row]) ** 0.5 for vector in (found[row] - exact, exact))
        assert error <= 1.1 * conjugate_gradient.TOLERANCE * size


def test_the_vectors_lie_over_all_devices(data):
    mesh, model = make_mesh(8), MODELS[0]
    users, items = alternating.arrange(weigh_events(data, 1.0, "events"), model.width, mesh)
    vectors = place(np.zeros((items.size, model.width), np.float32), sharding(mesh, "rows"))
    own = place(np.zeros((users.size, model.width), np.float32), sharding(mesh, "rows"))
    found = alternating.half_step(mesh)(vectors, own, users.chunks, alternating.Objective(0.1, 4.0, 0.1, 1.0))
    assert {shard.data.shape for shard in found.addressable_shards} == {(users.size // 8, model.width)}


def test_a_history_is_folded_in_by_one_solution(data, run):
    """Item 7 counts once, by its latest time; unknown users are solved for as those of training are."""
    model = IALS(width=6, epochs=2, decay=0.5, recency="times")
    state = model.fit(data, run)
    query = Query(np.array([[-1, 7, 3, 7, 4]], np.int32), np.array([[0, 0, 10, 10, 25, 90]], np.int32))
    weights = np.zeros((1, ITEMS))
    weights[0, [3, 7, 4]] = 0.5, 0.5, 1.0
    items = np.asarray(state.items, np.float64)
    expected = solve_rows(model, weights, items) @ items.T
    scorer = model.scorer(state)
    scores = jax.jit(lambda own, asked: scorer.score(own, scorer.encode(own, asked), np.arange(ITEMS)))(state, query)
    np.testing.assert_allclose(scores, expected, atol=1e-4)
    with pytest.raises(UserError, match="needs the time"):
        jax.eval_shape(scorer.encode, state, Query(query.histories))


def test_its_items_can_be_quantised(data, run):
    model = IALS(width=8, epochs=4)
    state = model.fit(data, run)
    query = Query(np.random.default_rng(0).integers(0, ITEMS, (16, LENGTH)).astype(np.int32))

    @jax.jit
    def answer(scorer):
        return scorer.score(scorer.state, scorer.encode(scorer.state, query), np.arange(ITEMS))

    whole, small = (np.asarray(answer(model.scorer(own))) for own in (state, quantize.quantize(state, 8)))
    assert np.abs(small - whole).max() < 0.05 * whole.std()


def test_folding_in_is_exported_for_any_number_of_users(data, run):
    model = IALS(width=8, epochs=2)
    state = model.fit(data, run)
    scorer, histories = model.scorer(state), np.random.default_rng(0).integers(-1, ITEMS, (3, LENGTH), np.int32)

    def encode(leaves, histories):
        return scorer.encode(model.state_from(unflatten(leaves)), Query(histories))

    asked = jax.ShapeDtypeStruct((*export.symbolic_shape("b"), LENGTH), np.int32)
    program = export.export(jax.jit(encode), platforms=("cpu", "cuda", "tpu"))(flatten(state), asked)
    again = export.deserialize(program.serialize()).call
    np.testing.assert_allclose(again(flatten(state), histories), encode(flatten(state), histories), atol=1e-5)


@pytest.mark.parametrize(
    "settings",
    [
        {"width": 0},
        {"epochs": 0},
        {"l2": 0.0},
        {"unobserved_weight": 0.0},
        {"l2_exponent": -1.0},
        {"init_std": 0.0},
        {"training_decay": 1.5},
    ],
)
def test_settings_that_mean_nothing_are_refused(settings):
    with pytest.raises(UserError, match="set "):
        IALS(**settings)
