"""The model card of a version, in Markdown (Mitchell et al., "Model cards for model reporting", FAT* 2019)."""

from pathlib import Path
from typing import Any

from rexjax.artifacts.files import read_json
from rexjax.evaluation.settings import spell
from rexjax.registry.content import DATA_CARD
from rexjax.registry.versions import LINEAGE, spell_time

_SEGMENTS = 12
_COSTS = {
    "parameters": "parameters",
    "bytes_resident": "bytes in memory",
    "flops_per_request": "FLOPs of a request",
    "p50_ms": "median latency, ms",
    "p99_ms": "99th percentile of the latency, ms",
}
_CARD = {
    "users": "users",
    "items": "items",
    "interactions": "interactions",
    "test_users": "users of the test",
    "split": "split",
}


def write(folder: Path, name: str, about: dict[str, Any], metrics: dict[str, Any]) -> str:
    """The card.

    Args:
        folder: of the version, with its data card and its lineage.
        name: its id.
        about: its parent, time, note and summary (``content.summary``).
        metrics: all figures of the run, as in ``metrics.json``.
    """
    summary, lineage = about["metrics"], read_json(folder / LINEAGE)
    parts = [
        f"# Model card: {name}\n\n{about['note'] or 'No note was given.'}",
        _intro(about, summary),
        f"## Data\n\n{_data(metrics.get('dataset', {}), read_json(folder / DATA_CARD))}",
        f"## Quality\n\n{_quality(summary, metrics)}",
        f"## Cost\n\n{_cost(summary['cost'])}",
        f"## Segments\n\n{_segments(metrics.get('segments', []), summary['served'])}",
        f"## Limits\n\n{_limits(metrics, summary)}",
        f"## Lineage\n\n{_lineage(about, lineage)}",
    ]
    return "\n\n".join(parts) + "\n"


def _intro(about: dict[str, Any], summary: dict[str, Any]) -> str:
    parent = f"It was trained from `{about['parent']}`." if about["parent"] else "It has no parent."
    made = spell_time(about["created"])
    return f"The version was added on {made}. {parent} It serves the model `{summary['served']}`."


def _table(heads: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    lines = [heads, ("---",) * len(heads), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def _data(dataset: dict[str, Any], card: dict[str, Any]) -> str:
    known = card | dataset
    rows = [(words, _number(known[key])) for key, words in _CARD.items() if key in known]
    notices = "".join(f"\n- {notice}" for notice in card.get("notices", ()))
    return _table(("What", "Value"), rows) + (f"\n\nNotices of the data card:\n{notices}" if notices else "")


def _quality(summary: dict[str, Any], metrics: dict[str, Any]) -> str:
    select, low_high = summary["metric"], summary["interval"]
    rows = [
        (spell(name), f"{value:.4f}", f"{low_high[0]:.4f} to {low_high[1]:.4f}" if name == select and low_high else "")
        for name, value in summary["quality"].items()
        if name.endswith("@10")
    ]
    said = [_table(("Metric on the test", "Value", "95 % interval"), rows)]
    if _is_calibrated(summary):
        calibration = summary["calibration"]
        said.append(f"The expected calibration error is {calibration['ece']:.3f} ({calibration['users']:,} users).")
    return "\n\n".join([*said, *metrics.get("verdict", ())])


def _cost(cost: dict[str, Any]) -> str:
    return _table(("What", "Value"), [(words, _number(cost[key])) for key, words in _COSTS.items() if key in cost])


def _segments(rows: list[dict[str, Any]], served: str) -> str:
    known = [row for row in rows if served in row["models"] and row["models"][served]["low"] is not None]
    weakest = sorted(known, key=lambda row: row["models"][served]["mean"])[:_SEGMENTS]
    if not weakest:
        return "The run has no segments of two or more users."
    cells = [
        (row["segment"], row["value"], f"{row['users']:,}", "{mean:.4f} ({low:.4f} to {high:.4f})".format(**figures))
        for row in weakest
        for figures in [row["models"][served]]
    ]
    return "The weakest parts come first.\n\n" + _table(("Segment", "Part", "Users", "Mean and 95 % interval"), cells)


def _limits(metrics: dict[str, Any], summary: dict[str, Any]) -> str:
    lines = [
        "The figures hold for the test above, and for no other users, items or days.",
        "A log shows what users chose among what they were shown. The test shares this bias.",
        f"Latencies are those of the machine that ran the evaluation. The test has the digest `{summary['test']}`.",
    ]
    if not _is_calibrated(summary):
        lines.append("The calibration was not measured.")
    if not metrics.get("segments"):
        lines.append("The gate cannot compare segments of this version.")
    return "\n".join(f"- {line}" for line in lines)


def _lineage(about: dict[str, Any], lineage: dict[str, Any]) -> str:
    rows: list[tuple[Any, ...]] = [("parent", f"`{about['parent']}`")] if about["parent"] else []
    rows += [(f"input {name}", f"`{sha256[:16]}`") for name, sha256 in lineage.get("inputs", {}).items()]
    rows += [(f"stage {name}", f"`{stage['hash']}`") for name, stage in lineage.get("stages", {}).items()]
    rows += [(f"package {name}", version) for name, version in lineage.get("packages", {}).items()]
    return _table(("What", "Hash or version"), rows) if rows else "The version was added from a prepared folder."


def _number(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _is_calibrated(summary: dict[str, Any]) -> bool:
    """Whether the calibration error was measured."""
    return (summary.get("calibration") or {}).get("ece") is not None
