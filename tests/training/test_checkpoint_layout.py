"""States saved on one mesh and read on another. As a script (``FOLDER ROWS``) it reads one on all devices."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from rexjax.config import Pooled, Training
from rexjax.embedding import growth, order
from rexjax.errors import UserError
from rexjax.runtime.mesh import make_mesh
from rexjax.training import checkpoint_layout, state
from rexjax.training.checkpoint import Progress, Run

PROGRESS = Progress(1, 1, 0.1, [{"epoch": 1, "loss": 2.0}])


class Case:
    """A student's state for a table of ``rows`` on a mesh."""

    def __init__(self, data: int, model: int, rows: int, width: int = 4):
        net, config = Pooled(width=width, profiles=2, hidden=6).recommender(5), Training()
        self.mesh, self.table = make_mesh(data, model), state.item_table(net, rows, config, sparse=True)
        about = net, config, self.table
        self.made = state.create(*about, seed=3, text_width=4, mesh=self.mesh)
        self.shapes = state.abstract(*about, text_width=4, mesh=self.mesh)
        self.about = self.shapes, self.table, self.mesh

    def save(self, folder: Path) -> state.TrainState:
        saved = checkpoint_layout.writer(*self.about)(self.made)
        with Run(folder) as run:
            run.save(PROGRESS, saved, self.made.params)
        return saved

    def read(self, folder: Path) -> state.TrainState:
        with Run(folder) as run:
            progress, found, _ = run.restore(checkpoint_layout.like(*self.about), self.shapes.params)
        assert progress == PROGRESS
        return checkpoint_layout.reader(*self.about)(found)

    def check(self, folder: Path) -> None:
        """One seed gives the same values on every mesh."""
        found = self.read(folder)
        assert type(found) is state.TrainState
        jax.tree.map(np.testing.assert_array_equal, found.table, self.made.table)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7), found, self.made)
        for leaf, shape in zip(jax.tree.leaves(found), jax.tree.leaves(self.shapes), strict=True):
            assert leaf.sharding.is_equivalent_to(shape.sharding, leaf.ndim)


@pytest.mark.parametrize("rows", [3, 10, 16, 17])
def test_a_checkpoint_holds_logical_rows_without_padding(tmp_path, rows):
    case = Case(8, 1, rows)
    saved = case.save(tmp_path / "run").table.packed
    parts = [np.asarray(saved[name]) for name in ("head", "tail") if name in saved]
    logical = np.asarray(order.to_logical(case.made.table.packed, case.mesh))
    np.testing.assert_array_equal(np.concatenate(parts), logical[:rows])


@pytest.mark.parametrize("rows", [3, 10, 16])
@pytest.mark.parametrize(
    "before, after",
    [((8, 1), (1, 1)), ((8, 1), (2, 1)), ((8, 1), (4, 1)), ((4, 2), (2, 2)), ((1, 1), (8, 1)), ((2, 1), (4, 2))],
)
def test_a_state_saved_on_one_mesh_is_restored_on_another(tmp_path, before, after, rows):
    Case(*before, rows).save(tmp_path / "run")
    Case(*after, rows).check(tmp_path / "run")


@pytest.mark.parametrize("rows", [10, 37])
def test_a_state_of_eight_devices_is_restored_on_sixteen(tmp_path, rows):
    Case(8, 1, rows).save(tmp_path / "run")
    sixteen = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=16"}
    read = subprocess.run(
        [sys.executable, __file__, tmp_path / "run", str(rows)], env=sixteen, capture_output=True, text=True
    )
    assert (read.returncode, read.stdout) == (0, "same on 16\n"), read.stderr


@pytest.mark.parametrize("width, rows, words", [(6, 10, r"of shape \[4\].*needs \[6\]"), (4, 11, r"\[10, .*\[11, ")])
def test_another_shape_is_refused_in_a_sentence(tmp_path, width, rows, words):
    case = Case(8, 1, 10)
    case.save(tmp_path / "run")
    with pytest.raises(UserError, match=f"checkpoint .*run/1 has .*{words}"):
        Case(8, 1, rows, width).read(tmp_path / "run")
    case.check(tmp_path / "run")  # and is still there


def test_a_state_that_grew_is_read_on_other_meshes(tmp_path):
    """Saved on 8 devices with 10 rows, grown on 2 to 21, read on 4."""
    Case(8, 1, 10).save(tmp_path / "small")
    two, large = Case(2, 1, 10), Case(2, 1, 21)
    found, row_key = two.read(tmp_path / "small"), jax.random.split(jax.random.key(3))[1]
    grown = growth.grow(found.table, two.table, 21, row_key, two.mesh)
    large.made = found._replace(table=grown)
    large.save(tmp_path / "large")
    Case(4, 1, 21).check(tmp_path / "large")


if __name__ == "__main__":
    Case(jax.device_count(), 1, int(sys.argv[2])).check(Path(sys.argv[1]))
    print("same on", jax.device_count())
