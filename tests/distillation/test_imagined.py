import numpy as np
import pytest

from rexjax.data import batches, splits
from rexjax.data.histories import Histories
from rexjax.distillation import imagined

N, K = 25, 6


class Lists:
    """A list for every event; the item of event e is 1,000 + e, ... 1,000 + e + K."""

    def __init__(self, events: int) -> None:
        self.ids = 1000 + np.arange(events)[:, None] + 100 * np.arange(K).astype(np.int32)
        self.logits = np.sort(np.random.default_rng(0).normal(-3, 1, (events, K)), 1)[:, ::-1].astype(np.float16)
        self.logits = np.minimum(self.logits, -0.1)


def log() -> Histories:
    lengths = np.random.default_rng(0).integers(1, 12, 30)
    offsets = np.append(0, np.cumsum(lengths))
    items = np.random.default_rng(1).integers(0, N, offsets[-1]).astype(np.int32)
    return Histories(items, np.arange(len(items), dtype=float), offsets, *splits.leave_one_out(offsets))


def held_out(histories: Histories) -> np.ndarray:
    found = np.zeros(len(histories.items), bool)
    for start, stop in zip(histories.valid_start, histories.offsets[1:], strict=True):
        found[start:stop] = True
    return found


def test_nothing_that_is_held_out_is_known():
    histories = log()
    items, away = imagined.training(histories), held_out(histories)
    assert items.dtype == np.int32 and away.any()
    np.testing.assert_array_equal(items[away], imagined.NOTHING)
    np.testing.assert_array_equal(items[~away], histories.items[~away])


@pytest.mark.parametrize("share", [0.0, 0.4, 0.999])
def test_replaced_items_are_drawn_from_the_list_of_the_event_before(share):
    histories, lists = log(), Lists(len(log().items))
    items = imagined.training(histories)
    found = imagined.replace(items, lists, share, np.random.default_rng(3))
    moved = np.flatnonzero(found != items)
    assert found.dtype == np.int32 and found is not items and not held_out(histories)[moved].any()
    for event in moved:
        assert found[event] in lists.ids[event - 1]
    able = (~held_out(histories)).sum()
    assert (share - 0.25) * able <= len(moved) <= (share + 0.15) * able


def test_where_there_is_no_list_the_item_stays():
    histories, lists = log(), Lists(len(log().items))
    lists.logits[:] = 0  # as the file is
    items = imagined.training(histories)
    np.testing.assert_array_equal(imagined.replace(items, lists, 0.999, np.random.default_rng(0)), items)
    np.testing.assert_array_equal(imagined.go_on(items, lists, histories, 0, np.random.default_rng(0)), items)


def test_draws_follow_the_lists_probabilities():
    histories, lists = log(), Lists(len(log().items))
    items = imagined.training(histories)
    event = 1 + int(histories.offsets[np.argmax(np.diff(histories.offsets))])
    rng = np.random.default_rng(0)
    found = [imagined.replace(items, lists, 0.999, rng)[event] for _ in range(2000)]
    weights = np.exp(lists.logits[event - 1].astype(float))
    shares = [np.mean(np.equal(found, item)) for item in lists.ids[event - 1]]
    np.testing.assert_allclose(shares, weights / weights.sum(), atol=0.04)


@pytest.mark.parametrize("after", [0, 1, 2])
def test_a_whole_history_goes_on_with_a_draw_and_never_with_what_is_held_out(after):
    histories, lists = log(), Lists(len(log().items))
    items = imagined.training(histories)
    found = imagined.go_on(items, lists, histories, after, np.random.default_rng(0))
    moved = set(np.flatnonzero(found != items).tolist())
    wanted = {
        int(start) + after
        for first, start, stop in zip(histories.offsets, histories.valid_start, histories.offsets[1:], strict=False)
        if first < start and start + after < stop
    }
    assert moved == wanted and (len(moved) > 0) == (after < 2)
    for event in moved:
        assert found[event] in lists.ids[event - 1]


@pytest.mark.parametrize("more", [0, 1, 2])
def test_records_have_the_items_and_longer_training_parts(more):
    histories = log()
    items = np.arange(len(histories.items), dtype=np.int32)
    half = int(histories.offsets[15])
    cut = lambda part, users, first: Histories(  # noqa: E731
        histories.items[part],
        histories.times[part],
        np.append(histories.offsets[users], histories.offsets[users.stop]) - first,
        histories.valid_start[users] - first,
        histories.test_start[users] - first,
        first,
    )._asdict()
    source = [cut(slice(0, half), slice(0, 15), 0), cut(slice(half, None), slice(15, 30), half)]
    records = imagined.Records(source, items, more)
    found = list(batches.epoch(records, seed=0, epoch=0, batch=4, length=16))
    real = [(b.events[b.segments > 0], b.labels[b.segments > 0]) for b in found]
    seen = dict(zip(*(np.concatenate(part).tolist() for part in zip(*real, strict=True)), strict=True))
    wanted = {}
    for first, start, stop in zip(histories.offsets, histories.valid_start, histories.offsets[1:], strict=False):
        wanted |= {event: event + 1 for event in range(first, min(start + more, stop) - 1)}
    assert seen == wanted
    for batch in found:
        np.testing.assert_array_equal(batch.items[batch.segments > 0], batch.events[batch.segments > 0])
