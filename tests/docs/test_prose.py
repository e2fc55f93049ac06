"""What people read: short sentences, whole links, figures in generated tables alone."""

import re
import statistics
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = sorted(path for path in (ROOT / "docs").rglob("*.md"))
WRITTEN = [p for p in PAGES if not {"results", "reference", "research-log"} & set(p.relative_to(ROOT / "docs").parts)]
FIGURE = re.compile(
    r"(?<![\w.`/-])\.\d{3,}\b"  # .1744
    r"|\b0\.\d{3,}\b"
    r"|\b\d[\d.,]*\s?(?:×|ms\b|GB/s)"
    r"|\b1/\d{2,}\b"
    r"|\b\d+(?:\.\d+)? times (?:faster|cheaper|smaller)"
)


def prose(text: str) -> str:
    """Text without code, tables, headings, pictures and generated parts."""
    text = re.sub(r"<!-- results:start -->.*?<!-- results:end -->", "", text, flags=re.S)
    text = re.sub(r"```.*?```", "", text, flags=re.S)
    lines = [line for line in text.splitlines() if not re.match(r"\s*(\||#|!\[|<|\[.*\]:)", line)]
    return "\n".join(lines)


def sentences(text: str) -> list[str]:
    """Sentences of a text; a point of a list is one at least."""
    flat = re.sub(r"`[^`]*`|\(https?:[^)]*\)|\]\([^)]*\)", "x", prose(text))
    blocks = re.split(r"\n\s*\n|\n\s*(?:[-*]|\d+\.)\s", flat)
    return [part for block in blocks for part in re.split(r"(?<=[.!?:;])\s+(?=\S)", re.sub(r"\s+", " ", block)) if part]


def words(sentence: str) -> int:
    """Words of a sentence."""
    return len(re.findall(r"\w[\w'’-]*", sentence))


def test_the_readme_fits_on_a_page():
    text = README.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 150 and len(text.split()) <= 1000


@pytest.mark.parametrize("path", [README, *WRITTEN], ids=lambda path: str(path.relative_to(ROOT)))
def test_no_sentence_is_long(path):
    assert [s for s in sentences(path.read_text(encoding="utf-8")) if words(s) > 35] == []


def test_half_of_the_sentences_are_short():
    read = [README, *(path for path in WRITTEN if path.parent.name == "guides")]
    lengths = [words(s) for path in read for s in sentences(path.read_text(encoding="utf-8"))]
    assert statistics.median(lengths) <= 18


@pytest.mark.parametrize("path", [README, *WRITTEN], ids=lambda path: str(path.relative_to(ROOT)))
def test_measured_figures_stand_in_generated_tables(path):
    text = re.sub(r"<!-- results:start -->.*?<!-- results:end -->", "", path.read_text(encoding="utf-8"), flags=re.S)
    text = re.sub(r"```.*?```|`[^`]*`", "", text, flags=re.S)
    assert FIGURE.findall(text) == []


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.py")), ids=lambda path: path.name)
def test_configs_hold_no_measured_figure(path):
    said = re.findall(r'"""(.*?)"""', path.read_text(encoding="utf-8"), flags=re.S)
    assert [found for text in said for found in FIGURE.findall(text)] == []


@pytest.mark.parametrize("line", ["makes .1744 of it", "in 12.3 ms", "1/23 of the FLOPs", "3.4 × as fast"])
def test_a_figure_is_known_as_one(line):
    assert FIGURE.search(line)


def anchors(path: Path) -> set[str]:
    """Anchors of the headings of a page."""
    heads = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", head.replace("`", "").lower()).strip().replace(" ", "-") for head in heads}


@pytest.mark.parametrize(
    "path",
    [README, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *PAGES],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_links_lead_somewhere(path):
    text = re.sub(r"```.*?```|`[^`]*`", "", path.read_text(encoding="utf-8"), flags=re.S)
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        place, _, anchor = target.partition("#")
        found = (path.parent / place).resolve() if place else path
        if not found.exists() or (anchor and found.suffix == ".md" and anchor not in anchors(found)):
            broken.append(target)
    assert broken == []
