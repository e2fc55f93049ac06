import shutil

import pytest

from rexjax.artifacts import store
from rexjax.cli.main import main

CONFIG = """
from rexjax.config import *

def get_config():
    data = Data(source=Shop(users=60, items=40, interactions=600, days=30), min_item_events=1, strict=False)
    return Config(workdir={!r}, data=data, encode=Encode(width=8))
"""


def test_a_worker_makes_the_shards_of_which_the_stage_makes_the_same_artifact(tmp_path, capsys):
    config = tmp_path / "shop.py"
    config.write_text(CONFIG.format(str(tmp_path / "one")))
    main(["prepare", str(config)])
    shutil.copytree(tmp_path / "one", tmp_path / "many")
    main(["encode", str(config)])
    many = ["encode", str(config), "--workdir", str(tmp_path / "many")]
    main([*many, "--worker"])
    shards = tmp_path / "many" / "encode" / "shards"
    assert sorted(path.name for path in shards.glob("shard*")) == ["shard-00000.json", "shard-00000.npy"]
    written = (shards / "shard-00000.npy").stat().st_mtime_ns
    main([*many, "--worker"])  # nothing is left to do
    assert (shards / "shard-00000.npy").stat().st_mtime_ns == written
    main(many)
    hashes = [store.read(tmp_path / name / "encode").hash for name in ("one", "many")]
    assert hashes[0] == hashes[1]
    assert not shards.exists()
    assert "texts of" in capsys.readouterr().out


@pytest.mark.parametrize("flags", [["--encode.vectors", "some.npy"], ["--data.text"]])
def test_a_config_without_texts_to_encode_is_refused(tmp_path, capsys, flags):
    config = tmp_path / "shop.py"
    config.write_text(CONFIG.format(str(tmp_path / "one")))
    main(["prepare", str(config)])
    with pytest.raises(SystemExit) as stop:
        main(["encode", str(config), "--worker", *flags])
    assert stop.value.code == 2
    assert "there is nothing to encode" in capsys.readouterr().err
