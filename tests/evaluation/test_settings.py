import pytest

from rexjax.errors import UserError
from rexjax.evaluation.metrics import METRICS, ListMetric, RankMetric
from rexjax.evaluation.settings import Evaluate, spell
from rexjax.training.settings import SELECT


def hits(groups, k):
    return groups.hits(k)


def none(lists, context):
    return 0.0


HITS, NONE = RankMetric("hits", hits), ListMetric("none", none)


def test_the_defaults():
    settings = Evaluate()
    assert (settings.select, settings.known) == (SELECT, METRICS)
    assert settings.selection == (SELECT,)
    assert settings.shown == (SELECT, "hit_rate@10", "recall@10", "mrr@10", "coverage@10")
    assert settings.select_cutoff() == settings.select_cutoff(10) == 10


def test_further_metrics_are_known_shown_and_can_select():
    settings = Evaluate(select="hits@3", metrics=(HITS, NONE))
    assert list(settings.known) == [*METRICS, "hits", "none"]
    assert settings.selection == ("hits@3", HITS)
    assert settings.shown[0] == "hits@3" and settings.shown[-2:] == ("hits@10", "none@10")
    assert settings.select_cutoff(3) == 3


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"k": (5, 0)}, r"evaluate has k=.5, 0.: set each of k to 1 or more"),
        ({"select": "hits@3"}, "evaluate.select is 'hits@3': name one of precision, recall"),
        ({"select": "none@3", "metrics": (HITS, NONE)}, "map_of_all, hits, then @ and a cut-off of 1 or more"),
        ({"metrics": (RankMetric("map", hits),)}, "cannot be named 'map'"),
    ],
)
def test_mistakes_are_found_before_anything_runs(changes, words):
    with pytest.raises(UserError, match=words):
        Evaluate(**changes)


def test_a_cut_off_beyond_the_catalogue():
    with pytest.raises(UserError, match="evaluate.select is 'recall@50': .* from 1 to the catalogue's 40 items"):
        Evaluate(select="recall@50").select_cutoff(40)


@pytest.mark.parametrize(
    "metric, expected", [("ndcg@10", "NDCG@10"), ("hit_rate@5", "hit rate@5"), ("mine", "mine"), ("map@1", "MAP@1")]
)
def test_names_in_titles(metric, expected):
    assert spell(metric) == expected
