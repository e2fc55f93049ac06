import pytest

from rexjax.evaluation import verdict

CARD = {"split": "leave_one_out", "items": 90, "cleaning": [{"items": 100}, {"items": 90}]}
TRAINED = {"best_epoch": 3, "epochs": 8, "most_epochs": 10, "steps": 50, "warmup": 100}


def model(valid: float, test: float, flops: float = 1000.0, size: int = 1000, p50: float = 1.0) -> dict:
    quality = {"valid": {"ndcg@10": valid}, "test": {"ndcg@10": test}}
    return {"quality": quality, "cost": {"flops_per_request": flops, "bytes_resident": size, "p50_ms": p50}}


MODELS = {
    "popularity": model(0.05, 0.04),
    "teacher": model(0.30, 0.20, 4000.0, 800, 2.0),
    "student_int8": model(0.25, 0.19, 1000.0, 100, 0.5),
}


def lines(**change) -> list[str]:
    about = {"models": MODELS, "training": {"teacher": TRAINED}, "card": CARD}
    about |= {"select": "ndcg@10", "baselines": ("popularity", "text_cosine"), "served": "student_int8"} | change
    return verdict.lines(about.pop("models"), **about)


def test_a_good_run_has_two_lines():
    assert lines() == [
        "Best on validation: teacher, ndcg@10 0.3000 (test 0.2000).",
        "Served: student_int8, 95.0% of the teacher's test ndcg@10; a whole request takes 1/4.0 of its FLOPs, 0.50 ms "
        "against 2.00 ms, and 1/8.0 of its bytes.",
    ]


@pytest.mark.parametrize(
    ("low", "high", "equal", "words"),
    [
        (-0.004, 0.003, True, "ndcg@10 (equal within 2%); a whole"),
        (0.01, 0.02, False, "ndcg@10 (better); a whole"),
        (-0.003, -0.001, True, "ndcg@10 (worse, within the margin); a whole"),
        (-0.02, -0.01, False, "ndcg@10 (worse); a whole"),
        (-0.02, 0.01, False, "ndcg@10 (inconclusive: the test detects 12.5%); a whole"),
    ],
)
def test_the_served_share_is_said_with_what_the_test_can_tell(low, high, equal, words):
    row = {
        "difference": (low + high) / 2,
        "low": low,
        "high": high,
        "equal": equal,
        "margin": 0.004,
        "detectable": 0.025,
    }
    assert words in lines(against_teacher=row)[1]


def test_what_costs_more_than_the_teacher_is_said_as_a_multiple():
    dear = MODELS | {"student_int8": model(0.25, 0.19, 10_000.0, 2000)}
    assert "takes 2.5 times its FLOPs" in lines(models=dear)[1] and "2.5 times its bytes" in lines(models=dear)[1]


@pytest.mark.parametrize(
    ("name", "valid", "warned"), [("popularity", 0.25, False), ("popularity", 0.2501, True), ("item_knn", 0.28, True)]
)
def test_a_simple_model_that_beats_what_is_served_is_a_warning(name, valid, warned):
    found = lines(models=MODELS | {name: model(valid, 0.1)}, baselines=("popularity", "item_knn"))
    kind = {"popularity": "Popularity", "item_knn": "ItemKNN"}[name]
    advice = (
        f"put it into the teacher, teacher=Blend((…, {kind}()))."
        if valid > MODELS["teacher"]["quality"]["valid"]["ndcg@10"]
        else "serve the teacher or that model, or give the student more width, hidden units or epochs."
    )
    sentence = (
        f"Warning: the simple model {name} (ndcg@10 {valid:.4f} on validation) is better than what is served (0.2500): "
        f"{advice}"
    )
    assert (sentence in found) == warned and len(found) == 2 + warned


def test_no_baselines_are_no_warning():
    assert len(lines(baselines=())) == len(lines(baselines=("text_cosine",))) == 2


@pytest.mark.parametrize(
    ("change", "warned"),
    [
        ({"best_epoch": 10, "epochs": 10}, True),
        ({"best_epoch": 8, "epochs": 8}, False),  # ended by a later change of patience, not by its epochs
        ({"best_epoch": 9, "epochs": 10}, False),
        ({"best_epoch": 0, "epochs": 0, "most_epochs": 0, "warmup": -1}, False),
    ],
)
def test_a_best_epoch_that_is_the_last_is_a_warning(change, warned):
    found = lines(training={"teacher": TRAINED, "student": TRAINED | change})
    sentence = "Warning: the best epoch of student was the last one: raise training.epochs."
    assert (sentence in found) == warned and len(found) == 2 + warned


@pytest.mark.parametrize(("steps", "warned"), [(12, True), (13, False), (None, True)])
def test_training_that_ends_inside_its_warm_up_is_a_warning(steps, warned):
    found = lines(training={"teacher": TRAINED, "control": TRAINED | {"steps": steps}})  # 8 epochs, 100 steps
    sentence = "Warning: training of control ended inside the warm-up: lower warmup, or raise epochs."
    assert (sentence in found) == warned and len(found) == 2 + warned


def test_notices_of_the_data_card_are_warnings():
    assert lines(card=CARD | {"notices": ["Times are tied."]})[2:] == ["Warning: Times are tied."]


@pytest.mark.parametrize(("kept", "warned"), [(79, True), (80, False), (100, False)])
def test_items_that_the_core_leaves_out_are_a_warning(kept, warned):
    card = CARD | {"items": kept, "cleaning": [{"items": 100}, {"items": kept}]}
    sentence = (
        f"Warning: {100 - kept:,} of 100 items have too few interactions and cannot be recommended: lower "
        "--data.min-item-events, or use --data.catalogue all."
    )
    assert (sentence in lines(card=card)) == warned
    assert len(lines(card={"split": "leave_one_out", "items": kept})) == 2  # nothing was cleaned


def test_there_are_five_lines_at_most():
    bad = TRAINED | {"best_epoch": 10, "epochs": 10, "steps": 1}
    found = lines(
        models=MODELS | {"popularity": model(0.4, 0.4)},
        training={"teacher": bad},
        card=CARD | {"items": 10, "notices": ["Times are tied."]},
    )
    assert len(found) == verdict.MOST == 5 and found[0].startswith("Best on validation: popularity")
    assert all(line.startswith("Warning: ") for line in found[2:])
