"""Re-ranking of the answers of a finished workdir, with the strength that stage evaluate chose."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rexjax.artifacts import store
from rexjax.artifacts.classes import from_dict
from rexjax.artifacts.store import Artifact
from rexjax.pipeline.stages import inputs
from rexjax.rerank.lists import Catalogue, catalogue, check, rerank_lists
from rexjax.rerank.settings import Rerank
from rexjax.retrieval.index import Index


class Reranking(NamedTuple):
    """How lists are chosen from the index's answers."""

    method: Rerank
    known: Catalogue
    """In the dense ids of the index."""
    strength: float
    length: int
    """The latest events of a history that are read."""

    def candidates(self, k: int) -> int:
        """Items that the index is asked for, where k are wanted."""
        return min(max(k, self.method.candidates), len(self.known.vectors))


def read_reranking(workdir: Path, index: Index) -> Reranking | None:
    """The re-ranking of a finished workdir; None where lists stay in the order of scores.

    Items that came into the index after training have their category and no content: they are like no other.
    """
    if not (workdir / "evaluate").exists():
        return None
    return store.reading(workdir / "evaluate", partial(_read, workdir, index))


def _read(workdir: Path, index: Index, evaluated: Artifact) -> Reranking | None:
    found = evaluated.metrics.get("rerank")
    if not found:
        return None
    method = from_dict(Rerank, evaluated.manifest["config"]["rerank"], store.config_files(evaluated.folder))
    strength = found["models"][evaluated.metrics["served"]]["strength"]
    vectors = _vectors(workdir, index) if method.needs == "vectors" or method.personal else None
    known = catalogue(vectors, index.categories, len(index.item_ids), method.separator)
    check(method, known, 1)
    return Reranking(method, known, strength, index.length)


def _vectors(workdir: Path, index: Index) -> np.ndarray:
    """float32 [N, W] in the index's order."""
    content = np.concatenate(list(inputs.content(store.read(workdir / "encode")).values()), 1)
    trained = [index.rows.get(str(item), -1) for item in inputs.titles(store.read(workdir / "prepare"))["item_id"]]
    at = np.asarray(trained)
    vectors = np.zeros((len(index.item_ids), content.shape[1]), np.float32)
    vectors[at[at >= 0]] = content[at >= 0]
    return vectors


def rerank_answers(
    reranking: Reranking, histories: Sequence[np.ndarray], ids: np.ndarray, scores: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """The k items that are chosen from each list of candidates, and their scores, which need not fall.

    Args:
        reranking: the method.
        histories: U lists of dense ids, the latest last.
        ids: int32 [U, C], -1 where there is no candidate.
        scores: float32 [U, C].
        k: at most C; fewer where there are fewer candidates.
    """
    read = np.full((len(histories), reranking.length), -1, np.int32)
    for row, history in zip(read, histories, strict=True):
        latest = np.asarray(history, np.int32)[-reranking.length :]
        row[len(row) - len(latest) :] = latest
    width = min(k, ids.shape[1])
    places = rerank_lists(reranking.method, reranking.known, read, scores, ids, width, reranking.strength)
    at = np.maximum(places, 0)
    chosen, worth = np.take_along_axis(ids, at, 1), np.take_along_axis(scores, at, 1)
    return np.where(places >= 0, chosen, -1), np.where(places >= 0, worth, -np.inf).astype(np.float32)
