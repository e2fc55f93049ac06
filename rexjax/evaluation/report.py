"""One run on one page: verdict, quality, cost, curves and data, as a single HTML file that needs nothing else."""

import html
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rexjax.artifacts.workdirs import REPORT_MARK
from rexjax.evaluation import drawings, svg
from rexjax.evaluation.comparison import LEVEL, judge
from rexjax.evaluation.html_tables import Markup, cell, flat, table
from rexjax.evaluation.looks import colours
from rexjax.evaluation.pictures import frontier_points
from rexjax.evaluation.report_lists import reranked_part
from rexjax.evaluation.settings import EXPOSED, SHOWN
from rexjax.training.settings import SELECT

_COST = {
    "parameters": "parameters",
    "bytes_resident": "bytes resident",
    "bytes_per_item": "bytes per item",
    "flops_per_request": "FLOPs per request",
    "flops_user_encoding": "FLOPs of user encoding",
    "p50_ms": "p50, ms",
    "p50_low_ms": "p50 from",
    "p50_high_ms": "p50 to",
    "p99_ms": "p99, ms",
    "encode_p50_ms": "encoding p50, ms",
    "p50_ms_64": "64 users p50, ms",
    "p99_ms_64": "64 users p99, ms",
    "users_per_second": "users/s",
}
_HOW_TO_READ = (
    "Every model answered the same requests: all items the user has not seen are ranked and the items held out are "
    "looked for; where scores tie, the figure is the average over all orders of the tied items. Models are chosen on "
    "validation (valid) and reported on test. Cost is what one answer takes: FLOPs as the compiler counts them, bytes "
    "held in memory, milliseconds for one user, the models by turns, with the 95 % interval of the median. In the "
    "pictures up is better and left is cheaper; the grey line joins the models that no cheaper one equals."
)
_COMPARED = (
    "Paired differences over users, with 95 % intervals. Better or worse: significant at 5 % after Holm's correction "
    "for all rows. Equal: within the margin (evaluate.margin) by two one-sided tests. Detectable: the smallest "
    "difference that the test finds with probability 0.8. One run does not show the spread between training seeds: "
    "rexjax compare takes several runs."
)
_EXPOSED = (
    "Recommended lists of the test: the share of the catalogue in them; the Gini index of item counts; mean training "
    "interactions and mean self-information (bits) of the items; mean cosine distance of two items by their content; "
    "share of the list that is a target which popularity would not have recommended (serendipity). ECE: expected "
    "calibration error of the first item's probability, the softmax of the scores or, where they are no logits, an "
    "isotonic map of the score fitted on validation."
)
_CORRECTED = (
    "An event at a position that is taken with probability p counts 1 / p (self-normalised). Log: the mean over "
    "targets with equal weights. Corrected: with these weights, and the 95 % interval over users."
)
_TRUE = (
    "The simulated source knows the probability of each user's next item. The table shows the expected DCG of the "
    "test lists under it, seen items left out, beside the NDCG of the log. Regret: the oracle minus the model. It is a "
    "diagnostic: nothing is selected by it."
)
_STYLE = (
    """
:root { color-scheme: light dark; --line: #8886; --soft: #8882; --served: #3b7dd82e; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2rem; }
.verdict { border-left: .3rem solid #3b7dd8; padding: .25rem 1rem; background: var(--soft); }
.wide { overflow-x: auto; max-width: 100%; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem; }
caption { text-align: left; padding: .4rem 0; max-width: calc(100vw - 2rem); }
th, td { padding: .3rem .6rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
thead th { background: var(--soft); }
tr.served { background: var(--served); font-weight: 600; }
figure { margin: .75rem 0; overflow-x: auto; } figure svg { width: 100%; min-width: 40rem; max-width: 46rem; }
svg.bar { vertical-align: middle; } dl { margin: 0 0 1rem; padding: .5rem 1rem; background: var(--soft); }
dt { font-size: .85rem; opacity: .75; } dd { margin: 0 0 .3rem; } mark { background: #2e9e6b55; color: inherit; }
summary { cursor: pointer; padding: .3rem 0; }
"""
    + svg.STYLE
)
_OF_MEAN = {"log": "log", "mean": "corrected", "low": "low", "high": "high"}
_TABLES = ("cleaning", "histories", "history_lengths")  # of the data card


