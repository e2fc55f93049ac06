"""Logs in, packed histories out: sources, cleaning, splits, batches."""

from typing import TYPE_CHECKING

from rexjax._lazy import attach

if TYPE_CHECKING:
    from rexjax.data import histories as _histories
    from rexjax.data import vocabulary as _vocabulary
    from rexjax.data.batches import Batch as Batch
    from rexjax.data.batches import Targets as Targets
    from rexjax.data.batches import epoch as epoch
    from rexjax.data.batches import latest as latest
    from rexjax.data.batches import latest_times as latest_times
    from rexjax.data.batches import next_item as next_item
    from rexjax.data.batches import next_time as next_time
    from rexjax.data.histories import Histories as Histories
    from rexjax.data.histories import concatenate as concatenate
    from rexjax.data.histories import split_by_user as split_by_user
    from rexjax.data.splits import global_time as global_time
    from rexjax.data.splits import last_session as last_session
    from rexjax.data.splits import last_validates as last_validates
    from rexjax.data.splits import leave_one_out as leave_one_out
    from rexjax.data.splits import without_cold as without_cold
    from rexjax.data.vocabulary import Admission as Admission
    from rexjax.data.vocabulary import Vocabulary as Vocabulary

    read_histories = _histories.read
    update_vocabulary = _vocabulary.update
else:
    __getattr__, __dir__, __all__ = attach(
        __name__,
        {
            "Admission": "rexjax.data.vocabulary",
            "Batch": "rexjax.data.batches",
            "Histories": "rexjax.data.histories",
            "Targets": "rexjax.data.batches",
            "concatenate": "rexjax.data.histories",
            "epoch": "rexjax.data.batches",
            "global_time": "rexjax.data.splits",
            "last_session": "rexjax.data.splits",
            "last_validates": "rexjax.data.splits",
            "latest": "rexjax.data.batches",
            "latest_times": "rexjax.data.batches",
            "leave_one_out": "rexjax.data.splits",
            "next_item": "rexjax.data.batches",
            "next_time": "rexjax.data.batches",
            "read_histories": "rexjax.data.histories:read",
            "split_by_user": "rexjax.data.histories",
            "update_vocabulary": "rexjax.data.vocabulary:update",
            "Vocabulary": "rexjax.data.vocabulary",
            "without_cold": "rexjax.data.splits",
        },
    )
