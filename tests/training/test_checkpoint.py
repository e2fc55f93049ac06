import resource
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from rexjax.compression.quantize import quantize_tree
from rexjax.config import Pooled
from rexjax.errors import UserError
from rexjax.models.served import Served, flatten, unflatten
from rexjax.runtime.mesh import make_mesh
from rexjax.training import checkpoint
from rexjax.training.checkpoint import Progress, Run, restore_tree, save_tree, tree_digest

PROGRESS = [
    Progress(n, max(n - 1, 0), 0.1 * n, [{"epoch": m, "loss": 1 / (m + 1)} for m in range(n)]) for n in range(4)
]


def tree(shift: float) -> dict:
    return {"a": np.arange(6, dtype=np.float32).reshape(2, 3) + shift, "b": {"c": np.int32(shift)}}


def abstract(values):
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(np.shape(x), x.dtype), values)


def same(a, b) -> None:
    jax.tree.map(np.testing.assert_array_equal, a, b)


def saved(folder: Path, epochs) -> None:
    with Run(folder) as run:
        for epoch in epochs:
            run.save(PROGRESS[epoch], tree(epoch), tree(-epoch))


def restored(folder: Path):
    with Run(folder) as run:
        return run.restore(lambda shapes: abstract(tree(0)), abstract(tree(0)))


def test_nothing_saved_is_none(tmp_path):
    assert restored(tmp_path / "run") is None


def test_the_newest_is_restored_and_two_are_kept(tmp_path):
    saved(tmp_path / "run", [1, 2, 3])
    progress, current, best = restored(tmp_path / "run")
    assert progress == PROGRESS[3]
    same(current, tree(3)), same(best, tree(-3))
    assert sorted(p.name for p in (tmp_path / "run").iterdir() if p.name.isdigit()) == ["2", "3"]


def damage(folder: Path) -> int:
    files = [path for path in folder.rglob("*") if path.is_file() and path.stat().st_size]
    for path in files:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return len(files)


@pytest.mark.parametrize("part", ["", "state", "best", "progress"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(tmp_path, part):
    folder = tmp_path / "run"
    saved(folder, [1, 2])
    assert damage(folder / "2" / part)
    progress, current, best = restored(folder)
    assert progress == PROGRESS[1]
    same(current, tree(1)), same(best, tree(-1))
    saved(folder, [2])  # the damaged one is not in the way
    assert restored(folder)[0] == PROGRESS[2]


@pytest.mark.parametrize("copied", [0.0, 0.5, 0.99])
def test_a_rename_by_copies_that_was_cut_off_falls_back_to_the_one_before(tmp_path, copied):
    """A bucket without folder rename copies file by file."""
    saved(tmp_path, [1, 2])
    files = sorted(path for path in (tmp_path / "2").rglob("*") if path.is_file())
    for path in files[int(copied * len(files)) :]:
        path.unlink()
    assert restored(tmp_path)[0] == PROGRESS[1]


@pytest.mark.parametrize("how", ["truncated", "flipped", "emptied", "removed"])
def test_one_file_damaged_is_named_in_one_line(tmp_path, capsys, how):
    folder = tmp_path / "run"
    saved(folder, [1, 2])
    path = sorted(path for path in (folder / "2").rglob("d/*"))[-1]
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    changed = {"truncated": data[:-1], "flipped": data, "emptied": b""}
    path.write_bytes(changed[how]) if how in changed else path.unlink()
    assert restored(folder)[0] == PROGRESS[1]
    line = capsys.readouterr().err
    assert line.startswith(f"rexjax: checkpoint {folder}/2 is damaged and skipped: {path.relative_to(folder / '2')} ")
    assert line.count("\n") == 1


def test_what_a_killed_save_left_is_not_in_the_way(tmp_path):
    folder = tmp_path / "run"
    saved(folder, [1])
    (folder / "1").rename(folder / "2.orbax-checkpoint-tmp")
    assert restored(folder) is None
    saved(folder, [2])
    assert restored(folder)[0] == PROGRESS[2]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of Orbax's threads that failed
def test_a_full_disk_ends_in_a_sentence_and_leaves_the_last_one_good(tmp_path):
    folder, size = tmp_path / "run", 1 << 20
    saved(folder, [1])
    noise = {"a": np.random.default_rng(0).normal(size=size).astype(np.float32), "b": {"c": np.int32(0)}}
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))  # of a file: fails as a full disk does, in a thread
    try:
        with (
            pytest.raises(UserError, match="no checkpoint could be written to .*run .*: mend that"),
            Run(folder) as run,
        ):
            run.save(PROGRESS[2], noise, noise)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert restored(folder)[0] == PROGRESS[1]


