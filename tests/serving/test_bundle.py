import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from rexjax.artifacts.files import write_json
from rexjax.errors import UserError
from rexjax.serving import export
from rexjax.serving.bundle import Bundle


def test_a_reader_needs_neither_flax_nor_the_models(exported):
    script = (
        "import sys; from pathlib import Path; from rexjax.serving.bundle import Bundle; import numpy as np\n"
        "bundle = Bundle(Path(sys.argv[1])); bundle.check()\n"
        "print(bundle.recommend(np.full((2, bundle.length), 1, np.int32), np.ones((2, 1), np.int32)).ids.shape)\n"
        "loaded = {name for name in sys.modules if name.split('.')[0] == 'flax' or name.startswith('rexjax.')}\n"
        "assert not any('flax' in n or 'models' in n or 'training' in n or 'config' in n for n in loaded), loaded\n"
    )
    run = subprocess.run([sys.executable, "-c", script, str(exported)], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == "(2, 100)"


def test_what_is_damaged_is_named(workdir, tmp_path):
    folder = tmp_path / "export"
    export.write(workdir, folder)
    for name in ("rows.npy", "weights.safetensors", "recommend.program", "items.parquet"):
        (path,) = folder.glob(f"*/{name}")
        kept = path.read_bytes()
        path.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
        with pytest.raises(UserError, match=f"{name} is missing or damaged: export the workdir again"):
            Bundle(folder)
        path.write_bytes(kept)
    about = json.loads((folder / "bundle.json").read_text())
    write_json(folder / "bundle.json", about | {"format": 99})
    with pytest.raises(UserError, match="another format"):
        Bundle(folder)
    (folder / "bundle.json").unlink()
    with pytest.raises(UserError, match="is no finished export"):
        Bundle(folder)


def test_one_that_answers_otherwise_is_refused(workdir, tmp_path):
    folder = tmp_path / "export"
    export.write(workdir, folder)
    about = json.loads((folder / "bundle.json").read_text())
    about["probe"]["scores"][0][0] += 0.1
    write_json(folder / "bundle.json", about)
    with pytest.raises(UserError, match="gives other answers than at its export"):
        Bundle(folder).check()


def test_an_export_of_before_there_were_comparisons_has_none(compared, tmp_path):
    about = json.loads((compared / "bundle.json").read_text())
    assert [one.name for one in Bundle(compared).compared] == ["teacher", "student"]
    folder = shutil.copytree(compared, tmp_path / "old")
    old = {key: value for key, value in about.items() if key not in ("name", "compared")}
    write_json(folder / "bundle.json", old)
    assert Bundle(folder).compared == [] and Bundle(folder).name == "served"


def test_what_is_written_over_the_rows_changes_no_answer(five, tmp_path):
    folder = shutil.copytree(five, tmp_path / "bundle")
    bundle = Bundle(folder)
    asked = np.full((1, bundle.length), 1, np.int32), np.full((1, 0), -1, np.int32)
    before = bundle.recommend(*asked)
    rows = next(folder.rglob("rows.npy"))
    with rows.open("r+b") as file:
        file.seek(128)
        file.write(b"\x7f" * (rows.stat().st_size - 128))
    with rows.open("r+b") as file:
        file.truncate(64)
    np.testing.assert_array_equal(bundle.recommend(*asked).scores, before.scores)
