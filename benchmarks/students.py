"""Students beside their teacher: what each keeps, what it saves, and what every part of its training is worth.

    python -m benchmarks.students beauty --seeds 0 1 2 --data FOLDER --json benchmarks/results/students.json

The teacher is that of ``benchmarks.teachers`` (trained if it is not there) for ``--teacher-seed``. For each seed a
student, its control without teacher, a small sequential student (HSTU's blocks, as wide) and, with ``--ablate``,
students with one part of the training left out are trained with the config's settings; each student is compressed to
every variant of the config and to the best ones of 64, 32 and 16 bytes an item (chosen on the first seed's validation,
as by ``rexjax compress --budget``). The control is trained twice: with the student's settings, and, where others do it
good, with its own (``TUNED``). All rank the whole catalogue on test; differences are paired over users, and over seeds
where there are several. ``--split cold_items`` holds a twentieth of the items out of training altogether and tests on
them.
"""

import argparse
import json
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import record, teachers
from rexjax.artifacts import classes, hashing
from rexjax.artifacts.store import Artifact
from rexjax.compression import variants
from rexjax.config import Config, Transformer
from rexjax.distillation import teacher_top_k
from rexjax.evaluation import comparison, ranking, significance
from rexjax.evaluation.models import cost_of, top_lists
from rexjax.evaluation.ranking import Requests, Result
from rexjax.models.scorer import Scorer
from rexjax.pipeline import budget
from rexjax.pipeline.budget import Budget
from rexjax.pipeline.stages import distill, evaluate, inputs

BYTES = (64, 32, 16)
CUTS = (1, 3, 10)
TUNED = {
    "beauty": {"model": {"temperature": 0.1}},
    "sports": {"model": {"temperature": 0.1}},
    "online_retail": {"model": {"temperature": 0.27, "training": {"weight_decay": 0.04}}},
}
"""What the control has otherwise than the student, chosen on validation: on Beauty among temperatures (.05, .1, .14),
dropout (.3, .5), profiles and hidden width; on Sports this temperature alone was tried beside the student's;
on Online Retail by ``rexjax sweep`` with thirty trials, as many as its student had."""
_METRICS = ("ndcg@10", "recall@10")


