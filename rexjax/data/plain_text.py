"""Text files as engines read them: unpacked, in UTF-8, with lines that end alike.

A file that is so already is read where it lies; any other is rewritten into the scratch folder.
"""

import codecs
import io
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

import pyarrow as pa

from rexjax.errors import UserError

SAMPLE_BYTES = 1 << 20
_CHUNK = 1 << 22
_PACKED = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd"}
# an encrypted archive is a RuntimeError
_UNREADABLE = (OSError, EOFError, RuntimeError, zlib.error, zipfile.BadZipFile, pa.ArrowException)
_NO_TEXT = {
    b"PK\x03\x04": "an Excel workbook or a zip archive",
    b"PAR1": "Parquet",
    b"\x1f\x8b": "packed by gzip",
    b"\x28\xb5\x2f\xfd": "packed by zstd",
    b"BZh": "packed by bzip2",
}
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, whose mark it begins with
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


class PlainText(NamedTuple):
    """A text file that engines can read."""

    source: Path
    """The file as it was given, which messages name."""
    path: Path
    """The same file, or its copy in UTF-8."""
    encoding: str
    """The encoding of the source."""
    sample: str
    """Its beginning: the whole lines of the first megabyte."""
    whole: bool
    """Whether the sample is all of it."""


def open_plain(source: Path, encoding: str, flag: str, folder: Path) -> PlainText:
    """The file ``source`` as UTF-8 text.

    Args:
        source: a text file; .gz, .bz2, .zst and .zip are unpacked.
        encoding: as Python names it; "": UTF-8, or what a byte order mark says.
        flag: the flag that gives the encoding, for messages.
        folder: where a copy goes if one is needed.

    Raises:
        UserError: the file cannot be unpacked, is not of the encoding, or holds a NUL.
    """
    path, marked = source, _marked(source)
    named = marked if not encoding or (_is_utf8(encoding) and marked == "utf-8-sig") else encoding
    if _needs_copy(source, named, flag):
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{len(list(folder.iterdir())):05d}.txt"
        _rewrite(source, path, named, flag)
    with path.open("rb") as file:
        head = file.read(SAMPLE_BYTES + 1)
    whole = len(head) <= SAMPLE_BYTES
    if not whole:  # a line that is longer than the sample is cut
        head = head[: head.rfind(b"\n") + 1] or head
    return PlainText(source, path, named, head.decode("utf-8", "ignore"), whole)


@contextmanager
def _bytes(source: Path) -> Iterator[IO[bytes]]:
    """What the file holds, unpacked."""
    packing = source.suffix.lower()
    try:
        if packing == ".zip":
            with zipfile.ZipFile(source) as archive:
                names = [name for name in archive.namelist() if not _is_hidden(name)]
                if len(names) != 1:
                    raise UserError(
                        f"{source} holds {len(names)} files ({', '.join(names[:5])}): pack one alone, or unpack it"
                    )
                with archive.open(names[0]) as file:
                    yield file
        elif packing in _PACKED:
            with pa.input_stream(str(source), compression=_PACKED[packing]) as file:
                yield file
        else:
            with source.open("rb") as file:
                yield file
    except _UNREADABLE as error:
        reason = " ".join(str(error).split()[:20])
        raise UserError(f"{source} cannot be read ({reason}): it may be cut off, write it again") from error


def _is_hidden(name: str) -> bool:
    """Whether a member of a zip archive is a folder, or a file that systems add by themselves."""
    return name.endswith("/") or name.startswith("__MACOSX/") or name.rsplit("/", 1)[-1].startswith(".")


def _marked(source: Path) -> str:
    with _bytes(source) as file:
        head = file.read(SAMPLE_BYTES)
    for magic, what in _NO_TEXT.items():
        if head.startswith(magic):
            raise UserError(f"{source} is no text, but {what}: write it as CSV, or give it the ending of what it is")
    for mark, encoding in _MARKS.items():
        if head.startswith(mark):
            return encoding
    zeros = head[0::2].count(0), head[1::2].count(0)  # UTF-16 without a mark: every other byte of Latin text is 0
    if max(zeros) > len(head) / 8:
        return "utf-16-be" if zeros[0] > zeros[1] else "utf-16-le"
    return "utf-8"


def _needs_copy(source: Path, encoding: str, flag: str) -> bool:
    """Whether it is packed, not UTF-8, or of mixed line ends. A file that is read in place is checked to its end."""
    if source.suffix.lower() in (*_PACKED, ".zip") or not _is_utf8(encoding):
        return True
    decoder = codecs.getincrementaldecoder("utf-8")()
    pairs = returns = feeds = 0
    last = b""
    with _bytes(source) as file:
        while chunk := file.read(_CHUNK):
            _decode(decoder, chunk, feeds, source, encoding, flag)
            pairs += chunk.count(b"\r\n") + (last == b"\r" and chunk[:1] == b"\n")
            returns += chunk.count(b"\r")
            feeds += chunk.count(b"\n")
            last = chunk[-1:]
    _decode(decoder, b"", feeds, source, encoding, flag)
    return returns != pairs or pairs not in (0, feeds)


def _is_utf8(encoding: str) -> bool:
    return codecs.lookup(encoding).name == "utf-8"


def _decode(
    decoder: codecs.IncrementalDecoder, chunk: bytes, lines: int, source: Path, encoding: str, flag: str
) -> str:
    try:
        text = decoder.decode(chunk, final=not chunk)
    except UnicodeDecodeError as error:  # else a UnicodeError, as where UTF-16 has no byte order mark
        line = lines + error.object.count(b"\n", 0, error.start) + 1
        found = " ".join(f"0x{byte:02x}" for byte in error.object[error.start : error.end])
        raise UserError(
            f"{source} is not of the encoding {encoding}, as line {line} holds the byte {found}: save it as UTF-8, or "
            f"pass {flag}.encoding latin-1, cp1252, gb18030 or whatever it was written in"
        ) from error
    except UnicodeError as error:
        raise UserError(f"{source} is not of the encoding {encoding} ({error}): mend {flag}.encoding") from error
    at = text.find("\0")
    if at >= 0:
        raise UserError(
            f"{source} holds a NUL in line {lines + text.count(chr(10), 0, at) + 1}: write it again as text"
        )
    return text


def _rewrite(source: Path, path: Path, encoding: str, flag: str) -> None:
    """All line ends become LF, within quoted cells too."""
    decoder = codecs.getincrementaldecoder(encoding)()
    ends = io.IncrementalNewlineDecoder(None, translate=True)
    lines = 0
    with _bytes(source) as file, path.open("w", encoding="utf-8", newline="") as copy:
        while chunk := file.read(_CHUNK):
            text = ends.decode(_decode(decoder, chunk, lines, source, encoding, flag))
            copy.write(text)
            lines += text.count("\n")
        copy.write(ends.decode(_decode(decoder, b"", lines, source, encoding, flag), final=True))
