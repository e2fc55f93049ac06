import hashlib

import pytest

from rexjax.errors import UserError
from rexjax.serving import keys
from rexjax.serving.keys import Keys


def line(name, secret, rate=""):
    return f"{name}:{hashlib.sha256(secret.encode()).hexdigest()}{rate}"


def test_only_who_sends_the_secret_is_let_in():
    found = Keys([line("web", "s3cret"), "", "# nobody", line("app", "other", ":5") + "  # five a second"])
    assert len(found) == 2
    assert found.find("Bearer s3cret").name == "web" and found.find("bearer other") == ("app", 5.0)
    for wrong in ("", "Bearer", "Bearer ", "Bearer wrong", "Basic s3cret", "s3cret", "Bearer s3cret "):
        assert found.find(wrong) is None


def test_without_keys_everybody_may_ask():
    assert Keys([]).find("").name == "anybody" and Keys([]).wait(Keys([]).find("")) == 0


def test_a_bucket_holds_two_seconds_and_fills_at_the_rate():
    found = Keys([line("app", "x", ":5")])
    key = found.find("Bearer x")
    assert [found.wait(key, now=0.0) for _ in range(10)] == [0.0] * 10
    assert found.wait(key, now=0.0) == pytest.approx(0.2)
    assert found.wait(key, now=0.1) == pytest.approx(0.1)
    assert found.wait(key, now=0.21) == 0.0 and found.wait(key, now=0.21) > 0
    assert [found.wait(key, now=100.0) for _ in range(11)].count(0.0) == 10


@pytest.mark.parametrize("text", ["web", "web:abc", "web:" + "g" * 64, line("web", "x", ":often"), line("a b", "x")])
def test_a_line_that_is_none_is_named_without_what_is_in_it(text):
    with pytest.raises(UserError, match="line 2 of the API keys is not NAME:SHA256") as found:
        Keys(["", text])
    assert text not in str(found.value)


def test_keys_come_from_a_file_or_the_environment(tmp_path):
    path = tmp_path / "keys"
    path.write_text(line("web", "x") + "\n" + line("app", "y"))
    assert len(keys.read(path, {keys.VARIABLE: line("other", "z")})) == 2
    assert keys.read(None, {keys.VARIABLE: line("other", "z")}).find("Bearer z").name == "other"
    assert len(keys.read(None, {})) == 0
    with pytest.raises(UserError, match="cannot be read"):
        keys.read(tmp_path / "none", {})
