import itertools
import re
from html.parser import HTMLParser

import pytest

from rexjax.evaluation import drawings, report, svg
from rexjax.evaluation.html_tables import Markup, table
from rexjax.evaluation.looks import colours, marker

CARD = {
    "name": "toys & <games>",
    "users": 22_363,
    "items": 12_101,
    "interactions": 198_502,
    "density": 0.000733,
    "split": {"kind": "leave-one-out", "cold targets": {"test": 7}},
    "cleaning": [{"step": "5-core", "removed": 1000, "users": 22_363, "items": 12_101, "interactions": 198_502}],
    "histories": [{"user": "user 1", "interactions": 2, "latest": ["2024-01-01 <Lamp>", "2024-01-02 Rug"]}],
    "history_lengths": {"edges": [0, 5, 10, 50], "counts": [10, 20, 5]},
}
NAMES = ("popularity", "text_cosine", "teacher", "student", "student_control", "student_int8", "student_int4")


def sample_models(names=NAMES) -> dict:
    models = {}
    for index, name in enumerate(names):
        value = 0.02 + 0.005 * index
        quality = {"ndcg@10": value, "hit_rate@10": 2 * value, "recall@10": 2 * value}
        cost = {"parameters": 10**index, "bytes_resident": 3 * 10**index, "flops_per_request": 2 * 10**index}
        cost |= {"p50_ms": 0.3, "p99_ms": 1.0, "users_per_second": 54_321.0}
        models[name] = {"quality": {"valid": quality, "test": quality}, "cost": cost}
    return models


CURVES = {
    "teacher": [{"epoch": e, "loss": 9 / e, "ndcg@10": 0.05 * (1 - 1 / e)} for e in range(1, 11)],
    "student": [{"epoch": e, "loss": 0.2 / e} for e in range(1, 8)],
    "untrained": [],
}
COMPARISONS = [
    {
        "name": "student - control",
        "metric": "ndcg@10",
        "difference": 0.01,
        "low": 0.002,
        "high": 0.02,
        "relative": 0.12,
        "detectable": 0.01,
        "equal": False,
        "p_adjusted": 0.03,
    },
    {
        "name": "int8 - student",
        "metric": "ndcg@10",
        "difference": -0.01,
        "low": -0.1,
        "high": 0.02,
        "relative": None,
        "detectable": 0.05,
        "equal": False,
        "p_adjusted": 0.6,
    },
]


class Outline(HTMLParser):
    """Cells by row, pictures, and whether every tag closes."""

    def __init__(self, page: str):
        super().__init__()
        self.open, self.rows, self.pictures, self.links = [], [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag == "svg" and attrs.get("role") == "img":
            self.pictures.append(attrs)
        if tag not in ("meta",):
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        self.links += [attrs[key] for key in ("href", "src") if key in attrs]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1].append(data)


SEGMENTS = [
    {
        "segment": "events before",
        "value": "1 to 2",
        "users": 1234,
        "models": {
            "student": {"mean": 0.05, "low": 0.04, "high": 0.06},
            "teacher": {"mean": 0.0, "low": None, "high": None},
        },
    }
]
WORST = {
    "users": [{"value": 0.0, "events": 40, "history": ["Rug", "<Lamp>"], "wanted": ["Vase"]}],
    "items": [{"item": "Vase", "value": 0.001, "users": 9, "interactions": 1000}],
}


