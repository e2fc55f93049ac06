"""A run with features from frames to the index: a teacher reads those of users, teacher and student those of items."""

import numpy as np
import pandas as pd

import rexjax
from rexjax.artifacts import store
from rexjax.config import Blend, Compress, Config, Ease, Evaluate, Pooled, Popularity, Student, Training, Transformer
from rexjax.data import features
from rexjax.data.frames import Dataset

USERS, ITEMS, EACH = 40, 24, 7
SHORT = Training(epochs=1, batch=8, warmup=2)


def dataset():
    rng = np.random.default_rng(0)
    rows = [
        (user, item, step, ["phone", "desk"][step % 2])
        for user in range(USERS)
        for step, item in enumerate(rng.permutation(ITEMS)[:EACH])
    ]
    log = pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp", "device"])
    items = pd.DataFrame({"item_id": range(ITEMS), "price": rng.lognormal(1, 1, ITEMS), "kind": list("abc") * 8})
    users = pd.DataFrame({"user_id": range(USERS), "country": rng.choice(["FR", "DE", "IT"], USERS)})
    return Dataset.from_frames(
        log,
        items,
        text=(),
        users=users,
        user_features=["country"],
        item_features=[features.Numeric("price", "log", 4), "kind"],
        context=["device"],
    )


def test_features_go_from_frames_to_the_index(tmp_path):
    names = ("price", "kind")
    teacher = Transformer(width=8, layers=1, heads=1, item_features=names, user_features=("country",), training=SHORT)
    config = Config(
        workdir="replaced",
        baselines=(Popularity(),),
        teacher=Blend((Ease(), teacher)),
        student=Student(model=Pooled(width=8, item_features=names, training=SHORT), top_k=5),
        compress=Compress(variants=("int8",), training=SHORT),
        evaluate=Evaluate(k=(1, 5), resamples=20, latency_repeats=3),
    )
    run = rexjax.fit(dataset(), tmp_path / "run", config, say=lambda line: None, min_item_events=1)
    card = store.find(tmp_path / "run" / "prepare").metrics["features"]
    assert {name: (about["about"], about["kind"]) for name, about in card.items()} == {
        "price": ("item", "numeric"),
        "kind": ("item", "categorical"),
        "country": ("user", "categorical"),
        "device": ("context", "categorical"),
    }
    assert run.model("teacher").reads == ("country",) and run.model("student_int8").reads == ()
    assert len(run.recommend([0, 1], k=3)) == 6
