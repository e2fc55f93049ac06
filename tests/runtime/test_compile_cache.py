from pathlib import Path

import pytest

from rexjax.runtime.compile_cache import cache_folder


def test_programs_are_kept_in_the_users_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert cache_folder() == tmp_path / "cache" / "rexjax" / "programs"
    assert cache_folder().is_dir()


@pytest.mark.parametrize("cache", ["", "a file"])
def test_a_user_without_a_home_or_a_folder_keeps_none(tmp_path, monkeypatch, cache):
    def homeless(path):
        raise RuntimeError("could not determine home directory")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Path, "expanduser", homeless)
    (tmp_path / "a file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", cache)
    assert cache_folder() is None
    assert [path.name for path in tmp_path.iterdir()] == ["a file"]
