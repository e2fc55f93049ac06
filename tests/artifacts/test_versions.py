import json

import pytest

from rexjax.artifacts import store, versions
from rexjax.artifacts.versions import Owner
from rexjax.errors import UserError


def finish(folder, key="key", owner=versions.NOBODY):
    (folder / "rows.npy").write_text(key)
    return store.finish(folder, key, content={}, seconds=0, config={}, metrics={}, owner=owner)


@pytest.fixture
def place(tmp_path):
    return tmp_path / "encode"


@pytest.mark.parametrize(("key", "kept"), [("key", True), ("another", False)])
def test_begin_keeps_what_an_interrupted_run_of_the_same_key_left(place, key, kept):
    folder = versions.begin(place, "key")
    (folder / "shard.npy").write_text("half")
    again = versions.begin(place, key)
    assert (again / "shard.npy").exists() == kept == folder.exists()
    assert json.loads((again / "started.json").read_text())["key"] == key
    assert versions.versions(place) == [again]


def test_a_new_version_leaves_the_finished_one_whole(place):
    before = finish(versions.begin(place, "key"))
    work = versions.begin(place, "key")  # of a damaged one, say
    assert work != before.folder and store.read(place) == before
    assert [path.name for path in work.iterdir()] == ["started.json"]


def test_the_last_two_versions_are_kept(place):
    made = [finish(versions.begin(place, f"key {n}")) for n in range(4)]
    assert [artifact.folder.exists() for artifact in made] == [False, False, True, True]
    assert store.read(place) == made[-1]


def test_a_later_owner_is_newer_whatever_number_it_comes_to(place):
    first = finish(versions.begin(place, "a", Owner(9)))
    tenth = finish(versions.begin(place, "b", Owner(10)))
    assert store.read(place) == tenth
    restarted = finish(versions.begin(place, "c", Owner(1)))  # whose lock file was removed, and its tokens with it
    assert store.read(place) == restarted and not first.folder.exists()


def test_what_an_owner_finishes_that_was_overtaken_is_not_the_newest(place):
    slow, quick = Owner(5), Owner(6, alone=False)
    asleep = versions.begin(place, "a", slow)
    made = finish(versions.begin(place, "b", quick), "b", quick)
    finish(asleep, "a", slow)  # it woke up between its last look and the manifest
    assert store.read(place) == made


def test_the_work_of_an_owner_that_may_live_is_copied_and_left_to_it(place):
    work = versions.begin(place, "key", Owner(5))
    (work / "shards").mkdir()
    (work / "shards" / "0.npy").write_text("half")
    other = versions.begin(place, "key", Owner(6, alone=False))
    assert other != work and (other / "shards" / "0.npy").read_text() == "half"
    (work / "shards" / "0.npy").write_text("it lives")
    assert (other / "shards" / "0.npy").read_text() == "half"
    assert versions.begin(place, "key", Owner(6, alone=False)) == other  # its own is gone on with
    assert versions.begin(place, "key", Owner(7)) == other and not work.exists()


def test_an_owner_that_lost_the_workdir_begins_nothing(place):
    def lost():
        raise UserError("taken over")

    with pytest.raises(UserError, match="taken over"):
        versions.begin(place, "key", Owner(5, confirm=lost))
    assert not place.exists()


@pytest.mark.parametrize("left", [[], ["started.json.tmp"]])
def test_killed_before_it_was_marked_a_version_is_nobodys(place, left):
    folder = versions.begin(place, "key")
    (folder / "started.json").unlink()
    for name in left:
        (folder / name).write_text("{")
    assert versions.unfinished(place) is None
    finish(versions.begin(place, "key"))
    assert len(versions.versions(place)) == 1


def test_a_folder_that_is_removed_as_it_is_made_means_that_another_run_owns_the_workdir(tmp_path, monkeypatch):
    def removed(folder, **about):
        if folder.name != "stage":
            raise FileNotFoundError(folder)

    asked = []

    def confirm():
        asked.append(True)
        if len(asked) > 1:
            raise UserError("another run holds it by now")

    monkeypatch.setattr(versions.owned, "make", removed)
    with pytest.raises(UserError, match="another run holds it by now"):
        versions.begin(tmp_path / "stage", "key", Owner(1, True, confirm))