def written(tmp_path, **changes) -> str:
    found = {
        "models": sample_models(),
        "comparisons": COMPARISONS,
        "segments": SEGMENTS,
        "worst": WORST,
        "select": "ndcg@10",
    }
    wanted = {"card": CARD, "curves": CURVES, "columns": ("student", "teacher")}
    found |= {name: changes.pop(name) for name in {*found, "verdict", "served"} & changes.keys()}
    report.write_report(tmp_path / "report.html", found, **(wanted | changes))
    return (tmp_path / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> str:
    return written(tmp_path_factory.mktemp("report"))


def test_one_page_that_needs_nothing_else(page):
    outline = Outline(page)
    assert outline.open == []
    assert outline.links == []
    assert not re.search(r"https?://|@import|url\(|<img|<script", page)
    assert len(outline.pictures) == 5  # two frontiers, two curves, one histogram
    assert all(picture["aria-label"] for picture in outline.pictures)


def test_pictures_take_their_ink_from_the_page(page):
    assert "color-scheme: light dark" in page and "currentColor" in page
    assert not re.search(r"#fff\b|#ffffff|background: ?white", page)


def test_the_page_opens_with_the_verdict_and_says_config_seed_and_date(tmp_path):
    about = {"date": "2026-12-01", "seed": 7, "config": {"teacher": {"width": 64}}}
    page = written(tmp_path, verdict=["Best: student & co."], about=about)
    head = page[: page.index("<h2>")]
    assert "<p>Best: student &amp; co.</p>" in head and "date: 2026-12-01 · seed: 7" in head
    assert ["teacher.width", "64"] in Outline(page).rows


def test_the_served_row_is_highlighted_and_intervals_are_bars(tmp_path):
    models = {name: model | {"interval": {"ndcg@10": [0.01, 0.06]}} for name, model in sample_models().items()}
    page = written(tmp_path, models=models, served="student")
    assert re.findall(r'<tr class="served"><td>(\w+)', page) == ["student"] * 3  # test, valid, cost
    assert page.count('<svg class="bar"') == len(models) + len(COMPARISONS)


def test_examples_read_as_a_person_reads_them(tmp_path):
    row = {"history": ["Rug", "<Lamp>"], "recommended": ["Vase", "Mug"], "wanted": ["Mug"], "hits": ["Mug"]}
    page = written(tmp_path, examples=[row], served="student")
    assert "<dd>Rug · &lt;Lamp&gt;</dd>" in page and "<dd>Vase · <mark>Mug</mark></dd>" in page
    assert Outline(page).open == []


@pytest.mark.parametrize(
    "row",
    [
        ["student", "0.0350", "0.0700", "0.0700"],
        ["student", "1 k", "3 k", "2 k", "0.3", "1", "54.3 k"],
        ["student - control", "ndcg@10", "+0.0100", "+0.0020", "+0.0200", "+12.0%", "0.0100", "better"],
        ["int8 - student", "ndcg@10", "-0.0100", "-0.1000", "+0.0200", "–", "0.0500", "inconclusive"],
        ["events before", "1 to 2", "1,234", "0.0500 (0.0400 to 0.0600)", "0.0000"],
        ["0.0000", "40", "Rug · <Lamp>", "Vase"],
        ["Vase", "0.0010", "9", "1,000"],
        ["users", "22,363"],
        ["density", "0.000733"],
        ["split.cold targets.test", "7"],
        ["user 1", "2", "2024-01-01 <Lamp> · 2024-01-02 Rug"],
        ["5-core", "1,000", "22,363", "12,101", "198,502"],
    ],
)
def test_tables_hold_the_figures(page, row):
    assert row in Outline(page).rows


def test_everything_is_escaped(tmp_path):
    nasty = "<script>alert('$x_1$')</script>"
    comparison = COMPARISONS[0] | {"name": nasty, "metric": nasty}
    page = written(
        tmp_path,
        card={nasty: nasty, "cleaning": [{"step": nasty}]},
        models={nasty: sample_models()["student"]},
        curves={nasty: CURVES["teacher"]},
        comparisons=[comparison],
        select=nasty,
    )
    assert "<script" not in page
    assert "&lt;script&gt;" in page


@pytest.mark.parametrize(
    "changes, pictures",
    [
        ({"models": {}, "curves": {}, "comparisons": [], "card": {}}, 0),
        ({"models": {"popularity": {}}, "curves": {}}, 1),
        ({"models": {"popularity": {"quality": {"test": {"ndcg@10": 0.0}}, "cost": {"flops_per_request": 0}}}}, 3),
        ({"models": {"one": sample_models()["student"]}, "card": {}}, 4),
    ],
)
def test_what_is_missing_is_left_out(tmp_path, changes, pictures):
    assert len(Outline(written(tmp_path, **changes)).pictures) == pictures


@pytest.mark.parametrize("values", [range(14), [0.5] * 14, [0, 1, 1, 1, 1], [0.3]])
def test_names_do_not_overlap_and_stay_in_the_picture(values):
    points = {f"a_rather_long_model_name_{i}": (10.0 ** (i % 3), float(v)) for i, v in enumerate(values)}
    drawn = drawings.frontier("title", points, "FLOPs per request", "", colours(points))
    height = float(re.search(r'viewBox="0 0 \d+ (\d+)"', drawn)[1])
    rows = sorted(float(y) for y in re.findall(r'<text x="544" y="([\d.]+)"', drawn))
    assert len(rows) == len(points)
    assert all(b - a > 16 for a, b in itertools.pairwise(rows))
    assert rows[0] >= 12 and rows[-1] <= height


@pytest.mark.parametrize(
    "low, high, log, expected",
    [
        (0, 1, False, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0.03, 0.05, False, [0.03, 0.035, 0.04, 0.045, 0.05]),
        (1, 1e5, True, [1, 10, 100, 1e3, 1e4, 1e5]),
        (3, 40, True, [5, 10, 20]),
    ],
)
def test_ticks_are_round(low, high, log, expected):
    assert svg.Axis(low, high, 0, 100, log=log).ticks() == pytest.approx(expected)


def test_a_cell_is_escaped_unless_it_is_markup():
    assert "<td>&lt;b&gt;</td><td><b></td>" in table(["a", "b"], [["<b>", Markup("<b>")]], "c")


def test_a_model_has_one_colour_and_its_kind_one_marker():
    names = ["popularity", "ease", "teacher", "student", "student_int8"]
    assert len(set(colours(names).values())) == len(names)
    assert colours(names)["student"] == colours(["student"])["student"]
    kinds = [marker(name) for name in (*names, "student_control")]
    assert kinds == ["square", "square", "diamond", "circle", "triangle", "ring"]


@pytest.mark.parametrize(
    "value, expected",
    [(None, "–"), (0, "0"), (0.25, "0.25"), (999, "999"), (1500, "1.5 k"), (3.2e9, "3.2 G"), (4e16, "4e+16")],
)
def test_short_numbers(value, expected):
    assert svg.number(value) == expected
