"""Stage 7, evaluate: teacher, student, control, compressed students and two baselines before one evaluator."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rexjax.artifacts.hashing import digest
from rexjax.artifacts.store import Artifact, write_json
from rexjax.compression import variants
from rexjax.config.schema import Config
from rexjax.embedding.quantized import QuantizedRows, dequantize
from rexjax.errors import UserError
from rexjax.evaluation import cost, metrics, ranking, requests, significance
from rexjax.evaluation.ranking import Requests
from rexjax.evaluation.report import write_report
from rexjax.models import recommender
from rexjax.pipeline.stages import inputs
from rexjax.retrieval import scorer
from rexjax.retrieval.scorer import Scorer

_BATCH = 64


def run(config: Config, folder: Path, artifacts: dict[str, Artifact]) -> dict[str, Any]:
    """Writes ``metrics.json`` and ``report.html`` into ``folder``.

    Returns:
        Per model, quality on validation and test and the cost of a request; intervals of the differences.
    """
    log = inputs.prepared(artifacts["prepare"])
    ks = tuple(sorted({*config.evaluate.k, 10}))
    if max(ks) > log.items or min(ks) < 1:
        raise UserError(f"--evaluate.k {max(ks)} is larger than the catalogue of {log.items} items")
    asked = {part: requests_of(log, part, config) for part in ("valid", "test")}
    models: dict[str, Any] = {}
    per_user: dict[str, dict[str, np.ndarray]] = {}
    for name, model in models_of(config, artifacts, log).items():
        results = {part: rank(name, model, asked[part], ks) for part in asked}
        quality = {part: result.means for part, result in results.items()}
        quality["test"]["coverage@10"] = _coverage(model, asked["test"], log.items)
        models[name] = {"quality": quality, "cost": cost_of(model, config, log.items)}
        if results["test"].spread:
            models[name]["tie_spread"] = results["test"].spread
        per_user[name] = results["test"].per_user
        mean = significance.bootstrap_mean(per_user[name]["ndcg@10"], config.seed, config.evaluate.resamples)
        models[name]["interval"] = {"ndcg@10": [mean.low, mean.high]}
    comparisons = _comparisons(per_user, config)
    card = artifacts["prepare"].metrics
    curves = {"teacher": artifacts["teacher"].metrics["curve"]}
    curves |= {name: artifacts["distill"].metrics[name]["curve"] for name in ("student", "control")}
    metrics_file = {
        "dataset": {name: card[name] for name in ("users", "items", "interactions", "density", "split", "test_users")},
        "models": models,
        "comparisons": comparisons,
    }
    write_json(folder / "metrics.json", metrics_file)
    write_report(folder / "report.html", card=card, models=models, curves=curves, comparisons=comparisons)
    return metrics_file | {"content": dict.fromkeys(("metrics.json", "report.html"), digest(_timeless(metrics_file)))}


def _timeless(found: dict[str, Any]) -> dict[str, Any]:
    """Without what the clock measured: that is another thing each time."""
    models = {name: model | {"cost": _without_times(model["cost"])} for name, model in found["models"].items()}
    return found | {"models": models}


def _without_times(of_request: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in of_request.items() if name not in ("p50_ms", "p99_ms", "users_per_second")}


def requests_of(log: inputs.Prepared, part: str, config: Config) -> Requests:
    """What all models are asked on "valid" or "test"."""
    seen = config.evaluate.exclude_seen
    return requests.build(log.histories, part, items=log.items, length=config.data.length, exclude_seen=seen)[0]


def models_of(config: Config, artifacts: dict[str, Artifact], log: inputs.Prepared) -> dict[str, Scorer]:
    """Every model that can answer: the baselines, and what came of those of the stages teacher, distill and compress
    that are among ``artifacts`` (prepare and encode always are)."""
    student = recommender.student(config.student, config.data.length)
    found = baselines(log, artifacts["encode"])
    if "teacher" in artifacts:
        teacher = recommender.teacher(config.teacher, config.data.length)
        found["teacher"] = scorer.model(teacher, inputs.served(artifacts["teacher"].folder / "model"))
    if "distill" in artifacts:
        for name, folder in (("student", "student"), ("student_control", "control")):
            found[name] = scorer.model(student, inputs.served(artifacts["distill"].folder / folder))
    if "compress" in artifacts:
        folder = artifacts["compress"].folder
        found |= {f"student_{name}": _at_point(name, config, folder) for name in config.compress.points}
    return found


def baselines(log: inputs.Prepared, encoded: Artifact) -> dict[str, Scorer]:
    """What needs no training: popularity and, where there is text, likeness to the latest item's."""
    text = inputs.content_vectors(encoded)[:, : encoded.metrics["parts"]["text"]["width"]]
    found = {"popularity": scorer.popularity(log.popularity)}
    return found | ({"text_cosine": scorer.text_cosine(text)} if text.shape[1] else {})


