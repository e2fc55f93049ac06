"""What is new in a log: the users whose training events are not those of the log before."""

from dataclasses import replace

import numpy as np

from rexjax.data.histories import Histories, log_positions
from rexjax.errors import UserError
from rexjax.families.base import TrainingData


def changed_users(old: TrainingData, new: TrainingData) -> np.ndarray:
    """The users whose training events differ: int64 [K], ascending.

    Dense ids of ``old`` mean the same users and items in ``new``. Users that only one of the two has differ if they
    have a training event.

    Raises:
        UserError: ``new`` has fewer users or items than ``old``.
    """
    _check_grown(old, new)
    users = new.log.users
    (old_users, old_events), (new_users, new_events) = old.events(), new.events()
    counts = np.bincount(old_users, minlength=users)
    differ = counts != np.bincount(new_users, minlength=users)
    before, after = old_events[~differ[old_users]], new_events[~differ[new_users]]
    moved = old.log.items[before] != new.log.items[after]
    moved |= old.log.times[before] != new.log.times[after]
    differ[old_users[~differ[old_users]][moved]] = True
    return np.flatnonzero(differ)


def _check_grown(old: TrainingData, new: TrainingData) -> None:
    for what, before, after in (("users", old.log.users, new.log.users), ("items", old.items, new.items)):
        if after < before:
            raise UserError(
                f"the log has {after:,} {what} and the log before it had {before:,}: keep the dense ids of all "
                f"{what}, or fit the model anew"
            )


def restrict_to_users(data: TrainingData, users: np.ndarray) -> TrainingData:
    """``data`` with the events of some users alone (int [U'], ascending); the catalogue stays.

    Events keep their places in the whole log.
    """
    log = data.log
    counts = np.diff(log.offsets)[users]
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    events = np.repeat(log.offsets[users] - offsets[:-1], counts) + np.arange(offsets[-1])
    shift = offsets[:-1] - log.offsets[users]
    kept = Histories(
        items=log.items[events],
        times=log.times[events],
        offsets=offsets,
        valid_start=log.valid_start[users] + shift,
        test_start=log.test_start[users] + shift,
        first_event=log_positions(log)[events],
    )
    trained = np.arange(len(events)) < np.repeat(kept.valid_start, counts)
    popularity = np.bincount(kept.items[trained], minlength=data.items)
    of_users = {array.name for array in data.described if array.about == "user"}
    features = {name: values[users] if name in of_users else values for name, values in data.features.items()}
    return replace(data, log=kept, records=[kept._asdict()], popularity=popularity, features=features, packed={})


def rows_of_users(data: TrainingData, users: np.ndarray) -> TrainingData:
    """``data`` with the events of some users alone (int [K]); users beyond those of ``data`` have none."""
    known = restrict_to_users(data, users[users < data.log.users])
    missing = len(users) - known.log.users
    ends = np.full(missing, len(known.log.items))
    log = known.log
    return replace(
        known,
        log=log._replace(
            offsets=np.append(log.offsets, ends),
            valid_start=np.append(log.valid_start, ends),
            test_start=np.append(log.test_start, ends),
        ),
    )
