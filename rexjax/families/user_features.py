"""User features in batches: each event gets those of its user."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from rexjax.data.batches import Batch
from rexjax.data.features.fitted import FeatureArray
from rexjax.data.histories import log_positions
from rexjax.errors import UserError
from rexjax.families.base import TrainingData
from rexjax.models.scorer import USER, owners


def user_arrays(data: TrainingData, names: Iterable[str], key: str) -> tuple[FeatureArray, ...]:
    """What the named user features are.

    Args:
        data: the training part of a log.
        names: of user features, as their arrays are called.
        key: the model's key in the config, for messages.

    Raises:
        UserError: there is no such user feature.
    """
    known = {array.name: array for array in data.described if array.about == "user" and array.kind != "weights"}
    if unknown := [name for name in names if name not in known]:
        raise UserError(
            f"--{key}.user-features names {', '.join(unknown)}, and the user features are "
            f"{', '.join(known) or 'none'}: declare them with user_features of data.columns, without user_time"
        )
    return tuple(known[name] for name in names)


def with_features(batch: Batch, data: TrainingData, reads: Iterable[str]) -> Batch:
    """A batch with what a scorer reads of users: their ids (``USER``) and their features, by the events' places."""
    wanted = set(reads)
    of_users = {array.name for array in data.described if array.about == "user"} & wanted
    if not (of_users or USER in wanted):
        return batch
    users = owners(data.log.offsets, np.searchsorted(log_positions(data.log), batch.events))
    features = {name: data.features[name][users] for name in sorted(of_users)} or None
    return batch._replace(users=users if USER in wanted else None, features=features)


def epochs_with_features(
    epochs: Callable[..., Iterator[Batch]], data: TrainingData, reads: tuple[str, ...]
) -> Callable[..., Iterator[Batch]]:
    """Epochs of batches with what a scorer reads of users."""

    def epoch(*place: Any) -> Iterator[Batch]:
        return (with_features(batch, data, reads) for batch in epochs(*place))

    return epoch if reads else epochs
