import json
import shutil

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from rexjax.artifacts import lock
from rexjax.errors import UserError
from rexjax.serving import parts, run
from rexjax.serving.signature import signer, verifier


def pem(path, key):
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public = path.with_suffix(".pub")
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return path, public


@pytest.fixture
def keys(tmp_path):
    return pem(tmp_path / "key.pem", ed25519.Ed25519PrivateKey.generate())


def export(folder, sign=None):
    def write(place):
        (place / "a").write_text("a")
        return {"format": 5}

    folder.mkdir(exist_ok=True)
    with lock.of(folder) as owner:
        return parts.publish(folder, "x", write, owner, sign)


def check(folder, public):
    return parts.reading(folder, lambda export: [*export.files], verify=verifier(public))


def test_a_signed_export_is_read_and_its_parts_are_removed_with_their_signature(tmp_path, keys):
    private, public = keys
    places = [export(tmp_path / "out", signer(private))["place"] for _ in range(3)]
    assert check(tmp_path / "out", public) == ["a"]
    assert [(tmp_path / "out" / place).exists() for place in places] == [False, True, True]


def edit(folder, about):
    (folder / "bundle.json").write_text(json.dumps(about | {"format": 6}))


def take_another(folder, about):
    other = pem(folder.parent / "other.pem", ed25519.Ed25519PrivateKey.generate())[0]
    export(folder, signer(other))


def spoil(folder, about):
    (folder / about["place"] / "signature").write_text("no signature")


@pytest.mark.parametrize(
    "change, said",
    [
        (edit, "is not that of its bundle.json, which was changed"),
        (take_another, "is signed with the key [0-9a-f]{16}, and --trust names [0-9a-f]{16}"),
        (lambda folder, about: export(folder), "is not signed: export it with --sign"),
        (spoil, "is no signature of `rexjax export --sign`"),
    ],
    ids=["edited", "another key", "unsigned", "spoilt"],
)
def test_what_is_not_signed_by_the_trusted_key_is_refused_and_named(tmp_path, keys, change, said):
    private, public = keys
    about = export(tmp_path / "out", signer(private))
    change(tmp_path / "out", about)
    with pytest.raises(UserError, match=said):
        check(tmp_path / "out", public)


def test_a_file_that_is_no_key_is_refused(tmp_path, keys):
    private, public = keys
    curve = pem(tmp_path / "curve.pem", ec.generate_private_key(ec.SECP256R1()))
    for read, path in ((signer, public), (verifier, private), (signer, curve[0]), (verifier, curve[1])):
        with pytest.raises(UserError, match="Ed25519 key in PEM: make one with `openssl genpkey"):
            read(path)
    with pytest.raises(UserError, match="--sign .* cannot be read"):
        signer(tmp_path / "nowhere")


@pytest.mark.parametrize("flags, said", [({}, "an export is code: name the public key"), (None, "contradict")])
def test_others_are_served_what_is_signed_or_said_to_be_trusted(tmp_path, keys, monkeypatch, flags, said):
    monkeypatch.setenv("REXJAX_API_KEYS", f"web:{'0' * 64}")
    flags = {"trust": keys[1], "trust_unsigned": True} if flags is None else flags
    with pytest.raises(UserError, match=said):
        run.serve(tmp_path, "0.0.0.0", 0, None, tmp_path / "store.db", 1, print, **flags)


def test_the_server_reads_only_what_is_trusted(five, tmp_path, keys, monkeypatch):
    folder = shutil.copytree(five, tmp_path / "bundle")
    with pytest.raises(UserError, match="is not signed"):
        run.serve(folder, "127.0.0.1", 0, None, tmp_path / "store.db", 1, print, trust=keys[1])
