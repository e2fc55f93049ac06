import os
from dataclasses import replace
from pathlib import Path

import pyarrow.csv as csv
import pyarrow.parquet as pq
import pytest

from rexjax import Dataset, fit
from rexjax.config import Compress, Config
from rexjax.config import schema as configs
from rexjax.pipeline.stages import prepare

DATA = Path(os.environ.get("REXJAX_DATA") or "no such folder")
CONFIGS = Path(__file__).parent.parent / "configs"

pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif(not DATA.is_dir(), reason="REXJAX_DATA names no folder of benchmark data sets"),
]


@pytest.mark.parametrize(
    ("config", "folder", "users", "items", "interactions", "notice"),
    [  # the published sizes of the files that the published tables use
        ("amazon", "amazon-beauty", 22_363, 12_101, 198_502, "from each user's own start"),
        ("amazon", "amazon-sports", 35_598, 18_357, 296_337, "from each user's own start"),
        ("amazon", "amazon-toys", 19_412, 11_924, 167_597, "from each user's own start"),
        ("movielens", "ml-1m", 6_040, 3_416, 999_611, "look interpolated"),
        ("online_retail", "online_retail", 4_074, 3_145, 264_510, ""),
    ],
)
def test_a_cleaned_log_has_its_published_size(tmp_path, config, folder, users, items, interactions, notice):
    found = configs.load(CONFIGS / f"{config}.py")
    found = replace(found, data=replace(found.data, path=str(DATA / folder)))
    card = prepare.run(found, tmp_path, {})
    assert (card["users"], card["items"], card["interactions"]) == (users, items, interactions)
    assert [notice in said for said in card["notices"]] == ([True] if notice else [])


def test_on_a_small_log_what_is_served_is_no_worse_than_any_simple_model(tmp_path):
    """The first 4,654 lines of the shop's log, with the default models; the verdict warns of no simple one."""
    log = pq.read_table(DATA / "online_retail/interactions.parquet").sort_by("timestamp").slice(0, 4654)
    items = csv.read_csv(DATA / "online_retail/items.csv")
    dataset = Dataset.from_frames(log, items)
    config = Config("", compress=Compress(variants=("int8",)))
    experiment = fit(dataset, tmp_path / "run", config, say=lambda line: None)
    models = experiment.metrics["models"]
    valid = {name: model["quality"]["valid"]["ndcg@10"] for name, model in models.items()}
    first, *others = experiment.verdict.splitlines()
    assert first.startswith(f"Best on validation: {max(valid, key=valid.get)}, ")
    simple = max(("popularity", "text_cosine", "item_knn", "sequential_rules", "ease"), key=valid.get)
    warned = [line for line in others if line.startswith(f"Warning: the simple model {simple} ")]
    assert valid["student_int8"] >= valid[simple] and not warned
