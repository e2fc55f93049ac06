import json
import re

import pytest

from rexjax.training import checksums

FILES = {"state/a/b": b"0123456789", "state/c": b"x", "best/d": bytes(1000), "top": b"{}", "state/empty": b""}


@pytest.fixture
def folder(tmp_path):
    for name, data in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    checksums.write(tmp_path)
    return tmp_path


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


DAMAGES = {
    "truncated": (lambda path: path.write_bytes(path.read_bytes()[:-1]), r"has \d+ bytes instead of \d+"),
    "flipped": (flip, "is altered"),
    "emptied": (lambda path: path.write_bytes(b""), "has 0 bytes instead of"),
    "removed": (lambda path: path.unlink(), "is missing"),
}


@pytest.mark.parametrize("kind", DAMAGES)
@pytest.mark.parametrize("name", [name for name, data in FILES.items() if data])
def test_damage_is_found_and_named(folder, name, kind):
    checksums.complete(folder)
    assert checksums.damage(folder) == ""
    hurt, words = DAMAGES[kind]
    hurt(folder / name)
    found = checksums.damage(folder)
    assert found.startswith(name) and re.search(words, found)


@pytest.mark.parametrize("kind", DAMAGES)
def test_the_sums_vouch_for_themselves(folder, kind):
    DAMAGES[kind][0](folder / checksums.NAME)
    assert checksums.damage(folder) == "checksums.json is missing or altered"


def test_before_they_are_complete_they_say_nothing_of_the_files_at_the_top(folder):
    (folder / "top").write_text("later")
    assert checksums.damage(folder) == ""
    checksums.complete(folder)
    checksums.complete(folder)
    assert "top" in json.loads((folder / checksums.NAME).read_text())["files"]
    flip(folder / "top")
    assert checksums.damage(folder) == "top is altered"
