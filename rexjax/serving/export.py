"""Writes what a server needs into one folder that stands alone: programs, weights, ids, and hashes of all of it.

The programs are StableHLO. Those for CPU and GPU take a batch of any size. Those for TPU take batches of
``TPU_SIZES``, since the kernels of top-k need to know the size. Whoever reads the folder (``rexjax.serving.bundle``)
needs neither Flax nor the model's code.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jax import export as exports

from rexjax import native
from rexjax.artifacts import hashing, lock, paths, store
from rexjax.artifacts.store import Artifact
from rexjax.embedding.row_format import arrays_by_row
from rexjax.embedding.rows import take
from rexjax.errors import UserError
from rexjax.families.base import need_history_alone
from rexjax.models.scorer import Query, Scorer
from rexjax.models.served import flatten
from rexjax.retrieval import files
from rexjax.retrieval import index as indexes
from rexjax.retrieval.answer import answer
from rexjax.retrieval.index import Index
from rexjax.retrieval.topk import top_k
from rexjax.serving import comparison_export, parts
from rexjax.serving.bundle import FORMAT, Probe
from rexjax.serving.programs import LOOPS, without_callers
from rexjax.serving.signature import signer
from rexjax.serving.workdir_models import model_index

PLATFORMS = ("cpu", "cuda")
"""What one program serves, whatever the batch."""
TPU_SIZES = (8, 64)
"""Batches that programs for TPU take."""
MOST, FEW = 100, 20
"""Answers that a program gives at most, and those of one that is quicker for giving fewer."""
EXCLUDED, ROOM = 64, 32
"""Items that a request may exclude besides its history, and all that it may exclude of the quicker program."""
_PROBES = 8


def write(
    workdir: Path, folder: Path, compare: bool = False, model: str = "", sign: Path | None = None
) -> dict[str, Any]:
    """Exports the index of a finished ``workdir``.

    Args:
        workdir: what ``rexjax run`` left.
        folder: where to.
        compare: also the teacher and the student that the index came from.
        model: a model of the workdir that is exported in place of the index's; "": none.
        sign: a PEM file with the private Ed25519 key that signs the export; None: it is not signed.

    Returns:
        The folder's ``bundle.json``.

    Raises:
        UserError: the index (or teacher or student) is not there or damaged, ``folder`` holds something else or cannot
            be written, or another export writes into it.
    """
    paths.check_folder(folder, "FOLDER")
    if parts.is_foreign(folder):
        raise UserError(f"{folder} holds something else: export into a new folder")
    sign_with = signer(sign) if sign else None
    source = _read(workdir, compare, model)
    with lock.of(folder) as owner:
        if store.find(workdir / "index").folder != source.artifact.folder:  # what was exported meanwhile may be newer
            source = _read(workdir, compare, model)
        return parts.publish(folder, source.artifact.hash[:12], partial(_write, source), owner, sign_with)


class _Source(NamedTuple):
    """What is exported."""

    artifact: Artifact
    index: Index
    model: str
    compared: dict[str, Scorer]


def _read(workdir: Path, compare: bool, model: str) -> _Source:
    def read(artifact: Artifact) -> _Source:
        index = indexes.read(store.check_files(artifact).folder)
        index = model_index(workdir, model, index) if model else index
        need_history_alone(index.scorer, f"--model {model}" if model else index.name, "an export")
        return _Source(artifact, index, model, comparison_export.read(workdir, index) if compare else {})

    return store.reading(workdir / "index", read)


def _write(source: _Source, place: Path) -> dict[str, Any]:
    """Writes the parts into ``place``; returns what is known about them."""
    index, of_index = source.index, source.artifact.hash
    _write_parts(index, place)
    return {
        "format": FORMAT,
        "index": hashing.digest([of_index, source.model]) if source.model else of_index,
        "name": index.name,
        "compared": comparison_export.write(source.compared, index.length, place, PLATFORMS),
        "items": len(index.titles),
        "rows": rows_of(index),
        "length": index.length,
        "k": min(MOST, len(index.titles)),
        "few": min(FEW, len(index.titles)),
        "excluded": EXCLUDED,
        "room": ROOM,
        "platforms": (*PLATFORMS, "tpu"),
        "probe": _probe(index)._asdict(),
    }


def _write_parts(index: Index, place: Path) -> None:
    weights = weights_of(index)
    for name, run in programs(index, weights).items():
        (place / f"{name}.program").write_bytes(run.serialize())
    for size in TPU_SIZES:
        for name, run in programs(index, weights, ("tpu",), size).items():
            (place / f"{name}.tpu{size}.program").write_bytes(run.serialize())
    files.write(place, weights)
    table = {"item_id": index.item_ids, "title": index.titles, "share": index.share}
    table |= {"category": index.categories} if index.categories else {}
    pq.write_table(pa.table(table), place / "items.parquet")


def programs(
    index: Index, weights: dict[str, np.ndarray], platforms: tuple[str, ...] = PLATFORMS, size: int = 0
) -> dict[str, exports.Exported]:
    """All of them give scores float32 [B, K] and ids int32 [B, K]; B is ``size``, or, for 0, symbolic. N, the
    number of items, is told.

    ``recommend``, and ``few``, whose K and E are smaller: (weights, N int32, histories int32 [B, L], exclude int32
    [B, E]). ``one`` is ``few`` for B = 1, where maxima are quicker found in another way; ``one.loops`` finds them by
    the loops of ``rexjax.native``. ``filtered`` takes besides mask bool [B, ``room(N)``], the items that may be
    answered. ``similar``: (weights, N, items int32 [B]). ``explain``, which pooled students have: (weights, histories,
    items int32 [B]) → float32 [B, L + 1], what each event gave.
    """
    scorer, items, rows = index.scorer, len(index.titles), rows_of(index)
    vectors = scorer.vectors
    most, few = min(MOST, items), min(FEW, items)

    def recommend(k: int) -> Callable[..., Any]:
        def run(weights: Any, real: jax.Array, histories: jax.Array, exclude: jax.Array, mask: Any = None) -> Any:
            state = index.restore(weights)
            queries = scorer.encode(state, Query(histories))
            return top_k(queries, vectors(state), k, exclude=exclude, mask=mask, real=real)

        return run

    def similar(weights: Any, real: jax.Array, ids: jax.Array) -> Any:
        rows = vectors(index.restore(weights))
        queries = take(rows, ids[:, None])[0][:, 0]
        return top_k(queries, rows, most, exclude=ids[:, None], cosine=True, real=real)

    abstract = {name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for name, leaf in weights.items()}

    def export(run, *asked):
        with native.without(), without_callers():  # other machines may not have its loops
            return exports.export(jax.jit(run), platforms=platforms)(abstract, *asked)

    def export_with_loops(run, *asked):
        checks = native.disabled_checks()
        with without_callers():
            return exports.export(jax.jit(run), platforms=("cpu",), disabled_checks=checks)(abstract, *asked)

    def ids(*shape):
        return jax.ShapeDtypeStruct(shape, jnp.int32)

    batch = size or exports.symbolic_shape("b")[0]
    asked = ids(), ids(batch, index.length), ids(batch, index.length + EXCLUDED)
    found = {
        "recommend": export(recommend(most), *asked),
        "few": export(recommend(few), *asked[:2], ids(batch, ROOM)),
        "filtered": export(recommend(most), *asked, jax.ShapeDtypeStruct((batch, rows), bool)),
        "similar": export(similar, ids(), ids(batch)),
    }
    if not size:
        alone = ids(), ids(1, index.length), ids(1, ROOM)
        found["one"] = export(recommend(few), *alone)
        if native.available():
            found[f"one{LOOPS}"] = export_with_loops(recommend(few), *alone)
    if scorer.explain:

        def explain(weights: Any, histories: jax.Array, items: jax.Array) -> jax.Array:
            return scorer.explain(index.restore(weights), Query(histories), items)

        found["explain"] = export(explain, asked[1], ids(batch))
    return found


def room(items: int) -> int:
    """Rows that an export of so many items has: at most a sixteenth more, so that the programs of one catalogue are
    those of the next one, byte for byte, and a server finds them compiled."""
    step = 1 << max(0, items.bit_length() - 5)
    return -(-items // step) * step


def weights_of(index: Index) -> dict[str, np.ndarray]:
    """The index's arrays, item rows padded with zeros."""
    leaves, padding = flatten(index.scorer.state), (0, rows_of(index) - len(index.titles))
    padded = {name: np.pad(leaves[name], (padding, (0, 0))) for name in _row_names(index)}
    return leaves | padded


def rows_of(index: Index) -> int:
    """Rows that the export has: padded, where the item vectors are arrays of the state as they stand."""
    return room(len(index.titles)) if _row_names(index) else len(index.titles)


def _row_names(index: Index) -> list[str]:
    """Names of the arrays in the state that have an entry for each item vector."""
    rows = {id(leaf) for leaf in arrays_by_row(index.scorer.vectors(index.scorer.state))}
    leaves = jax.tree_util.tree_leaves(index.scorer.state)
    return [name for name, leaf in zip(flatten(index.scorer.state), leaves, strict=True) if id(leaf) in rows]


def _probe(index: Index) -> Probe:
    """A few questions and their answers, by which a reader finds out whether it answers alike."""
    scorer, rng, items = index.scorer, np.random.default_rng(0), len(index.titles)
    histories = rng.integers(0, items, (_PROBES, index.length)).astype(np.int32)
    scores, ids = jax.jit(answer(scorer, min(10, items)))(scorer.state, histories, np.zeros((_PROBES, 0), np.int32))
    return Probe(histories.tolist(), np.asarray(ids).tolist(), np.asarray(scores).tolist())
