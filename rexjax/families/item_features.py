"""Item features as columns beside the items' text vectors: an item encoder projects them, which embeds each value."""

from collections.abc import Sequence

import numpy as np

from rexjax.data.features.fitted import FeatureArray
from rexjax.errors import UserError
from rexjax.families.base import TrainingData

MOST_BYTES = 1 << 31
"""Of the columns of all items."""


def feature_columns(data: TrainingData, names: Sequence[str], key: str) -> np.ndarray:
    """The named item features as columns of numbers: float32 [N, C].

    An id is a column of its own with a 1; a bag has the shares of its weights; a number is one column.

    Args:
        data: the training part of a log.
        names: of item features, as their arrays are called.
        key: the model's key in the config, for messages.

    Raises:
        UserError: there is no such item feature, or the columns need too many bytes.
    """
    known = {array.name: array for array in data.described if array.about == "item" and array.kind != "weights"}
    if unknown := [name for name in names if name not in known]:
        raise UserError(
            f"--{key}.item-features names {', '.join(unknown)}, and the item features are "
            f"{', '.join(known) or 'none'}: declare them with item_features of data.columns"
        )
    needed = 4 * data.items * sum(max(known[name].cardinality, 1) for name in names)
    if needed > MOST_BYTES:
        raise UserError(
            f"--{key}.item-features need {needed / 1e9:,.1f} GB for {data.items:,} items, and at most "
            f"{MOST_BYTES / 1e9:,.1f} GB are used: set size or hashed of the features"
        )
    return np.concatenate([np.zeros((data.items, 0), np.float32), *(_columns(data, known[name]) for name in names)], 1)


def _columns(data: TrainingData, array: FeatureArray) -> np.ndarray:
    values = data.features[array.name]
    if array.kind == "numbers":
        return values[:, None]
    ids = values.reshape(data.items, -1)
    weights = data.features.get(f"{array.name}_weights", np.ones(ids.shape)) * (ids >= 0)
    shares = weights / np.maximum(np.abs(weights).sum(1, keepdims=True), 1e-9)
    columns = np.zeros((data.items, array.cardinality), np.float32)
    np.add.at(columns, (np.arange(data.items)[:, None], np.maximum(ids, 0)), shares)
    return columns
