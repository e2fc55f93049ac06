import json
import re
import subprocess
import sys
import threading

import pytest

from rexjax.errors import UserError
from rexjax.evaluation.gate import Decision
from rexjax.registry import Comparison, Registry
from tests.registry.conftest import CONFIG


def test_a_version_is_added_promoted_replaced_and_rolled_back(registry, make):
    first = registry.add(make(), note="the first")
    assert registry.champion is None and registry.challenger == first
    registry.promote(first.id)
    assert registry.champion == first and registry.challenger is None
    second = registry.add(make(0.05), parent=first.id)
    assert (second.parent, registry.challenger, registry.champion) == (first.id, second, first)
    assert second.lineage == {"parent": first.id, "parent_key": first.key}
    comparison = registry.compare()
    assert comparison.decision.promote and comparison.decision.numbers["quality"]["difference"] > 0.04
    registry.promote(second.id, comparison)
    assert registry.champion == second and registry.versions() == (first, second)
    assert registry.rollback().id == first.id and registry.champion == first
    assert [event.action for event in registry.state.events] == ["create", *2 * ["add", "promote"], "rollback"]
    assert all("@" in event.who for event in registry.state.events)


def test_ids_sort_by_time_and_name_the_content(registry, make):
    found = [registry.add(make(shift)) for shift in (0.0, 0.1, 0.2)]
    assert [version.id for version in found] == sorted(version.id for version in found)
    assert all(re.fullmatch(r"\d{8}-\d{6}-\d{3}-[0-9a-f]{8}", version.id) for version in found)
    assert registry.version(found[1].id[:-3]) == found[1]


def test_the_same_content_is_added_once(registry, make):
    folder = make()
    first = registry.add(folder)
    assert registry.add(folder) == first and len(registry.versions()) == 1
    assert registry.add(folder, parent=first.id) != first


def test_the_gate_stands_before_a_promotion(registry, make):
    first, worse = registry.add(make()), registry.add(make(-0.05))
    registry.promote(first.id)
    with pytest.raises(UserError, match="was not compared with the champion"):
        registry.promote(worse.id)
    with pytest.raises(UserError, match="the gate refuses version .* Quality may lose more than the margin"):
        registry.promote(worse.id, registry.compare())
    passed = Decision(True, ("fine",), {})
    with pytest.raises(UserError, match="the comparison is of .*: compare them again"):
        registry.promote(worse.id, Comparison(worse.id, first.id, passed))
    registry.promote(worse.id, force="a demonstration")
    last = registry.state.events[-1]
    assert registry.champion == worse and (last.forced, last.why) == (True, "a demonstration")


def test_a_segment_that_loses_is_refused_though_the_mean_gains(registry, make):
    registry.promote(registry.add(make()).id)
    registry.add(make(0.2, hurt=0.3))
    decision = registry.compare().decision
    assert not decision.promote and decision.numbers["quality"]["passed"]
    assert decision.words.startswith("1 of 2 segments lose more than 5%: half: 1 (-")


def test_a_rollback_goes_further_back_and_not_to_what_is_gone(registry, make):
    found = [registry.add(make(shift)) for shift in (0.0, 0.1, 0.2, 0.3)]
    with pytest.raises(UserError, match="there is no former champion"):
        registry.rollback()
    for version in found:
        registry.promote(version.id, force="a demonstration")
    registry.rollback(found[1].id[:-1])
    assert registry.champion == found[1] and registry.rollback() == found[0]
    with pytest.raises(UserError, match="there is no former champion"):
        registry.rollback()
    registry.promote(found[3].id, force="a demonstration")
    with pytest.raises(UserError, match="was not the champion before"):
        registry.rollback(found[2].id)
    assert registry.prune(keep=0) == tuple(version.id for version in found[:3])
    with pytest.raises(UserError, match="was pruned: add it again"):
        registry.rollback()


def test_pruning_keeps_what_is_needed(registry, make):
    base, delta = make(), make() / "empty"
    delta.mkdir()
    (delta / "rows").write_text("1")
    first = registry.add(base)
    second = registry.add(make(0.1), parent=first.id, extra={"delta": delta})
    third, challenger = registry.add(make(0.2)), registry.add(make(0.3))
    registry.promote(second.id)
    assert second.delta_of == first.id
    with registry.pin(third.id):
        assert registry.prune(keep=1) == ()
    assert registry.prune(keep=1) == (third.id,) and not third.path.exists()
    assert registry.versions() == (first, second, challenger)
    assert registry.prune(keep=1) == ()
    with pytest.raises(UserError, match="was pruned"), registry.pin(third.id):
        pass


