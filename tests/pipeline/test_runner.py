import dataclasses
import fcntl
import json
import operator
import os
import signal
from pathlib import Path

import numpy as np
import pytest

from rexjax.artifacts.files import file_hash
from rexjax.config import Compress, Config, Data, Encode, Evaluate, Mesh, Pooled, Shop, Stage, Student, Transformer
from rexjax.errors import UserError
from rexjax.pipeline import runner
from rexjax.runtime import preemption

STAGES = tuple(runner.BY_NAME)


@pytest.fixture
def config(tmp_path):
    np.save(tmp_path / "vectors.npy", np.zeros((2, 2), np.float32))
    return Config(workdir=str(tmp_path / "workdir"), encode=Encode(vectors=str(tmp_path / "vectors.npy")))


@pytest.fixture
def ran(monkeypatch):
    """Every stage writes the part of the config that it depends on; the names of those that ran are collected."""
    names = []

    def writes(stage):
        def run(config, folder, inputs):
            names.append(stage.name)
            assert inputs.keys() == set(stage.needs)
            part = [str(operator.attrgetter(key)(config)) for key in stage.keys]
            if stage.name == "encode":
                part.append(str(np.load(config.encode.vectors)))
            (folder / "result.txt").write_text("\n".join(part + [inputs[need].hash for need in inputs]))
            return {"said": stage.name}

        return dataclasses.replace(stage, run=run)

    monkeypatch.setattr(runner, "STAGES", tuple(map(writes, runner.STAGES)))
    return names


def with_run(stages, name, wrap):
    """The stages, of which one runs ``wrap(its own function)``."""
    return tuple(dataclasses.replace(s, run=wrap(s.run)) if s.name == name else s for s in stages)


def run(config, stages=STAGES, *, update=False):
    said = []
    return runner.run(config, stages, update=update, say=said.append), said


def test_stages_run_in_order_and_then_are_skipped(config, ran):
    first, _ = run(config)
    assert ran == list(STAGES)
    second, said = run(config)
    assert ran == list(STAGES)
    assert all(outcome.skipped for outcome in second) and not any(outcome.skipped for outcome in first)
    assert [o.artifact.hash for o in first] == [o.artifact.hash for o in second]
    assert ["unchanged, skipped" in line for line in said] == [True] * 8


def test_manifests_name_the_files_that_stages_read_by_their_hashes(config, ran):
    outcomes, _ = run(config)
    external = {outcome.stage: outcome.artifact.manifest["external"] for outcome in outcomes}
    assert list(external["encode"].values()) == [file_hash(Path(config.encode.vectors))]
    assert not any(external[name] for name in STAGES if name != "encode")


@pytest.mark.parametrize(
    ("change", "again"),
    [
        ({"seed": 1}, STAGES),
        ({"data": Data(length=7)}, STAGES),
        ({"teacher": Transformer(layers=1)}, ("teacher", "distill", "compress", "index", "evaluate")),
        ({"baselines": ()}, ("baselines", "evaluate")),
        ({"student": Student(Pooled(width=8))}, ("distill", "compress", "index", "evaluate")),
        ({"compress": Compress(variants=("int8",))}, ("compress", "index", "evaluate")),
        ({"mesh": Mesh(data=1), "wandb": "project"}, ()),
    ],
)
def test_another_config_is_refused_and_with_update_only_what_it_affects_is_made_again(config, ran, change, again):
    run(config)
    ran.clear()
    changed = dataclasses.replace(config, **change)
    if again:
        with pytest.raises(UserError, match="belongs to another config"):
            run(changed)
        assert ran == []
    outcomes, _ = run(changed, update=True)
    assert ran == list(again)
    assert [o.stage for o in outcomes if o.skipped] == [name for name in STAGES if name not in again]


def test_evaluation_settings_leave_data_and_vectors_alone(config, ran):
    run(config)
    ran.clear()
    run(dataclasses.replace(config, evaluate=Evaluate(resamples=10)), update=True)
    assert ran == ["evaluate"]
    run(dataclasses.replace(config, evaluate=Evaluate(exclude_seen=False)), update=True)
    assert not {"prepare", "encode"} & set(ran)


def test_a_stage_that_fails_leaves_its_older_artifact_whole(config, ran, monkeypatch):
    first, _ = run(config)

    def refuse(config, folder, inputs):
        raise UserError("no")

    with monkeypatch.context() as during:
        during.setattr(runner, "STAGES", with_run(runner.STAGES, "teacher", lambda run: refuse))
        with pytest.raises(UserError, match="no"):
            run(dataclasses.replace(config, teacher=Transformer(layers=1)), update=True)
    again, _ = run(config, update=True)
    assert all(outcome.skipped for outcome in again)
    assert [o.artifact.hash for o in first] == [o.artifact.hash for o in again]


