"""The histories that Beam's workers pack are those that one process packs."""

import dataclasses
import importlib.util

import numpy as np
import pytest

from rexjax.artifacts import store
from rexjax.config import Columns, Config, Data, Shop
from rexjax.data import histories
from rexjax.errors import UserError
from rexjax.pipeline.stages import prepare

needs_beam = pytest.mark.skipif(importlib.util.find_spec("apache_beam") is None, reason="needs rexjax[beam]")
SHOP = Data(
    source=Shop(users=300, items=80, interactions=3000),
    strict=False,
    min_item_events=1,
    columns=Columns(session="session"),
)


def artifact_of(folder, **settings):
    folder.mkdir(parents=True, exist_ok=True)
    metrics = prepare.run(Config(workdir="", data=dataclasses.replace(SHOP, **settings)), folder, {})
    content = metrics.pop("content")
    return metrics, store.finish(folder, "key", content=content, seconds=0, config={}, metrics=metrics)


@needs_beam
@pytest.mark.filterwarnings("ignore::DeprecationWarning:apache_beam", "ignore::FutureWarning:apache_beam")
@pytest.mark.parametrize("split", ["leave_one_out", "second_to_last", "global_time", "last_session", "cold_items"])
def test_the_artifact_is_the_same(tmp_path, monkeypatch, split):
    from rexjax.data import beam

    for module in (histories, beam):
        monkeypatch.setattr(module, "USERS_PER_RECORD", 16)
    monkeypatch.setattr(beam, "RECORDS_PER_TASK", 2)
    card, one = artifact_of(tmp_path / "one", split=split)
    other_card, many = artifact_of(tmp_path / "many", split=split, beam="--runner=DirectRunner")
    assert other_card == card
    assert many.hash == one.hash
    records = [list(histories.source(artifact.folder)) for artifact in (one, many)]
    assert len(records[0]) == len(records[1]) == -(-card["users"] // 16)
    for a, b in zip(*records, strict=True):
        for name in a:
            np.testing.assert_array_equal(a[name], b[name], err_msg=name)
    assert not (many.folder / "scratch").exists()


@needs_beam
def test_an_unknown_runner_is_named(tmp_path):
    with pytest.raises(UserError, match="--data.beam '--runner=Nobody': Beam has no runner 'Nobody'"):
        artifact_of(tmp_path, beam="--runner=Nobody")


def test_beam_that_is_not_installed_is_told_how(tmp_path, monkeypatch):
    monkeypatch.setattr(prepare, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"needs Apache Beam, which is not installed: pip install 'rexjax\[beam\]'"):
        artifact_of(tmp_path, beam="--runner=DirectRunner")
