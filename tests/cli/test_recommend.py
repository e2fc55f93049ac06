import re

import numpy as np
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from rexjax.artifacts import store
from rexjax.data import histories
from tests.cli.runs import main, refused, state


def rows(text):
    """(rank, item, title, score) of the printed table."""
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines() if line.startswith("│")]
    return [(int(rank), item, title, score) for rank, item, title, score in cells]


def test_recommend_prints_titles_and_scores(finished, capsys):
    _, workdir = finished
    items = pq.read_table(store.find(workdir / "index").folder / "items.parquet").to_pydict()
    titles = dict(zip(items["item_id"], items["title"], strict=True))
    bought = list(titles)[:3]
    capsys.readouterr()
    # by id, and by title in capitals
    for history in (",".join(bought), ";".join(titles[item].upper() for item in bought)):
        assert main("recommend", workdir, "--history", history, "--k", 5) == 0
        found = rows(capsys.readouterr().out)
        assert [rank for rank, *_ in found] == [1, 2, 3, 4, 5]
        assert all(titles[item] == title for _, item, title, _ in found)
        assert not {item for _, item, *_ in found} & set(bought)
        scores = [float(score) for *_, score in found]
        assert scores == sorted(scores, reverse=True)


def test_an_empty_history_falls_back_to_popularity(finished, capsys):
    _, workdir = finished
    popularity = np.load(store.find(workdir / "index").folder / "popularity.npy")
    ids = pq.read_table(store.find(workdir / "index").folder / "items.parquet")["item_id"].to_pylist()
    capsys.readouterr()
    assert main("recommend", workdir, "--k", 4) == 0
    out = capsys.readouterr().out
    assert "Most popular" in out
    counts = [popularity[ids.index(item)] for _, item, *_ in rows(out)]
    assert counts == sorted(popularity, reverse=True)[:4]


def test_an_unknown_item_among_known_ones_is_left_out_and_named(finished, capsys):
    assert main("recommend", finished[1], "--history", "sku-00001, sku-99999", "--k", 3) == 0
    said = capsys.readouterr()
    assert "not in the catalogue, left out: sku-99999" in said.err
    assert len(rows(said.out)) == 3


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--history", "sku-99999, nothing"), "no item of --history is in the catalogue .*'sku-99999', 'nothing'"),
        (("--k", "41"), "--k 41: this catalogue has 40 items.* set k from 1 to 40"),
        (("--history", "sku-00001", "--k", "40"), "--k 40: this catalogue has 39 items"),
        (("--k", "0"), "--k 0: .* set k from 1 to 40"),
    ],
)
def test_a_request_that_cannot_be_answered_is_refused(finished, capsys, options, words):
    before = state(finished[1])
    assert re.search(words, refused(capsys, "recommend", finished[1], *options))
    assert state(finished[1]) == before


def test_recommend_from_a_workdir_without_an_index_is_refused(tmp_path, capsys):
    assert "stage 'index' has not finished" in refused(capsys, "recommend", tmp_path)


# --- users of the log -------------------------------------------------------------------------------------------------


def log_of(workdir):
    """Raw item ids of each user's whole history, by raw user id."""
    folder = store.read(workdir / "prepare").folder
    log = histories.read(folder)
    items = pq.read_table(folder / "items.parquet")["item_id"].to_pylist()
    users = pq.read_table(folder / "users.parquet").sort_by("user")["user_id"].to_pylist()
    return {
        str(user): [items[i] for i in log.items[start:stop]]
        for user, start, stop in zip(users, log.offsets[:-1], log.offsets[1:], strict=True)
    }


