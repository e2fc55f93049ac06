"""Quality against diversity of re-ranked lists, on MovieLens 1M and Online Retail.

    python -m benchmarks.diversity --data FOLDER --json benchmarks/results/diversity.json

EASE finds 100 candidates for each user. Every method chooses lists of 10 from them at several strengths. The strength
is the largest one up to which validation keeps 99 % of the NDCG@10 without re-ranking (``rerank.keep``); the test lists
are made once, without it and with it. Intervals are those of the paired difference over users. Content vectors are
TF-IDF of titles (of MovieLens with genres), reduced to 64; distance is measured in them. Genres are MovieLens'
categories; Online Retail knows none. Finished rows are not repeated: killed, the command goes on where it was. The
picture is written beside the JSON file, as diversity.svg.
"""

import argparse
import os
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.csv

from benchmarks import record
from rexjax.config import DPP, MMR, Calibrated, Config, Ease, ExposureCap, Rerank, XQuAD
from rexjax.config import schema as configs
from rexjax.encoders import tfidf
from rexjax.evaluation import reranked, svg
from rexjax.evaluation.comparison import compare
from rexjax.evaluation.drawings import tradeoff
from rexjax.evaluation.metrics import ListContext
from rexjax.evaluation.reranked import Asked
from rexjax.families.base import Run
from rexjax.pipeline import runner
from rexjax.pipeline.stages import inputs
from rexjax.rerank.lists import Catalogue, catalogue
from rexjax.runtime.mesh import make_mesh

RUNS, K, CANDIDATES = Path("runs/diversity"), 10, 100
LOGS = {"ml-1m": "configs/movielens.py", "online_retail": "configs/online_retail.py"}
EASE = {"ml-1m": Ease(l2=500), "online_retail": Ease(l2=500, decay=0.7, training_decay=0.9, recency="times")}
"""As the configs and docs/results have them: chosen on validation."""
METHODS = {
    "mmr": MMR(candidates=CANDIDATES),
    "dpp": DPP(candidates=CANDIDATES),
    "dpp, personal": DPP(candidates=CANDIDATES, personal=True),
    "xquad": XQuAD(candidates=CANDIDATES),
    "calibrated": Calibrated(candidates=CANDIDATES),
    "exposure cap": ExposureCap(candidates=CANDIDATES),
}


class Log(NamedTuple):
    """A log with its model's candidates."""

    asked: dict[str, Asked]
    known: Catalogue
    context: ListContext


def main() -> None:
    """Makes what is missing, writes and draws."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default=os.environ.get("REXJAX_DATA", ""), help="folder of the benchmark data sets")
    parser.add_argument("--json", default="", help="where to write the rows")
    flags = parser.parse_args()
    for name in LOGS:
        rows = record.rows(flags.json)
        done = {row["method"] for row in rows if row["dataset"] == name}
        missing = {label: method for label, method in METHODS.items() if label not in done}
        if not missing:
            continue
        log = read_log(name, Path(flags.data) / name)
        for label, method in missing.items():
            if not method.needs or getattr(log.known, method.needs).shape[1]:
                made = {"command": record.command(), "commit": record.commit(), "seed": 0}
                rows += [made | {"dataset": name, "method": label} | row_of(method, log)]
                record.write(flags.json, rows, ("jax", "numpy"), k=K, candidates=CANDIDATES, model="ease")
                print(rows[-1]["dataset"], label, rows[-1]["strength"], rows[-1]["kept"], rows[-1]["test"], flush=True)
    if flags.json:
        drawn = picture(record.rows(flags.json))
        Path(flags.json).with_suffix(".svg").write_text(svg.document(drawn), encoding="utf-8")


def read_log(name: str, folder: Path) -> Log:
    """Prepares a log, fits EASE and asks it for candidates."""
    config: Config = configs.load(LOGS[name])
    config = replace(config, workdir=str(RUNS / name), data=replace(config.data, path=str(folder)))
    made = {outcome.stage: outcome.artifact for outcome in runner.run(config, ("prepare",), update=True, say=print)}
    data = inputs.training_data(config, made)
    items = inputs.titles(made["prepare"])
    vectors = tfidf.encode_words([str(text) for text in items["text"]], 64)[0]
    run = Run(mesh=make_mesh(1, 1), folder=RUNS / name)
    scorer = EASE[name].scorer(EASE[name].fit(data, run))
    asked = {
        part: reranked.candidates_of(scorer, inputs.requests_of(data, part), CANDIDATES) for part in ("valid", "test")
    }
    genres = genres_of(folder, items["item_id"]) if name == "ml-1m" else None
    context = ListContext(items=data.items, popularity=data.popularity, vectors=vectors)
    return Log(asked, catalogue(vectors, genres, data.items, "|"), context)


def genres_of(folder: Path, item_ids: list[Any]) -> list[str]:
    """The column genres of the items file, in the order of dense ids."""
    table = pyarrow.csv.read_csv(folder / "items.csv")
    names = dict(zip(map(str, table["item_id"].to_pylist()), table["genres"].to_pylist(), strict=True))
    return [names.get(str(item), "") for item in item_ids]


def row_of(method: Rerank, log: Log) -> dict[str, Any]:
    """The frontier on validation, the chosen strength, and the test without and with it."""
    rows = reranked.frontier(method, log.known, log.asked["valid"], log.context, K)
    strength = reranked.choose_strength(rows, method.keep)
    test = log.asked["test"]
    found = {
        name: reranked.measures(
            reranked.lists_of(method, log.known, test, K, at), test.requests, log.known, log.context
        )
        for name, at in (("before", 0.0), ("after", strength))
    }
    difference = compare(found["after"]["ndcg"], found["before"]["ndcg"])
    means = {name: reranked.means(values) for name, values in found.items()}
    return {
        "strength": strength,
        "kept": means["after"]["ndcg"] / means["before"]["ndcg"],
        "difference": [difference.difference, difference.low, difference.high],
        "test": means,
        "valid": rows,
    }


def picture(rows: list[dict[str, Any]]) -> str:
    """The frontiers of both logs on validation, relative to the order of scores."""
    curves, chosen = {}, {}
    for row in rows:
        first = row["valid"][0]
        points = {
            step["strength"]: (100 * (step["distance"] / first["distance"] - 1), 100 * step["ndcg"] / first["ndcg"])
            for step in row["valid"]
            if step["ndcg"] >= 0.9 * first["ndcg"]
        }
        name = f"{row['dataset'].removesuffix('_retail')}, {row['method']}"
        curves[name], chosen[name] = list(points.values()), points[row["strength"]]
    return tradeoff("NDCG@10 against distance, validation", curves, chosen, "distance, % more", "NDCG@10, % kept")


if __name__ == "__main__":
    main()
