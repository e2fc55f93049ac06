"""The best student that a budget allows, or the cheapest that is good enough: chosen on validation alone.

A budget bounds what an answer costs: for each storage of rows the widest student that meets it is trained on (stage
compress), and the best of them kept. Or it bounds quality: points are tried from the smallest, and the first one that
keeps the asked share of the teacher's quality is taken.
"""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from rexjax.artifacts import classes, hashing, lock, owned, store, workdirs
from rexjax.artifacts.files import write_json
from rexjax.artifacts.store import Artifact
from rexjax.compression import compress as compressing
from rexjax.compression import variants
from rexjax.compression.quantize import Integers
from rexjax.compression.storage import Float32, Storage
from rexjax.compression.variants import Prepared, Variant, parse
from rexjax.config.schema import Config
from rexjax.errors import UserError
from rexjax.evaluation import ranking
from rexjax.evaluation.metrics import rank_metrics
from rexjax.evaluation.models import cost_of
from rexjax.families.base import Narrowable
from rexjax.models.scorer import Scorer
from rexjax.pipeline import runner
from rexjax.pipeline.stages import compress, inputs

_BUDGET = re.compile(r"(bytes_per_item|flops|p50_ms)<?=([\d.]+)|(quality)>?=([\d.]+)")
_SHARES = (1, 3 / 4, 1 / 2, 1 / 3, 1 / 4, 1 / 6, 1 / 8, 1 / 12, 1 / 16)
"""Of the student's width, where a width cannot be computed from the budget."""
_STORAGES = (Float32(), Integers(8), Integers(4))
_NUMBERS_A_BYTE = (8, 4, 2)  # of product codes


class Budget(NamedTuple):
    """``measure`` is at most ``bound``; quality, a share of the teacher's on validation, at least."""

    measure: str
    bound: float


class Tried(NamedTuple):
    """One point, trained and measured."""

    name: str
    ndcg: float
    """On validation, by ``evaluate.select``."""
    quality: float
    """Its share of the teacher's."""
    bytes_per_item: float
    flops: float
    """Of encoding a user, as the compiler counts them."""
    p50_ms: float
    """Of a request for ten items, one at a time."""


def read(text: str) -> Budget:
    """``bytes_per_item=32``, ``flops=50000``, ``p50_ms=0.2`` or ``quality>=0.98``.

    Raises:
        UserError: it is none of these.
    """
    found = _BUDGET.fullmatch(text.replace(" ", ""))
    try:
        measure, bound = [part for part in found.groups() if part]  # type: ignore[union-attr]
        return Budget(measure, float(bound))
    except (AttributeError, ValueError):
        kinds = "bytes_per_item=32, flops=50000, p50_ms=0.2 or quality>=0.98"
        raise UserError(f"--budget {text!r} is none of {kinds}") from None


def run(config: Config, budget: Budget, say: Callable[[str], None]) -> tuple[Tried, list[Tried]]:
    """Tries points below ``config.workdir``/budget; the chosen one and all that were trained.

    The stages up to distill must have finished. ``budget.json`` holds what was tried.

    Raises:
        UserError: no point meets the budget; the nearest is named.
    """
    runner.check(config, update=True)
    with lock.of(workdirs.folder_of(config.workdir)):
        return _search(config, budget, say)


def _search(config: Config, budget: Budget, say: Callable[[str], None]) -> tuple[Tried, list[Tried]]:
    workdir = workdirs.folder_of(config.workdir)
    found = {name: store.read(workdir / name) for name in ("prepare", "encode", "teacher", "distill")}
    owned.make(workdir / "budget")
    trial = trials(config, workdir / "budget", found, say)
    tried = []
    for point in candidates(config, budget, trial.cost):
        tried.append(trial.train(point))
        if budget.measure == "quality" and tried[-1].quality >= budget.bound:
            break
    meeting = [one for one in tried if _meets(one, budget)]
    write_json(workdir / workdirs.BUDGET, {"budget": budget._asdict(), "tried": [t._asdict() for t in tried]})
    if not meeting:
        _refuse(budget, tried or [trial.cost(_all_points(config)[0])])
    return max(meeting, key=lambda one: one.ndcg), tried


def candidates(config: Config, budget: Budget, cost: Callable[[Variant], Tried]) -> list[Variant]:
    """Variants worth training: all, smallest first, for a bound on quality; else the largest that fits of each kind."""
    points = _all_points(config)
    if budget.measure == "quality":
        return points
    if budget.measure == "bytes_per_item":
        points = sorted({*points, *_exact(config, budget.bound)}, key=_by_bytes)
        # where float32 rows must be narrowed, int8 ones are four times as wide, and dimensions are worth more than bits
        points = [point for point in points if point.storage != Float32() or point.width == _width(config)]
    fitting = {}
    for point in points:
        if _meets(cost(point), budget):
            fitting[point.storage.kind] = point  # they come from the smallest
    return list(fitting.values())