def main() -> None:
    """Trains, compresses, ranks, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sets", nargs="+", choices=sorted(teachers.SETS), help="which logs")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="one student and one control each")
    parser.add_argument("--teacher-seed", type=int, default=0, help="of the one teacher")
    parser.add_argument("--quick", action="store_true", help="students, controls, int8 and the served variant alone")
    parser.add_argument("--ablate", action="store_true", help="also students with one part left out")
    parser.add_argument(
        "--split", choices=["leave_one_out", "global_time", "cold_items"], default="", help="--data.split"
    )
    parser.add_argument("--data", default=os.environ.get("REXJAX_DATA", ""), help="folder of the benchmark data sets")
    parser.add_argument("--json", default="", help="where to write the rows")
    flags = parser.parse_args()
    rows = record.rows(flags.json)
    for name in flags.sets:
        found = _Set(name, flags.split, flags.data, flags.teacher_seed).rows(flags.seeds, flags.ablate, flags.quick)
        for row in found:
            print(row, flush=True)
        rows = [row for row in rows if (row["dataset"], row["case"]) != (name, found[0]["case"])] + found
        record.write(flags.json, rows, ("jax", "flax", "optax", "numpy"))


class _Set:
    """One log, its teacher, and what is asked on its test part."""

    def __init__(self, name: str, split: str, data: str, teacher_seed: int) -> None:
        variant = teachers.Variant(name, "", split, data)
        self.name, self.case = name, variant.label
        self.config, self.artifacts = variant.trained(teacher_seed, text=True)
        self.data = inputs.training_data(self.config, self.artifacts)
        self.asked = inputs.requests_of(self.data, "test")
        state = inputs.fitted(self.artifacts["teacher"].folder / "model", self.config.teacher)
        self.teacher = self.config.teacher.scorer(state)
        self.of_teacher = self._ranked("teacher", self.teacher, self.asked)

    def rows(self, seeds: list[int], ablate: bool, quick: bool) -> list[dict[str, Any]]:
        """All figures; those of short histories for the first seed."""
        students = {seed: self._distilled(self.config, seed) for seed in seeds}
        found = [self._row("teacher", [self.of_teacher], self.teacher)]
        for name in ("student", "control"):
            models = [self._model(self.config, folder / name) for folder in students.values()]
            found.append(self._row(name, [self._ranked(name, model, self.asked) for model in models], models[0]))
        taught, control = (
            [self._per_user(folder / name) for folder in students.values()] for name in ("student", "control")
        )
        found += [self._gain("student - control", taught, control)]
        if self.name in TUNED:
            config = replace(self.config, student=_changed(self.config.student, TUNED[self.name]))
            folders = [self._distilled(config, seed, ("control",)) / "control" for seed in seeds]
            tuned = [self._per_user(folder, config) for folder in folders]
            found += [self._gain("student - tuned control", taught, tuned)]
        if ablate:
            for change, config in _ablations(self.config).items():
                others = [self._per_user(self._distilled(config, seed, ("student",)) / "student") for seed in seeds]
                found += [self._gain(f"student - {change}", taught, others)]
        if not quick:
            found.append(self._sequential(seeds))
        return found + self._short(students[seeds[0]]) + self._compressed(students, quick) + self._baselines()

    def _sequential(self, seeds: list[int]) -> dict[str, Any]:
        config = replace(self.config, student=replace(self.config.student, model=_sequential(self.config)))
        folders = [self._distilled(config, seed, ("student",)) for seed in seeds]
        models = [self._model(config, folder / "student") for folder in folders]
        return self._row("sequential", [self._ranked("sequential", model, self.asked) for model in models], models[0])

    def _distilled(self, config: Config, seed: int, models: tuple[str, ...] = ("student", "control")) -> Path:
        """Folder of a student, and its control; lists that are the same for several are written once."""
        plain, own = classes.as_dict(self.config.student), classes.as_dict(config.student)
        about = " ".join([str(seed), *hashing.differences(plain, own)])
        folder = self.artifacts["teacher"].folder / f"student {re.sub(r'[^a-z0-9._-]+', ' ', about).strip()}"
        folder.mkdir(exist_ok=True)
        teacher_top_k.share(folder, folder.with_name("lists"), config.student, seed)
        if not (folder / "metrics.json").exists():
            metrics = distill.run(replace(config, seed=seed), folder, self.artifacts, models)
            (folder / "metrics.json").write_text(json.dumps(metrics))
        return folder

    def _model(self, config: Config, folder: Path) -> Scorer:
        return config.student.model.scorer(inputs.fitted(folder, config.student.model))

    def _ranked(self, name: str, model: Scorer, asked: Requests) -> Result:
        return ranking.evaluate(model, asked, ks=(10,), description=f"ranking, {name}")

    def _per_user(self, folder: Path, config: Config | None = None) -> np.ndarray:
        model = self._model(config or self.config, folder)
        return self._ranked(folder.name, model, self.asked).per_user["ndcg@10"]

    def _row(self, model: str, results: list[Result], one: Scorer) -> dict[str, Any]:
        cost = cost_of(one, self.data.length, self.config.evaluate.latency_repeats, self.config.seed)
        row = {"dataset": self.name, "case": self.case, "model": model, "seeds": len(results)}
        row |= {metric: float(np.mean([result.means[metric] for result in results])) for metric in _METRICS}
        every = np.stack([result.per_user["ndcg@10"] for result in results])
        own, other = every.mean(0), self.of_teacher.per_user["ndcg@10"]
        told = comparison.compare(every, other)  # over users and the students' seeds
        row |= {"margin": told.margin, "equal": told.equal, "detectable": told.detectable}
        return row | {"kept": float(own.mean() / other.mean())} | _difference(own, other) | cost

    def _gain(self, name: str, ours: list[np.ndarray], others: list[np.ndarray]) -> dict[str, Any]:
        a, b = np.mean(ours, 0), np.mean(others, 0)
        row = {"dataset": self.name, "case": self.case, "model": name, "seeds": len(ours)}
        return row | {"gain": float(a.mean() / b.mean() - 1)} | _difference(a, b)

    def _short(self, folder: Path) -> list[dict[str, Any]]:
        """Teacher and student on the last events alone."""
        student, found = self._model(self.config, folder / "student"), []
        for events in CUTS:
            late = np.arange(self.asked.histories.shape[1]) >= self.asked.histories.shape[1] - events
            cut = self.asked._replace(histories=np.where(late, self.asked.histories, -1).astype(np.int32))
            both = {
                name: self._ranked(name, model, cut)
                for name, model in (("teacher", self.teacher), ("student", student))
            }
            for name, result in both.items():
                row = {"dataset": self.name, "case": self.case, "model": f"{name}, last {events}"}
                found.append(row | {metric: result.means[metric] for metric in _METRICS})
        return found

    def _compressed(self, students: dict[int, Path], quick: bool) -> list[dict[str, Any]]:
        """Each point, made of every seed's student, beside the whole ones; the first one's says which are the best of
        so many bytes."""
        trials = [self._trials(replace(self.config, seed=seed), folder) for seed, folder in students.items()]
        wholes = [self._model(self.config, folder / "student") for folder in students.values()]
        theirs = np.mean([self._ranked("student", whole, self.asked).per_user["ndcg@10"] for whole in wholes], 0)
        lists = np.concatenate([self._lists(whole) for whole in wholes])
        found = []
        for about, point in self._points(trials[0], quick):
            models = [self._smaller(trial, point) for trial in trials]
            results = [self._ranked(point.name, model, self.asked) for model in models]
            ours = np.mean([result.per_user["ndcg@10"] for result in results], 0)
            lost = significance.paired_bootstrap(ours, theirs, seed=0)
            row = self._row(f"{about}{point.name}", results, models[0])
            row["of_student"] = float(ours.mean() / theirs.mean())
            row["minus_student"] = [lost.difference, lost.low, lost.high]
            pairs = zip(np.concatenate([self._lists(model) for model in models]), lists, strict=True)
            row["top10_overlap"] = float(np.mean([len(np.intersect1d(a, b)) / 10 for a, b in pairs]))
            found.append(row)
        return found

    def _trials(self, config: Config, folder: Path) -> budget.Trials:
        artifacts = self.artifacts | {"distill": Artifact(folder, {"hash": folder.name})}
        return budget.trials(config, folder / "budget", artifacts, print)

    def _smaller(self, trial: budget.Trials, point: variants.Variant) -> Scorer:
        trial.train(point)
        return trial.scorer(point)

    def _points(self, trial: budget.Trials, quick: bool) -> list[tuple[str, variants.Variant]]:
        config = self.config
        names = dict.fromkeys(("int8", config.compress.serve) if quick else (*config.compress.variants, "half"))
        named = [("", variants.parse(name, config.student.model.width)) for name in names]
        if quick:
            return named
        for size in BYTES:
            tried = [
                trial.train(point) for point in budget.candidates(config, Budget("bytes_per_item", size), trial.cost)
            ]
            best = max(tried, key=lambda one: one.ndcg)
            named.append((f"{size} bytes: ", variants.parse(best.name, config.student.model.width)))
        return named

    def _lists(self, model: Scorer) -> np.ndarray:
        """The first ten items for the first 4,096 users: int32 [U, 10]."""
        asked, most = self.asked, min(4096, len(self.asked.histories))
        first = asked._replace(
            histories=asked.histories[:most],
            seen_offsets=asked.seen_offsets[: most + 1],
            times=None if asked.times is None else asked.times[:most],
        )
        return top_lists(model, first)

    def _baselines(self) -> list[dict[str, Any]]:
        models = evaluate.models_of(self.config, {"baselines": self.artifacts["baselines"]})
        return [self._row(name, [self._ranked(name, model, self.asked)], model) for name, model in models.items()]


def _sequential(config: Config) -> Transformer:
    """A student with one of HSTU's blocks that is otherwise as the config's."""
    same = ("width", "dropout", "time", "temperature", "logit_adjustment", "training")
    return Transformer(layers=1, block="hstu", **{name: getattr(config.student.model, name) for name in same})


def _changed(config: Any, changes: dict[str, Any]) -> Any:
    """``config`` (or part of one) with ``changes``, which may be nested."""
    own = vars(config)
    return replace(
        config,
        **{key: _changed(own[key], value) if isinstance(value, dict) else value for key, value in changes.items()},
    )


def _difference(a: np.ndarray, b: np.ndarray) -> dict[str, Any]:
    interval = significance.paired_bootstrap(a, b, seed=0)
    return {"difference": interval.difference, "interval": [interval.low, interval.high]}


def _ablations(config: Config) -> dict[str, Config]:
    """The same students with one part of what they are taught left out."""
    student = config.student
    parts = {
        "without the label": {"teacher_weight": (1.0,)},
        "without logit adjustment": {"model": {"logit_adjustment": 0.0}},
        "without augmented rounds": {"augmented_rounds": 0},
        "without alignment": {"alignment_weight": 0.0},
        "without schedules": {
            "teacher_weight": student.teacher_weight[:1],
            "teacher_temperature": student.teacher_temperature[:1],
        },
    }
    made = {name: replace(config, student=_changed(student, part)) for name, part in parts.items()}
    return {name: other for name, other in made.items() if other != config}


if __name__ == "__main__":
    main()
