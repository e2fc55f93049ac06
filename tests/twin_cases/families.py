"""What families compute fast."""

import numpy as np

from rexjax.runtime.mesh import make_mesh
from tests.twin_cases import case, close, normal


@case("families.inverse_update:updater")
def compare_updater(fast, twin, rng):
    matrix = normal(rng, 30, 9)
    precision = np.linalg.inv(matrix.T @ matrix + np.eye(9)).astype(np.float32)
    changes = normal(rng, 4, 9)
    close(fast(make_mesh(1))(precision.copy(), matrix[:4], changes), twin(precision, matrix[:4], changes))
