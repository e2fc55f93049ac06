import shutil
from dataclasses import replace

import numpy as np
import pytest

from rexjax.data import histories
from rexjax.errors import UserError
from rexjax.pipeline import runner
from rexjax.pipeline.stages import distill, inputs


def test_every_training_position_has_a_list(finished):
    log = histories.read(finished.artifacts["prepare"].folder)
    logits = np.load(finished.artifacts["distill"].folder / "top_k" / "0" / "logits.npy")
    length = finished.config.data.length
    for user in range(log.users):
        last = log.valid_start[user] - 1  # only a label
        first = max(log.offsets[user], last - length)
        # the last of a list has a log-probability below zero; the file is zeros elsewhere
        assert (logits[first:last, -1] < 0).all() and (logits[last : log.offsets[user + 1]] == 0).all()


def test_student_and_control_are_alike_in_shape_and_differ_in_what_they_learnt(finished):
    folder, model = finished.artifacts["distill"].folder, finished.config.student.model
    student, control = inputs.fitted(folder / "student", model), inputs.fitted(folder / "control", model)
    assert student.items.shape == control.items.shape == (finished.artifacts["prepare"].metrics["items"], 8)
    assert np.abs(student.items - control.items).max() > 1e-3
    assert np.allclose(np.linalg.norm(student.items, axis=1), 1, atol=1e-5)


def test_a_list_longer_than_the_catalogue_is_refused(finished, tmp_path):
    config = replace(finished.config, student=replace(finished.config.student, top_k=41))
    with pytest.raises(UserError, match="--student.top-k 41 is longer than the catalogue"):
        distill.run(config, tmp_path, finished.artifacts)


def test_lists_of_another_teacher_are_refused(finished, tmp_path):
    shutil.copytree(finished.artifacts["distill"].folder / "top_k", tmp_path / "top_k")
    teacher = finished.artifacts["teacher"]
    other = teacher._replace(manifest=teacher.manifest | {"hash": "another"})
    with pytest.raises(UserError, match="were made by another teacher: run `rexjax distill CONFIG --update`"):
        distill.run(finished.config, tmp_path, finished.artifacts | {"teacher": other})


def test_times_that_the_log_does_not_have_are_refused(finished, tmp_path, monkeypatch):
    read = inputs.training_data

    def timeless(*arguments):
        data = read(*arguments)
        return replace(data, log=data.log._replace(times=np.zeros_like(data.log.times)))

    monkeypatch.setattr(inputs, "training_data", timeless)
    model = replace(finished.config.student.model, time="history")
    config = replace(finished.config, student=replace(finished.config.student, model=model))
    with pytest.raises(UserError, match="--student.model.time history: all interactions of this log have"):
        distill.run(config, tmp_path, finished.artifacts)


def test_further_rounds_hold_lists_for_altered_histories(finished, tmp_path):
    student = replace(finished.config.student, augmented_rounds=2, corruption_rate=0.5)
    distill.run(replace(finished.config, student=student), tmp_path, finished.artifacts)
    log = histories.read(finished.artifacts["prepare"].folder)

    def read(number, name):
        return np.load(tmp_path / "top_k" / str(number) / name)

    first, second = read(1, "items.npy"), read(2, "items.npy")
    assert (first != log.items).any() and (first != second).any()
    assert (read(1, "logits.npy") != read(0, "logits.npy")).any()
    whole = finished.artifacts["distill"].folder / "top_k" / "0" / "ids.npy"
    np.testing.assert_array_equal(read(0, "ids.npy"), np.load(whole))


def test_alignment_is_trained_with_and_not_served(finished, tmp_path):
    student = replace(finished.config.student, alignment_weight=0.2, teacher_weight=(0.9, 0.5))
    distill.run(replace(finished.config, student=student), tmp_path, finished.artifacts)
    model, folders = student.model, (finished.artifacts["distill"].folder, tmp_path)
    plain, other = (inputs.fitted(folder / "student", model) for folder in folders)
    assert other.history.keys() == plain.history.keys() and "aligned" not in other.history
    assert np.abs(other.items - plain.items).max() > 1e-3
    control = [inputs.fitted(folder / "control", model) for folder in folders]
    np.testing.assert_array_equal(control[0].items, control[1].items)


def test_items_that_training_never_meets_are_what_their_text_says(finished, tmp_path):
    """Two of them with one text are one vector, in the student, its control and what is trained on from it."""
    np.save(tmp_path / "twins.npy", np.repeat(np.load(finished.config.encode.vectors)[::2], 2, 0))
    config = replace(
        finished.config,
        workdir=str(tmp_path / "run"),
        data=replace(finished.config.data, split="cold_items", holdout=0.45),
        encode=replace(finished.config.encode, vectors=str(tmp_path / "twins.npy")),
        compress=replace(finished.config.compress, variants=("half",), serve="half"),
    )
    stages = ("prepare", "encode", "teacher", "distill", "compress")
    made = {one.stage: one.artifact for one in runner.run(config, stages, update=False, say=lambda line: None)}
    data = inputs.training_data(config, made)
    text, models = data.vectors, {"teacher": config.teacher, "compress": inputs.variant_model(made["compress"], "half")}
    twins = np.argwhere(np.triu(np.abs(text[:, None] - text).max(-1) < 1e-6, 1))
    cold = (data.popularity[twins] == 0).all(1)
    assert cold.any() and not cold.all()
    for stage, name in (("teacher", "model"), ("distill", "student"), ("distill", "control"), ("compress", "half")):
        items = inputs.fitted(made[stage].folder / name, models.get(stage, config.student.model)).items
        apart = np.abs(items[twins[:, 0]] - items[twins[:, 1]]).max(1)
        assert apart[cold].max() < 1e-5 < 1e-3 < apart[~cold].max(), name
