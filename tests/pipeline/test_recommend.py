import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rexjax.config import BPRMF
from rexjax.errors import UserError
from rexjax.pipeline import recommend
from rexjax.pipeline.recommend import Log
from rexjax.retrieval import index as indices


def test_users_are_known_by_their_raw_ids():
    assert recommend.known_users(Log({"ann": 0, "bob": 1}, [], [], 0)) == {"ann": 0, "bob": 1}


def test_a_log_without_ids_of_users_says_how_to_keep_them():
    with pytest.raises(UserError, match="no ids of users .*--data.user-ids"):
        recommend.known_users(Log(None, [], [], 0))


@pytest.fixture
def of_users(tmp_path):
    """An index of a model with rows of users, 3 users and 6 items; and its log."""
    rng = np.random.default_rng(0)
    state = {"users": rng.normal(size=(3, 4)), "items": rng.normal(size=(6, 4)), "unknown": np.arange(4) == 3}
    state = {name: np.asarray(rows, np.float32) for name, rows in state.items()}
    names = [f"i{number}" for number in range(6)]
    pq.write_table(pa.table({"item_id": names, "title": names}), tmp_path / "items.parquet")
    indices.write(tmp_path, BPRMF(width=3), state, 4, np.array([5, 9, 1, 4, 0, 2]))
    own = [np.array(items, np.int32) for items in ([0], [1, 2], [3])]
    return indices.read(tmp_path), Log({"ann": 0, "bob": 1, "cid": 2}, own, own, 2), state


@pytest.mark.parametrize("only", [(), (1, 2, 4, 5)])
def test_a_known_user_is_answered_by_the_own_row_and_an_unknown_one_by_popularity(of_users, only):
    index, log, state = of_users
    found = recommend.recommend(index, log, ["bob", "eve", "ann"], 3, only=only)
    assert found.unknown == ["eve"]
    answers = found.table.to_pandas().groupby("user")["item"].agg(list)
    for user, number in (("bob", 1), ("ann", 0)):
        scores = state["items"] @ state["users"][number]
        scores[log.seen[number]] = -np.inf
        allowed = [item for item in np.argsort(-scores) if (not only or item in only) and np.isfinite(scores[item])]
        assert answers[user] == [f"i{item}" for item in allowed[:3]]
    assert answers["eve"] == (["i1", "i5", "i2"] if only else ["i1", "i0", "i3"])


def test_a_history_by_hand_is_of_an_unknown_user(of_users):
    index, _, state = of_users
    found = recommend.recommend_after(index, [["i0", "i4"]], 2)
    scores = np.where(np.isin(np.arange(6), [0, 4]), -np.inf, state["items"] @ state["unknown"])
    assert found.table["item"].to_pylist() == [f"i{item}" for item in np.argsort(-scores)[:2]]