def test_a_version_is_whole_before_and_after_the_moment_it_is_published(config, ran, monkeypatch):
    def killed(path, value):
        raise KeyboardInterrupt

    (before,), _ = run(config, ("prepare",))
    changed = dataclasses.replace(config, seed=1)
    with monkeypatch.context() as during:
        during.setattr(runner.store, "write_json", killed)
        with pytest.raises(KeyboardInterrupt):
            run(changed, ("prepare",), update=True)
    assert runner.store.read(Path(config.workdir) / "prepare") == before.artifact
    (after,), _ = run(changed, ("prepare",), update=True)
    assert after.artifact.hash != before.artifact.hash
    assert runner.store.read(Path(config.workdir) / "prepare") == after.artifact


@pytest.mark.parametrize("changed", ["vectors.npy", "image.npy"])
def test_a_file_outside_that_changed_is_read_again(config, ran, tmp_path, changed):
    image = tmp_path / "image.npy"
    np.save(image, np.zeros((2, 2), np.float32))
    config = dataclasses.replace(config, encode=dataclasses.replace(config.encode, extra_vectors=(f"image={image}",)))
    run(config)
    ran.clear()
    np.save(tmp_path / changed, np.ones((2, 2), np.float32))
    run(config)
    assert ran[0] == "encode"


@pytest.mark.parametrize("damage", ["truncate", "remove", "manifest"])
def test_a_damaged_artifact_is_made_again_and_the_rest_is_kept(config, ran, tmp_path, damage):
    run(config)
    ran.clear()
    folder = runner.store.find(tmp_path / "workdir" / "teacher").folder
    if damage == "truncate":
        (folder / "result.txt").write_text("")
    elif damage == "remove":
        (folder / "result.txt").unlink()
    else:
        (folder / "manifest.json").write_text("{")
    run(config)
    assert ran == ["teacher"]  # the same result: what follows from it is unchanged


def test_a_stage_that_was_cut_off_finds_what_it_left(config, monkeypatch, tmp_path):
    found = []

    def stage(config, folder, inputs):
        found.append((folder / "checkpoint").exists())
        (folder / "checkpoint").write_text("half")
        if len(found) == 1:
            raise KeyboardInterrupt
        return {}

    monkeypatch.setattr(runner, "STAGES", with_run(runner.STAGES, "prepare", lambda run: stage))
    with pytest.raises(KeyboardInterrupt):
        run(config, ("prepare",))
    assert not list((tmp_path / "workdir" / "prepare").rglob("manifest.json"))
    run(config, ("prepare",))
    run(dataclasses.replace(config, seed=1), ("prepare",), update=True)
    assert found == [False, True, False]


@pytest.mark.parametrize("name, finished", [("prepare", False), ("teacher", True)])
def test_a_run_that_is_asked_to_stop_stops_within_a_stage_of_one_process_or_after_it(
    config, ran, monkeypatch, name, finished
):
    """A stage of all processes stops by itself, where they agree to (``rexjax.training.save_policy``)."""

    def struck(stage):
        def run(*arguments):
            os.kill(os.getpid(), signal.SIGTERM)
            return stage(*arguments)

        return run

    with monkeypatch.context() as during:
        during.setattr(runner, "STAGES", with_run(runner.STAGES, name, struck))
        with pytest.raises(preemption.Preempted), preemption.watched():
            run(config)
    assert (name in ran) == finished and "distill" not in ran
    run(config)  # the lock is free
    assert ran == list(STAGES)


