import hashlib
import os
import re

import pytest

from rexjax.errors import UserError
from rexjax.serving import sealed


def sha(text):
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.fixture
def place(tmp_path):
    folder = tmp_path / "parts-1"
    folder.mkdir()
    for name in ("a.npy", "b.program"):
        (folder / name).write_text(name)
    return folder


HASHES = {name: sha(name) for name in ("a.npy", "b.program")}


def test_the_bytes_are_private_aligned_and_stay_when_the_file_is_overwritten_or_cut(place):
    found = sealed.read_all(place, HASHES)
    with (place / "a.npy").open("r+b") as file:
        file.write(b"X")
    os.truncate(place / "b.program", 0)
    assert {name: content.tobytes().decode() for name, content in found.items()} == {name: name for name in HASHES}
    assert all(content.ctypes.data % 64 == 0 for content in found.values())


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "sub/file", "..", ".hidden", "", "a\nb", "x" * 200])
def test_a_name_that_is_no_plain_name_is_refused(place, name):
    with pytest.raises(UserError, match=re.escape(f"names {name!r}, which is no plain name")):
        sealed.read_all(place, HASHES | {name: sha("x")})


def link(place):
    (place / "a.npy").unlink()
    (place / "a.npy").symlink_to(place / "b.program")


def pipe(place):
    (place / "a.npy").unlink()
    os.mkfifo(place / "a.npy")


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda place: (place / "a.npy").unlink(), "a.npy is missing or damaged"),
        (lambda place: (place / "a.npy").write_text("A"), "a.npy is missing or damaged"),
        (link, "a.npy is missing or damaged"),
        (pipe, "a.npy is missing or damaged"),
        (lambda place: (place / "c.so").write_text("c"), "holds c.so, which bundle.json does not name"),
    ],
    ids=["missing", "edited", "link", "pipe", "extra"],
)
def test_a_file_that_is_not_as_it_was_exported_is_named(place, change, said):
    change(place)
    with pytest.raises(UserError, match=said):
        sealed.read_all(place, HASHES)


def test_a_folder_that_is_a_link_is_refused(place):
    place.rename(place.parent / "elsewhere")
    place.symlink_to(place.parent / "elsewhere")
    with pytest.raises(UserError, match="is a link"):
        sealed.read_all(place, HASHES)
