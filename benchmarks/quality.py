"""What whole runs of small configs make, stage by stage; large logs have ``benchmarks.teachers`` and ``students``.

    python -m benchmarks.quality quickstart online_retail --data FOLDER --json benchmarks/results/quality.json

Each named run is made (or skipped where it is finished) and its test figures are collected, with a 95 % bootstrap
interval over users where there is one. A table is printed as Markdown.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import record
from rexjax.artifacts import store
from rexjax.evaluation import comparison
from rexjax.pipeline import compare

RUNS = {
    "quickstart": ["configs/quickstart.py"],
    "online_retail": ["configs/online_retail.py", "--data.path", "$DATA/online_retail"],
}
_METRICS = ("ndcg@10", "hit_rate@10", "recall@10", "mrr@10", "map@10", "coverage@10")
_COSTS = ("flops_per_request", "bytes_per_item", "bytes_resident", "p50_ms")


def main() -> None:
    """Runs, collects, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", choices=sorted(RUNS), help="which runs")
    parser.add_argument("--data", default=os.environ.get("REXJAX_DATA", ""), help="folder of the benchmark data sets")
    parser.add_argument("--json", default="", help="where to write the rows")
    parser.add_argument("--collect", action="store_true", help="only collect what has been run")
    parser.add_argument("--commit", default="HEAD", help="with --collect: the commit that ran")
    flags = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for name in flags.runs:
        arguments = [argument.replace("$DATA", flags.data) for argument in RUNS[name]]
        if not flags.collect:
            subprocess.run([sys.executable, "-m", "rexjax.cli", "run", *arguments], check=True)
        workdir = Path("runs") / name
        result = json.loads((workdir / "metrics.json").read_text())
        rows += collect(name, "rexjax run " + " ".join(RUNS[name]), workdir, result, flags.commit)
        print(markdown(name, result))
    if flags.json:
        rows += [row for row in record.rows(flags.json) if row["dataset"] not in flags.runs]
        record.write(flags.json, rows, ("jax", "flax", "optax", "numpy"))


def collect(dataset: str, command: str, workdir: Path, result: dict[str, Any], commit: str) -> list[dict[str, Any]]:
    """One row per model and metric of quality or cost."""
    manifests = [
        store.find(place).manifest for place in sorted({path.parents[1] for path in workdir.glob("*/v*/manifest.json")})
    ]
    commit = subprocess.run(["git", "rev-parse", commit], capture_output=True, text=True, check=True).stdout.strip()
    fixed = {
        "dataset": dataset,
        "split": f"test, {result['dataset']['split']}, full ranking, seen filtered",
        "seeds": [0],
        "command": command,
        "seconds": round(sum(manifest["seconds"] for manifest in manifests)),
        "commit": commit,
    }
    models = [
        fixed | {"model": name, "metric": metric, "value": value, "interval": model["interval"].get(metric)}
        for name, model in result["models"].items()
        for metric, value in model["quality"]["test"].items()
        if metric in _METRICS
    ]
    costs = [
        fixed | {"model": name, "metric": metric, "value": model["cost"][metric], "interval": None}
        for name, model in result["models"].items()
        for metric in _COSTS
    ]
    found = {row["name"]: row for row in (*result["comparisons"], *_against_teacher(workdir, result["select"]))}
    differences = [
        fixed
        | {"model": name, "metric": row["metric"], "value": row["difference"], "interval": [row["low"], row["high"]]}
        | {key: row[key] for key in ("margin", "equal", "detectable")}
        for name, row in found.items()
    ]
    return models + costs + differences


def _against_teacher(workdir: Path, select: str) -> list[dict[str, Any]]:
    """The paired difference of every model to the teacher, as in ``metrics.json``."""
    with np.load(store.find(workdir / "evaluate").folder / compare.FILE, allow_pickle=False) as stored:
        values = {key.split("/")[0]: stored[key] for key in stored if key.endswith(f"/{select}")}
    teacher = values.pop("teacher")
    found = {name: comparison.compare(own, teacher) for name, own in values.items()}
    return [
        {"name": f"{name} - teacher", "metric": select, **row._asdict(), "equal": row.equal}
        for name, row in found.items()
    ]


def markdown(dataset: str, result: dict[str, Any]) -> str:
    """A table of one run."""
    teacher = result["models"]["teacher"]
    lines = [
        f"**{dataset}** ({result['dataset']['users']:,} users, {result['dataset']['items']:,} items, "
        f"{result['dataset']['interactions']:,} interactions)",
        "",
        "| model | NDCG@10 | 95 % interval | recall@10 | hit rate@10 | of the teacher's FLOPs | bytes | p50 ms |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, model in result["models"].items():
        quality, cost = model["quality"]["test"], model["cost"]
        low, high = model["interval"]["ndcg@10"]
        share = teacher["cost"]["flops_per_request"] / max(cost["flops_per_request"], 1)
        lines.append(
            f"| {name} | {quality['ndcg@10']:.4f} | {low:.4f} – {high:.4f} | {quality['recall@10']:.4f} | "
            f"{quality['hit_rate@10']:.4f} | 1/{share:.1f} | {cost['bytes_resident']:,} | {cost['p50_ms']:.2f} |"
        )
    lines += [""] + [
        f"- {row['name']}: {row['difference']:+.4f} NDCG@10 ({row['low']:+.4f} … {row['high']:+.4f})"
        for row in result["comparisons"]
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
