import jax
import numpy as np
import pytest
from flax import linen as nn

from rexjax.config import Teacher
from rexjax.data import batches, splits
from rexjax.data.histories import Histories
from rexjax.distillation import teacher_lists
from rexjax.mesh import make_mesh
from rexjax.models import recommender
from rexjax.models.layers import Row

N, L, B, K = 25, 8, 8, 6
MODEL = recommender.teacher(Teacher(width=8, layers=1, heads=2, dropout=0.5), L)


def log() -> Histories:
    rng = np.random.default_rng(0)
    lengths = rng.integers(2, 12, 30)
    offsets = np.append(0, np.cumsum(lengths))
    items = rng.integers(0, N, offsets[-1]).astype(np.int32)
    return Histories(items, np.arange(len(items), dtype=float), offsets, *splits.leave_one_out(offsets))


def packed(shuffle: bool, epoch: int = 0) -> list[batches.Batch]:
    source = [log()._asdict()]
    return list(batches.epoch(source, seed=5, epoch=epoch, batch=B, length=L, shuffle=shuffle))


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The lists, and by the item's place in the log the teacher's probabilities [N], computed one history at a time."""
    folder, rng = tmp_path_factory.mktemp("lists"), np.random.default_rng(1)
    params = nn.unbox(MODEL.init(jax.random.key(0), 3)) | {"rows": 0.02 * rng.normal(size=(N, MODEL.items.width))}
    served = recommender.serve(MODEL, params, rng.normal(size=(N, 3)).astype(np.float32), N)
    mesh = make_mesh(4, 2)
    events = len(log().items)
    teacher_lists.write(folder, MODEL, served, packed(False), events=events, list_length=K, mesh=mesh)
    encode = jax.jit(lambda h, row: MODEL.user_vectors(served.history, recommender.gather(served.items, h)[0], row))
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
    return teacher_lists.TeacherLists(folder), probabilities


@pytest.mark.parametrize("shuffle, epoch", [(False, 0), (True, 0), (True, 1)])
def test_lists_are_the_teachers_top_k_under_any_packing(written, shuffle, epoch):
    lists, probabilities = written
    visited = set()
    for batch in packed(shuffle, epoch):
        found = lists.of(batch)
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


def test_weights_sum_to_one_and_are_zero_at_padding(written):
    some_padding = False
    for batch in packed(True):
        sums = written[0].of(batch).weights.sum(-1)
        real = batch.labels >= 0
        np.testing.assert_allclose(sums[real], 1.0, rtol=1e-5)
        np.testing.assert_array_equal(sums[~real], 0.0)
        some_padding |= not real.all()
    assert some_padding


def test_the_cache_is_six_bytes_an_entry(written):
    lists = written[0]
    assert lists._ids.dtype == np.int32 and lists._logits.dtype == np.float16
    assert isinstance(lists._ids, np.memmap)
    events = len(log().items)
    assert lists._ids.shape == lists._logits.shape == (events, K)
