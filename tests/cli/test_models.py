import json

import pytest

from rexjax.artifacts import workdirs
from rexjax.cli import places
from rexjax.evaluation import Decision
from rexjax.registry import Comparison, Registry
from rexjax.serving import parts
from tests.cli.runs import main, refused
from tests.registry.conftest import prepared


@pytest.fixture(scope="module")
def filled(finished, tmp_path_factory):
    """A registry with two versions of one run: the champion, and the challenger, its child."""
    folder = tmp_path_factory.mktemp("models") / "registry"
    assert main("models", "add", folder, finished[1], "--note", "the first") == 0
    assert main("models", "promote", folder) == 0
    assert main("models", "add", folder, finished[1], "--parent", "champion") == 0
    return Registry.open(folder)


def test_a_version_holds_what_the_run_found(filled, finished):
    champion, challenger = filled.champion, filled.challenger
    assert challenger.parent == champion.id and champion.note == "the first"
    assert {"config.json", "card.json", "metrics.json", "per_user.npz", "segments.npz", "lineage.json"} <= {
        *champion.files
    }
    champion.check()
    users = len(champion.per_user())
    assert champion.per_user().mean() == pytest.approx(champion.metrics["quality"]["ndcg@10"], abs=1e-6)
    assert {len(of_user) for of_user in champion.segments().values()} == {users}
    assert [len(sha256) for sha256 in champion.lineage["inputs"].values()] == [64]  # the item vectors
    assert set(champion.lineage["stages"]) >= {"prepare", "teacher", "index", "evaluate"}
    assert champion.metrics["calibration"]["users"] == users
    assert workdirs.read_config(finished[1])["seed"] == json.loads((champion.path / "config.json").read_text())["seed"]


def test_the_list_names_the_aliases(filled, capsys):
    assert main("models", "list", filled.path) == 0
    out = capsys.readouterr().out
    assert all(word in out for word in (filled.champion.id, "champion", "challenger", "the first"))
    assert main("models", "list", filled.path, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["champion"] == filled.champion.id and len(found["versions"]) == 2


def test_the_card_has_all_its_parts(filled, capsys):
    assert main("models", "show", filled.path) == 0
    card = capsys.readouterr().out
    heads = [line for line in card.splitlines() if line.startswith("#")]
    assert heads == [
        f"# Model card: {filled.champion.id}",
        *(f"## {part}" for part in ("Data", "Quality", "Cost", "Segments", "Limits", "Lineage")),
    ]
    assert f"{filled.champion.metrics['quality']['ndcg@10']:.4f}" in card and "nan" not in card
    assert main("models", "show", filled.path, "challenger", "--json") == 0
    assert json.loads(capsys.readouterr().out)["lineage"]["stages"]


def test_the_gate_in_words_and_json(filled, capsys):
    assert main("models", "compare", filled.path) == 0
    assert "passes the gate against the champion" in capsys.readouterr().out
    assert main("models", "compare", filled.path, "--json", "--quality", "0.5") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["promote"] and found["numbers"]["margins"]["quality"] == 0.5


def test_a_refusal_exits_with_1(filled, capsys, monkeypatch):
    no = Decision(False, ("It is worse.",), {})
    names = filled.champion.id, filled.challenger.id
    monkeypatch.setattr(Registry, "compare", lambda *arguments, **more: Comparison(*names, no))
    assert main("models", "compare", filled.path) == 1 and main("models", "promote", filled.path) == 1
    assert "is refused by the gate" in capsys.readouterr().out and filled.champion.id == names[0]


def test_a_server_reads_an_alias_or_a_pinned_version(filled):
    def name(export):
        return export.about["name"]

    with places.exported(filled.path.with_name("registry@champion")) as folder:
        assert folder == filled.path / "champion" and parts.reading(folder, name) == "student_int8"
    with places.exported(filled.path.with_name(f"registry@{filled.challenger.id}")) as folder:
        assert folder == filled.challenger.export and parts.reading(folder, name) == "student_int8"
        assert filled.prune(keep=0) == ()
    with places.exported(filled.path) as folder:
        assert folder == filled.path


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("models",), "an action is missing: name one of add, list, show"),
        (("models", "remove"), "there is no action 'remove': name one of add, list"),
        (("models", "show", "REGISTRY", "2031"), "the registry has no version '2031': the newest is"),
        (("models", "rollback", "REGISTRY"), "there is no former champion to roll back to"),
        (("models", "list", "REGISTRY/versions"), "is no registry"),
        (("models", "compare", "REGISTRY", "--quality", "0"), "set quality to a number above 0"),
        (("serve", "REGISTRY@2031"), "the registry has no version '2031'"),
        (("serve", "nowhere@champion"), "nowhere is no registry"),
    ],
)
def test_mistakes_are_one_sentence(filled, capsys, arguments, sentence):
    asked = [argument.replace("REGISTRY", str(filled.path)) for argument in arguments]
    assert sentence in refused(capsys, *asked)


def test_promote_roll_back_and_prune(filled, capsys):
    first, second = filled.champion, filled.challenger
    assert main("models", "promote", filled.path) == 0 and filled.champion == second
    assert main("models", "rollback", filled.path, "--why", "a demonstration") == 0 and filled.champion == first
    assert main("models", "prune", filled.path, "--keep", "0") == 0
    assert "1 versions removed, 1 kept" in capsys.readouterr().out and filled.versions() == (first,)


def test_a_prepared_folder_is_added_too(tmp_path, capsys):
    registry, folder = tmp_path / "registry", prepared(tmp_path / "prepared")
    assert main("models", "add", registry, folder) == 0 and Registry.open(registry).challenger
    assert "neither a workdir nor a prepared version" in refused(capsys, "models", "add", registry, tmp_path)
