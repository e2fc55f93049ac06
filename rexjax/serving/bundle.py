"""Reads an exported folder and answers from it. Needs JAX, NumPy and file formats: no Flax, no model code.

Every file is copied into private memory and checked there against its SHA-256. Nothing is unpickled.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rexjax.errors import UserError
from rexjax.retrieval import files
from rexjax.serving import parts
from rexjax.serving.comparison import Compared
from rexjax.serving.popular import Popular
from rexjax.serving.programs import read
from rexjax.serving.search import Search

FORMAT = 5
Verify = Callable[[Path, bytes], None]
_TOLERANCE = 1e-3  # of a score, between platforms


class Probe(NamedTuple):
    """Questions whose answers are known."""

    histories: list[list[int]]
    ids: list[list[int]]
    scores: list[list[float]]


class Answer(NamedTuple):
    """Answers to a batch, best first."""

    scores: np.ndarray
    """float32 [B, K]; -inf where nothing is left."""
    ids: np.ndarray
    """int32 [B, K], dense ids."""


def accept(place: Path, manifest: bytes) -> None:
    """Trusts every export."""


class Bundle:
    """An exported folder in memory."""

    def __init__(self, folder: Path, manifest: bytes | None = None, verify: Verify = accept) -> None:
        """Checks and reads ``folder``, each file once.

        Args:
            folder: of the export.
            manifest: ``bundle.json`` of the export that is meant; None: the newest.
            verify: called with the parts' folder and ``bundle.json``; raises where the signature is not trusted.

        Raises:
            UserError: it is no export, of another format, not trusted, or a file is missing, altered or one too many.
        """
        parts.reading(folder, self._read, manifest, verify)

    def _read(self, export: parts.Export) -> None:
        about, read_files = export.about, export.files
        if about["format"] != FORMAT:
            raise UserError(f"{export.folder / parts.BUNDLE} is of another format than {FORMAT}: export again")
        self.folder, self.manifest = export.folder, export.manifest
        self.version, self.name = about["index"][:12], about.get("name", "served")
        self.items, self.rows = about["items"], about["rows"]  # the rest is padding
        self.length, self.excluded = about["length"], about["excluded"]
        self.k, self.few, self.room = (about[name] for name in ("k", "few", "room"))
        self.probe = Probe(**about["probe"])
        self.weights, self._real = files.from_memory(read_files), jax.device_put(np.int32(self.items))
        self.bytes_resident = sum(leaf.nbytes for leaf in self.weights.values())
        self._read_items(pq.read_table(pa.BufferReader(read_files["items.parquet"])))
        names = ("recommend", "few", "one", "filtered", "similar", "explain")
        self._programs = {name: read(read_files, name) for name in names if f"{name}.program" in read_files}
        self.compared = [
            Compared(name, size, read_files[f"{name}.safetensors"].tobytes(), read(read_files, name))
            for name, size in about.get("compared", {}).items()
        ]

    def _read_items(self, table: pa.Table) -> None:
        self.item_ids: list[str] = table["item_id"].to_pylist()
        self.titles: list[str] = table["title"].to_pylist()
        self.share = table["share"].to_numpy()
        self.by_id = {name: number for number, name in enumerate(self.item_ids)}
        self.categories, category_of = _categories(table)
        self.popular = Popular(self.share, category_of, 1 + int(category_of.max(initial=0)))
        self.search = Search(self.titles, self.item_ids, self.popular.order)

    def dense(self, names: list[str]) -> list[int]:
        """Dense ids of those items that are known."""
        return [number for number in map(self.by_id.get, names) if number is not None]

    def room_of(self, *, few: bool) -> int:
        """E of the program that gives ``few`` answers, or ``k``."""
        return self.room if few else self.length + self.excluded

    def recommend(
        self, histories: np.ndarray, exclude: np.ndarray, mask: np.ndarray | None = None, *, few: bool = False
    ) -> Answer:
        """After histories int32 [B, L] (latest last, -1 before), without exclude int32 [B, E] and what mask forbids.

        ``exclude`` is padded with -1; histories are not excluded by themselves. ``mask`` is bool [B, N]. E is at most
        L + ``excluded`` and K is ``k``; with ``few``, which is quicker, they are ``room`` and ``few`` (and no mask).
        """
        short = self.room_of(few=few) - exclude.shape[1]
        exclude = np.pad(exclude, ((0, 0), (0, short)), constant_values=-1) if short else exclude
        asked = histories.astype(np.int32), exclude.astype(np.int32)
        if mask is not None:
            return self._run("filtered", *asked, np.pad(mask, ((0, 0), (0, self.rows - self.items))))
        if few:
            return self._run("one" if len(histories) == 1 else "few", *asked)
        return self._run("recommend", *asked)

    def similar(self, items: np.ndarray) -> Answer:
        """Items nearest to each of int32 [B]."""
        return self._run("similar", items.astype(np.int32))

    @property
    def explains(self) -> bool:
        """Whether ``explain`` can be asked."""
        return "explain" in self._programs

    def explain(self, histories: np.ndarray, items: np.ndarray) -> np.ndarray:
        """What each event of histories int32 [B, L] gave to the score of its item int32 [B], and what is given always:
        float32 [B, L + 1], whose sum is the score."""
        arguments = histories.astype(np.int32), items.astype(np.int32)
        return np.asarray(self._programs["explain"](self.weights, *arguments))

    def _run(self, name: str, *arguments: np.ndarray) -> Answer:
        return Answer(*map(np.asarray, self._programs[name](self.weights, self._real, *arguments)))

    def check(self) -> None:
        """Asks what the exporter asked, and compares; asks the other programs, whose answers must agree with it.

        Raises:
            UserError: the answers differ.
        """
        asked = np.asarray(self.probe.histories, np.int32)
        none = np.full((len(asked), 0), -1, np.int32)
        found, scores = self.recommend(asked, none), np.asarray(self.probe.scores)
        k = scores.shape[1]
        alike = np.allclose(found.scores[:, :k], scores, atol=_TOLERANCE)
        apart = (scores[:, :-1] - scores[:, 1:] > 2 * _TOLERANCE).cumprod(1).astype(bool)  # until the first near tie
        same = found.ids[:, : k - 1] == np.asarray(self.probe.ids)[:, :-1]
        if not (alike and same[apart].all() and self._others_agree(asked, none, found)):
            raise UserError(f"{self.folder} gives other answers than at its export: export the workdir again")

    def _others_agree(self, asked: np.ndarray, none: np.ndarray, found: Answer) -> bool:
        """Whether few answers, filtered ones, similar items and explanations agree with ``found``."""
        mask = np.zeros((1, self.items), bool)
        mask[0, ::2] = True
        few, filtered = self.recommend(asked, none, few=True), self.recommend(asked[:1], none[:1], mask)
        similar = self.similar(np.zeros(1, np.int32))
        sound = [np.allclose(few.scores, found.scores[:, : self.few], atol=_TOLERANCE)]
        sound += [_in_range(answer, self.items) for answer in (found, few, filtered, similar)]
        sound += [bool((filtered.ids[np.isfinite(filtered.scores)] % 2 == 0).all())]
        if self.explains:
            given = self.explain(asked, found.ids[:, 0]).sum(1)
            sound += [np.allclose(given, found.scores[:, 0], atol=10 * _TOLERANCE)]
        return all(sound)


def _in_range(answer: Answer, items: int) -> bool:
    """Whether all answers are items."""
    ids = answer.ids[np.isfinite(answer.scores)]
    return bool(((ids >= 0) & (ids < items)).all())


def _categories(table: pa.Table) -> tuple[dict[str, int], np.ndarray]:
    """A number for each name, in their order, and the items' numbers, int32 [N]; none where the log knows none."""
    if "category" not in table.column_names:
        return {}, np.zeros(len(table), np.int32)
    names, numbers = np.unique(table["category"].to_numpy(), return_inverse=True)
    return {name: number for number, name in enumerate(names.tolist()) if name}, numbers.astype(np.int32)
