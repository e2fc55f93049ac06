"""The Python front door: fit on data frames, look at the results, recommend."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from rexjax.artifacts import store, workdirs
from rexjax.artifacts.classes import from_dict
from rexjax.artifacts.store import Artifact
from rexjax.config.schema import Config
from rexjax.config.schema import load as load_config
from rexjax.data import frames
from rexjax.data.frames import Dataset
from rexjax.errors import UserError
from rexjax.models.scorer import Scorer
from rexjax.pipeline import recommend, runner
from rexjax.pipeline.reranking import Reranking, read_reranking
from rexjax.pipeline.stages import evaluate
from rexjax.retrieval.index import Index
from rexjax.runtime.platform import own_flags
from rexjax.runtime.progress import notice

_SHOWN = 5


class Experiment:
    """A finished workdir: its figures, its models, and recommendations from what is served."""

    def __init__(self, config: Config, frame: str = "pandas") -> None:
        """Opens the workdir of ``config``; ``frame`` is the kind of frames that come out."""
        self.config, self.workdir = config, workdirs.folder_of(config.workdir)
        self._frame = frame

    def __repr__(self) -> str:
        return f"Experiment({str(self.workdir)!r})\n{self.verdict}"

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """All figures, as in ``metrics.json``."""
        return self._artifact("evaluate").metrics

    @property
    def verdict(self) -> str:
        """Whether the run was any good, in at most five lines."""
        return "\n".join(self.metrics["verdict"])

    @property
    def table(self) -> Any:
        """A frame with a row per model: quality on validation and test, and the cost of a request."""
        rows = []
        for name, model in self.metrics["models"].items():
            quality = {
                f"{part} {metric}": value for part, found in model["quality"].items() for metric, value in found.items()
            }
            rows.append({"model": name, **quality, **model["cost"]})
        return self._out(pa.Table.from_pylist(rows))

    @property
    def curves(self) -> Any:
        """A frame with a row per model and epoch: loss, validation metrics, seconds."""
        curves = evaluate.curves_of({name: self._artifact(name) for name in ("teacher", "distill")})
        rows = [{"model": name, **epoch} for name, curve in curves.items() for epoch in curve]
        return self._out(pa.Table.from_pylist(rows))

    def model(self, name: str) -> Scorer:
        """A fitted model by its name in ``table``: "teacher", "student_int8", "ease" …

        Raises:
            UserError: there is none of that name.
        """
        if name not in self._models:
            raise UserError(f"{self.workdir} has no model {name!r}: it has {', '.join(self._models)}")
        return self._models[name]

    @cached_property
    def _models(self) -> dict[str, Scorer]:
        stages = ("baselines", "teacher", "distill", "compress")
        return evaluate.models_of(self.config, {name: self._artifact(name) for name in stages})

    @cached_property
    def index(self) -> Index:
        """What is served."""
        return recommend.read_index(self.workdir)

    @property
    def users(self) -> list[str]:
        """Ids of the users in the log."""
        return list(recommend.known_users(self._log))

    @cached_property
    def _log(self) -> recommend.Log:
        return recommend.read_log(self.workdir, self.index)

    @cached_property
    def _reranking(self) -> Reranking | None:
        return read_reranking(self.workdir, self.index)

    @own_flags()
    def recommend(
        self,
        users: Sequence[Any] | str | None = None,
        *,
        histories: Iterable[Sequence[Any]] | None = None,
        k: int = 10,
        exclude: Sequence[Any] = (),
        only: Sequence[Any] = (),
    ) -> Any:
        """The k best items of each user, by the model that is served.

        Args:
            users: ids of users of the log, or "all". Unknown users get the most popular items.
            histories: instead of users: item ids or titles of each, the latest last.
            k: items of each.
            exclude: item ids that are not recommended.
            only: item ids that alone are recommended; (): all.

        Returns:
            A frame with columns user, item, title, rank, score; ``user`` is the number of the history where histories
            are given.

        Raises:
            UserError: neither or both of users and histories, k beyond the catalogue, or an unknown item.
        """
        if (users is None) == (histories is None):
            raise UserError("recommend takes users or histories: pass one of the two")
        left_out, kept = self._dense(exclude, "exclude"), self._dense(only, "only")
        if histories is not None:
            named = [[str(item) for item in history] for history in histories]
            found = recommend.recommend_after(
                self.index,
                named,
                k,
                left_out,
                kept,
                exclude_seen=self.config.evaluate.exclude_seen,
                longest=self._log.longest,
                reranking=self._reranking,
            )
            _say_unknown(found.unknown, "items are not in the catalogue and are left out")
        else:
            names = self.users if isinstance(users, str) and users == "all" else [str(user) for user in users or ()]
            found = recommend.recommend(self.index, self._log, names, k, left_out, kept, self._reranking)
            _say_unknown(found.unknown, "users are not in the log and get the most popular items")
        return self._out(found.table)

    def _dense(self, items: Sequence[Any], argument: str) -> np.ndarray:
        names = [str(item) for item in items]
        if unknown := [name for name in names if name not in self.index.rows]:
            some = ", ".join(unknown[:_SHOWN])
            raise UserError(f"{argument} names {len(unknown)} items that are not in the catalogue: {some}")
        return np.asarray([self.index.rows[name] for name in names], np.int32)

    def _artifact(self, stage: str) -> Artifact:
        return store.read(self.workdir / stage)

    def _out(self, table: pa.Table) -> Any:
        return frames.to_frame(table, self._frame)


def _say_unknown(names: Sequence[str], what: str) -> None:
    if names:
        some = ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
        notice(f"{len(names)} {what}: {some}")


@own_flags()
def fit(
    dataset: Dataset,
    workdir: str | Path,
    config: Config | str | Path | None = None,
    *,
    update: bool = False,
    say: Callable[[str], None] = print,
    **data: Any,
) -> Experiment:
    """Runs all stages on a dataset; finished ones are skipped.

    Args:
        dataset: the log and its items (``Dataset.from_frames``).
        workdir: where the artifacts go; the frames are written there too.
        config: a ``Config`` or a config file, whose workdir and source of data are replaced; None: the default models.
        update: a workdir of another config is brought up to date.
        say: told one line as each stage begins and ends.
        **data: keys of ``Data``, such as ``split="global_time"`` or ``min_user_events=3``.

    Returns:
        The finished experiment.

    Raises:
        UserError: what a stage refuses.
    """
    config = load_config(config) if isinstance(config, str | Path) else config or Config(workdir=str(workdir))
    kept = ("split", "length", "repeats", "targets", "catalogue", "user_ids")
    settings = {name: getattr(config.data, name) for name in kept}
    workdir = workdirs.folder_of(workdir)
    written = dataset.write(workdir / "frames", **(settings | {"strict": False} | data))
    config = replace(config, workdir=str(workdir), data=written)
    stages = runner.stages_of(config)
    runner.run(config, tuple(stages), update=update, say=say)
    return Experiment(config, dataset.frame)


def load(workdir: str | Path, frame: str = "pandas") -> Experiment:
    """Opens a finished workdir, with the config that it was made with, overrides included.

    Args:
        workdir: where ``rexjax run`` or ``rexjax.fit`` left its artifacts.
        frame: kind of the frames that come out: "pandas", "polars" or "arrow".

    Raises:
        UserError: it is no workdir, or one of another version.
    """
    workdir = workdirs.folder_of(workdir)
    settings = workdirs.read_config(workdir)
    config = from_dict(Config, settings | {"workdir": str(workdir)}, workdir / store.CONFIG_FILES)
    return Experiment(config, frame)
