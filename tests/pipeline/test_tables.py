import pytest
from rich.console import Console

from rexjax.evaluation.settings import SHOWN
from rexjax.pipeline import tables


def printed(table) -> str:
    console = Console(width=200)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


def model(ndcg: float, flops: int, size: int) -> dict:
    quality = dict.fromkeys(SHOWN, 0.25) | {"ndcg@10": ndcg}
    times = {"p50_ms": 1.5, "p99_ms": 2.25, "users_per_second": 1234.5}
    return {"quality": {"test": quality}, "cost": {"flops_per_request": flops, "bytes_resident": size} | times}


MODELS = {
    "popularity": model(0.05, 0, 10),
    "teacher": model(0.2, 4_000_000, 800),
    "student": model(0.19, 100_000, 200),
    "student_control": model(0.1, 100_000, 200),
}


def test_models_have_a_row_each_for_quality_and_for_cost():
    quality, costs = map(printed, tables.models(MODELS, exclude_seen=True))
    assert "seen items filtered" in quality and "0.1900" in quality and "0.2500" in quality
    assert "4,000,000" in costs and "1.50" in costs and "2.25" in costs and "1,234" in costs
    assert "seen items" not in printed(tables.models(MODELS, exclude_seen=False)[0])


def test_savings_are_against_the_teacher_and_leave_the_control_out():
    rows = printed(tables.savings(MODELS))
    assert "95.0%" in rows and "1/40.0" in rows and "1/4.0" in rows
    assert "control" not in rows and "popularity" not in rows


@pytest.mark.parametrize(
    ("p", "equal", "words"),
    [
        (0.01, False, "(better)"),
        (0.01, True, "(better, within the margin)"),
        (0.2, True, "(equal)"),
        (0.2, False, "(inconclusive)"),
    ],
)
def test_a_difference_is_said_in_words(p, equal, words):
    row = {"name": "a - b", "metric": "ndcg@10", "difference": 0.2, "low": 0.1, "high": 0.3}
    (line,) = tables.comparisons([row | {"p_adjusted": p, "equal": equal}])
    assert line.startswith("  a - b: +0.2000 ndcg@10") and words in line


def test_the_card_spells_numbers_and_shows_the_cleaning():
    step = {"step": "read", "removed": 0, "interactions": 60_000, "users": 3_000, "items": 1_000}
    history = {"user": "user 1", "interactions": 2, "latest": ["2024-01-01 Lamp [red]", "2024-01-02 Rug (tests)"]}
    facts = {"user_count": 3_000, "density": 0.01234, "span": {"first": 1.7e9}, "notices": ["Times are tied [ms]."]}
    card, cleaning, histories = tables.card(facts | {"cleaning": [step], "histories": [history]})
    assert all(word in printed(card) for word in ("user count", "3,000", "0.01234", "first 1,700,000,000"))
    assert "60,000" in printed(cleaning)
    assert "Times are tied [ms]." in printed(card)
    assert all(event in printed(histories) for event in history["latest"])
