"""Who may ask, and how often: API keys, of which only hashes are kept, and a bucket of tokens for each."""

import hashlib
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from rexjax.errors import UserError

VARIABLE = "REXJAX_API_KEYS"
_LINE = re.compile(r"(?P<name>[\w.-]+):(?P<hash>[0-9a-f]{64})(?::(?P<rate>\d+(?:\.\d+)?))?")


class Key(NamedTuple):
    """One that was let in."""

    name: str
    """For logs and limits."""
    rate: float
    """Requests a second, on average; 0: any."""


class Keys:
    """All keys by the SHA-256 of what a client sends; no keys: everybody may ask."""

    def __init__(self, lines: list[str]) -> None:
        """Lines ``NAME:SHA256[:RATE]``; empty ones and those after # do not count.

        Raises:
            UserError: a line is none.
        """
        self._keys: dict[str, Key] = {}
        self._tokens: dict[str, tuple[float, float]] = {}
        for number, line in enumerate(lines, 1):
            text = line.split("#")[0].strip()
            if not text:
                continue
            found = _LINE.fullmatch(text)
            if not found:
                raise UserError(f"line {number} of the API keys is not NAME:SHA256 or NAME:SHA256:REQUESTS_A_SECOND")
            self._keys[found["hash"]] = Key(found["name"], float(found["rate"] or 0))

    def __len__(self) -> int:
        return len(self._keys)

    def find(self, authorization: str) -> Key | None:
        """The key of a header ``Bearer SECRET``; None is nobody's."""
        if not self._keys:
            return Key("anybody", 0)
        scheme, _, secret = authorization.partition(" ")
        return self._keys.get(hashlib.sha256(secret.encode()).hexdigest()) if scheme.lower() == "bearer" else None

    def wait(self, key: Key, now: float | None = None) -> float:
        """Takes a token: 0, or the seconds until there is one again. A bucket holds two seconds' worth."""
        if not key.rate:
            return 0.0
        now, most = time.monotonic() if now is None else now, max(1.0, 2 * key.rate)
        tokens, before = self._tokens.get(key.name, (most, now))
        tokens = min(most, tokens + (now - before) * key.rate)
        if tokens < 1:
            self._tokens[key.name] = tokens, now
            return (1 - tokens) / key.rate
        self._tokens[key.name] = tokens - 1, now
        return 0.0


def read(path: Path | None, environment: Mapping[str, str]) -> Keys:
    """From a file, or, without one, from the environment's ``REXJAX_API_KEYS`` (lines parted by commas).

    Raises:
        UserError: the file cannot be read, or a line is none.
    """
    if path is None:
        return Keys(environment.get(VARIABLE, "").split(","))
    try:
        return Keys(path.read_text().splitlines())
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--keys {path} cannot be read: {error}") from error
