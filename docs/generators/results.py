"""Pages of measured figures, from ``benchmarks/results/*.json``."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from docs.generators.equivalence import reversed_row, verdict
from docs.generators.markdown import escape, figure, percent, quality, table
from docs.generators.result_tables import PAGES, Row, Table

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "benchmarks" / "results"


class Refused(Exception):
    """A file of results that no page can be made from; the message is for the user."""


def read(path: Path) -> dict[str, Any]:
    """A file of results.

    Raises:
        Refused: it, or one of its rows, has no command or no commit.
    """
    found = json.loads(path.read_text(encoding="utf-8"))
    for key in ("command", "commit"):
        if not all(found.get(key) or row.get(key) for row in found["rows"]):
            raise Refused(f"{path.name} has rows without a {key}: run its benchmark again, which writes one")
    return found


def pages() -> dict[str, str]:
    """Text of each page by its path below docs/."""
    made = {f"results/{name}.md": page(title, about, tables) for name, (title, about, tables) in PAGES.items()}
    listed = table(("Page", "Content"), [(f"[{PAGES[name][0]}]({name}.md)", PAGES[name][1]) for name in PAGES])
    return made | {"results/index.md": f"# Results\n\n{_INTRODUCTION}\n\n{listed}\n"}


def page(title: str, about: str, tables: Iterable[Table]) -> str:
    """One page."""
    return "\n\n".join([f"# {title}", about, *map(section, tables)]) + "\n"


def section(one: Table) -> str:
    """One table with its title and where it comes from."""
    found = read(FOLDER / one.file)
    rows = [
        row for row in one.rows(found["rows"]) if any(row.get(column.key) is not None for column in one.columns[1:])
    ]
    kept = [column for column in one.columns if any(row.get(column.key) is not None for row in rows)]
    body = table([column.head for column in kept], [[c.spell(row.get(c.key)) for c in kept] for row in rows])
    notes = [one.note] if one.note else []
    return "\n\n".join([f"## {one.title}", *notes, body, provenance(found, rows)])


def provenance(found: dict[str, Any], rows: list[Row]) -> str:
    """Command, commit, seeds, machine and versions of a table."""
    commands = sorted({row.get("command") or found["command"] for row in rows})
    commits = sorted({str(row.get("commit") or found["commit"])[:10] for row in rows})
    versions = ", ".join(f"{name} {version}" for name, version in found.get("versions", {}).items())
    seeds = sorted({figure(row[key]) for row in rows for key in ("seeds", "seed") if row.get(key) not in (None, [])})
    facts = [
        ("Command", ", ".join(f"`{command}`" for command in commands)),
        ("Recorded at commit", ", ".join(commits)),
        ("Seeds", "; ".join(seeds)),
        ("Machine", found.get("machine", "")),
        ("Remark", found.get("remark", "")),
        ("Versions", versions),
    ]
    return "\n".join(f"- {name}: {escape(text)}" for name, text in facts if text)


def readme_table() -> str:
    """The small table of the README: the best simple model, the teacher and its students on two data sets."""
    found = read(FOLDER / "quality.json")["rows"]
    heads = ("Data set", "Model", "NDCG@10", "Of the teacher's", "At ±2 %", "Detectable", *_COSTS)
    return table(heads, [cells for name in _SHOWN for cells in _small([r for r in found if r["dataset"] == name])])


def _small(rows: list[Row]) -> list[list[str]]:
    models: dict[str, dict[str, float]] = {}
    for row in rows:
        models.setdefault(row["model"], {})[row["metric"]] = row["value"]
    simple = [name for name in models if not name.startswith(("teacher", "student")) and " - " not in name]
    best = max(simple, key=lambda name: models[name]["ndcg@10"])
    teacher, found = models["teacher"], []
    for name in (best, "teacher", "student", "student_int8"):
        own = models[name]
        label = f"best simple model: {name}" if name == best else name
        costs = [_cheaper(teacher[key], own[key]) for key in ("flops_per_request", "p50_ms")]
        share = percent(own["ndcg@10"] / teacher["ndcg@10"])
        judged = verdict(_against_teacher(rows, name), teacher["ndcg@10"])
        unknown = "" if name == "teacher" else "not recorded"
        told = [judged.get(key, unknown) for key in ("verdict", "detects")]
        found.append([_SHOWN[rows[0]["dataset"]], label, quality(own["ndcg@10"]), share, *told, *costs])
        found[-1].append(figure(own["bytes_resident"]))
    return found


def _against_teacher(rows: list[Row], model: str) -> Row:
    """The recorded difference of a model to the teacher, whichever of the two came first; {}: none."""
    named = {row["model"]: row | {"difference": row["value"]} for row in rows if " - " in row["model"]}
    if f"{model} - teacher" in named:
        return named[f"{model} - teacher"]
    return reversed_row(named[f"teacher - {model}"]) if f"teacher - {model}" in named else {}


def _cheaper(teacher: float, own: float) -> str:
    return "1" if teacher == own else f"1/{teacher / own:.1f}"


_COSTS = ("FLOPs of a request", "p50 of a request", "Bytes held")
_SHOWN = {"quickstart": "simulated shop", "online_retail": "Online Retail"}
_INTRODUCTION = """These pages are generated from `benchmarks/results`. Each table names the command, the commit, the
seeds and the machine. All models of a table rank the same catalogue for the same users; settings are chosen on
validation. [What a figure must show](../design/figures.md) explains the rules."""
