import json

import numpy as np
import pytest

from rexjax.registry import Registry

CONFIG = {
    "data": {
        "source": {"class": "rexjax.data.sources:Shop", "users": 60},
        "path": "",
        "split": "leave_one_out",
        "length": 50,
    },
    "evaluate": {"select": "ndcg@10", "exclude_seen": True},
    "teacher": {"width": 8},
}
USERS = 4000


def prepared(place, shift=0.0, *, test="one", hurt=0.0, config=None, cost=100.0):
    """A folder that may become a version: a model whose users are all better by ``shift``, one half worse by
    ``hurt``."""
    place.mkdir(parents=True)
    half = np.arange(USERS) % 2
    values = np.random.default_rng(0).random(USERS) + shift - hurt * half
    served = {
        "quality": {"valid": {}, "test": {"ndcg@10": float(values.mean()), "coverage@10": 0.5}},
        "cost": {"flops_per_request": cost, "bytes_resident": 1000},
        "interval": {"ndcg@10": [0.4, 0.6]},
    }
    metrics = {"select": "ndcg@10", "served": "student_int8", "test": test, "models": {"student_int8": served}}
    (place / "config.json").write_text(json.dumps(config or CONFIG))
    (place / "metrics.json").write_text(json.dumps(metrics))
    np.savez(place / "per_user.npz", **{"student_int8/ndcg@10": values.astype(np.float32)})
    np.savez(place / "segments.npz", half=half.astype(str))
    return place


@pytest.fixture
def registry(tmp_path):
    return Registry.create(tmp_path / "registry", CONFIG)


@pytest.fixture
def make(tmp_path):
    """Makes prepared folders, a new one each time."""
    count = iter(range(100))
    return lambda shift=0.0, **more: prepared(tmp_path / f"prepared{next(count)}", shift, **more)
