from dataclasses import replace

import numpy as np
import pytest

from rexjax.data import histories
from rexjax.errors import UserError
from rexjax.stages import distill, inputs


def test_every_training_position_has_a_list(finished):
    log = histories.read(finished.artifacts["prepare"].folder)
    logits = np.load(finished.artifacts["distill"].folder / "list_logits.npy")
    length = finished.config.data.length
    for user in range(log.users):
        last = log.valid_start[user] - 1  # only a label
        first = max(log.offsets[user], last - length)
        # the last of a list has a log-probability below zero; the file is zeros elsewhere
        assert (logits[first:last, -1] < 0).all() and (logits[last : log.offsets[user + 1]] == 0).all()


def test_student_and_control_are_alike_in_shape_and_differ_in_what_they_learnt(finished):
    folder = finished.artifacts["distill"].folder
    student, control = inputs.served(folder / "student"), inputs.served(folder / "control")
    assert student.items.shape == control.items.shape == (finished.artifacts["prepare"].metrics["items"], 8)
    assert np.abs(student.items - control.items).max() > 1e-3
    assert np.allclose(np.linalg.norm(student.items, axis=1), 1, atol=1e-5)


def test_a_list_longer_than_the_catalogue_is_refused(finished, tmp_path):
    config = replace(finished.config, student=replace(finished.config.student, list_length=41))
    with pytest.raises(UserError, match="--student.list-length 41 is longer than the catalogue"):
        distill.run(config, tmp_path, finished.artifacts)
