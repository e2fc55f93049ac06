"""What a store knows of a user: a keyed hash of the user's id, whose key lies outside the store.

A copy of the store alone tells nobody who its users are: without the key no guess of an id can be checked. Keys can be
replaced: new events are stored under the first key, and events under the others are found until they are too old.
"""

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path

from rexjax.errors import UserError

VARIABLE = "REXJAX_USERS_KEY"
_KEY = re.compile(r"[0-9a-f]{32,128}")  # BLAKE2 takes keys of at most 64 bytes


class UserIds:
    """Hashes of users' ids (BLAKE2b with a key, 16 bytes)."""

    def __init__(self, keys: list[bytes]) -> None:
        """``keys``, the first of which new events are stored under."""
        self._keys = keys

    def of(self, user: str, tenant: str = "") -> list[bytes]:
        """Hashes of a tenant's user, under the first key first. Equal ids of two tenants have different ones.

        >>> ids = UserIds([bytes(16), bytes(15) + b"1"])
        >>> len(ids.of("ann")), ids.of("ann") == UserIds([bytes(16)]).of("ann", "shop")
        (2, False)
        """
        whose = hashlib.blake2b(tenant.encode(), digest_size=16).digest() if tenant else b""
        return [hashlib.blake2b(user.encode(), key=key, digest_size=16, person=whose).digest() for key in self._keys]

    @property
    def marks(self) -> list[str]:
        """A name of each key, which does not tell the key."""
        return [hashlib.blake2b(b"rexjax store", key=key, digest_size=8).hexdigest() for key in self._keys]


def read(path: Path | None, environment: Mapping[str, str]) -> UserIds | None:
    """Keys of a file, a line each, or of the environment's ``REXJAX_USERS_KEY``, parted by commas; None: neither is
    there.

    Raises:
        UserError: the file cannot be read, or a line is no key.
    """
    where = f"--users-key {path}" if path else VARIABLE
    try:
        text = path.read_text("utf-8") if path else environment.get(VARIABLE)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{where} cannot be read: {error}") from error
    if text is None:
        return None
    lines = [line.split("#")[0].strip().lower() for line in re.split(r"[\n,]", text)]
    keys = [line for line in lines if line]
    if not keys or not all(_KEY.fullmatch(key) and len(key) % 2 == 0 for key in keys):
        raise UserError(
            f"{where} holds no key: write 32 to 128 hexadecimal digits a line, as of `openssl rand -hex 32`"
        )
    return UserIds([bytes.fromhex(key) for key in keys])


def beside(store: Path, legacy: bytes | None = None) -> UserIds:
    """The keys in the file ``STORE.key``, which is made, for its owner alone, if it is not there.

    Raises:
        UserError: it cannot be read or made.
    """
    path = store.with_name(store.name + ".key")
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return read(path, {}) or UserIds([])
    except OSError as error:
        raise UserError(f"{path} cannot be made, which is to hold the key of the users' ids: {error}") from error
    with os.fdopen(file, "w") as opened:
        opened.write((legacy or os.urandom(32)).hex() + "\n")
    return read(path, {}) or UserIds([])
