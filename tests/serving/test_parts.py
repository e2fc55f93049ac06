import json

import pytest

from rexjax.artifacts import lock
from rexjax.artifacts.versions import Owner
from rexjax.errors import UserError
from rexjax.serving import parts


def export(folder, text, owner=None):
    def write(place):
        for name in "ab":
            (place / name).write_text(text)
        return {"format": 4, "said": text}

    folder.mkdir(exist_ok=True)
    if owner:
        return parts.publish(folder, "x", write, owner)
    with lock.of(folder) as owner:
        return parts.publish(folder, "x", write, owner)


def texts(export):
    return [export.about["said"], *(content.tobytes().decode() for content in export.files.values())]


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "bundle"


def test_what_is_exported_is_read_and_the_parts_before_are_kept(folder):
    places = [export(folder, text)["place"] for text in ("1", "2", "3")]
    assert parts.reading(folder, texts) == ["3", "3", "3"]
    assert [(folder / place).exists() for place in places] == [False, True, True]
    assert not parts.is_foreign(folder)


def test_a_reader_whose_parts_vanish_goes_on_with_the_newest(folder):
    export(folder, "1")
    tries = []

    def verify(place, manifest):
        tries.append(place)
        if len(tries) == 1:
            export(folder, "2")
            export(folder, "3")

    assert parts.reading(folder, texts, verify=verify) == ["3", "3", "3"] and len(tries) == 2


def test_parts_that_are_damaged_are_named(folder):
    about = export(folder, "1")
    (folder / about["place"] / "b").write_text("2")
    with pytest.raises(UserError, match="b is missing or damaged: export the workdir again"):
        parts.reading(folder, texts)


def test_an_export_that_lost_the_folder_publishes_nothing(folder):
    def lost():
        raise UserError("taken over")

    export(folder, "1")
    with pytest.raises(UserError, match="taken over"):
        export(folder, "2", Owner(9, confirm=lost))
    assert parts.reading(folder, texts) == ["1", "1", "1"]
    export(folder, "3")  # removes what that one left
    assert len(list(folder.glob("parts-*"))) == 2


def test_an_export_that_slept_before_it_published_puts_back_what_the_next_owner_has_published(folder):
    looks = []

    def confirm():
        looks.append(len(looks))
        if len(looks) == 1:  # taken over right after the look that found nothing
            for text in ("new", "newer"):
                export(folder, text, Owner(8, alone=False))
        elif len(looks) == 2:
            raise UserError("taken over")

    export(folder, "old", Owner(6))
    with pytest.raises(UserError, match="taken over"):
        export(folder, "stale", Owner(7, confirm=confirm))
    assert parts.reading(folder, texts) == ["newer", "newer", "newer"]
    export(folder, "newest", Owner(8))
    assert parts.reading(folder, texts) == ["newest", "newest", "newest"]


def test_an_export_removes_no_parts_of_an_owner_with_a_greater_token(folder):
    places = [export(folder, text, Owner(token))["place"] for text, token in (("1", 2), ("2", 1), ("3", 1), ("4", 1))]
    assert [(folder / place).exists() for place in places] == [True, False, True, True]


def test_a_users_file_within_old_parts_stays(folder):
    about = export(folder, "1")
    (folder / about["place"] / "notes.txt").write_text("mine")
    (folder / "parts-of-a-car").mkdir()
    (folder / "parts-of-a-car" / "list.txt").write_text("wheels")
    for text in ("2", "3", "4"):
        export(folder, text)
    assert [path.name for path in (folder / about["place"]).iterdir()] == ["notes.txt"]
    assert (folder / "parts-of-a-car" / "list.txt").read_text() == "wheels"


@pytest.mark.parametrize(
    ("files", "foreign"),
    [
        ({}, False),
        ({"lock.json": "{}"}, False),
        ({"parts-1/started.json": '{"made_by": "rexjax"}', "parts-1/a": ""}, False),
        ({"parts-1/a": ""}, True),
        ({"parts-of-a-car.txt": ""}, True),
        ({"thesis.tex": ""}, True),
        ({"bundle.json": "{}"}, True),
        ({"bundle.json": "no JSON", "parts-1/a": ""}, True),
        ({"bundle.json": json.dumps({"format": 1, "place": "p", "files": {}}), "histories.db": ""}, False),
    ],
)
def test_a_folder_is_foreign_that_holds_what_no_export_wrote(folder, files, foreign):
    folder.mkdir()
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    assert parts.is_foreign(folder) == foreign
