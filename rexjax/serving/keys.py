"""Who may ask, and how often: API keys, of which only hashes are kept, and a bucket of tokens for each.

A file of keys is read again when it has changed: a key that is taken out of it is refused from then on.
"""

import hashlib
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from rexjax.errors import UserError

VARIABLE = "REXJAX_API_KEYS"
WRONG = 20.0
"""Wrong keys that an address may send at once."""
_ADDRESSES = 50_000  # that are remembered
_Tokens = dict[str, tuple[float, float]]  # what a bucket holds, and when it was last looked at
SCOPES = ("recommend", "events", "users")
"""What a key may be for: answers; telling events; reading and erasing what is kept of a user."""
_USUAL = frozenset(SCOPES[:2])
_LINE = re.compile(
    r"(?P<name>[\w.-]+(?:/[\w.-]+)?):(?P<hash>[0-9a-f]{64})(?::(?P<rate>\d+(?:\.\d+)?))?(?::(?P<scopes>[a-z]+(?:\+[a-z]+)*))?"
)


class Key(NamedTuple):
    """One that was let in."""

    name: str
    """For logs and limits."""
    rate: float
    """Requests a second, on average; 0: any."""
    scopes: frozenset[str] = frozenset(SCOPES)
    """What it may ask for."""
    tenant: str = ""
    """Whose users it means: the part of the name before a slash, or the name. Another tenant's are others."""


class Keys:
    """All keys by the SHA-256 of what a client sends; no keys: everybody may ask."""

    def __init__(self, lines: list[str], path: Path | None = None) -> None:
        """Lines ``NAME:SHA256[:RATE][:SCOPES]``, scopes joined by +, by default recommend+events; empty ones and those
        after # do not count. ``path`` is the file of the lines.

        Raises:
            UserError: a line is none.
        """
        self._keys, self._path = _parse(lines), path
        self._stamp = _stamp(path) if path else ()
        self._tokens: _Tokens = {}
        self._wrong: _Tokens = {}  # of addresses

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
        return _take(self._tokens, key.name, key.rate, max(1.0, 2 * key.rate), now) if key.rate else 0.0

    def charge(self, key: Key, requests: int) -> None:
        """Takes so many tokens more, for the requests of a batch: what is missing has to come before the next one."""
        if key.rate and key.name in self._tokens:
            tokens, now = self._tokens[key.name]
            self._tokens[key.name] = tokens - requests, now

    def wait_wrong(self, address: str, now: float | None = None) -> float:
        """The same for an address that sent no known key, which may do so ``WRONG`` times, and once a second."""
        if len(self._wrong) > _ADDRESSES:
            self._wrong.clear()
        return _take(self._wrong, address, 1.0, WRONG, now)

    def refresh(self) -> bool:
        """Reads the file again if it has changed; whether it has.

        Raises:
            UserError: it cannot be read, or holds no key; the keys stay as they were.
        """
        if self._path is None or (stamp := _stamp(self._path)) == self._stamp:
            return False
        self._stamp = stamp
        self._keys = read(self._path, {})._keys
        return True


def _take(buckets: _Tokens, name: str, rate: float, most: float, now: float | None) -> float:
    """Takes a token from a bucket, which fills at ``rate`` a second up to ``most``: 0, or the seconds until it can."""
    now = time.monotonic() if now is None else now
    tokens, before = buckets.get(name, (most, now))
    tokens = min(most, tokens + (now - before) * rate)
    if tokens < 1:
        buckets[name] = tokens, now
        return (1 - tokens) / rate
    buckets[name] = tokens - 1, now
    return 0.0


def _parse(lines: list[str]) -> dict[str, Key]:
    found = {}
    for number, line in enumerate(lines, 1):
        text = line.split("#")[0].strip()
        if not text:
            continue
        parts = _LINE.fullmatch(text)
        scopes = frozenset(parts["scopes"].split("+")) if parts and parts["scopes"] else _USUAL
        if not parts or scopes - {*SCOPES}:
            known = ", ".join(SCOPES)
            raise UserError(
                f"line {number} of the API keys is not NAME:SHA256[:REQUESTS_A_SECOND][:SCOPES], with scopes of {known}"
            )
        found[parts["hash"]] = Key(parts["name"], float(parts["rate"] or 0), scopes, parts["name"].partition("/")[0])
    return found


def _stamp(path: Path) -> tuple[int, ...]:
    """Differs when the file has changed; () while there is none."""
    try:
        about = path.stat()
    except OSError:
        return ()
    return about.st_ino, about.st_size, about.st_mtime_ns


def read(path: Path | None, environment: Mapping[str, str]) -> Keys:
    """From a file, or, without one, from the environment's ``REXJAX_API_KEYS`` (lines parted by commas).

    Raises:
        UserError: the file cannot be read, a line is none, or there is no key where keys are asked for.
    """
    try:
        lines = environment.get(VARIABLE, "").split(",") if path is None else path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--keys {path} cannot be read: {error}") from error
    found = Keys(lines, path)
    if not len(found) and (path or VARIABLE in environment):
        where = f"--keys {path}" if path else VARIABLE
        raise UserError(f"{where} holds no key: write NAME:SHA256 for each client, or leave it out")
    return found
