import numpy as np
import pytest

from rexjax.errors import UserError
from rexjax.retrieval import files

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("name", ["items", "items/values"])
def test_arrays_come_back(tmp_path, name):
    leaves = {
        name: RNG.integers(-7, 8, (50, 6)).astype(np.int8),
        "items/scales": RNG.random((50, 1)).astype(np.float16),
        "history/up/kernel": RNG.random((3, 4), np.float32),
    }
    files.write(tmp_path, leaves)
    found = files.read(tmp_path)
    assert found.keys() == leaves.keys()
    for key, leaf in leaves.items():
        assert found[key].dtype == leaf.dtype
        np.testing.assert_array_equal(found[key], leaf)


def test_rows_are_the_files_own_pages(tmp_path):
    files.write(tmp_path, {"items": np.ones((100_000, 64), np.float32)})
    with open("/proc/self/maps") as maps:
        assert str(tmp_path) not in maps.read()
    rows = files.read(tmp_path)["items"]
    at = rows.unsafe_buffer_pointer()
    with open("/proc/self/maps") as maps:
        (line,) = (line for line in maps if line.rstrip().endswith(str(tmp_path / files.ROWS)))
    first, last = (int(edge, 16) for edge in line.split()[0].split("-"))
    assert first <= at < last


def test_a_folder_without_rows_is_named(tmp_path):
    with pytest.raises(UserError, match="holds no rows.npy"):
        files.read(tmp_path)
