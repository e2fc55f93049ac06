"""What the server reads."""

import numpy as np

from tests.twin_cases import case


@case("serving.delta_arrays:changed_rows")
def changed_rows(fast, twin, rng):
    for rows in (20, 24, 15, 0):
        old, new = rng.integers(0, 2, (20, 3)).astype(np.uint8), rng.integers(0, 2, (rows, 3)).astype(np.uint8)
        np.testing.assert_array_equal(fast(old, new), twin(old, new))
