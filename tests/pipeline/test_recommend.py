import pytest

from rexjax.errors import UserError
from rexjax.pipeline import recommend
from rexjax.pipeline.recommend import Log


def test_users_are_known_by_their_raw_ids():
    assert recommend.known_users(Log({"ann": 0, "bob": 1}, [], [], 0)) == {"ann": 0, "bob": 1}


def test_a_log_without_ids_of_users_says_how_to_keep_them():
    with pytest.raises(UserError, match="no ids of users .*--data.user-ids"):
        recommend.known_users(Log(None, [], [], 0))
