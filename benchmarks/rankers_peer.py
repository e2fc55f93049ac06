"""Training of rankers beside PyTorch: examples a second of the same network, batch and data on the same cores.

    python -m benchmarks.rankers_peer --peers PYTHON --data FOLDER --json FILE

PYTHON is the interpreter of an environment of its own with torch==2.13.0 (CPU) and numpy. Both sides train on frappe
with negatives drawn once, by Adam on tables and network, with the ridge on all rows. Both hold the data in memory as
arrays and read no file meanwhile. An epoch is timed without validation; the first one, which compiles, is left out, and
the best of the others counts on each side. The two sides are timed one after the other.
"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import record
from benchmarks.ranker_data import frappe
from rexjax.families.base import Run
from rexjax.families.rankers import DLRM, DCNv2, DeepFM, DeepRanker
from rexjax.families.ranking import LABEL
from rexjax.runtime.mesh import make_mesh
from rexjax.training.labelled import LabelledTraining

EPOCHS = 3
FLOOR = 2.0
"""Times PyTorch's examples a second."""
TRAINING = LabelledTraining(epochs=EPOCHS, batch=4096, learning_rate=1e-3, l2=0.05, patience=0)
CASES: dict[str, DeepRanker] = {
    f"{name}, {' × '.join(map(str, hidden))}": model(hidden=hidden, dropout=0.4, training=TRAINING)
    for name, model in (("DCN-v2", DCNv2), ("DeepFM", DeepFM), ("DLRM", DLRM))
    for hidden in ((200, 200), (400, 400, 400))
}


def main() -> None:
    """Times every case and writes one JSON file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", help="how the names of the wanted cases begin; all by default")
    parser.add_argument("--peers", required=True, help="the interpreter that has PyTorch")
    parser.add_argument("--data", required=True, help="folder with frappe")
    parser.add_argument("--json", default="", help="where to write the rows")
    flags = parser.parse_args()
    data, rows = frappe(Path(flags.data) / "frappe", redrawn=False), []
    for case, model in CASES.items():
        if flags.cases and not any(case.startswith(word) for word in flags.cases):
            continue
        ours = _ours(model, data)
        theirs = _peer(flags.peers, model, data)
        names = {"case": case, "metric": "training", "unit": "examples/s", "peer_name": theirs["name"]}
        speeds = {"ours": ours, "peer": theirs["speed"], "ratio": ours / theirs["speed"], "floor_ratio": FLOOR}
        command = "python -m benchmarks.rankers_peer --peers PYTHON --data FOLDER"
        made = {"dataset": "frappe", "command": command, "commit": record.commit(), "seeds": [0]}
        rows.append(names | speeds | made)
        print(rows[-1], flush=True)
        record.write(flags.json, rows, ("jax", "flax", "optax", "numpy"))


def _ours(model: DeepRanker, data: Any) -> float:
    run = Run(make_mesh(1), Path("runs/rankers_peer"), name="ours")
    model.fit(data.fields, data.train, None, run)
    seconds = min(line["seconds"] for line in run.summaries["ours"]["curve"][1:])
    return len(data.train(0)[LABEL]) / seconds


def _peer(python: str, model: DeepRanker, data: Any) -> dict[str, Any]:
    arrays, offsets = data.train(0), data.fields.offsets()
    ids = np.stack([arrays[field.name] + offsets[field.name] for field in data.fields.ids], 1)
    settings = {"kind": type(model).__name__, "rows": data.fields.rows, "hidden": model.hidden, "width": model.width}
    settings |= {"dropout": model.dropout, "epochs": EPOCHS, "batch": TRAINING.batch, "l2": TRAINING.l2}
    settings |= {"crosses": getattr(model, "crosses", 0), "rate": TRAINING.learning_rate}
    with tempfile.TemporaryDirectory() as folder:
        np.savez(f"{folder}/data.npz", ids=ids, labels=arrays[LABEL])
        worker = Path(__file__).with_name("rankers_peer_worker.py")
        command = [python, str(worker), folder, json.dumps(settings)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found = json.loads(done.stdout.splitlines()[-1])
    return {"name": found["name"], "speed": len(ids) / min(found["seconds"][1:])}


if __name__ == "__main__":
    main()
