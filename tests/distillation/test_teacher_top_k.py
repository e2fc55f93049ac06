import os
import signal
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from rexjax.config import Student, Transformer
from rexjax.data import batches, splits
from rexjax.data.histories import Histories
from rexjax.distillation import teacher_top_k
from rexjax.embedding.rows import gather
from rexjax.errors import UserError
from rexjax.models import recommender
from rexjax.models.layers import Row
from rexjax.models.scorer import Scorer, prefixes
from rexjax.models.served import Served
from rexjax.runtime import preemption
from rexjax.runtime.mesh import make_mesh

N, L, B, K = 25, 8, 8, 6
MODEL = Transformer(width=8, layers=1, heads=2, dropout=0.5).recommender(L)


def log() -> Histories:
    rng = np.random.default_rng(0)
    lengths = rng.integers(2, 12, 30)
    offsets = np.append(0, np.cumsum(lengths))
    items = rng.integers(0, N, offsets[-1]).astype(np.int32)
    return Histories(items, np.arange(len(items), dtype=float), offsets, *splits.leave_one_out(offsets))


def packed(shuffle: bool, epoch: int = 0) -> list[batches.Batch]:
    source = [log()._asdict()]
    return list(batches.epoch(source, seed=5, epoch=epoch, batch=B, length=L, shuffle=shuffle))


def trained() -> Served:
    rng = np.random.default_rng(1)
    params = nn.unbox(MODEL.init(jax.random.key(0), 3)) | {"rows": 0.02 * rng.normal(size=(N, MODEL.items.width))}
    return recommender.serve(MODEL, params, rng.normal(size=(N, 3)).astype(np.float32), N)


