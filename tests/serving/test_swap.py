import asyncio
import json
import shutil

import numpy as np
import pytest
from jax import monitoring

from rexjax.errors import UserError
from rexjax.serving import export, swap
from rexjax.serving.bundle import Bundle
from rexjax.serving.engine import warm
from rexjax.serving.parts import read_manifest
from tests.serving.conftest import make

LIMITED = "import os, sys, numpy; sys.path.insert(0, sys.argv[1]); from rexjax.serving import swap"


def test_what_was_compiled_apart_is_found_by_the_server(five):
    events = []
    asyncio.run(swap.check_apart(five, read_manifest(five)))
    monitoring.register_event_listener(listener := lambda event, **about: events.append(event))
    try:
        warm(Bundle(five))
    finally:
        monitoring.unregister_event_listener(listener)
    assert events.count("/jax/compilation_cache/cache_hits") >= 10
    assert "/jax/compilation_cache/cache_misses" not in events


def test_a_catalogue_of_a_few_more_items_is_compiled_already(tmp_path):
    for name, items in (("before", 113), ("after", 115)):
        export.write(make(tmp_path / f"{name} workdir", 0, items=items), tmp_path / name)
    folders = tmp_path / "before", tmp_path / "after"
    before, after = (json.loads((folder / "bundle.json").read_text()) for folder in folders)
    programs = [name for name in before["files"] if name.endswith(".program")]
    assert len(programs) == 16 and all(before["files"][name] == after["files"][name] for name in programs)
    bundle = Bundle(folders[1])
    warm(bundle)
    found = bundle.recommend(np.full((1, bundle.length), 3, np.int32), np.full((1, 0), -1, np.int32))
    assert len(set(found.ids[0].tolist())) == bundle.k == 100 and found.ids.max() < 115


def test_one_that_is_not_sound_is_named(five, tmp_path):
    folder = shutil.copytree(five, tmp_path / "bundle")
    about = json.loads((folder / "bundle.json").read_text())
    (folder / "bundle.json").write_text(json.dumps(about | {"format": 99}))
    with pytest.raises(UserError, match="of another format"):
        asyncio.run(swap.check_apart(folder, read_manifest(folder)))


def test_its_process_has_no_keys_and_no_accelerator(five, monkeypatch):
    monkeypatch.setenv("REXJAX_API_KEYS", "web:1")
    monkeypatch.setenv("JAX_PLATFORMS", "tpu")
    names = "[n for n in os.environ if 'REXJAX' in n]"
    says = f"import os, sys; print({names}, os.environ['JAX_PLATFORMS']); sys.exit(2)"
    monkeypatch.setattr(swap, "PROGRAM", says)
    with pytest.raises(UserError, match=r"^\[\] cpu$"):
        asyncio.run(swap.check_apart(five, read_manifest(five)))


@pytest.mark.parametrize(
    "does, said",
    [
        ("import os; os.abort()", "ended the process that checked it with exit code -6"),
        ("import time; time.sleep(60)", "not loaded, compiled and checked within 3 seconds"),
        (f"{LIMITED}; swap.limit(1 << 28, 60); numpy.ones(1 << 28)", "with exit code 1"),
        (f"{LIMITED}; swap.limit(1 << 32, 1 / os.cpu_count())\nwhile True: pass", "with exit code -(9|24)"),
    ],
    ids=["crashes", "hangs", "memory", "cpu"],
)
def test_one_that_crashes_or_hangs_is_refused_and_named(five, monkeypatch, does, said):
    monkeypatch.setattr(swap, "PROGRAM", does)
    monkeypatch.setattr(swap, "SECONDS", 3.0 if "sleep" in does else 120.0)
    with pytest.raises(UserError, match=said):
        asyncio.run(swap.check_apart(five, read_manifest(five)))


def test_one_that_was_refused_is_tried_again_ever_later_and_another_at_once():
    retry = swap.Retry()
    assert retry.due(b"a", 0.0) and retry.failed(b"a", 0.0) == 2.0
    assert not retry.due(b"a", 1.9) and retry.due(b"a", 2.0) and retry.due(b"b", 0.0)
    assert [retry.failed(b"a", 2.0), retry.failed(b"a", 6.0), retry.failed(b"b", 6.0)] == [4.0, 8.0, 2.0]


def test_its_process_ends_with_the_server(five, monkeypatch):
    started, popen = [], swap.subprocess.Popen
    monkeypatch.setattr(
        swap.subprocess, "Popen", lambda *args, **about: started.append(popen(*args, **about)) or started[0]
    )

    async def run():
        task = asyncio.create_task(swap.check_apart(five, read_manifest(five)))
        await asyncio.sleep(0.1)
        task.cancel()

    asyncio.run(run())
    assert started[0].wait() < 0
