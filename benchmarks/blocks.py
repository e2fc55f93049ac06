"""What the gates of gated blocks read, by validation on MovieLens-100K.

    python -m benchmarks.blocks --data FOLDER --json benchmarks/results/blocks.json

FOLDER holds ``ml-100k/ml-100k.inter``. Every rating is an interaction; each user's last but one event validates, and
the last one is not looked at. A residual's gate reads the residual itself, as in eSASRec's code and in the library, or
its norm. The row compares the two: NDCG@10 of the best epoch, paired over users and over seeds.
"""

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from benchmarks import ml100k, record
from benchmarks.ncf import training_data
from rexjax.config import Training, Transformer
from rexjax.data import splits
from rexjax.data.histories import Histories
from rexjax.evaluation import comparison, ranking, requests
from rexjax.evaluation.metrics import METRICS, rank_metrics
from rexjax.evaluation.ranking import Requests
from rexjax.families.base import Run, TrainingData, fit
from rexjax.models import sequential
from rexjax.models.layers import Attention, Dropout
from rexjax.models.scorer import Scorer
from rexjax.runtime.mesh import make_mesh

METRIC = "ndcg@10"
LENGTH = 50
_FEW = Training(epochs=15, batch=64, learning_rate=3e-3, validate_every=3, patience=3)
SMALL = {"width": 32, "layers": 2, "heads": 2, "training": _FEW}


class GateOfNorm(nn.Module):
    """As the library's gated block, with gates that read the normed residual."""

    heads: int
    dropout: float
    attends = True

    @nn.compact
    def __call__(self, x: jax.Array, mask: Any, bias: Any, queries: int, deterministic: bool) -> jax.Array:
        """See ``rexjax.models.layers.GatedBlock``."""
        drop, width = Dropout(self.dropout), x.shape[-1]
        context = nn.LayerNorm()(x)
        own = context[:, -queries:]
        attended = Attention(self.heads, self.dropout)(own, context, mask, bias, deterministic)
        gate = nn.sigmoid(nn.Dense(width, name="gate_attention")(own))
        x = x[:, -queries:] + drop(gate * attended, deterministic)
        own = nn.LayerNorm()(x)
        wide = [nn.Dense(4 * width, name=name, use_bias=False)(own) for name in ("up", "switch")]
        hidden = nn.Dense(width, name="down", use_bias=False)(drop(wide[0] * nn.silu(wide[1]), deterministic))
        return x + drop(nn.sigmoid(nn.Dense(width, name="gate_mlp")(own)) * hidden, deterministic)


CASE = "gated: residual - norm"
sequential.BLOCKS["gate_of_norm"] = GateOfNorm


def main() -> None:
    """Fits, compares, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1], help="training seeds of both sides")
    parser.add_argument("--data", default=os.environ.get("REXJAX_DATA", ""), help="folder of the benchmark data sets")
    parser.add_argument("--json", default="", help="where to write the rows")
    flags = parser.parse_args()
    data = read(Path(flags.data) / "ml-100k" / "ml-100k.inter")
    asked, _ = requests.build(data.log, "valid", items=data.items, length=LENGTH)
    sides = [Transformer(**SMALL, block=block) for block in ("gated", "gate_of_norm")]
    ours, other = (np.stack([per_user(model, data, asked, seed) for seed in flags.seeds]) for model in sides)
    row = compared(CASE, ours, other, flags.seeds)
    print(row, flush=True)
    record.write(flags.json, [row], ("jax", "flax", "optax", "numpy"))


def read(path: Path) -> TrainingData:
    """The log by leave-one-out."""
    whole, items = ml100k.read(path)
    log: Histories = whole.log
    valid, test = splits.leave_one_out(log.offsets)
    found = training_data(log._replace(valid_start=valid, test_start=test), items)
    return TrainingData(found.log, found.records, items, found.popularity, LENGTH)


def per_user(model: Transformer, data: TrainingData, asked: Requests, seed: int) -> np.ndarray:
    """NDCG@10 of each user on validation, float64 [U], of the best epoch."""

    def validate(scorer: Scorer, users: int = 0) -> dict[str, float]:
        return quality(scorer, asked).means

    with tempfile.TemporaryDirectory() as folder:
        run = Run(make_mesh(), Path(folder), seed=seed, validate=validate)
        return quality(model.scorer(fit(model, data, run)), asked).per_user[METRIC]


def quality(scorer: Scorer, asked: Requests) -> ranking.Result:
    """NDCG at 10."""
    return ranking.evaluate(scorer, asked, ks=(10,), measures=rank_metrics({"ndcg": METRICS["ndcg"]}))


def compared(case: str, ours: np.ndarray, other: np.ndarray, seeds: list[int]) -> dict[str, Any]:
    """The library's choice minus the other one, over users and seeds."""
    told = comparison.compare(ours, other)
    return {
        "case": case,
        "dataset": "ml-100k, validation",
        "seeds": seeds,
        "ours": float(ours.mean()),
        "other": float(other.mean()),
        "by_seed": [[float(mean) for mean in side.mean(1)] for side in (ours, other)],
        "difference": told.difference,
        "interval": [told.low, told.high],
        "verdict": comparison.judge(told.difference, told.significant, told.equal),
        "detectable": told.detectable,
    }


if __name__ == "__main__":
    main()