def test_a_second_run_in_a_workdir_is_refused(config, ran):
    workdir = Path(config.workdir)
    workdir.mkdir()
    held = os.open(workdir, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    with pytest.raises(UserError, match="workdir is in use by another run"):
        run(config)
    assert ran == [] and not any(workdir.iterdir())
    os.close(held)
    run(config)


PLANTED = {
    "prepare": lambda path: path.mkdir() or (path / "mine.csv").write_text("a"),
    "teacher": lambda path: path.write_text("notes"),
    "index": lambda path: path.symlink_to(path.parent.parent),
    "config.json": lambda path: path.write_text('{"editor": "dark"}'),
    "metrics.json": lambda path: path.write_text('{"mine": 1}'),
    "report.html": lambda path: path.write_text("<html>a thesis</html>"),
    "sweep": lambda path: path.mkdir() or (path / "chimney.txt").write_text("soot"),
    "budget.json": lambda path: path.symlink_to("nowhere"),
    "lock.json": lambda path: path.write_text("{}"),
}


def tree(folder):
    """Every path below a folder, with what it leads to or holds."""
    return {p: os.readlink(p) if p.is_symlink() else p.read_bytes() if p.is_file() else "" for p in folder.rglob("*")}


@pytest.mark.parametrize("name", PLANTED)
@pytest.mark.parametrize("update", [False, True])
def test_what_others_have_put_in_the_way_is_refused_by_name_and_left_untouched(config, ran, name, update):
    workdir = Path(config.workdir)
    workdir.mkdir()
    PLANTED[name](workdir / name)
    (workdir / "thesis.tex").write_text("years")
    before = tree(workdir)
    with pytest.raises(UserError, match=name) as caught:
        run(config, update=update)
    assert tree(workdir) == before and ran == [] and "\n" not in str(caught.value)


def test_all_that_is_in_the_way_is_named_at_once(config, ran):
    workdir = Path(config.workdir)
    workdir.mkdir()
    for name in ("prepare", "report.html"):
        PLANTED[name](workdir / name)
    with pytest.raises(UserError, match=r"workdir holds prepare and report.html, which rexjax did not make"):
        run(config)


def test_a_users_file_beside_and_within_versions_outlives_them(config, ran):
    run(config)
    place = Path(config.workdir) / "prepare"
    (place / "notes.txt").write_text("beside")
    (runner.store.find(place).folder / "notes.txt").write_text("within")
    for seed in (1, 2, 3):
        run(dataclasses.replace(config, seed=seed), ("prepare",), update=True)
    assert sorted(path.read_text() for path in place.rglob("notes.txt")) == ["beside", "within"]


def test_a_stage_whose_inputs_are_not_there_is_refused(config, ran):
    with pytest.raises(UserError, match="stage 'prepare' has not finished in .*: run `rexjax prepare CONFIG` first"):
        run(config, ("encode",))
    assert ran == []


@pytest.mark.parametrize(
    ("encode", "words"),
    [
        (Encode(vectors="nowhere.npy"), "no file nowhere.npy: --encode.vectors"),
        (Encode(model="nowhere"), "no folder nowhere: --encode.model"),
        (Encode(extra_vectors=("image=nowhere.npy",)), "no file nowhere.npy: .* --encode.extra-vectors name .npy"),
    ],
)
def test_files_that_are_not_there_are_named_before_anything_is_removed(config, ran, tmp_path, encode, words):
    run(config)
    with pytest.raises(UserError, match=words):
        run(dataclasses.replace(config, encode=encode), update=True)
    assert runner.store.read(tmp_path / "workdir" / "encode")


def test_prepare_and_encode_give_the_same_artifacts_wherever_they_run(tmp_path):
    np.save(tmp_path / "vectors.npy", np.random.default_rng(0).normal(size=(40, 16)).astype(np.float32))
    shop = Shop(users=60, items=40, interactions=600, days=30)
    hashes = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        config = Config(
            workdir=str(tmp_path / name),
            seed=seed,
            data=Data(source=shop, min_user_events=1, min_item_events=1, strict=False),
            encode=Encode(vectors=str(tmp_path / "vectors.npy"), width=8),
        )
        outcomes, _ = run(config, ("prepare", "encode"))
        hashes.append([outcome.artifact.hash for outcome in outcomes])
        assert json.loads((tmp_path / name / "config.json").read_text())["seed"] == seed
    assert hashes[0] == hashes[1]
    assert hashes[0][0] != hashes[2][0]


def own(name, *needs):
    return Stage(name, run=lambda config, folder, artifacts: {}, needs=needs)


@pytest.mark.parametrize(
    ("stages", "expected"),
    [
        ((), [*STAGES]),
        ((own("count", "evaluate"),), [*STAGES, "count"]),
        ((own("count"),), [*STAGES, "count"]),
        # one that was named before what it needs waits for it, and no stage moves for it
        ((own("second", "first"), own("first", "prepare")), [*STAGES, "first", "second"]),
    ],
)
def test_each_stage_comes_after_what_it_needs(config, stages, expected):
    found = runner.stages_of(dataclasses.replace(config, stages=stages))
    assert list(found) == expected and all(found[name].name == name for name in found)
    for number, name in enumerate(found):
        assert set(found[name].needs) <= set(expected[:number])


@pytest.mark.parametrize(
    ("stages", "words"),
    [
        ((own("teacher"),), "config.stages has a stage 'teacher', and there is one already: choose another name"),
        ((own("a"), own("a")), "config.stages has a stage 'a', and there is one already"),
        ((own("a", "prepare", "z", "y"),), "stage 'a' needs y, z, which is no stage of this config"),
        ((own("a", "b"), own("b", "c"), own("c", "a")), "stages a, b, c need each other: none can be first"),
        ((own("a", "a"),), "stages a need each other: none can be first"),
    ],
)
def test_stages_that_cannot_be_ordered_are_refused(config, ran, stages, words):
    with pytest.raises(UserError, match=words):
        run(dataclasses.replace(config, stages=stages))
    assert ran == []


def test_a_workdir_of_another_version_is_refused(config, ran):
    run(config, ("prepare",))
    path = Path(config.workdir) / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 1}))
    ran.clear()
    for update in (False, True):
        with pytest.raises(UserError, match="was made by another version of rexjax, which this one cannot read"):
            run(config, update=update)
    assert ran == []
