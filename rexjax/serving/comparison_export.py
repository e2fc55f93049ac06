"""The models that an index came from, exported beside it to be compared: the teacher, and the student in float32."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import safetensors.numpy
from jax import export as exports

from rexjax import native
from rexjax.artifacts import store
from rexjax.artifacts.classes import from_dict
from rexjax.distillation.settings import Student
from rexjax.errors import UserError
from rexjax.families.base import Model, need_history_alone
from rexjax.models.scorer import Scorer
from rexjax.models.served import flatten, unflatten
from rexjax.retrieval.answer import answer
from rexjax.retrieval.index import Index
from rexjax.serving.comparison import MOST
from rexjax.serving.programs import without_callers
from rexjax.training.checkpoint import restore_tree


def read(workdir: Path, index: Index) -> dict[str, Scorer]:
    """Teacher and student of the workdir that ``index`` was made in, by name.

    Raises:
        UserError: they are not there, damaged, or of other items than the index.
    """
    try:
        teacher, distilled = (store.read(workdir / stage) for stage in ("teacher", "distill"))
        saved = restore_tree(teacher.folder / "model"), restore_tree(distilled.folder / "student")
    except UserError as error:
        raise UserError(f"--compare needs the workdir's teacher and student: {error}") from error
    if index.version > 1:
        raise UserError(
            f"--compare: `rexjax items` has changed the index in {workdir}, and teacher and student know only the "
            "log's items: export without --compare, or remove the index and run `rexjax index CONFIG`"
        )
    files = workdir / store.CONFIG_FILES
    models = {
        "teacher": from_dict(Model, teacher.manifest["config"]["teacher"], files),
        "student": from_dict(Student, distilled.manifest["config"]["student"], files).model,
    }
    states = [unflatten(leaves) for leaves in saved]
    found = {
        name: model.scorer(model.state_from(tree)) for (name, model), tree in zip(models.items(), states, strict=True)
    }
    for name, scorer in found.items():
        need_history_alone(scorer, f"--compare: the {name}", "an export")
    lengths = {artifact.manifest["config"]["data.length"] for artifact in (teacher, distilled)}
    if lengths != {index.length} or {scorer.items for scorer in found.values()} != {len(index.titles)}:
        raise UserError(
            f"--compare: teacher and student in {workdir} have other items or another history length than its index, "
            f"which has {len(index.titles)} items and length {index.length}: run `rexjax run CONFIG` first"
        )
    return found


def write(models: dict[str, Scorer], length: int, place: Path, platforms: Sequence[str]) -> dict[str, int]:
    """Writes ``NAME.program``, ``NAME.tpu1.program`` and ``NAME.safetensors`` of each into ``place``, for histories of
    ``length``.

    Returns:
        The bytes that each must have resident.
    """
    found = {}
    for name, scorer in models.items():
        weights = flatten(scorer.state)
        (place / f"{name}.program").write_bytes(_export(scorer, weights, length, platforms).serialize())
        (place / f"{name}.tpu1.program").write_bytes(_export(scorer, weights, length, ("tpu",)).serialize())
        safetensors.numpy.save_file(weights, place / f"{name}.safetensors")
        found[name] = sum(leaf.nbytes for leaf in weights.values())
    return found


def _export(scorer: Scorer, weights: dict[str, Any], length: int, platforms: Sequence[str]) -> exports.Exported:
    """(weights, histories int32 [1, L], exclude int32 [1, L]) → scores float32 [1, K] and ids int32 [1, K]."""
    request, structure = answer(scorer, min(MOST, scorer.items)), jax.tree.structure(scorer.state)
    order = list(weights)

    def run(weights: dict[str, jax.Array], *asked: jax.Array) -> Any:
        return request(jax.tree.unflatten(structure, [weights[name] for name in order]), *asked)

    abstract = {name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for name, leaf in weights.items()}
    one = jax.ShapeDtypeStruct((1, length), jnp.int32)
    with native.without(), without_callers():  # other machines may not have its loops
        return exports.export(jax.jit(run), platforms=platforms)(abstract, one, one)
