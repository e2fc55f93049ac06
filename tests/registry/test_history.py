import pytest

from rexjax.errors import UserError
from rexjax.registry import history
from rexjax.registry.history import Event


def test_what_is_written_is_read(tmp_path):
    events = [
        Event("create", config={"data": {}}),
        Event("add", ("a",), challenger="a", why="ünïcode\nline"),
        Event("promote", ("a",), "a", comparison={"promote": True}),
    ]
    assert history.read(tmp_path) is None
    assert history.write(tmp_path, events) == history.read(tmp_path)
    assert history.read(tmp_path).events == tuple(events)
    assert len((tmp_path / history.FILE).read_text().splitlines()) == 3


@pytest.mark.parametrize(
    ("actions", "champions"),
    [
        ("+a +b", "ab"),
        ("+a +b -a", "a"),
        ("+a +b +a -b", "ab"),
        ("+a +b +c -a +c", "ac"),
        ("+a +b +a +c -a", "aba"),
    ],
)
def test_former_champions_are_a_stack(actions, champions):
    kinds = {"+": "promote", "-": "rollback"}
    events = [Event(kinds[action[0]], (action[1],), action[1]) for action in actions.split()]
    assert "".join(history.fold(events).champions) == champions


def test_pruned_versions_are_not_alive():
    events = [Event("add", ("a",)), Event("add", ("b",)), Event("prune", ("a",))]
    assert history.fold(events).alive == ("b",) and history.fold(events).pruned == {"a"}


@pytest.mark.parametrize("text", ["", "[]\n", '{"action": "add"}\n', '{"unknown": 1, "versions": []}\n'])
def test_damage_is_one_sentence(tmp_path, text):
    (tmp_path / history.FILE).write_text(text)
    with pytest.raises(UserError, match="is damaged .*: restore it from a copy"):
        history.read(tmp_path)


def test_another_format_is_one_sentence(tmp_path):
    history.write(tmp_path, [Event("create")])
    path = tmp_path / history.FILE
    path.write_text(path.read_text().replace('"registry_format": 1', '"registry_format": 2'))
    with pytest.raises(UserError, match="made by another version of rexjax"):
        history.read(tmp_path)
