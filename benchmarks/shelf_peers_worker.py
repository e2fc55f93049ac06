"""One peer's fit, in the peer's own environment: prints its name and seconds, leaves its scores in the folder.

PYTHON benchmarks/shelf_peers_worker.py FOLDER PEER SETTINGS REPEATS
"""

import json
import os
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

if sys.argv[2:3] != ["numpy"]:
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # as implicit asks: its threads are its own

import numpy as np
import scipy.sparse as sp

THREADS = 2


def irspack(matrix: Any, settings: dict[str, Any]) -> Callable[[np.ndarray], np.ndarray]:
    """IALS with Rendle's regularisation."""
    from irspack import IALSRecommender

    settings = dict(settings)
    epochs = settings.pop("epochs")
    model = IALSRecommender(matrix, nu=1.0, train_epochs=epochs, n_threads=THREADS, **settings).learn()
    return lambda users: model.get_score(users)


def implicit(matrix: Any, settings: dict[str, Any]) -> Callable[[np.ndarray], np.ndarray]:
    """Alternating least squares by conjugate gradient."""
    from implicit.als import AlternatingLeastSquares

    settings = dict(settings)
    epochs = settings.pop("epochs")
    model = AlternatingLeastSquares(iterations=epochs, num_threads=THREADS, random_state=0, **settings)
    model.fit(matrix, show_progress=False)
    return lambda users: model.user_factors[users] @ model.item_factors.T


def implicit_knn(matrix: Any, settings: dict[str, Any]) -> Callable[[np.ndarray], np.ndarray]:
    """Cosine neighbours."""
    from implicit.nearest_neighbours import CosineRecommender

    model = CosineRecommender(K=settings["neighbours"] + 1, num_threads=THREADS)  # an item is its own neighbour
    model.fit(matrix, show_progress=False)
    return lambda users: (matrix[users] @ model.similarity).toarray()


def numpy(matrix: Any, settings: dict[str, Any]) -> Callable[[np.ndarray], np.ndarray]:
    """EASE as its paper's dozen lines, in float32."""
    gram = (matrix.T @ matrix).toarray().astype(np.float32)
    gram[np.diag_indices_from(gram)] += settings["l2"]
    precision = np.linalg.inv(gram)
    weights = precision / -np.diag(precision)
    np.fill_diagonal(weights, 0)
    return lambda users: matrix[users] @ weights


PEERS = {"irspack": irspack, "implicit": implicit, "implicit_knn": implicit_knn, "numpy": numpy}
PACKAGES = {"implicit_knn": "implicit"}


def main() -> None:
    """Fits, times and scores."""
    folder, name, settings, repeats = sys.argv[1:]
    matrix, users = sp.load_npz(f"{folder}/matrix.npz").astype(np.float32), np.load(f"{folder}/users.npy")
    seconds = []
    for _ in range(int(repeats)):
        started = time.perf_counter()
        score = PEERS[name](matrix, json.loads(settings))
        seconds.append(time.perf_counter() - started)
    np.save(f"{folder}/scores.npy", np.asarray(score(users), np.float32))
    package = PACKAGES.get(name, name)
    print()  # after a progress bar
    print(json.dumps({"name": f"{package} {version(package)}", "seconds": seconds}))


if __name__ == "__main__":
    main()