def test_all_damaged_is_none(tmp_path):
    saved(tmp_path / "run", [1, 2])
    damage(tmp_path / "run" / "1"), damage(tmp_path / "run" / "2")
    assert restored(tmp_path / "run") is None


def served() -> Served:
    rng = np.random.default_rng(0)
    history = {"up": {"kernel": rng.normal(size=(4, 3)).astype(np.float32), "bias": np.ones(3, np.float32)}}
    return Served(rng.normal(size=(7, 4)).astype(np.float32), history)


@pytest.mark.parametrize("make", [lambda s: s, quantize_tree], ids=["float32", "int8"])
def test_a_tree_comes_back_as_it_was(tmp_path, make):
    before = make(jax.tree.map(jnp.asarray, served()))
    digest = save_tree(tmp_path / "model", flatten(before))
    found = restore_tree(tmp_path / "model")
    assert tree_digest(found) == digest
    after = Pooled().state_from(unflatten(found))
    assert jax.tree.structure(after) == jax.tree.structure(before)
    same(after, before)
    assert [x.dtype for x in jax.tree.leaves(after)] == [x.dtype for x in jax.tree.leaves(before)]


def test_a_tree_of_eight_devices_comes_back_on_one(tmp_path):
    over = NamedSharding(make_mesh(8, 1), PartitionSpec("data"))
    params = {"a": jax.device_put(np.arange(16.0, dtype=np.float32).reshape(8, 2), over)}
    save_tree(tmp_path / "model", params)
    alone = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    like = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=alone), params)
    found = restore_tree(tmp_path / "model", like)
    same(found, params)
    assert all(len(leaf.sharding.device_set) == 1 for leaf in jax.tree.leaves(found))


def test_saving_again_replaces(tmp_path):
    (tmp_path / "model.orbax-checkpoint-tmp").mkdir()  # of a run that was killed here
    first, second = save_tree(tmp_path / "model", tree(1)), save_tree(tmp_path / "model", tree(2))
    assert first != second
    same(restore_tree(tmp_path / "model"), tree(2))
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize("how", ["missing", "damaged"])
def test_a_tree_that_cannot_be_read_names_its_stage(tmp_path, how):
    folder = tmp_path / "teacher" / "model"
    if how == "damaged":
        save_tree(folder, tree(1))
        damage(folder)
    with pytest.raises(UserError, match=r"teacher/model cannot be restored .*: run `rexjax teacher CONFIG` again"):
        restore_tree(folder)


BASE = {"a": np.zeros((2, 3), np.float32), "b": {"c": np.zeros(2, np.int8)}}


@pytest.mark.parametrize(
    "other",
    [
        BASE | {"a": np.full((2, 3), 1e-30, np.float32)},
        BASE | {"a": np.zeros((3, 2), np.float32)},
        BASE | {"a": np.zeros((2, 3), np.int32)},
        BASE | {"b": {"d": np.zeros(2, np.int8)}},
        BASE | {"b": {"c": np.zeros(3, np.int8)}},
        BASE | {"e": np.zeros(0)},
    ],
    ids=["value", "shape", "dtype", "name", "length", "leaf"],
)
def test_the_digest_sees_every_change(other):
    assert tree_digest(other) != tree_digest(BASE)


def test_the_digest_sees_values_alone():
    shuffled = {"b": BASE["b"], "a": jnp.asarray(BASE["a"])}
    assert tree_digest(shuffled) == tree_digest(BASE) == checkpoint.tree_digest(dict(BASE))