def test_all_users_get_what_they_have_not_seen(finished, tmp_path, capsys):
    assert main("recommend", finished[1], "--users", "all", "--k", 4, "--out", tmp_path / "r.parquet") == 0
    table = pq.read_table(tmp_path / "r.parquet")
    assert table.column_names == ["user", "item", "title", "rank", "score"]
    known = log_of(finished[1])
    answered = {}
    for row in table.to_pylist():
        answered.setdefault(row["user"], []).append(row)
    assert answered.keys() == known.keys()
    for user, found in answered.items():
        assert [row["rank"] for row in found] == [1, 2, 3, 4]
        assert not {row["item"] for row in found} & set(known[user])
        scores = [row["score"] for row in found]
        assert scores == sorted(scores, reverse=True)
    assert f"{4 * len(known)} answers to {len(known)} users" in capsys.readouterr().out


def test_one_user_gets_what_his_history_gets(finished, capsys):
    known = log_of(finished[1])
    user = next(iter(known))
    assert main("recommend", finished[1], "--user", user, "--k", 5) == 0
    by_user = capsys.readouterr().out
    assert main("recommend", finished[1], "--history", ";".join(known[user]), "--k", 5) == 0
    found = rows(capsys.readouterr().out)
    assert [line.split("│")[1:-1] for line in by_user.splitlines() if line.startswith("│")]
    for rank, item, _, score in found:
        assert re.search(rf"│ {user} +│ +{rank} │ {item} .* {score} │", by_user)


def test_unknown_users_get_the_most_popular_items_and_are_counted(finished, tmp_path, capsys):
    known = list(log_of(finished[1]))
    (tmp_path / "users.txt").write_text("\n".join(["x1", known[0], "x2", "x3", "x4"]))
    out = tmp_path / "r.csv"
    assert main("recommend", finished[1], "--users", tmp_path / "users.txt", "--k", 2, "--out", out) == 0
    assert "4 of 5 users are not in the log and get the most popular items: x1, x2, x3, …" in capsys.readouterr().err
    table = pyarrow.csv.read_csv(out).to_pylist()
    assert [str(row["user"]) for row in table][::2] == ["x1", known[0], "x2", "x3", "x4"]
    popularity = np.load(store.find(finished[1] / "index").folder / "popularity.npy")
    ids = pq.read_table(store.find(finished[1] / "index").folder / "items.parquet")["item_id"].to_pylist()
    best = [ids[i] for i in np.argsort(-popularity, kind="stable")[:2]]
    assert [row["item"] for row in table if row["user"] == "x2"] == best


def test_excluded_items_are_answered_to_nobody(finished, tmp_path, capsys):
    known = list(log_of(finished[1]))[:3]
    asked = [part for user in [*known, "nobody"] for part in ("--user", user)]
    assert main("recommend", finished[1], *asked, "--k", 3, "--out", tmp_path / "a.csv") == 0
    gone = set(pyarrow.csv.read_csv(tmp_path / "a.csv")["item"].to_pylist())
    (tmp_path / "gone.csv").write_text("item_id\n" + "\n".join(gone) + "\nno-item\n")
    exclude = ("--exclude", tmp_path / "gone.csv", "--out", tmp_path / "b.csv")
    assert main("recommend", finished[1], *asked, "--k", 3, *exclude) == 0
    assert not gone & set(pyarrow.csv.read_csv(tmp_path / "b.csv")["item"].to_pylist())
    assert "1 items of" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--users", "nowhere.txt"), "nowhere.txt cannot be read as ids"),
        (("--users", "all", "--k", "40"), "users are too many for a terminal: pass --out"),
        (("--users", "all", "--user", "1"), "--users and --user are given: choose one"),
        (("--user", "1", "--k", "41"), "--k 41: this catalogue has 40 items"),
        (("--user", "1", "--out", "x.json"), "--out x.json: its name must end in .parquet or .csv"),
        (("--user", "1", "--out", "no/where.csv"), "--out no/where.csv: there is no folder no"),
    ],
)
def test_requests_for_users_that_cannot_be_met_are_refused(finished, capsys, monkeypatch, tmp_path, flags, words):
    monkeypatch.chdir(tmp_path)
    assert words in refused(capsys, "recommend", finished[1], *flags)
