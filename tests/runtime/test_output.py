import os
import sys

import pytest

from rexjax.runtime import output
from rexjax.runtime.output import Console


@pytest.fixture
def pipe():
    """The number of a pipe's reader, and its writer."""
    reader, writer = os.pipe()
    with open(writer, "w") as stream:
        yield reader, stream


def test_a_pipe_is_without_a_reader_once_that_is_gone(pipe, monkeypatch):
    reader, stream = pipe
    monkeypatch.setattr(sys, "stdout", stream)  # here: pytest sets it anew after the fixtures
    assert output.without_reader() == []
    os.close(reader)
    assert output.without_reader() == [stream.fileno()]
    output.silence([stream.fileno()])
    assert output.without_reader() == []


def test_what_is_printed_into_a_closed_pipe_raises_until_it_is_silenced(pipe):
    reader, stream = pipe
    os.close(reader)
    with pytest.raises(BrokenPipeError):
        Console(file=stream).print("lost")
    output.silence([stream.fileno()])
    Console(file=stream).print("lost quietly")


def test_a_stream_that_is_no_file_has_readers(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    assert output.without_reader() == []