def _at_point(name: str, config: Config, compressed: Path) -> Scorer:
    point = variants.parse(name, config.student.width)
    student = recommender.student(replace(config.student, width=point.width), config.data.length)
    return scorer.model(student, inputs.served(compressed / name))


def _encoder(model: Scorer) -> Callable[..., jax.Array]:
    encode = jax.jit(model.encode)
    return lambda histories, times: encode(model.served, histories, times)


def rank(name: str, model: Scorer, asked: Requests, ks: tuple[int, ...]) -> ranking.Result:
    """Full ranking of a model's answers, whatever its rows are kept in."""
    items = model.served.items
    items = dequantize(items) if isinstance(items, QuantizedRows) else items
    return ranking.evaluate(_encoder(model), items, asked, ks=ks, description=f"ranking, {name}")


def _coverage(model: Scorer, asked: Requests, items: int) -> float:
    """Share of the catalogue in the first ten recommendations of all test users."""
    answer = jax.jit(scorer.answer(model, 10))
    lists = []
    users, size = len(asked.histories), 256
    for start in range(0, users, size):
        rows = np.minimum(np.arange(start, start + size), users - 1)
        seen = ranking.padded(asked.seen_items, asked.seen_offsets, rows)
        lists.append(np.asarray(answer(model.served, asked.histories[rows], seen, asked.times[rows])[1]))
    return metrics.coverage(np.concatenate(lists), items)


def cost_of(model: Scorer, config: Config, items: int) -> dict[str, float]:
    """Of a request for ten items, by the compiler's count, by memory and by the clock."""
    length = config.data.length
    answer = jax.jit(scorer.answer(model, 10))
    one = jnp.full((1, length), -1, jnp.int32).at[0, -5:].set(jnp.arange(5))
    many = jnp.broadcast_to(one, (_BATCH, length))
    now = lambda users: jnp.zeros((users, length + 1), jnp.int32)  # noqa: E731
    whole = cost.compiled_cost(answer, model.served, one, one, now(1))
    encoding = cost.compiled_cost(jax.jit(model.encode), model.served, one, now(1))
    histories = np.random.default_rng(config.seed).integers(0, items, (64, 1, length)).astype(np.int32)
    requests_ = [jnp.asarray(history) for history in histories]

    def make_args(number: int) -> tuple[Any, ...]:
        return model.served, requests_[number % 64], requests_[number % 64], now(1)

    return {
        "parameters": cost.tree_parameters(model.served),
        "bytes_resident": cost.tree_bytes(model.served),
        "bytes_per_item": cost.tree_bytes(model.served.items) / items,
        "flops_per_request": whole["flops"],
        "flops_user_encoding": encoding["flops"],
        "bytes_accessed": whole["bytes_accessed"],
        **cost.latency(answer, make_args, config.evaluate.latency_repeats),
        "users_per_second": cost.throughput(answer, (model.served, many, many, now(_BATCH)), _BATCH, seconds=0.3),
    }


def _comparisons(per_user: dict[str, dict[str, np.ndarray]], config: Config) -> list[dict[str, Any]]:
    rows = []
    smaller = [(f"student_{name}", "student") for name in config.compress.points]
    for a, b in (("student", "student_control"), ("student", "teacher"), *smaller, ("teacher", "popularity")):
        values = per_user[a]["ndcg@10"], per_user[b]["ndcg@10"]
        interval = significance.paired_bootstrap(*values, config.seed, config.evaluate.resamples)
        rows.append({"name": f"{a} - {b}", "metric": "ndcg@10", **interval._asdict()})
    return rows
