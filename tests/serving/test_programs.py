import jax
import numpy as np
import pytest

from rexjax import native
from rexjax.artifacts import store
from rexjax.retrieval import index
from rexjax.serving import export, programs
from tests.serving.conftest import L, make


@pytest.mark.parametrize("users", [1, 3, 4, 9, 21])
def test_batches_are_padded_to_the_next_size_and_cut_at_the_largest(users):
    asked = []

    def program(size):
        def run(weights, real, histories, exclude):
            asked.append(size)
            assert len(histories) == len(exclude) == size and np.ndim(real) == 0
            return weights * histories.sum(1, keepdims=True), exclude[:, :1]

        return run

    histories, exclude = np.arange(2 * users).reshape(users, 2), np.arange(users)[:, None]
    call = programs.of_sizes({4: program(4), 8: program(8)})
    scores, ids = call(2.0, np.int32(5), histories, exclude)
    np.testing.assert_array_equal(scores, 2.0 * histories.sum(1, keepdims=True))
    np.testing.assert_array_equal(ids, exclude)
    assert asked == {1: [4], 3: [4], 4: [4], 9: [8, 4], 21: [8, 8, 8]}[users]


@pytest.mark.skipif(not native.available(), reason="the package was built without a C++ compiler")
def test_one_request_goes_through_the_loops_where_they_are(tmp_path):
    found = index.read(store.read(make(tmp_path / "run", 0) / "index").folder)
    weights = export.weights_of(found)
    made = export.programs(found, weights)
    files = {f"{name}.program": np.frombuffer(run.serialize(), np.uint8) for name, run in made.items()}
    holding = [name for name, run in made.items() if "rexjax_block_maxima" in run.mlir_module()]
    assert holding == ["one.loops"]
    asked = np.int32(len(found.titles)), np.array([[3] * L], np.int32), np.full((1, export.ROOM), -1, np.int32)
    quick = programs.read(files, "one")(weights, *asked)
    with native.without():
        plain = programs.read(files, "one")(weights, *asked)
    np.testing.assert_array_equal(quick[1], plain[1])
    np.testing.assert_allclose(quick[0], plain[0], rtol=1e-5)
    assert jax.default_backend() == "cpu"
