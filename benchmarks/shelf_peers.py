"""The shelf beside its peers: seconds of a fit at the same settings, and the quality that each reaches.

    python -m benchmarks.shelf_peers --peers PYTHON --data FOLDER/online_retail --json FILE

PYTHON is the interpreter of an environment of its own with implicit==0.7.3, irspack==0.5.2, numpy and scipy. Both sides
read the same binary matrix of training interactions and use both cores; neither reads order or times. Each fit is made
three times, a peer's in the peer's process. ``ours`` is the best of the later fits and ``first`` the first, with its
compilation; ``ratio`` is of the best of each. NDCG@10 is that of validation, by rexjax's evaluator, of the scores that
each side gives.
"""

import argparse
import json
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
import scipy.sparse as sp

from benchmarks import record
from benchmarks.shelf import METRIC, Log
from rexjax.config import IALS, Ease, ItemKNN, Model
from rexjax.evaluation import requests
from rexjax.evaluation.api import evaluate
from rexjax.families.base import fit
from rexjax.families.counting import binary, count_events
from rexjax.pipeline.stages import inputs

REPEATS = 3
CASES: tuple[tuple[str, Model, str, dict[str, Any]], ...] = (
    ("iALS, 64 wide", IALS(l2=0.003), "irspack", {"n_components": 64, "alpha0": 0.1, "reg": 0.003, "epochs": 16}),
    (
        "iALS, 64 wide, one regularisation for all",
        IALS(l2=1.0, unobserved_weight=0.1, l2_exponent=0.0),
        "implicit",
        {"factors": 64, "alpha": 10.0, "regularization": 10.0, "epochs": 16},
    ),
    ("EASE", Ease(l2=500.0), "numpy", {"l2": 500.0}),
    ("ItemKNN, cosine, 100 neighbours", ItemKNN(neighbours=100, shrinkage=0.0), "implicit_knn", {"neighbours": 100}),
)
"""Case, our model, the peer's worker function, and its settings. implicit weighs pairs 1 + alpha and 1, we 1 + w and w
with w = 1 / alpha, so that its regularisation is alpha times ours."""


def main() -> None:
    """Times every case and writes one JSON file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", required=True, help="the interpreter that has the peers")
    parser.add_argument("--data", required=True, help="folder of the log")
    parser.add_argument("--json", default="", help="where to write the rows")
    flags = parser.parse_args()
    log, rows = Log(flags.data), []
    for case, model, peer, settings in CASES:
        ours, theirs = _ours(log, model), _peer(log, flags.peers, peer, settings)
        names = {"case": case, "metric": "fit", "unit": "s", "peer_name": theirs["name"], "dataset": "online_retail"}
        seconds = {"ours": min(ours["seconds"][1:]), "first": ours["seconds"][0], "peer": min(theirs["seconds"])}
        quality = {"ndcg@10": ours[METRIC], "peer_ndcg@10": theirs[METRIC]}
        command = "python -m benchmarks.shelf_peers --peers PYTHON --data FOLDER/online_retail"
        made = {"settings": settings, "command": command, "commit": record.commit(), "seeds": [0]}
        rows.append(names | seconds | {"ratio": seconds["peer"] / seconds["ours"]} | quality | made)
        print(rows[-1], flush=True)
        record.write(flags.json, rows, ("jax", "numpy", "scipy"))


def _ours(log: Log, model: Model) -> dict[str, Any]:
    run, seconds = inputs.run_of(log.config, log.data, Path("runs/shelf"), "ours", "ours"), []
    for _ in range(REPEATS):
        started = time.perf_counter()
        state = jax.block_until_ready(fit(model, log.data, run))
        seconds.append(time.perf_counter() - started)
    return {"seconds": seconds, METRIC: log.quality(model.scorer(state), "valid")}


def _peer(log: Log, python: str, name: str, settings: dict[str, Any]) -> dict[str, Any]:
    asked, users = requests.build(
        log.data.log, "valid", items=log.data.items, length=log.data.length, exclude_seen=log.data.exclude_seen
    )
    with tempfile.TemporaryDirectory() as folder:
        sp.save_npz(f"{folder}/matrix.npz", sp.csr_matrix(binary(count_events(log.data))))
        np.save(f"{folder}/users.npy", users)
        worker = Path(__file__).with_name("shelf_peers_worker.py")
        command = [python, str(worker), folder, name, json.dumps(settings), str(REPEATS)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        found = json.loads(done.stdout.splitlines()[-1])
        scores = np.load(f"{folder}/scores.npy")
    return found | {METRIC: evaluate(scores, asked, metrics=("ndcg",)).means[METRIC]}


if __name__ == "__main__":
    main()
