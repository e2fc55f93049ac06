import errno
import os

import pytest

from rexjax.artifacts import paths
from rexjax.errors import UserError


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("gs://my-bucket/run", r"--workdir gs://my-bucket/run lies on no disk .*with `gcsfuse BUCKET FOLDER`"),
        ("gs:/my-bucket/run", "gcsfuse"),  # as pathlib spells it
        ("GS://my-bucket/run", "gcsfuse"),
        ("s3://b/run", "mount-s3 BUCKET FOLDER"),
        ("s3a://b/run", "mount-s3 BUCKET FOLDER"),
        ("abfs://b/run", "blobfuse2"),
        ("abfss://c@b/run", "blobfuse2"),
        ("hdfs://h:9000/run", "hadoop-fuse-dfs"),
        ("https://example.com/run", r"\(https://\), and only folders are read and written: mount it, and pass"),
        ("file:///tmp/run", "write it as a path, without file:"),
        ("", "is no path"),
        (" ", "is no path"),
        ("a\0b", "is no path"),
        ("~nobody-of-this-name/run", "~nobody-of-this-name is no user of this machine"),
    ],
)
def test_what_no_folder_of_this_machine_is_is_refused(text, words):
    with pytest.raises(UserError, match=words) as caught:
        paths.local_path(text, "--workdir")
    assert "\n" not in str(caught.value) and "--workdir" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("~/runs", "/home/ann/runs"), ("runs/x", "runs/x"), ("a:b/c", "a:b/c"), ("./gs", "gs"), ("c:/runs", "c:/runs")],
)
def test_paths_of_this_machine_are_taken_and_the_home_is_written_out(monkeypatch, text, expected):
    monkeypatch.setenv("HOME", "/home/ann")
    assert str(paths.local_path(text, "--workdir")) == expected


def test_a_folder_that_can_be_written_is_left_as_it_was(tmp_path):
    paths.check_folder(tmp_path / "a" / "b", "--workdir")
    paths.check_folder(tmp_path, "--workdir")
    paths.check_file(tmp_path / "out.csv", "--out")
    assert not any(tmp_path.iterdir())


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "notes").write_text("mine")
    (tmp_path / "dead").symlink_to("nowhere")
    for name in ("notes", "notes/run", "notes/a/b"):
        with pytest.raises(
            UserError, match=r"--workdir .* cannot be used, for .*notes is a file and no folder: choose"
        ):
            paths.check_folder(tmp_path / name, "--workdir")
    with pytest.raises(UserError, match="dead is a link that leads nowhere"):
        paths.check_folder(tmp_path / "dead", "--workdir")
    assert (tmp_path / "notes").read_text() == "mine"


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EACCES, "does not permit it"),
        (errno.EPERM, "does not permit it"),
        (errno.EROFS, "lies on a read-only file system"),
        (errno.ENOSPC, "the disk is full"),
        (errno.EDQUOT, "the disk is full"),
        (errno.EIO, "cannot be made in"),
    ],
)
@pytest.mark.parametrize("call", ["mkdir", "open", "fsync"])
def test_each_reason_has_its_words_and_nothing_is_left(tmp_path, monkeypatch, number, words, call):
    real = getattr(os, call)

    def fails(path, *args, **kwargs):
        if call == "fsync" or str(path).endswith("/b") or ".rexjax-" in str(path):
            raise OSError(number, os.strerror(number), str(path))
        return real(path, *args, **kwargs)

    monkeypatch.setattr(os, call, fails)
    with pytest.raises(UserError, match=words) as caught:
        paths.check_folder(tmp_path / "a" / "b", "FOLDER")
    monkeypatch.undo()
    assert "choose another FOLDER" in str(caught.value) and not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "words"),
    [("", "is a folder: name a file in it"), ("nowhere/x.csv", "there is no folder"), ("file/x.csv", "file is a file")],
)
def test_a_file_that_cannot_be_written_is_refused(tmp_path, name, words):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=words):
        paths.check_file(tmp_path / name, "--out")
