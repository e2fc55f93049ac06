"""Members of a teacher are proposed from cheap to dear, and only those that pay stay."""

import json
from dataclasses import replace

import numpy as np
import pytest

from rexjax.artifacts import classes
from rexjax.config import Blend, Config, Data, Ease, ItemKNN, Model, Popularity, SequentialRules, Shop, Transformer
from rexjax.errors import UserError
from rexjax.families import base
from rexjax.pipeline import members


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    shop = Shop(users=200, items=60, interactions=3000, days=60)
    data = Data(source=shop, text=(), strict=False, min_item_events=1, length=8)
    return Config(
        str(tmp_path_factory.mktemp("members") / "run"),
        data=data,
        baselines=(Popularity(), SequentialRules()),
        teacher=Blend((SequentialRules(), Ease())),
    )


@pytest.fixture(scope="module")
def found(config):
    return members.propose(config, 5, lambda line: None)


def test_counted_models_come_before_trained_ones_and_equal_ones_once(config):
    teacher = Blend((Transformer(), Ease(), Popularity()))
    names = list(members.candidates(replace(config, teacher=teacher)))
    assert names == ["popularity", "sequential_rules", "ease", "transformer"]
    assert list(members.candidates(replace(config, teacher=ItemKNN())))[-1] == "item_knn"


def test_what_is_kept_pays_and_stands_in_the_file(config, found):
    assert [proposal.name for proposal in found.proposals] == ["popularity", "sequential_rules", "ease"]
    assert all(proposal.kept == (proposal.gain.low > 0) for proposal in found.proposals)
    first, second, _ = found.proposals
    assert first.kept and second.kept and second.quality == pytest.approx(first.quality + second.gain.difference)
    best = json.loads((members.Path(config.workdir) / members.FOLDER / "best.json").read_text())
    assert classes.from_dict(Model, best) == found.teacher
    teacher = found.teacher.members if isinstance(found.teacher, Blend) else (found.teacher,)
    assert SequentialRules() in teacher and Popularity() not in teacher  # all that it knows, the rules' counts know


def test_a_second_search_fits_nothing_and_finds_the_same(config, found, monkeypatch):
    monkeypatch.setattr(SequentialRules, "fit", lambda *_: pytest.fail("fitted again"))
    again = members.propose(config, 5, lambda line: None)
    assert again == found


def test_a_budget_ends_the_search_or_is_refused(config, found):
    fitted = next(iter(sorted((members.Path(config.workdir) / members.FOLDER).glob("*/seconds.json"))))
    short = members.propose(config, found.proposals[0].seconds / 60 * 1.001, lambda line: None)
    assert fitted.exists() and len(short.proposals) + len(short.skipped) == 3 and short.skipped
    with pytest.raises(UserError, match="popularity, the cheapest member, took .* seconds alone"):
        members.propose(config, 1e-9, lambda line: None)


def test_weights_that_chance_chose_do_not_pay(config):
    """A member of noise is not kept, however many weights are tried: they are judged on other users."""
    noisy = replace(config, workdir=config.workdir + "2", baselines=(SequentialRules(),), teacher=Noise())
    proposals = members.propose(noisy, 5, lambda line: None).proposals
    assert [proposal.kept for proposal in proposals] == [True, False]
    assert isinstance(proposals[1].gain.low, float) and base.named((Noise(),)).keys() == {"noise"}


class Noise(Popularity):
    """Items in a random order."""

    def fit(self, data, run):
        return {"scores": np.random.default_rng(run.seed).random((data.items, 1)).astype(np.float32)}
