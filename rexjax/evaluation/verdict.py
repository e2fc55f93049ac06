"""Whether a run was any good, in at most five lines."""

from typing import Any

from rexjax.evaluation.comparison import judge

MOST = 5
"""Lines of a verdict."""
LEFT_OUT = 0.2
"""Share of the log's items that the k-core leaves out, above which it is said."""


def lines(
    models: dict[str, Any],
    *,
    select: str,
    baselines: tuple[str, ...],
    served: str,
    training: dict[str, dict[str, Any]],
    card: dict[str, Any],
    against_teacher: dict[str, Any] | None = None,
) -> list[str]:
    """The best model, what is served, and warnings.

    Args:
        models: NAME to quality and cost, as in ``metrics.json``.
        select: the metric that models are chosen by.
        baselines: names of the simple models.
        served: name of the model in the index.
        training: summaries by name, with the warm-up's steps and those of an epoch.
        card: the data card.
        against_teacher: the comparison of what is served with the teacher, as in ``metrics.json``; None: not made.
    """
    valid = {name: model["quality"]["valid"][select] for name, model in models.items()}
    best = max(valid, key=lambda name: valid[name])
    test = models[best]["quality"]["test"][select]
    first = f"Best on validation: {best}, {select} {valid[best]:.4f} (test {test:.4f})."
    warnings = [
        *_simple_wins(valid, baselines, served, select),
        *_training_ended(training),
        *(f"Warning: {notice}" for notice in card.get("notices", ())),
        *_left_out(card),
    ]
    return [first, _served(models, served, select, against_teacher), *warnings][:MOST]


def _served(models: dict[str, Any], served: str, select: str, against: dict[str, Any] | None) -> str:
    teacher, small = models["teacher"], models[served]
    mean = teacher["quality"]["test"][select]
    kept = small["quality"]["test"][select] / max(mean, 1e-12)
    ratio = {key: _ratio(teacher["cost"][key], small["cost"][key]) for key in ("flops_per_request", "bytes_resident")}
    return (
        f"Served: {served}, {kept:.1%} of the teacher's test {select}{_told(against, mean)}; a whole request takes "
        f"{ratio['flops_per_request']} its FLOPs, {small['cost']['p50_ms']:.2f} ms against "
        f"{teacher['cost']['p50_ms']:.2f} ms, and {ratio['bytes_resident']} its bytes."
    )


def _told(against: dict[str, Any] | None, mean: float) -> str:
    if against is None or not mean:
        return ""
    word = judge(against["difference"], against["low"] > 0 or against["high"] < 0, against["equal"])
    if word == "inconclusive":
        return f" (inconclusive: the test detects {against['detectable'] / mean:.1%})"
    if word == "equal":
        return f" (equal within {against['margin'] / mean:.0%})"
    return f" ({word}, within the margin)" if against["equal"] else f" ({word})"


def _ratio(whole: float, part: float) -> str:
    times = whole / max(part, 1)
    return f"1/{times:.1f} of" if times >= 1 else f"{1 / max(times, 1e-12):.1f} times"


def _simple_wins(valid: dict[str, float], baselines: tuple[str, ...], served: str, select: str) -> list[str]:
    simple = [name for name in baselines if name in valid]
    if not simple:
        return []
    best = max(simple, key=lambda name: valid[name])
    if valid[best] <= valid[served]:
        return []
    advice = (
        f"put it into the teacher, teacher=Blend((…, {_class_of(best)}()))"
        if valid[best] > valid["teacher"]
        else "serve the teacher or that model, or give the student more width, hidden units or epochs"
    )
    return [
        f"Warning: the simple model {best} ({select} {valid[best]:.4f} on validation) is better than what is served "
        f"({valid[served]:.4f}): {advice}."
    ]


def _class_of(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_") if not part.isdigit()).replace("Knn", "KNN")


def _training_ended(training: dict[str, dict[str, Any]]) -> list[str]:
    last, early = [], []
    for name, summary in training.items():
        if summary["best_epoch"] and summary["best_epoch"] == summary["epochs"] == summary.get("most_epochs"):
            last.append(name)
        if (summary.get("steps") or 1) * summary["epochs"] <= summary.get("warmup", 0):
            early.append(name)
    found = []
    if early:
        found.append(
            f"Warning: training of {', '.join(early)} ended inside the warm-up: lower warmup, or raise epochs."
        )
    if last:
        found.append(f"Warning: the best epoch of {', '.join(last)} was the last one: raise training.epochs.")
    return found


def _left_out(card: dict[str, Any]) -> list[str]:
    steps = card.get("cleaning", [])
    most = max((step["items"] for step in steps), default=0)
    gone = most - card["items"]
    if not most or gone / most <= LEFT_OUT:
        return []
    return [
        f"Warning: {gone:,} of {most:,} items have too few interactions and cannot be recommended: lower "
        "--data.min-item-events, or use --data.catalogue all."
    ]
