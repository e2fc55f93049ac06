import numpy as np
import pytest

from rexjax.serving import programs


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
