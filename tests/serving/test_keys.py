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
    assert found.find("Bearer s3cret").name == "web" and found.find("bearer other")[:2] == ("app", 5.0)
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


def test_a_file_without_keys_is_refused_and_one_that_changes_is_read_again(tmp_path):
    path = tmp_path / "keys"
    path.write_text("# none\n")
    with pytest.raises(UserError, match=r"keys holds no key: write NAME:SHA256"):
        keys.read(path, {})
    with pytest.raises(UserError, match="REXJAX_API_KEYS holds no key"):
        keys.read(None, {"REXJAX_API_KEYS": ""})
    path.write_text(line("web", "first"))
    found = keys.read(path, {})
    assert found.find("Bearer first").name == "web" and not found.refresh()
    path.write_text(line("web", "second key"))
    assert found.refresh() and found.find("Bearer first") is None and found.find("Bearer second key").name == "web"
    path.write_text("")
    with pytest.raises(UserError, match="holds no key"):
        found.refresh()
    assert found.find("Bearer second key").name == "web"


def test_wrong_keys_of_an_address_are_limited(tmp_path):
    found = Keys([line("web", "s")])
    assert [found.wait_wrong("1.2.3.4", now=0.0) > 0 for _ in range(21)] == [False] * 20 + [True]
    assert found.wait_wrong("1.2.3.5", now=0.0) == 0 and found.wait_wrong("1.2.3.4", now=1.5) == 0


@pytest.mark.parametrize(
    "scopes, expected",
    [("", {"recommend", "events"}), (":users", {"users"}), (":5:recommend+users", {"recommend", "users"})],
)
def test_a_key_has_the_scopes_of_its_line(scopes, expected):
    assert Keys([line("web", "s", scopes)]).find("Bearer s").scopes == expected
