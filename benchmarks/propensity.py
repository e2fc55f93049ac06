"""The log's NDCG, the corrected one (SNIPS) and the true one, of simple models on simulated shops.

    python -m benchmarks.propensity --json benchmarks/results/propensity.json

The shop knows what its users want, so the expected DCG of each model's lists is known (``rexjax.evaluation.truth``).
The log's NDCG@10 differs from it by the position bias, and the corrected one should not. A row is a model on one shop:
all three figures, and whether the 95 % interval of the corrected one holds the true one. Nothing is selected.
"""

import argparse
import tempfile
from typing import Any

from benchmarks import record
from rexjax.config import Config, Data, Ease, Popularity, SequentialRules
from rexjax.evaluation import propensity, truth
from rexjax.evaluation.models import top_lists
from rexjax.pipeline import runner
from rexjax.pipeline.stages import evaluate, inputs

MODELS = (Popularity(), SequentialRules(), Ease())
K = 10


def main() -> None:
    """Fits, judges, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1], help="shops")
    parser.add_argument("--json", default="", help="where to write the rows")
    flags = parser.parse_args()
    rows = [row for seed in flags.seeds for row in of_shop(seed)]
    record.write(flags.json, rows + summary(rows), ("jax", "numpy"), seeds=flags.seeds)
    for row in rows + summary(rows):
        print(row)


def of_shop(seed: int) -> list[dict[str, Any]]:
    """One row a model."""
    with tempfile.TemporaryDirectory() as workdir:
        config = Config(f"{workdir}/run", seed=seed, data=Data(text=()), baselines=MODELS)
        made = runner.run(config, ("prepare", "encode", "baselines"), update=False, say=print)
        artifacts = {one.stage: one.artifact for one in made}
        data = inputs.training_data(config, artifacts)
        asked = inputs.requests_of(data, "test")
        known = propensity.correction(data.log, asked, data.items)
        scorers = evaluate.models_of(config, {name: artifacts[name] for name in ("prepare", "baselines")})
        lists = {name: top_lists(scorer, asked, K) for name, scorer in scorers.items()}
        preference = inputs.preference_of(config, artifacts, data, asked)
        assert preference is not None
        worth = truth.expected_dcg(lists, asked, preference, data.items)
        found = {name: propensity.correct(name, scorer, known)["ndcg@10"] for name, scorer in scorers.items()}
    return [
        {
            "case": f"shop {seed}",
            "model": name,
            "log": row["log"],
            "corrected": row["mean"],
            "interval": [row["low"], row["high"]],
            "true": float(worth[name].mean()),
            "regret": float(worth[truth.ORACLE].mean() - worth[name].mean()),
            "covered": bool(row["low"] <= worth[name].mean() <= row["high"]),
            "effective_sample_size": known.facts["effective_sample_size"],
        }
        for name, row in found.items()
    ]


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Means over shops by model: bias of the log and of the correction, as a share of the true figure."""
    found = []
    for model in dict.fromkeys(row["model"] for row in rows):
        own = [row for row in rows if row["model"] == model]
        true = sum(row["true"] for row in own)
        bias = {f"{key} bias": sum(row[key] for row in own) / true - 1 for key in ("log", "corrected")}
        means = {key: sum(row[key] for row in own) / len(own) for key in ("log", "corrected", "true", "regret")}
        found.append({"case": "mean of the shops", "model": model, **means, **bias})
    return found


if __name__ == "__main__":
    main()