def write_report(
    path: str | Path,
    found: Mapping[str, Any],
    *,
    card: Mapping[str, Any],
    curves: Mapping[str, Sequence[Mapping[str, float]]],
    columns: Sequence[str] = (),
    shown: Sequence[str] = SHOWN,
    examples: Sequence[Mapping[str, Any]] = (),
    about: Mapping[str, Any] | None = None,
) -> None:
    """Writes the report of one run.

    Args:
      path: of the HTML file; its folder exists.
      found: as in ``metrics.json``: ``select``, the metric that models are selected by; ``models``, NAME to
        ``{"quality": {"valid": {metric: value}, "test": ...}, "cost": {...}}``; and, where they are there,
        ``verdict``, ``served``, ``comparisons``, ``propensity``, ``truth``, ``segments`` and ``worst``.
      card: nested facts about the data; under ``cleaning`` a list of ``{"step", "removed", "users", "items",
        "interactions"}``, under ``histories`` optionally a list of ``{"user", "interactions", "latest": [event]}``,
        under ``history_lengths`` optionally ``{"edges": [bins + 1], "counts": [bins]}``.
      curves: stage to one ``{"epoch", "loss", found["select"]}`` per epoch; either value may be missing.
      columns: names of the models in the table of segments; the first one is the served model.
      shown: metrics of the tables, besides ``found["select"]``.
      examples: users as `rexjax.evaluation.examples.of_users` spells them.
      about: ``date``, ``seed`` and ``config`` of the run, nested.
    """
    select, about = found.get("select", SELECT), about or {}
    parts = [
        "<h1>Quality and cost of the recommenders</h1>",
        *_verdict_part(found.get("verdict", ()), about),
        f"<details><summary>How to read this page</summary><p>{_HOW_TO_READ}</p></details>",
        *_models_part(found["models"], select, shown, found.get("served", "")),
        *_comparisons_part(found.get("comparisons", ())),
        *_corrected_part(found["models"], found.get("propensity", {})),
        *reranked_part(found.get("rerank", {})),
        *_truth_part(found.get("truth", {}), found["models"]),
        *_segments_part(found.get("segments", ()), columns, select),
        *_examples_part(examples, found.get("served", "")),
        *_worst_part(found.get("worst", {}), columns, select),
        *_curves_part(curves, select),
        *_card_part(card),
        *_config_part(about),
    ]
    page = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>Quality and cost</title>\n'
        f"{REPORT_MARK}\n"
        f"<style>{_STYLE}</style>\n</head>\n<body>\n" + "\n".join(parts) + "\n</body>\n</html>\n"
    )
    Path(path).write_text(page, encoding="utf-8")


def _verdict_part(verdict: Sequence[str], about: Mapping[str, Any]) -> Iterable[str]:
    if verdict:
        yield '<div class="verdict">' + "".join(f"<p>{html.escape(line)}</p>" for line in verdict) + "</div>"
    if facts := [f"{key}: {html.escape(cell(about[key]))}" for key in ("date", "seed") if key in about]:
        yield f"<p>{' · '.join(facts)}</p>"


def _models_part(
    models: Mapping[str, Mapping[str, Any]], metric: str, shown: Sequence[str], served: str
) -> Iterable[str]:
    yield "<h2>Models</h2>"
    wanted, looks = dict.fromkeys((metric, *shown)), colours(models)
    bars = _interval_bars(models, metric, looks)
    for split in ("test", "valid"):
        quality = {name: model.get("quality", {}).get(split, {}) for name, model in models.items()}
        names = [name for name in wanted if any(name in values for values in quality.values())]
        drawn = bars if split == "test" else {}
        rows = [
            [model, *(values.get(name) for name in names), *([drawn.get(model, "")] if drawn else [])]
            for model, values in quality.items()
        ]
        header = ["model", *names, *([f"{metric}, 95 % interval"] if drawn else [])]
        yield table(header, rows, f"Quality, {split}{_marked(served, models)}", served)
    exposed = {name: model.get("quality", {}).get("test", {}) for name, model in models.items()}
    if any("gini@10" in values for values in exposed.values()):
        calibrated = {name: model.get("calibration", {}) for name, model in models.items()}
        rows = [
            [model, *(values.get(name) for name in EXPOSED), calibrated[model].get("ece"), calibrated[model].get("map")]
            for model, values in exposed.items()
        ]
        yield table(["model", *EXPOSED, "ECE", "map"], rows, _EXPOSED, served)
    costs = {name: model.get("cost", {}) for name, model in models.items()}
    keys = [key for key in _COST if any(key in cost for cost in costs.values())]
    rows = [[model, *(svg.number(cost.get(key)) for key in keys)] for model, cost in costs.items()]
    yield table(["model", *(_COST[key] for key in keys)], rows, "Cost", served)
    for key in ("flops_per_request", "bytes_resident"):
        if points := frontier_points(models, key, metric):
            title = f"{metric} on test against {_COST[key]}"
            yield _figure(drawings.frontier(title, points, _COST[key], "", looks))