def write(folder, served, plain) -> None:
    about = {"scale": 1.0, "events": len(log().items), "top_k": K, "mesh": make_mesh(4, 2)}
    teacher_top_k.write(folder, recommender.scorer_of(MODEL, served, N), plain, **about)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The lists, and by the item's place in the log the teacher's probabilities [N], computed one history at a time."""
    folder, served = tmp_path_factory.mktemp("lists"), trained()
    write(folder, served, packed(False))
    encode = jax.jit(lambda h, row: MODEL.user_vectors(served.history, gather(served.items, h)[0], row))
    probabilities, histories = {}, log()
    for first, stop in zip(histories.offsets[:-1], histories.valid_start, strict=True):
        begin = max(first, stop - 1 - L)
        history = np.full((1, L), -1, np.int32)  # positions count from the end of the whole training history
        history[0, L - (stop - 1 - begin) :] = histories.items[begin : stop - 1]
        row = Row((history >= 0).astype(np.int32), np.arange(L, dtype=np.int32)[None])
        scores = np.asarray(encode(history, row))[0].astype(np.float64) @ np.asarray(served.items, np.float64).T
        for event in range(begin, stop - 1):
            weights = np.exp(scores[L - (stop - 1 - event)])
            probabilities[event] = weights / weights.sum()
    return teacher_top_k.TeacherLists(folder), probabilities


@pytest.mark.parametrize("shuffle, epoch", [(False, 0), (True, 0), (True, 1)])
def test_lists_are_the_teachers_top_k_under_any_packing(written, shuffle, epoch):
    lists, probabilities = written
    visited = set()
    for batch in packed(shuffle, epoch):
        _, found = lists.of(batch, 1.0)
        assert found.items.shape == found.weights.shape == (B, L, K) and found.weights.dtype == np.float32
        for row, column in np.argwhere(batch.labels >= 0):
            event = int(batch.events[row, column])
            expected = probabilities[event]
            order = np.argsort(-expected, kind="stable")[:K]
            ids, weights = found.items[row, column], found.weights[row, column]
            # two items whose probabilities agree to 1e-4 may change places
            np.testing.assert_allclose(expected[ids], expected[order], rtol=1e-4)
            assert len(set(ids.tolist())) == K
            top = expected[ids] / expected[ids].sum()
            np.testing.assert_allclose(weights, top, rtol=4e-3)  # float16 logarithms
            visited.add(event)
    assert visited == set(probabilities)


@pytest.mark.parametrize("how, stop, computed", [("signal", preemption.Preempted, 2), ("kill", KeyboardInterrupt, 1)])
def test_a_round_that_was_cut_off_goes_on_within_it(written, tmp_path, monkeypatch, how, stop, computed):
    monkeypatch.setattr(teacher_top_k, "NOTE_SECONDS", 0 if how == "kill" else 1e9)
    plain = packed(False)
    assert len(plain) > 2

    def cut():
        yield plain[0]
        if how == "kill":
            raise KeyboardInterrupt
        os.kill(os.getpid(), signal.SIGTERM)
        yield plain[1]

    with pytest.raises(stop), preemption.watched(), preemption.held():
        write(tmp_path, trained(), cut())
    write(tmp_path, trained(), [None] * computed + plain[computed:])  # what was written is not looked at again
    found = teacher_top_k.TeacherLists(tmp_path)
    np.testing.assert_array_equal(found.ids, written[0].ids)
    np.testing.assert_array_equal(found.logits, written[0].logits)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ids.npy", "logits.npy"]


@pytest.mark.parametrize("share, temperature", [(1.0, 1.0), (0.6, 2.0), (0.0, 1.0), (0.3, 0.05)])
def test_weights_sum_to_the_share_and_follow_the_temperature(written, share, temperature):
    lists, probabilities = written
    for batch in packed(True):
        found = lists.of(batch, share, temperature)[1]
        np.testing.assert_allclose(found.weights.sum(-1), share, rtol=1e-5)
        for row, column in np.argwhere(batch.labels >= 0):
            expected = probabilities[int(batch.events[row, column])][found.items[row, column]] ** (1 / temperature)
            expected = share * expected / expected.sum()
            np.testing.assert_allclose(found.weights[row, column], expected, rtol=5e-3 / min(temperature, 1), atol=1e-6)


def test_items_that_are_not_scored_are_in_no_list(written):
    scored = np.arange(N) % 3 > 0
    some = teacher_top_k.TeacherLists(Path(written[0].ids.filename).parent, scored=scored)
    for batch in packed(True):
        (_, whole), (_, found) = written[0].of(batch, 1.0), some.of(batch, 0.6)
        kept = whole.weights * scored[whole.items]
        mass = kept.sum(-1, keepdims=True)
        assert (mass < 1 - 1e-3).any()
        np.testing.assert_allclose(found.weights, np.where(mass > 0, 0.6 * kept / np.maximum(mass, 1e-9), 0), rtol=1e-4)


def test_no_list_is_left_where_nothing_in_it_is_scored(written):
    none = teacher_top_k.TeacherLists(Path(written[0].ids.filename).parent, scored=np.zeros(N, bool))
    assert all((none.of(batch, 0.6)[1].weights == 0).all() for batch in packed(True))


def test_epochs_take_the_rounds_in_turn_and_weight_and_temperature_go_from_one_value_to_the_other(written, tmp_path):
    for number in (0, 1):
        folder = teacher_top_k.place(tmp_path, number)
        folder.mkdir(parents=True)
        for name in ("ids", "logits"):
            np.save(folder / f"{name}.npy", np.asarray(getattr(written[0], name)))
    altered = teacher_top_k.corrupt(written[0], log().items, 0.5, np.random.default_rng(1))
    np.save(folder / "items.npy", altered)
    student = Student(augmented_rounds=1, teacher_weight=(0.9, 0.3), teacher_temperature=(1.0, 4.0))
    soft = teacher_top_k.soft_targets(tmp_path, student)
    epoch = soft.lists(lambda number, first: packed(True, number), 4, None)
    shares, largest = [], []
    for number in range(4):
        taught = list(epoch(number, 0))
        for plain, (batch, _) in zip(packed(True, number), taught, strict=True):
            real = plain.items >= 0
            wanted = altered[plain.events] if number % 2 else plain.items
            np.testing.assert_array_equal(batch.items[real], wanted[real])
        lists = taught[-1][1]
        shares.append(lists.weights.sum(-1).mean())
        largest.append((lists.weights[..., 0] / lists.weights.sum(-1)).mean())
    np.testing.assert_allclose(shares, [0.9, 0.7, 0.5, 0.3], rtol=1e-5)
    assert largest == sorted(largest, reverse=True) and largest[-1] < largest[0]


def test_the_cache_is_six_bytes_an_entry(written):
    lists = written[0]
    assert lists.ids.dtype == np.int32 and lists.logits.dtype == np.float16
    assert isinstance(lists.ids, np.memmap)
    events = len(log().items)
    assert lists.ids.shape == lists.logits.shape == (events, K)


@pytest.mark.parametrize("share", [0.0, 0.4, 0.999])
def test_altered_items_are_drawn_from_the_list_of_the_event_before(written, share):
    lists, histories = written[0], log()
    altered = teacher_top_k.corrupt(lists, histories.items, share, np.random.default_rng(3))
    moved = np.flatnonzero(altered != histories.items)
    assert altered.dtype == np.int32 and histories.items is not altered
    assert not set(moved) & set(histories.offsets[:-1])  # nothing stands before a user's first event
    held_out = np.concatenate(
        [np.arange(a, b) for a, b in zip(histories.valid_start, histories.offsets[1:], strict=True)]
    )
    assert not set(moved) & set(held_out)
    for event in moved:
        assert altered[event] in lists.ids[event - 1]
    able = len(histories.items) - log().users - len(held_out)
    assert (share - 0.25) * able < len(moved) <= (share + 0.15) * able


def test_draws_follow_the_lists_probabilities(written):
    lists, histories = written[0], log()
    event = int(histories.offsets[3]) + 1
    rng = np.random.default_rng(0)
    found = [teacher_top_k.corrupt(lists, histories.items, 0.999, rng)[event] for _ in range(2000)]
    weights = np.exp(lists.logits[event - 1].astype(float))
    shares = [np.mean(np.equal(found, item)) for item in lists.ids[event - 1]]
    np.testing.assert_allclose(shares, weights / weights.sum(), atol=0.04)


ORIGIN = teacher_top_k.Origin("a1", N, 100, K)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"teacher": "b2"}, "were made by another teacher: run"),
        ({"items": N + 1}, f"are for {N} items and 100 events, and the log has {N + 1} and 100: run"),
        ({"events": 99}, f"are for {N} items and 100 events, and the log has {N} and 99: run"),
        ({"top_k": K + 1}, f"have {K} items each, fewer than --student.top-k {K + 1}: run"),
    ],
)
def test_lists_of_another_origin_are_refused(tmp_path, change, words):
    assert not teacher_top_k.finished(tmp_path)
    teacher_top_k.finish(tmp_path, ORIGIN)
    assert teacher_top_k.finished(tmp_path)
    teacher_top_k.check(tmp_path, ORIGIN)
    teacher_top_k.check(tmp_path, ORIGIN._replace(top_k=K - 1))
    with pytest.raises(UserError, match=words):
        teacher_top_k.check(tmp_path, ORIGIN._replace(**change))


def test_the_first_items_of_longer_lists_are_lists(written, tmp_path):
    for name in ("ids", "logits"):
        np.save(tmp_path / f"{name}.npy", np.asarray(getattr(written[0], name)))
    short, batch = teacher_top_k.TeacherLists(tmp_path, 2), packed(False)[0]
    (_, found), (_, whole) = short.of(batch, 0.7), written[0].of(batch, 0.7)
    np.testing.assert_array_equal(found.items, whole.items[..., :2])
    np.testing.assert_allclose(found.weights.sum(-1), 0.7, rtol=1e-5)


def test_a_round_of_altered_histories_is_read_with_its_items_and_the_logs_labels(written, tmp_path):
    altered = teacher_top_k.corrupt(written[0], log().items, 0.5, np.random.default_rng(1))
    np.save(tmp_path / "items.npy", altered)
    for name in ("ids", "logits"):
        np.save(tmp_path / f"{name}.npy", np.asarray(getattr(written[0], name)))
    for batch in packed(True):
        found, _ = teacher_top_k.TeacherLists(tmp_path).of(batch, 1.0)
        real = batch.items >= 0
        np.testing.assert_array_equal(found.items[real], altered[batch.events[real]])
        np.testing.assert_array_equal(found.items < 0, ~real)
        np.testing.assert_array_equal(found.labels, batch.labels)


@pytest.mark.parametrize("scale", [1.0, 7.5])
@pytest.mark.parametrize("by_position", [True, False])
def test_the_top_k_of_a_batch_is_that_of_a_loop(scale, by_position):
    """Of any model: one that encodes whole rows, and one that is asked once for each prefix of a history."""
    rng = np.random.default_rng(2)
    rows = rng.normal(size=(N, 4)).astype(np.float32)

    def decayed(state, query):
        present = jnp.where(query.histories >= 0, 0.5 ** jnp.arange(query.histories.shape[1])[::-1], 0)
        return jnp.einsum("bl,bld->bd", present, state[jnp.maximum(query.histories, 0)])

    def at_positions(state, batch):
        query = prefixes(batch)
        return decayed(state, query).reshape(*batch.items.shape, -1)

    made = Scorer(rows, decayed, lambda state, users, ids: users @ state[ids].T, N)
    made = replace(made, encode_positions=at_positions if by_position else None)
    for batch in packed(True)[:2]:
        ids, logits = (np.asarray(part) for part in teacher_top_k.top_k_of_batch(made, batch, scale, K))
        assert ids.dtype == np.int32 and logits.dtype == np.float16 and ids.shape == logits.shape == (B, L, K)
        for row, column in np.argwhere(batch.segments > 0):
            user, age = np.zeros(4), 0
            for place in range(column, -1, -1):
                if batch.segments[row, place] != batch.segments[row, column]:
                    break
                user, age = user + 0.5**age * rows[batch.items[row, place]].astype(float), age + 1
            scores = scale * rows.astype(float) @ user
            order = np.argsort(-scores, kind="stable")[:K]
            np.testing.assert_allclose(scores[ids[row, column]], scores[order], rtol=1e-4, atol=1e-5)
            expected = scores[order] - np.log(np.exp(scores - scores.max()).sum()) - scores.max()
            np.testing.assert_allclose(logits[row, column], expected, rtol=2e-3, atol=1e-3)


@pytest.mark.parametrize("decay", [0.0, 1.5])
def test_lists_weigh_less_the_lower_the_teacher_ranks_what_did_happen(written, decay):
    lists, _ = written
    for batch in packed(False):
        _, found = lists.of(batch, 0.8, rank_decay=decay)
        for row, column in np.argwhere(batch.labels >= 0):
            listed = found.items[row, column].tolist()
            label = batch.labels[row, column]
            rank = listed.index(label) if label in listed else len(listed)
            wanted = 0.8 * np.exp(-decay * rank / len(listed))
            assert found.weights[row, column].sum() == pytest.approx(wanted, rel=1e-5)
