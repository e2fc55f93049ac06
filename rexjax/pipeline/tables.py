"""What a run found, as tables for the terminal; ``cli`` prints them."""

from typing import Any

from rich.markup import escape
from rich.table import Table

from rexjax.evaluation.report import spell_facts, standing
from rexjax.evaluation.settings import SHOWN, spell
from rexjax.training.settings import SELECT


def card(metrics: dict[str, Any]) -> list[Table]:
    """The data card that the stage prepare made, what its cleaning removed, and some histories."""
    table = Table(title="Data card", title_justify="left", show_header=False)
    for name, value in metrics.items():
        if name not in ("cleaning", "histories", "features") and value != []:
            table.add_row(name.replace("_", " "), _spell(value))
    steps = Table(title="Cleaning", title_justify="left")
    for name in ("step", "removed", "interactions", "users", "items"):
        steps.add_column(name, justify="left" if name == "step" else "right")
    for step in metrics["cleaning"]:
        steps.add_row(
            escape(step["step"]), *(f"{step[name]:,}" for name in ("removed", "interactions", "users", "items"))
        )
    shown = Table(title="Some histories, the latest events", title_justify="left", show_lines=True)
    for name in ("user", "interactions", "latest"):
        shown.add_column(name, justify="right" if name == "interactions" else "left")
    for history in metrics["histories"]:
        shown.add_row(history["user"], f"{history['interactions']:,}", "\n".join(map(escape, history["latest"])))
    return [table, *_features(metrics.get("features", {})), steps, shown]


def _features(found: dict[str, dict[str, Any]]) -> list[Table]:
    """What each feature is and how much of it is known; no table where there are none."""
    if not found:
        return []
    table = Table(title="Features", title_justify="left")
    for name in ("feature", "about", "kind", "cardinality", "out of vocabulary", "missing"):
        table.add_column(name, justify="right" if name in ("cardinality", "out of vocabulary", "missing") else "left")
    for name, feature in found.items():
        shares = (f"{feature[share]:.2%}" for share in ("out_of_vocabulary", "missing"))
        about = feature["about"].replace("_", " ")
        table.add_row(escape(name), about, feature["kind"], f"{feature['cardinality']:,}", *shares)
    return [table]


def models(found: dict[str, Any], exclude_seen: bool, shown: tuple[str, ...] = SHOWN) -> list[Table]:
    """Quality, by the metrics ``shown``, and cost of each model, by name."""
    quality = Table(title="Quality at 10: test, full ranking" + (", seen items filtered" if exclude_seen else ""))
    costs = Table(title="Cost of a request (top 10)")
    for table, columns in ((quality, shown), (costs, ("bytes", "FLOPs", "p50 ms", "p99 ms", "users/s"))):
        table.add_column("model", no_wrap=True)
        for name in columns:
            table.add_column(name.removesuffix("@10"), justify="right", no_wrap=True)
    for name, model in found.items():
        cost = model["cost"]
        quality.add_row(name, *(f"{model['quality']['test'][metric]:.4f}" for metric in shown))
        counts = (f"{cost[key]:,.0f}" for key in ("bytes_resident", "flops_per_request"))
        times = (f"{cost['p50_ms']:.2f}", f"{cost['p99_ms']:.2f}", f"{cost['users_per_second']:,.0f}")
        costs.add_row(name, *counts, *times)
    return [quality, costs]


def corrected(found: dict[str, Any], facts: dict[str, Any], truth: dict[str, Any]) -> list[Table]:
    """The log's metrics beside those corrected for what was shown, and the known preference where there is one."""
    if not facts:
        return []
    table = Table(title=f"NDCG@10 corrected by 1 / propensity: {spell_facts(facts)}", title_justify="left")
    for name in ("model", "log", "corrected", "95 % interval") + (("truth", "regret") if truth else ()):
        table.add_column(name, justify="left" if name == "model" else "right", no_wrap=True)
    for name, model in found.items():
        ndcg, known = model["corrected"]["ndcg@10"], truth.get(name)
        row = [f"{ndcg['log']:.4f}", f"{ndcg['mean']:.4f}", f"{ndcg['low']:.4f} … {ndcg['high']:.4f}"]
        row += [f"{known['expected_dcg@10']:.4f}", f"{known['regret']['difference']:.4f}"] if known else []
        table.add_row(name, *row)
    return [table]


def savings(found: dict[str, Any], select: str = SELECT) -> Table:
    """What each student keeps of the teacher's quality (the metric ``select``), and at which share of its cost."""
    teacher = found["teacher"]
    table = Table(title=f"Against the teacher: {spell(select)} kept, cost left")
    for name in ("step", "kept", "FLOPs/request", "bytes"):
        table.add_column(name, justify="left" if name == "step" else "right")
    for name in ("teacher", *(name for name in found if name.startswith("student") and name != "student_control")):
        kept = found[name]["quality"]["test"][select] / max(teacher["quality"]["test"][select], 1e-12)
        cost = found[name]["cost"]
        flops = teacher["cost"]["flops_per_request"] / max(cost["flops_per_request"], 1)
        table.add_row(
            name, f"{kept:.1%}", f"1/{flops:.1f}", f"1/{teacher['cost']['bytes_resident'] / cost['bytes_resident']:.1f}"
        )
    return table


def reranked(found: dict[str, Any]) -> list[Table]:
    """Lists of the test before and after re-ranking; nothing where they were not re-ranked."""
    if not found:
        return []
    models, k = found["models"], found["k"]
    first = next(iter(models.values()))["test"]["before"]
    table = Table(title=f"Lists of {k} before and after {found['method']}, test")
    for name in ("model", "strength", *first):
        table.add_column(name, justify="left" if name == "model" else "right")
    for name, model in models.items():
        for when, values in model["test"].items():
            strength = 0.0 if when == "before" else model["strength"]
            table.add_row(f"{name}, {when}", f"{strength:g}", *(f"{values[key]:.4f}" for key in first))
    return [table]


def comparisons(rows: list[dict[str, Any]]) -> list[str]:
    """Differences between two models each, with their intervals."""
    return [
        f"  {row['name']}: {row['difference']:+.4f} {row['metric']}, 95 % interval "
        f"{row['low']:+.4f} … {row['high']:+.4f} ({standing(row)})"
        for row in rows
    ]


def _spell(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_spell(v)}" for name, v in value.items())
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    if isinstance(value, list):
        return "\n".join(map(_spell, value))
    return f"{value:,}" if isinstance(value, int) else escape(str(value))