def _all_points(config: Config) -> list[Variant]:
    width = _width(config)
    shares = _SHARES if isinstance(config.student.model, Narrowable) else (1,)
    widths = {max(2, int(width * share) // 2 * 2) for share in shares} if width > 1 else {1}
    found = [_point(own, storage, width) for own in widths for storage in _STORAGES if not storage.misfit(own)]
    codes = [parse(f"pq{width // numbers}", width) for numbers in _NUMBERS_A_BYTE if width % numbers == 0]
    return sorted(found + codes, key=_by_bytes)


def _by_bytes(point: Variant) -> tuple[float, int]:
    return point.item_bytes, -point.width


def _width(config: Config) -> int:
    width = getattr(config.student.model, "width", 0)
    if not width:
        raise UserError(
            f"student.model is {type(config.student.model).__name__}, which has no width: a budget needs it"
        )
    return width


def _exact(config: Config, bound: float) -> list[Variant]:
    """The widest of each number of bits, and the most codes, to the byte."""
    width = _width(config)
    most = max((parts for parts in range(1, width + 1) if parts <= bound and width % parts == 0), default=0)
    codes = [parse(f"pq{most}", width)] if most else []
    if not isinstance(config.student.model, Narrowable):
        return codes
    fitting = [(storage, _widest(storage, width, bound)) for storage in _STORAGES]
    return codes + [_point(own, storage, width) for storage, own in fitting if own]


def _widest(storage: Storage, width: int, bound: float) -> int:
    """The widest rows of at most so many bytes; 0: none."""
    fits = (own for own in range(width, 0, -1) if not storage.misfit(own) and storage.item_bytes(own) <= bound)
    return next(fits, 0)


def _point(own: int, storage: Storage, width: int) -> Variant:
    plain = storage == Float32()
    parts = [f"w{own}"] * (own < width or plain) + [storage.kind] * (not plain)
    return parse("_".join(parts), width)


def _meets(tried: Tried, budget: Budget) -> bool:
    value = getattr(tried, budget.measure)
    return value >= budget.bound if budget.measure == "quality" else value <= budget.bound


def _refuse(budget: Budget, tried: list[Tried]) -> None:
    best = max if budget.measure == "quality" else min
    near = best(tried, key=lambda one: getattr(one, budget.measure))
    sign = ">=" if budget.measure == "quality" else "="
    raise UserError(
        f"no student meets --budget {budget.measure}{sign}{budget.bound:g}: the nearest is {near.name} with "
        f"{budget.measure} {getattr(near, budget.measure):.4g}"
    )


class Trials(NamedTuple):
    """What can be known of a point."""

    cost: Callable[[Variant], Tried]
    """Of an untrained point: what it costs does not depend on its numbers (quality 0)."""
    train: Callable[[Variant], Tried]
    scorer: Callable[[Variant], Scorer]
    """The student of a point that was trained, as it is stored."""


def trials(config: Config, folder: Path, found: dict[str, Artifact], say: Callable[[str], None]) -> Trials:
    """Variants of the student in ``found``; what was trained is kept in ``folder`` and not trained again."""
    data = inputs.training_data(config, {"prepare": found["prepare"]})
    model, distilled = config.student.model, found["distill"].folder
    student = inputs.fitted(distilled / "student", model)
    asked, select = inputs.requests_of(data, "valid"), config.evaluate.select
    width, ks = variants.width_of(model, student), (config.evaluate.select_cutoff(data.items),)
    measures = rank_metrics(config.evaluate.known)

    def quality(name: str, scorer: Scorer) -> float:
        found = ranking.evaluate(scorer, asked, ks=ks, measures=measures, description=f"ranking, {name}")
        return found.means[select]

    teacher = config.teacher.scorer(inputs.fitted(found["teacher"].folder / "model", config.teacher))
    best = quality("teacher", teacher)

    def prepare(variant: Variant) -> Prepared:
        return variants.prepare(model, student, variant, data.popularity, config.seed)

    def measured(prepared: Prepared, judge: Callable[[str, Scorer], float]) -> Tried:
        variant, scorer = prepared.variant, prepared.model.scorer(prepared.stored())
        cost = cost_of(scorer, config.data.length, config.evaluate.latency_repeats, config.seed)
        value = judge(variant.name, scorer)
        return Tried(variant.name, value, value / best, variant.item_bytes, cost["flops_user_encoding"], cost["p50_ms"])

    def cost(variant: Variant) -> Tried:
        return measured(prepare(variant), lambda name, scorer: 0.0)

    decides = [found["distill"].hash, classes.as_dict(config.compress.training), config.compress.dropout]

    def train(variant: Variant) -> Tried:
        weight = compressing.teacher_weight(config.student.teacher_weight[-1], variant.width, width)
        known = folder / f"{variant.name} {hashing.digest([*decides, weight, variant.name, variant.width])}.json"
        if known.exists():
            return Tried(**json.loads(known.read_text()))
        place = folder / variant.name
        place.mkdir(parents=True, exist_ok=True)
        own = inputs.run_of(config, data, place, variant.name, "compress")
        tune = compress.fine_tuner(config, data, own, distilled, variant, width)
        small = compressing.compress(prepare(variant), config.compress, tune)
        shutil.rmtree(place)
        inputs.save(place, small.state)
        tried = measured(small, quality)
        write_json(known, tried._asdict())
        say(f"{tried.name}: {select} {tried.ndcg:.4f}, {tried.quality:.1%} of the teacher's, on validation")
        return tried

    def scorer(variant: Variant) -> Scorer:
        trained = prepare(variant)._replace(state=inputs.fitted(folder / variant.name, model))
        return trained.model.scorer(trained.stored())

    return Trials(cost, train, scorer)


def keep(config: Config, name: str, say: Callable[[str], None]) -> Config:
    """Makes the chosen point an artifact and the index of it; the config with it."""
    names = (*(point for point in config.compress.variants if point != name), name)
    chosen = replace(config, compress=replace(config.compress, variants=names, serve=name))
    runner.run(chosen, ("compress", "index"), update=True, say=say)
    return chosen
