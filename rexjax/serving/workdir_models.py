"""The fitted models of a finished workdir, by their names in its tables."""

from pathlib import Path
from typing import Any

from rexjax.artifacts import store
from rexjax.artifacts.classes import from_dict
from rexjax.distillation.settings import Student
from rexjax.errors import UserError
from rexjax.families.base import Model, named, need_vectors
from rexjax.models.served import unflatten
from rexjax.retrieval.index import Index
from rexjax.training.checkpoint import restore_tree

_PLACES = {
    "teacher": ("teacher", "model"),
    "student": ("distill", "student"),
    "student_control": ("distill", "control"),
}


def model_index(workdir: Path, name: str, index: Index) -> Index:
    """``index`` with another model of the workdir in the place of the one that is served.

    Raises:
        UserError: the workdir has no such model, it has no item vectors, or it knows other items than the index.
    """
    model, state = fitted(workdir, name)
    scorer = model.scorer(state)
    need_vectors(scorer, f"--model {name}", "an export")
    if scorer.items != len(index.item_ids):
        raise UserError(
            f"--model {name} knows {scorer.items} items and the index in {workdir} has {len(index.item_ids)}: remove "
            "the index and make it anew with `rexjax index CONFIG`"
        )

    def restore(leaves: dict[str, Any]) -> Any:
        return model.state_from(unflatten(leaves))

    return index._replace(scorer=scorer, restore=restore, name=name)


def fitted(workdir: Path, name: str) -> tuple[Model, Any]:
    """A family and its state: "teacher", "student", "student_control" or a baseline.

    Raises:
        UserError: there is none of that name.
    """
    files = workdir / store.CONFIG_FILES
    stage, place = _PLACES.get(name, ("baselines", name))
    artifact = store.read(workdir / stage)
    config = artifact.manifest["config"]
    if stage == "teacher":
        model = from_dict(Model, config["teacher"], files)
    elif stage == "distill":
        model = from_dict(Student, config["student"], files).model
    else:
        models = named(tuple(from_dict(Model, settings, files) for settings in config["baselines"]))
        known = [own for own in models if own in artifact.metrics["valid"]]
        if name not in known:
            raise UserError(f"{workdir} has no model {name!r}: it has {', '.join([*_PLACES, *known])}")
        model = models[name]
    return model, model.state_from(unflatten(restore_tree(artifact.folder / place)))
