import pytest

from rexjax.cli import renamed
from rexjax.cli.fields import keys_of
from rexjax.config import Config, Transformer

TRAINING = (
    *("epochs", "batch", "learning-rate", "warmup", "decay-steps", "weight-decay", "validate-every", "validate-users"),
    *("patience", "rows.optimizer", "rows.learning-rate", "rows.dtype", "rows.clip", "rows.capacity"),
)
FIRST_VERSION = {
    "": ("workdir", "seed", "save-every", "wandb", "mesh.data", "mesh.model"),
    "data.": (
        *("source", "path", "interactions", "items", "builder", "text", "engine", "beam", "min-rating", "holdout"),
        *("min-user-events", "min-item-events", "repeats", "split", "targets", "strict", "length"),
        *(f"columns.{name}" for name in ("user", "item", "time", "rating", "session", "category")),
        *(f"shop.{name}" for name in ("users", "items", "interactions", "days")),
    ),
    "encode.": ("model", "vectors", "words", "more", "width", "reduction"),
    "teacher.": (
        *("width", "layers", "heads", "blocks", "time", "dropout", "activations", "fusion", "temperature", "loss"),
        *("negatives", "members", *(f"training.{name}" for name in TRAINING)),
    ),
    "student.": (
        *("width", "encoder", "time", "kernels", "hidden", "layers", "heads", "dropout", "temperature", "list-length"),
        *("list-weight", "list-temperature", "prior", "ranking-weight", "alignment-weight", "rounds", "replaced"),
        *(f"training.{name}" for name in TRAINING),
    ),
    "compress.": ("points", "served", "dropout", *(f"training.{name}" for name in TRAINING)),
    "evaluate.": ("k", "exclude-seen", "resamples", "latency-repeats"),
}


@pytest.mark.parametrize("group", FIRST_VERSION)
def test_every_key_of_the_first_version_is_there_or_has_an_advice(group):
    known = {key.name for key in keys_of(Config(workdir="w", teacher=Transformer()))}
    for name in FIRST_VERSION[group]:
        old = group + name
        advice = renamed.advice(old)
        assert (old in known) != bool(advice), old
        if advice.startswith("it is now --"):
            assert advice.removeprefix("it is now --") in known, old


def test_no_group_of_the_table_is_without_an_old_key():
    old = {group + name for group, names in FIRST_VERSION.items() for name in names}
    for name in (*renamed.RENAMED, *renamed.REPLACED):
        assert any(key == name or key.startswith(f"{name}.") for key in old), name
