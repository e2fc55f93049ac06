import json
from dataclasses import replace

import pytest

from rexjax.artifacts import store
from rexjax.compression.variants import parse
from rexjax.config import Config, Pooled, Student, Transformer
from rexjax.errors import UserError
from rexjax.pipeline import budget
from rexjax.pipeline.budget import Budget, Tried


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("bytes_per_item=32", Budget("bytes_per_item", 32)),
        ("bytes_per_item <= 32", Budget("bytes_per_item", 32)),
        ("flops=5e", None),
        ("flops=50000", Budget("flops", 50_000)),
        ("p50_ms=0.2", Budget("p50_ms", 0.2)),
        ("quality>=0.98", Budget("quality", 0.98)),
        ("quality<=0.98", None),
        ("bytes=3", None),
        ("p50_ms=1.2.3", None),
        ("", None),
    ],
)
def test_a_budget_is_read_or_refused(text, expected):
    if expected:
        assert budget.read(text) == expected
        return
    with pytest.raises(UserError, match="is none of bytes_per_item=32, flops"):
        budget.read(text)


def cost(point):
    return Tried(point.name, 0.0, 0.0, point.item_bytes, 100.0 * point.width, point.width / 100)


@pytest.mark.parametrize(
    ("bound", "names"),
    [
        (Budget("bytes_per_item", 32), {"w30_int8", "int4", "pq24"}),
        (Budget("bytes_per_item", 16), {"w14_int8", "w28_int4", "pq16"}),
        (Budget("bytes_per_item", 5), {"w3_int8", "w6_int4", "pq4"}),
        (Budget("bytes_per_item", 1000), {"w48", "int8", "int4", "pq48"}),
        (Budget("flops", 2500), {"w24", "w24_int8", "w24_int4"}),
        (Budget("p50_ms", 0.05), {"w4", "w4_int8", "w4_int4"}),
    ],
)
def test_each_storage_is_tried_as_large_as_the_budget_allows(bound, names):
    config = Config(workdir="", student=Student(Pooled(width=48)))
    found = budget.candidates(config, bound, cost)
    assert {point.name for point in found} == names


def test_for_a_bound_on_quality_the_smallest_come_first():
    found = budget.candidates(Config(workdir="", student=Student(Pooled(width=48))), Budget("quality", 0.9), cost)
    sizes = [point.item_bytes for point in found]
    assert sizes == sorted(sizes) and found[-1] == parse("w48", 48)


def test_a_transformer_keeps_its_width():
    config = Config(workdir="", student=Student(Transformer(width=48, block="hstu")))
    assert {p.name for p in budget.candidates(config, Budget("bytes_per_item", 60), cost)} == {"int8", "int4", "pq48"}


def test_the_best_that_meets_the_budget_is_chosen_and_known_again(finished, tmp_path):
    said = []
    chosen, tried = budget.run(finished.config, Budget("bytes_per_item", 8), said.append)
    assert {one.name for one in tried} == {"w6_int8", "int4", "pq8"} and len(said) == 3
    assert chosen == max(tried, key=lambda one: one.ndcg)
    assert all(one.bytes_per_item <= 8 for one in tried)
    folder = budget.Path(finished.config.workdir)
    assert len(json.loads((folder / "budget.json").read_text())["tried"]) == 3
    again, _ = budget.run(finished.config, Budget("bytes_per_item", 8), said.append)
    assert again == chosen and len(said) == 3  # nothing was trained again


def test_for_quality_the_first_point_that_keeps_it_is_taken(finished):
    chosen, tried = budget.run(finished.config, Budget("quality", 0.01), lambda line: None)
    assert chosen.quality >= 0.01 and all(one.quality < 0.01 for one in tried[:-1])


@pytest.mark.parametrize("bound", [Budget("bytes_per_item", 0.5), Budget("flops", 1)])
def test_a_budget_that_nothing_meets_names_the_nearest(finished, bound):
    with pytest.raises(
        UserError, match=f"no student meets --budget {bound.measure}={bound.bound:g}: the nearest is w2"
    ):
        budget.run(finished.config, bound, lambda line: None)


def test_the_chosen_point_becomes_the_index(finished, tmp_path):
    import shutil

    shutil.copytree(finished.config.workdir, tmp_path / "run")
    config = budget.keep(replace(finished.config, workdir=str(tmp_path / "run")), "w4_int8", lambda line: None)
    assert config.compress.serve == "w4_int8"
    about = json.loads((store.find(tmp_path / "run" / "index").folder / "index.json").read_text())
    assert about["model"]["width"] == 4
