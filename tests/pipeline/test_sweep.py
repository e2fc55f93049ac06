import json
from dataclasses import replace

import numpy as np
import pytest

from rexjax.config import Config, Data, Encode, Pooled, Shop, Student, Training, Transformer
from rexjax.errors import UserError
from rexjax.pipeline import sweep
from rexjax.pipeline.stages import teacher as stage

QUALITY = {"width": {32: 0.0, 64: 0.2, 128: 0.1}, "layers": {1: 0.0, 2: 0.05, 3: 0.04}}


@pytest.fixture
def config(tmp_path):
    np.save(tmp_path / "vectors.npy", np.random.default_rng(0).standard_normal((40, 6)).astype(np.float32))
    return Config(
        workdir=str(tmp_path / "run"),
        data=Data(source=Shop(users=60, items=40, interactions=600), min_item_events=1, length=8, strict=False),
        encode=Encode(vectors=str(tmp_path / "vectors.npy"), width=6),
        teacher=Transformer(width=256, layers=4, training=Training(epochs=1, batch=8, validate_users=20)),
        student=Student(top_k=5),
    )


@pytest.fixture
def trained(monkeypatch):
    """Stands in for training: quality as a table says; what was trained is kept."""
    seen = []

    def run(config, folder, inputs):
        seen.append(config.teacher)
        found = QUALITY["width"][config.teacher.width] + QUALITY["layers"].get(config.teacher.layers, 0.0)
        return {"valid": {"ndcg@10": found if config.teacher.dropout == 0.3 else 0.0}}

    monkeypatch.setattr(stage, "run", run)
    return seen


def quiet(line):
    pass


def test_it_starts_small_and_grows_while_that_pays(config, trained):
    found = sweep.run(config, 12, quiet)
    assert [trial.change for trial in found[:5]] == ["start small", "wider", "wider", "deeper", "deeper"]
    assert [trial.kept for trial in found[:5]] == [True, True, False, True, False]
    best = json.loads((sweep.Path(config.workdir) / "sweep" / "teacher" / "best.json").read_text())
    assert (best["width"], best["layers"]) == (64, 2) and len(trained) == 12
    assert len({json.dumps(trial.settings, sort_keys=True) for trial in found}) == 12


def test_it_goes_on_where_it_was(config, trained):
    first = sweep.run(config, 4, quiet)
    path = sweep.Path(config.workdir) / "sweep" / "teacher" / "trials.jsonl"
    path.write_text(path.read_text()[:-9])  # the last line was cut off
    more = sweep.run(config, 6, quiet)
    assert [trial.change for trial in more[:4]] == [trial.change for trial in first]
    assert len(trained) == 4 + 1 + 2


def test_a_trial_that_fails_does_not_end_the_search(config, trained, monkeypatch):
    good = stage.run

    def run(config, folder, inputs):
        if config.teacher.training.learning_rate > 1e-3 or config.teacher.width == 64:
            raise UserError("the loss of teacher became NaN")
        return good(config, folder, inputs)

    monkeypatch.setattr(stage, "run", run)
    said = []
    found = sweep.run(config, 9, said.append)
    assert {trial.ndcg for trial in found if trial.change in ("wider", "faster")} == {0.0}
    assert (
        any(trial.kept for trial in found[2:]) and len(found) == 9 and "failed: the loss of teacher became NaN" in said
    )
    with pytest.raises(UserError, match="NaN"):
        fast = replace(config.teacher, training=replace(config.teacher.training, learning_rate=1.0))
        sweep.run(replace(config, workdir=config.workdir + "2", teacher=fast), 2, quiet)


def test_a_real_trial_leaves_a_picture_and_no_checkpoints(config):
    (trial,) = sweep.run(replace(config, teacher=replace(config.teacher, heads=2)), 1, quiet)
    assert 0 <= trial.ndcg <= 1 and trial.settings["width"] == 32
    folder = sweep.Path(config.workdir) / "sweep" / "teacher"
    assert {path.name for path in folder.iterdir()} == {"started.json", "trials.jsonl", "best.json", "sweep.png"}
    assert (folder / "sweep.png").stat().st_size > 10_000


@pytest.mark.parametrize("of, second", [("student", "another round"), ("control", "more dropout")])
def test_students_are_searched_by_how_they_are_taught_and_cost_what_they_did(config, of, second):
    config = replace(config, teacher=Transformer(width=8, heads=2, training=config.teacher.training))
    model = Pooled(training=replace(config.teacher.training, epochs=2))
    config = replace(config, student=replace(config.student, model=model))
    found = sweep.run(config, 2, quiet, of)
    assert [trial.change for trial in found] == ["as it is", second] and found[0].kept
    folder = sweep.Path(config.workdir) / "sweep" / of
    assert {path.name for path in folder.iterdir()} == {"started.json", "trials.jsonl", "best.json", "sweep.png"}
    for student in sweep.MODELS[of](config.student).values():
        assert isinstance(student.model, Pooled)
        assert (student.model.width, student.model.hidden) == (model.width, model.hidden)
        assert student != config.student


@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
def test_what_is_tried_on_a_student_is_always_a_student(share):
    """However far the search has gone: a share leaves [0, 1] never."""
    for change, student in sweep.of_student(Student(Pooled(dropout=0.0), teacher_weight=(share,))).items():
        assert all(0 <= value <= 1 for value in student.teacher_weight), change


def test_no_trials_are_refused(config):
    with pytest.raises(UserError, match="--trials 0"):
        sweep.run(config, 0, quiet)
