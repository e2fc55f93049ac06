"""Signatures of exports (Ed25519, RFC 8032): who may bring code to a server.

An export is code: its programs run in the server. The signature covers ``bundle.json``, which holds the hash of every
file. It lies beside them in the file ``signature``: the public key and the signature in hexadecimal, a line each.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from rexjax.errors import UserError, needs_extra
from rexjax.serving import parts, sealed

_CONTEXT = b"rexjax export\n"  # a signature of something else is none of an export


def signer(path: Path) -> Callable[[bytes], bytes]:
    """What signs with the private key in ``path``, a PEM file without a password: content to the file's text.

    Raises:
        UserError: it is no Ed25519 key, or cannot be read.
    """
    key = _read(path, "--sign", "private")

    def sign(manifest: bytes) -> bytes:
        public = key.public_key().public_bytes_raw()
        return f"{public.hex()}\n{key.sign(_CONTEXT + manifest).hex()}\n".encode()

    return sign


def verifier(path: Path) -> Callable[[Path, bytes], None]:
    """What raises a ``UserError`` where the folder of parts that it is given holds no signature of the manifest by the
    public key in ``path``, a PEM file.

    Raises:
        UserError: it is no Ed25519 key, or cannot be read.
    """
    from cryptography.exceptions import InvalidSignature

    key = _read(path, "--trust", "public")
    trusted = key.public_bytes_raw().hex()

    def verify(place: Path, manifest: bytes) -> None:
        signed_by, signature = _signature(place)
        if signed_by != trusted:
            raise UserError(f"{place} is signed with the key {signed_by[:16]}, and --trust names {trusted[:16]}")
        try:
            key.verify(signature, _CONTEXT + manifest)
        except InvalidSignature:
            raise UserError(f"{place}: the signature is not that of its bundle.json, which was changed") from None

    return verify


def _signature(place: Path) -> tuple[str, bytes]:
    try:
        public, signature = sealed.read_file(place / parts.SIGNATURE)[0].tobytes().decode("ascii").split()
        return public, bytes.fromhex(signature)
    except FileNotFoundError:
        raise UserError(
            f"{place} is not signed: export it with --sign, or serve it with --trust-unsigned in place of --trust"
        ) from None
    except (OSError, ValueError):
        raise UserError(f"{place / parts.SIGNATURE} is no signature of `rexjax export --sign`") from None


def _read(path: Path, flag: str, kind: str) -> Any:
    with needs_extra("sign"):
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric import ed25519
        from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
    expected = {"private": ed25519.Ed25519PrivateKey, "public": ed25519.Ed25519PublicKey}[kind]
    try:
        content = path.read_bytes()
        key: Any = load_pem_private_key(content, None) if kind == "private" else load_pem_public_key(content)
    except OSError as error:
        raise UserError(f"{flag} {path} cannot be read: {error}") from error
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, expected):
        raise UserError(
            f"{flag} {path} is no {kind} Ed25519 key in PEM: make one with `openssl genpkey -algorithm ed25519`"
        )
    return key