def _marked(served: str, models: Mapping[str, Any]) -> str:
    return f"; the highlighted row, {served}, is served" if served in models else ""


def _interval_bars(models: Mapping[str, Mapping[str, Any]], metric: str, looks: Mapping[str, str]) -> dict[str, Markup]:
    """Each model's interval on test, all on one scale from 0."""
    known = {name: model["interval"][metric] for name, model in models.items() if metric in model.get("interval", {})}
    if not known:
        return {}
    axis = svg.Axis(0, max(high for _, high in known.values()) or 1, 6, 180)
    means = {name: models[name]["quality"]["test"][metric] for name in known}
    return {
        name: Markup(svg.bar(low, means[name], high, axis, looks[name], zero=True))
        for name, (low, high) in known.items()
    }


def _figure(drawn: str) -> str:
    return f"<figure>{drawn}</figure>"


def _comparisons_part(comparisons: Sequence[Mapping[str, Any]]) -> Iterable[str]:
    if not comparisons:
        return
    yield "<h2>Differences</h2>"
    rows, reach = [], max((abs(row[key]) for row in comparisons for key in ("low", "high")), default=0) or 1
    axis = svg.Axis(-reach, reach, 6, 180)
    for row in comparisons:
        share = None if row["relative"] is None else f"{row['relative']:+.1%}"
        signed = (f"{row[key]:+.4f}" for key in ("difference", "low", "high"))
        rows.append([row["name"], row["metric"], *signed, share, row["detectable"], standing(row), _drawn(row, axis)])
    header = ["comparison", "metric", "difference", "low", "high", "relative", "detectable", "verdict", "95 % interval"]
    yield table(header, rows, _COMPARED)


def _drawn(row: Mapping[str, Any], axis: svg.Axis) -> Markup:
    return Markup(svg.bar(row["low"], row["difference"], row["high"], axis, "#3b7dd8", zero=True))


def standing(row: Mapping[str, Any]) -> str:
    """The verdict on a comparison, corrected for the number of rows, such as "better" or "worse, within the margin"."""
    word = judge(row["difference"], row["p_adjusted"] < 1 - LEVEL, row["equal"])
    return f"{word}, within the margin" if row["equal"] and word != "equal" else word


def spell_facts(facts: Mapping[str, float]) -> str:
    """How targets were weighted, in a few words."""
    clipped = f", {facts['clipped']:.1%} of them clipped to it" if facts["clipped"] else ", none clipped"
    return (
        f"{facts['targets']:,.0f} targets, effective sample size {facts['effective_sample_size']:,.0f}, largest weight "
        f"{facts['largest_weight']:.3g}{clipped}"
    )


def _corrected_part(models: Mapping[str, Mapping[str, Any]], facts: Mapping[str, float]) -> Iterable[str]:
    if not facts:
        return
    yield "<h2>Corrected for what was shown</h2>"
    rows = [
        [name, *(model["corrected"][f"{metric}@10"][key] for metric in ("ndcg", "hit_rate") for key in _OF_MEAN)]
        for name, model in models.items()
    ]
    header = ["model", *(f"{name}, {key}" for name in ("NDCG@10", "hit rate@10") for key in _OF_MEAN.values())]
    yield table(header, rows, f"{_CORRECTED} {spell_facts(facts)}.")


