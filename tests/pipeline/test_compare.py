import numpy as np
import pytest

from rexjax.artifacts import store, versions
from rexjax.cli.main import main
from rexjax.errors import UserError
from rexjax.pipeline.compare import FILE, compare


def finished(workdir, seed, shift=0.0, test="same", users=2000):
    """A workdir with figures of a teacher and of what is served."""
    folder, rng = versions.begin(workdir / "evaluate", "key"), np.random.default_rng(seed)
    base = np.random.default_rng(99).random(users)
    values = {"teacher/ndcg@10": base + 0.01, "student_int8/ndcg@10": base + shift, "student_int8/recall@10": base}
    noisy = {name: (value + rng.normal(0, 0.02, users)).astype(np.float32) for name, value in values.items()}
    np.savez_compressed(folder / FILE, **noisy)
    figures = {"select": "ndcg@10", "served": "student_int8", "test": test}
    store.finish(folder, "key", content={}, seconds=0.0, config={"seed": seed}, metrics=figures)
    return workdir


@pytest.fixture
def runs(tmp_path):
    for seed in (1, 2, 3):
        finished(tmp_path / f"new-{seed}", seed, shift=0.02)
        finished(tmp_path / f"old-{seed}", seed + 10)
    return tmp_path


def test_several_seeds_a_side(runs, capsys):
    found = compare(f"{runs}/new-*", [runs / f"old-{seed}" for seed in (1, 2, 3)])
    assert found.found.seeds == (3, 3) and found.found.difference == pytest.approx(0.02, abs=2e-3)
    assert found.verdict.startswith(f"student_int8 (3 seeds of {runs}/new-1) is better than student_int8 (3 seeds of ")
    main(["compare", f"{runs}/new-*", f"{runs}/old-*"])
    assert "over users and training seeds (3 and 3)" in capsys.readouterr().out


def test_two_models_of_a_run(runs, capsys):
    found = compare(runs / "old-1", runs / "old-1", of="student_int8", against="teacher")
    assert found.found.low < -0.01 < found.found.high and "is worse than teacher (" in found.verdict
    main(["compare", f"{runs}/old-1", f"{runs}/old-1", "--of", "teacher", "--margin", "0.1"])
    out = capsys.readouterr().out
    assert "equals teacher" in out and "over users alone; name runs of several seeds" in out


@pytest.mark.parametrize(
    ("a", "b", "asked", "sentence"),
    [
        ("none", "old-1", {}, "there is no workdir .*none"),
        ("none-*", "old-1", {}, "no workdir matches .*none-"),
        ("other", "old-1", {}, r"other\) and student_int8 .* answered different tests"),
        (("new-1", "other"), "old-1", {}, "new-1, .*other answered different tests: name runs that differ"),
        (("new-1", "again"), "old-1", {}, "have the seeds 1, 1: name runs of different seeds"),
        (("new-1", "new-1"), "old-1", {}, "new-1 is named twice on one side"),
        ("new-1", "old-1", {"of": "tutor"}, "no model 'tutor': it has student_int8, teacher"),
        ("new-1", "old-1", {"metric": "mrr@7"}, "no 'mrr@7' of each user: it has ndcg@10, recall@10"),
        ("alone", "alone", {}, "alone.* was tested on one user: compare runs whose test has two or more"),
        ("new-1", "old-1", {"margin": 0}, "the margin is 0: set it above 0"),
    ],
)
def test_what_cannot_be_compared_is_one_sentence(runs, a, b, asked, sentence):
    finished(runs / "other", 7, test="another")
    finished(runs / "again", 1)
    finished(runs / "alone", 1, users=1)
    side = [runs / name for name in a] if isinstance(a, tuple) else f"{runs}/{a}"
    with pytest.raises(UserError, match=sentence):
        compare(side, runs / b, **asked)