def test_a_pin_of_a_process_that_has_ended_holds_nothing(registry, make):
    first, second = registry.add(make()), registry.add(make(0.1))
    registry.promote(second.id)
    with registry.pin(first.id):
        (pin,) = (registry.path / "pins" / first.id).iterdir()
        assert registry.prune(keep=0) == ()
        process = subprocess.Popen([sys.executable, "-c", ""])
        process.wait()
        pin.write_text(json.dumps(json.loads(pin.read_text()) | {"pid": process.pid}))
        assert registry.prune(keep=0) == (first.id,)


def test_readers_see_no_half_version(registry, make):
    first = registry.add(make())
    registry.promote(first.id)
    ended, seen = threading.Event(), set()

    def read():
        while not ended.is_set():
            seen.add((len(registry.versions()), registry.champion.id))

    reader = threading.Thread(target=read)
    reader.start()
    for shift in (0.1, 0.2, 0.3):
        registry.add(make(shift))
        registry.prune(keep=0)
    ended.set()
    reader.join()
    assert {champion for _, champion in seen} == {first.id} and {count for count, _ in seen} <= {1, 2, 3}


@pytest.mark.parametrize(
    ("act", "sentence"),
    [
        (lambda r, m: r.add(m().parent / "nothing"), "neither a workdir nor a prepared version, for it has no config"),
        (lambda r, m: r.add(m(), parent="2020"), "the registry has no version '2020': it has none yet"),
        (lambda r, m: r.add(m(), extra={"delta": m()}), "a delta needs the version that it starts from"),
        (lambda r, m: r.promote("challenger"), "the registry has no challenger"),
        (lambda r, m: r.prune(keep=-1), "keep is -1: set it to 0 or more"),
        (lambda r, m: Registry.open(r.path.parent), "is no registry: `rexjax models add"),
        (lambda r, m: Registry.create(m(), CONFIG), "holds config.json, and is no registry"),
        (lambda r, m: Registry.create(r.path, {}), "needs a config with data and evaluate"),
    ],
)
def test_mistakes_are_one_sentence(registry, make, act, sentence):
    with pytest.raises(UserError, match=sentence):
        act(registry, make)


def test_another_config_is_refused(registry, make):
    other = json.loads(json.dumps(CONFIG))
    other["data"]["length"] = 20
    sentence = r"the registry of another config \(data.length: 50 -> 20\)"
    for act in (lambda: registry.add(make(config=other)), lambda: Registry.open(registry.path, other)):
        with pytest.raises(UserError, match=sentence):
            act()
    larger = json.loads(json.dumps(CONFIG)) | {"teacher": {"width": 16}}
    larger["data"] |= {"path": "week-2", "split": "global_time"}  # a refresh splits by time
    assert registry.add(make(config=larger)) == Registry.open(registry.path, larger).challenger


def test_another_test_is_refused(registry, make):
    registry.promote(registry.add(make()).id)
    registry.add(make(0.1, test="another"))
    with pytest.raises(UserError, match="answered different tests"):
        registry.compare()


def test_clocks_that_disagree_are_refused(registry, make, monkeypatch):
    first = registry.add(make())
    monkeypatch.setattr("time.time", lambda: first.created - 5)
    second = registry.add(make(0.1))
    assert second.id > first.id and second.created > first.created
    monkeypatch.setattr("time.time", lambda: first.created - 3600)
    with pytest.raises(UserError, match="clocks disagree: this machine says .*: set the clock that is wrong"):
        registry.add(make(0.2))


def test_damage_is_named(registry, make):
    first = registry.add(make())
    (first.path / "metrics.json").write_text("{}")
    with pytest.raises(UserError, match="metrics.json is missing or damaged"):
        registry.promote(first.id)
    (registry.path / "history.jsonl").write_text("{")
    with pytest.raises(UserError, match="history.jsonl is damaged"):
        Registry.open(registry.path)


HOLDER = """
import fcntl, os, sys, time
fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(60)
"""


def test_a_second_writer_is_refused_while_the_first_lives(registry, make):
    folder, command = make(), [sys.executable, "-c", HOLDER, str(registry.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as first:
        first.stdout.readline()
        with pytest.raises(UserError, match="is in use by .*: wait for it, stop it"):
            registry.add(folder)
        first.kill()
    assert registry.add(folder) == registry.challenger
