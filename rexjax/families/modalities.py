"""The kinds of vectors that items have, as a family that is trained by gradients reads them."""

from rexjax.errors import UserError
from rexjax.families.base import TrainingData
from rexjax.models.fusion import Fusion, Sum, Widths


def widths_of(data: TrainingData) -> Widths:
    """Columns of each kind of item vectors, in the order in which ``data.vectors`` has them side by side."""
    return tuple(vectors.shape[1] for vectors in data.content.values() if vectors.shape[1])


def check_modalities(modalities: Fusion, fusion: str, data: TrainingData, key: str) -> None:
    """Refuses a choice that nothing would read.

    Args:
        modalities: how the kinds become one vector.
        fusion: the key of that name, how that vector and the item's row become one.
        data: the training part of a log.
        key: the model's key in the config, for messages.

    Raises:
        UserError: the items have no vectors, or the model reads them before training alone.
    """
    chosen = type(modalities).__name__
    if modalities != Sum() and not data.vectors.shape[1]:
        raise UserError(
            f"{key}.modalities is {chosen}, and the items have no vectors: name --data.text or --encode.extra-vectors"
        )
    if modalities != Sum() and fusion == "init_from_text":
        raise UserError(
            f"{key}.modalities is {chosen}, and --{key}.fusion init_from_text reads vectors before training alone: "
            "choose another fusion, or leave modalities at Sum()"
        )