def _truth_part(truth: Mapping[str, Mapping[str, Any]], models: Mapping[str, Mapping[str, Any]]) -> Iterable[str]:
    if not truth:
        return
    yield "<h2>Known preference</h2>"
    rows = []
    for name, found in truth.items():
        signed = [
            f"{found[against][key]:+.4f}"
            for against in ("regret", "against_teacher")
            for key in ("difference", "low", "high")
        ]
        log = models.get(name, {}).get("quality", {}).get("test", {}).get("ndcg@10")
        rows.append([name, log, found["expected_dcg@10"], f"{found['of_oracle']:.1%}", *signed])
    known = ["expected DCG@10", "of the best possible"]
    header = ["model", "NDCG@10, log", *known, "regret", "low", "high", "minus the teacher", "low", "high"]
    yield table(header, rows, _TRUE)


def _segments_part(segments: Sequence[Mapping[str, Any]], columns: Sequence[str], metric: str) -> Iterable[str]:
    if not segments:
        return
    yield "<h2>Segments</h2>"
    rows = [
        [row["segment"], row["value"], row["users"], *(_range(row["models"][name]) for name in columns)]
        for row in segments
    ]
    yield table(["segment", "value", "users", *columns], rows, f"{metric} (test) by segment of users, 95 % intervals")


def _range(found: Mapping[str, float | None]) -> str:
    bounds = "" if found["low"] is None else f" ({cell(found['low'])} to {cell(found['high'])})"
    return f"{cell(found['mean'])}{bounds}"


def _worst_part(worst: Mapping[str, Sequence[Mapping[str, Any]]], columns: Sequence[str], metric: str) -> Iterable[str]:
    if users := worst.get("users"):
        rows = [
            [row["value"], row["events"], *(" · ".join(row[key]) for key in ("history", "wanted"))] for row in users
        ]
        caption = f"The 20 users with the lowest {metric} of {columns[0]}, longest histories first"
        yield table([metric, "events", "history, latest last", "targets"], rows, caption)
    if items := worst.get("items"):
        rows = [[row["item"], row["value"], row["users"], row["interactions"]] for row in items]
        caption = f"The 20 target items with the lowest mean {metric} of {columns[0]}, most frequent targets first"
        yield table(["item", metric, "users", "interactions"], rows, caption)


def _examples_part(examples: Sequence[Mapping[str, Any]], served: str) -> Iterable[str]:
    if not examples:
        return
    yield "<h2>Examples</h2>"
    yield f"<p>Users of the test, drawn at random, and what {html.escape(served)} recommends. Hits are marked.</p>"
    for row in examples:
        answers = " · ".join(_hit(title, title in row["hits"]) for title in row["recommended"])
        parts = (
            ("history, the latest last", html.escape(" · ".join(row["history"]))),
            ("recommended, the best first", answers),
            ("taken next", html.escape(" · ".join(row["wanted"]))),
        )
        yield "<dl>" + "".join(f"<dt>{name}</dt><dd>{text}</dd>" for name, text in parts) + "</dl>"


def _hit(title: str, hit: bool) -> str:
    return f"<mark>{html.escape(title)}</mark>" if hit else html.escape(title)


def _curves_part(curves: Mapping[str, Sequence[Mapping[str, float]]], metric: str) -> Iterable[str]:
    if any(curves.values()):
        yield "<h2>Training</h2>"
    for key, label in (("loss", "training loss"), (metric, f"{metric} (valid)")):
        if drawn := drawings.training(f"{label} per epoch", curves, key):
            yield _figure(drawn)


def _card_part(card: Mapping[str, Any]) -> Iterable[str]:
    yield "<h2>Data</h2>"
    facts = {key: value for key, value in card.items() if key not in _TABLES}
    yield table(["fact", "value"], flat(facts), "Data card")
    if cleaning := card.get("cleaning"):
        keys = ["step", "removed", "users", "items", "interactions"]
        yield table(keys, [[row.get(key) for key in keys] for row in cleaning], "Cleaning, step by step: what is left")
    if shown := card.get("histories"):
        rows = [[history["user"], history["interactions"], " · ".join(history["latest"])] for history in shown]
        yield table(["user", "interactions", "latest"], rows, "Some histories, the latest events")
    if lengths := card.get("history_lengths"):
        yield _figure(drawings.lengths("Length of history", lengths["edges"], lengths["counts"]))


def _config_part(about: Mapping[str, Any]) -> Iterable[str]:
    if config := about.get("config"):
        rows = table(["key", "value"], flat(config), "Config of the run")
        yield f"<h2>Config</h2>\n<details><summary>All keys</summary>{rows}</details>"
