"""``rexjax refresh``; what it does is tested with the pipeline."""

from tests.cli.runs import CONFIG, main, refused


def make_config(folder):
    path = folder / "mine.py"
    path.write_text(CONFIG.format(workdir=str(folder / "tuesday"), vectors=str(folder / "vectors.npy")))
    return path


def test_help_names_the_parent_and_the_days(capsys):
    assert main("refresh", "--help") == 0
    said = capsys.readouterr().out
    assert "CONFIG WORKDIR" in said and "--days" in said and "--registry" in said


def test_a_parent_that_is_no_run_is_refused(tmp_path, capsys):
    said = refused(capsys, "refresh", make_config(tmp_path), tmp_path / "monday")
    assert "is no workdir" in said and not (tmp_path / "tuesday").exists()


def test_a_run_is_not_refreshed_into_itself(tmp_path, capsys):
    said = refused(capsys, "refresh", make_config(tmp_path), tmp_path / "tuesday")
    assert "needs a workdir of its own: pass --workdir" in said


def test_without_a_parent_the_registry_is_asked(tmp_path, capsys):
    config = make_config(tmp_path)
    assert "or its registry with --registry" in refused(capsys, "refresh", config)
    assert "is no registry" in refused(capsys, "refresh", config, "--registry", tmp_path / "registry")
