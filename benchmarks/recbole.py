"""Beside RecBole 1.2.1: seconds to the same validation NDCG@10, and users ranked a second.

    python -m benchmarks.recbole --recbole PYTHON --data FOLDER --json benchmarks/results/recbole.json

PYTHON is the interpreter of an environment of its own with recbole==1.2.1, torch==2.13.0, numpy<2, pandas<3,
scipy<1.14, setuptools<80 and kmeans_pytorch (RecBole does not run with newer ones). Both train SASRec with full
cross-entropy (D = 64, two blocks of two heads, dropout 0.5, Adam at 1e-3) on the same histories, leave-one-out, and
rank the whole catalogue after every epoch; seen items are not filtered, as RecBole does not. RecBole trains for a few
epochs (150 s each on ml-100k, two CPU cores: let the machine be for three quarters of an hour); rexjax until it reaches
RecBole's best of them. Its seconds include compilation.
"""

import argparse
import contextlib
import json
import os
import subprocess
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks import record

SETS = {
    "ml-100k": ("ml-100k", "ml-100k.inter", 50, 8),
    "beauty": ("amazon-beauty", "interactions", 50, 4),
}
"""Folder, file, L, and how many epochs RecBole has."""


def main() -> None:
    """Runs every case and writes one JSON file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recbole", required=True, help="the interpreter that has RecBole")
    parser.add_argument("--data", required=True, help="folder of ml-100k and amazon-beauty")
    parser.add_argument("--quick", action="store_true", help="ml-100k only")
    parser.add_argument("--json", default="", help="where to write the figures")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    flags = parser.parse_args()
    os.environ["JAX_PLATFORMS"] = "cpu"
    if flags.one:
        name, work, target = flags.one
        print(json.dumps(_rexjax(name, Path(work), float(target))))
        return
    rows = []
    for name in list(SETS)[: 1 if flags.quick else None]:
        with tempfile.TemporaryDirectory() as work:
            _prepare(name, flags.data, Path(work))
            peer = _recbole(name, flags.recbole, Path(work))
            seconds, best = max(peer["curve"], key=lambda point: point[1])
            about = ("--recbole", flags.recbole, "--data", flags.data)
            ours = record.in_a_process("benchmarks.recbole", name, work, str(best), *about)
        print(name, "RecBole", peer["curve"], "rexjax", ours["curve"])
        named = {"case": name, "peer_name": "RecBole 1.2.1"}
        reached = ours["curve"][-1]
        metric = {"metric": f"seconds to validation NDCG@10 {best:.4f}", "unit": "s", "reached": reached[1]}
        rows.append(named | metric | {"ours": reached[0], "peer": seconds, "ratio": seconds / reached[0]})
        rows[-1] |= {"curve": ours["curve"], "peer_curve": peer["curve"]}
        a, b = ours["users_per_second"], peer["users_per_second"]
        rows.append(named | {"metric": "users ranked", "unit": "1/s", "ours": a, "peer": b, "ratio": a / b})
        record.write(flags.json, rows, ("jax", "flax", "optax", "numpy"))
    for row in rows:
        print(row)


def _config(name: str, work: Path, data: str = "") -> Any:
    from rexjax.config import Columns, Config, Data, Evaluate, Files, Training, Transformer

    folder, file, length, _ = SETS[name]
    moment = "day_since_first" if name == "beauty" else "timestamp"
    log = Data(Files(), str(Path(data) / folder), file, columns=Columns(time=moment), text=(), strict=False)
    training = Training(epochs=1000, batch=48, warmup=100, learning_rate=1e-3, validate_users=10**6, patience=1000)
    teacher = Transformer(width=64, dropout=0.5, training=training)
    log = replace(log, length=length)
    return Config(str(work), data=log, teacher=teacher, evaluate=Evaluate(exclude_seen=False))


def _prepare(name: str, data: str, work: Path) -> None:
    """The log as rexjax packs it, and the same for RecBole."""
    import numpy as np

    from rexjax.artifacts import store
    from rexjax.data import histories
    from rexjax.pipeline import runner

    if name == "ml-100k":  # its columns carry their types
        text = (Path(data) / SETS[name][0] / SETS[name][1]).read_text().replace("\t", ",")
        head, rest = text.split("\n", 1)
        (work / "raw").mkdir()
        (work / "raw" / "interactions.csv").write_text(",".join(c.split(":")[0] for c in head.split(",")) + "\n" + rest)
        config = _config(name, work)
        config = replace(
            config, data=replace(config.data, path=str(work / "raw"), interactions="interactions", items="")
        )
    else:
        config = _config(name, work, data)
    runner.run(config, ("prepare", "encode"), update=True, say=lambda line: None)
    log = histories.read(store.find(work / "prepare").folder)
    users = np.repeat(np.arange(log.users), np.diff(log.offsets))
    (work / "log").mkdir()
    with (work / "log" / "log.inter").open("w") as file:
        file.write("user_id:token\titem_id:token\ttimestamp:float\n")
        file.writelines(f"{users[place]}\t{item}\t{place}\n" for place, item in enumerate(log.items))


def _recbole(name: str, python: str, work: Path) -> dict[str, Any]:
    child = Path(__file__).with_name("recbole_peer.py")
    command = [python, "-P", str(child), str(work), str(SETS[name][2]), str(SETS[name][3])]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=work, env=environment)
    return json.loads(done.stdout.splitlines()[-1])


def _rexjax(name: str, work: Path, target: float) -> dict[str, Any]:
    """The curve until ``target``, and users ranked a second."""
    from rexjax.artifacts import store
    from rexjax.models.scorer import Scorer
    from rexjax.pipeline.stages import inputs

    config = _config(name, work)
    data = inputs.training_data(config, {stage: store.read(work / stage) for stage in ("prepare", "encode")})
    curve, rates, started = [], [], time.perf_counter()

    class Reached(Exception):
        pass

    def noted(scorer: Scorer, users: int) -> dict[str, float]:
        began = time.perf_counter()
        values = own.validate(scorer, users)
        rates.append(data.log.users / (time.perf_counter() - began))
        curve.append((time.perf_counter() - started, values["ndcg@10"]))
        if values["ndcg@10"] >= target:
            raise Reached
        return values

    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(Reached):
        own = inputs.run_of(config, data, Path(folder), "teacher", "teacher")
        config.teacher.fit(data, replace(own, validate=noted))
    return {"curve": curve, "users_per_second": max(rates)}


if __name__ == "__main__":
    main()
