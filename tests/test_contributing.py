"""The examples of CONTRIBUTING.md are config files that run."""

import json
import re
from pathlib import Path

import pytest

from rexjax.config import load
from rexjax.pipeline import runner

TEXT = (Path(__file__).parent.parent / "CONTRIBUTING.md").read_text()
EXAMPLES = dict(re.findall(r"### An? (\w+)\n(?:.*\n)*?```python\n((?:.*\n)*?)```", TEXT))
STAGES = {
    "model": ("prepare", "encode", "baselines"),
    "source": ("prepare",),
    "metric": ("prepare",),
    "stage": ("prepare", "cold"),
}


def test_each_extension_has_a_short_example():
    assert EXAMPLES.keys() == STAGES.keys()
    assert all(len([line for line in code.splitlines() if line]) <= 20 for code in EXAMPLES.values())


@pytest.mark.parametrize("name", STAGES)
def test_an_example_runs(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    clicks = [{"user": n // 8, "item": n * 7 % 11, "time": n} for n in range(400)]
    Path("clicks.jsonl").write_text("".join(json.dumps(click) + "\n" for click in clicks))
    Path("config.py").write_text(EXAMPLES[name])
    config = load("config.py")
    made = {outcome.stage: outcome.artifact for outcome in runner.run(config, STAGES[name], update=False, say=print)}
    if name == "model":
        assert made["baselines"].metrics["valid"].keys() == {"popularity", "damped"}
    if name == "stage":
        assert made["cold"].metrics["cold_items"] == int((made["cold"].folder / "cold.txt").read_text())
    if name == "source":
        assert made["prepare"].metrics["interactions"] == 400
