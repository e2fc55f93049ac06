"""For every config the compiled training step is inspected: nothing gathers a table, makes a dense gradient of one that
is read by rows, or replicates what should be sharded."""

from dataclasses import replace
from pathlib import Path

import pytest

from rexjax.config import Blend, load
from rexjax.families.base import Planned
from rexjax.planning import programs
from rexjax.planning.compile_worker import Request
from rexjax.planning.plan import Compiler
from rexjax.planning.topology import parse

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.py"))
ITEMS, DEVICES = 1_000_000, 8
BILLION = next(path for path in CONFIGS if path.stem == "web_scale")


def small(config):
    """What is inspected depends neither on the batch nor on how many equal blocks follow each other; how long the
    compiler takes does."""
    members = tuple(dict.fromkeys(map(one_layer, members_of(config))))
    if not isinstance(config.teacher, Blend):
        return replace(config, teacher=members[0])
    return replace(config, teacher=replace(config.teacher, members=members, weights=()))


def members_of(config):
    """Those that are trained by gradients; what is counted has no training step."""
    members = config.teacher.members if isinstance(config.teacher, Blend) else (config.teacher,)
    return tuple(member for member in members if isinstance(member, Planned))


def one_layer(model):
    training = replace(model.training, batch=min(model.training.batch or 64, 64))
    return replace(model, layers=1, training=training)


@pytest.fixture(scope="module")
def ask():
    pytest.importorskip("libtpu", reason="the TPU compiler is the extra rexjax[plan]")
    with Compiler() as compiler:

        def ask(path, where, items):
            """Figures of each of the teacher's training steps, by name."""
            config = small(load(path))
            names = tuple(name for name in programs.names(config) if name.startswith("teacher"))
            return compiler.ask(Request(config, items, parse(where), names))["programs"]

        yield ask


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_no_step_gathers_or_replicates_a_table(ask, path):
    members = members_of(small(load(path)))
    for found, model in zip(ask(path, "v5p:2x2x2", ITEMS).values(), members, strict=True):
        assert found["fits"] and found["table_gathers"] == 0
        assert found["hbm_bytes"]["table"] == ITEMS / DEVICES * model.width * 4
        moved = sum(kind["bytes"] for kind in found["collectives"].values())
        if model.loss == "sampled_softmax":
            assert found["hbm_bytes"]["temporary"] < 5e8  # activations; not a word of V
            assert moved < ITEMS * model.width * 4 / 2


def test_a_billion_rows_fit_on_64_chips_and_not_on_four(ask):
    big = ask(BILLION, "v5p:4x4x4", 10**9)["teacher"]
    assert big["fits"] and big["hbm_bytes"]["table"] == 10**9 / 64 * 128 * 4
    assert big["hbm_bytes"]["table_slots"] == 10**9 / 64 * 4
    assert big["hbm_needed"] < 1.2 * big["hbm_bytes"]["table"]  # no dense gradient, no copy
    small = ask(BILLION, "v5e:2x2", 10**9)["teacher"]
    assert not small["fits"] and small["hbm_needed"] > 100 * 2**30 > small["hbm_limit"]
