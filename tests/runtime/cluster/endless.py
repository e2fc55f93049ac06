"""One of several processes that work without end; tests stop, kill or disturb one of them.

REXJAX_COORDINATOR=… REXJAX_PROCESSES=2 REXJAX_PROCESS_ID=0 python endless.py WHAT FOLDER

WHAT: "train": a tiny teacher; "sum": sums over all devices; "alone": the first process prepares, and the others wait;
"differ": each process has another config; "fail": the last process raises an error; "done": nothing.
"""

import dataclasses
import os
import sys
import time
from pathlib import Path

import jax
import numpy as np

from rexjax.errors import UserError
from rexjax.runtime import processes


def train(folder: Path) -> None:
    """Says which epoch it begins."""
    from rexjax.runtime.mesh import make_mesh
    from rexjax.training import loop, objectives
    from tests.training.two_processes import TEACHER, TRAINING, B, L, catalogue_of, prepared

    data, model, mesh = prepared(), TEACHER.recommender(L), make_mesh()
    batches = data.epochs(0, B, mesh)

    def epoch(number: int, first: int):
        print("epoch", number, flush=True)
        return ((batch, None) for batch in batches(number, first))

    task = loop.Task(
        "teacher", model, objectives.full_softmax(model), epoch, lambda params: {"ndcg@10": 0.0}, catalogue_of(data)
    )
    settings = dataclasses.replace(TRAINING, epochs=10**9, patience=10**9, validate_every=10**6)
    loop.train(task, settings, seed=7, mesh=mesh, folder=folder)


def add() -> None:
    """Says how many sums it has made."""
    from rexjax.runtime.mesh import make_mesh, place_batches

    ones, total = place_batches(np.ones((1, jax.local_device_count())), make_mesh()), jax.jit(lambda x: x.sum())
    for number in range(10**9):
        assert total(ones) == jax.device_count()
        print("sum", number, flush=True)


def main(what: str, folder: Path) -> None:
    index = int(os.environ.get("REXJAX_PROCESS_ID", os.environ.get("SLURM_PROCID", "0")))
    try:
        with processes.together({"config": {"seed": index if what == "differ" else 0}}):
            print("together", processes.count(), jax.device_count(), flush=True)
            if what == "train":
                train(folder)
            elif what == "sum":
                add()
            elif what == "alone":
                with processes.in_turn("prepare"):
                    time.sleep(600 if processes.first() else 0)
            elif what == "fail" and index == processes.count() - 1:
                raise UserError("no such file")
            elif what == "fail":
                processes.wait("for ever")
    except UserError as error:
        print(f"rexjax: {error}", file=sys.stderr)
        processes.leave(2)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
