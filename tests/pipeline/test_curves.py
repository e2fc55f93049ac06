import json
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from rexjax.config import Config, Data, Ease, Evaluate, Mesh, Pooled, Shop, Student, Training
from rexjax.errors import UserError
from rexjax.pipeline import curves

FEW = Training(epochs=2, batch=8, warmup=2)
CONFIG = Config(
    workdir="",
    data=Data(source=Shop(users=80, items=40, interactions=1200, days=30), text=(), length=8),
    teacher=Ease(),
    student=Student(Pooled(width=8, profiles=2, hidden=8, training=FEW)),
    mesh=Mesh(data=1),
    evaluate=Evaluate(resamples=50),
)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("curves") / "run"
    said = []
    asked = curves.Asked("student", "time", (1.0, 0.2), (0.5, 1.0))
    made = curves.run(Config(**(vars(CONFIG) | {"workdir": str(workdir)})), said.append, asked)
    return made, workdir / "curves", said


def test_each_point_is_a_fit_on_its_part_judged_on_validation(found):
    made, _, said = found
    small, whole = made["log"]
    assert (small["share"], whole["share"]) == (0.2, 1.0)
    assert small["events"] == round(0.2 * whole["events"]) and small["items"] == whole["items"]
    half, all_items = made["catalogue"]
    assert all_items == whole and half["items"] == round(whole["items"] / 2)
    for point in (small, whole, half):
        assert point["low"] <= point["ndcg@10"] <= point["high"]
    assert half["random"] > whole["random"] == pytest.approx(small["random"])
    assert [row["epoch"] for row in made["epochs"]] == [1, 2]
    assert max(row["ndcg@10"] for row in made["epochs"]) == pytest.approx(whole["ndcg@10"], abs=1e-6)
    assert sum("on validation" in line for line in said) == 3  # the whole log is fitted once


def test_the_random_order_is_what_it_says(found):
    """Of C candidates and one target: the mean discount of the first ten places over C, with C = items - seen."""
    made, _, _ = found
    gains = (1 / np.log2(np.arange(2, 12))).sum()
    items = made["log"][0]["items"]
    assert gains / items < made["log"][0]["random"] < gains / (items - 25)


def test_figures_and_one_picture_are_written(found):
    made, folder, _ = found
    assert json.loads((folder / "curves.json").read_text()) == made
    picture = ET.parse(folder / "curves.svg").getroot()
    panels = picture.findall("{http://www.w3.org/2000/svg}svg")
    assert len(panels) == 3 and not (folder / "checkpoints").exists()
    heights = [float(panel.get("y")) + float(panel.get("height")) for panel in panels]
    assert float(picture.get("viewBox").split()[3]) == heights[-1]


def test_models_without_epochs_have_two_panels():
    point = {"users": 1, "items": 4, "events": 9, "ndcg@10": 0.1, "low": 0.0, "high": 0.2, "random": 0.05}
    made = {"select": "ndcg@10", "of": "teacher", "by": "users", "epochs": [], "log": [point], "catalogue": [point]}
    assert curves.draw(made).count("<svg") == 3


@pytest.mark.parametrize(
    "asked", [curves.Asked(shares=()), curves.Asked(shares=(0.5, 1.5)), curves.Asked(catalogues=(0.0,))]
)
def test_shares_that_are_none_are_refused(asked):
    with pytest.raises(UserError, match="name one or more, each above 0 and at most 1"):
        curves.run(CONFIG, print, asked)
