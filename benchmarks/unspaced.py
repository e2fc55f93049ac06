"""Items with Chinese titles: what the character view of the text adds to a teacher that knows ids alone.

    python -m benchmarks.unspaced --json benchmarks/results/unspaced.json

A made shop: a title spells a thing's material, colour, kind and maker in characters without spaces, each user likes
some kinds and makers, and most items are sold a few times. One transformer is trained on ids alone, one with the
vectors of the default language model, one with those and the view of characters and their pairs
(``--encode.tfidf-width``), with the same settings and seeds. Test NDCG@10, paired intervals over users.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import record
from rexjax.config import Config, Data, Encode, Files, Training, Transformer
from rexjax.evaluation import ranking
from rexjax.evaluation.significance import paired_bootstrap
from rexjax.families.base import TrainingData, fit
from rexjax.pipeline import runner
from rexjax.pipeline.stages import inputs

RUNS = Path("runs/unspaced")
METRIC = "ndcg@10"
MATERIALS = ("棉", "丝绸", "羊毛", "亚麻", "皮革", "竹子", "陶瓷", "玻璃", "不锈钢", "木头", "塑料", "橡胶")
COLOURS = ("红色", "深蓝", "浅绿", "黄色", "黑色", "白色", "紫色", "橙色", "灰色", "粉红")
KINDS = (
    *("茶壶", "台灯", "围巾", "手套", "雨伞", "书包", "花瓶", "毛毯", "餐盘", "水杯", "枕头", "钱包", "拖鞋", "闹钟"),
    *(
        "相框",
        "蜡烛",
        "篮子",
        "窗帘",
        "地毯",
        "梳子",
        "镜子",
        "笔记本",
        "玩具熊",
        "风筝",
        "口琴",
        "棋盘",
        "鱼竿",
        "帐篷",
    ),
)
MAKERS = (
    "福临门",
    "云水",
    "长青",
    "百合坊",
    "金麦",
    "海棠",
    "北山",
    "小鹿",
    "月光",
    "晨星",
    "老街",
    "松风",
    "明珠",
    "雅集",
)
VIEWS = {"ids alone": (), "language model": ("text",), "language model and characters": ("text", "tfidf")}


def main() -> None:
    """Makes the shop, trains three teachers a seed and prints what the text adds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--users", type=int, default=4000, help="of the shop")
    parser.add_argument("--items", type=int, default=3000, help="of the shop")
    parser.add_argument("--seeds", type=int, default=3, help="of training")
    parser.add_argument("--json", default="", help="where to write the rows")
    flags = parser.parse_args()
    write(RUNS / "files", flags.users, flags.items)
    config = Config(
        workdir=str(RUNS / "workdir"),
        data=Data(source=Files(), path=str(RUNS / "files"), min_item_events=1, length=32),
        encode=Encode(tfidf_width=128),
        teacher=Transformer(dropout=0.3, training=Training(epochs=20, batch=32, patience=3)),
    )
    made = runner.run(config, ("prepare", "encode"), update=True, say=print)
    data = inputs.training_data(config, {outcome.stage: outcome.artifact for outcome in made})
    found = {name: [_ndcg(config, data, views, seed) for seed in range(flags.seeds)] for name, views in VIEWS.items()}
    rows = [_row(name, np.array(values), np.array(found["ids alone"])) for name, values in found.items()]
    record.write(flags.json, rows, ("jax", "flax", "numpy"))
    for row in rows:
        print(row)


def write(folder: Path, users: int, items: int) -> None:
    """The shop's log and titles as CSV; every choice follows from seed 0."""
    rng = np.random.default_rng(0)
    parts = [rng.integers(0, len(words), items) for words in (MATERIALS, COLOURS, KINDS, MAKERS)]
    _, _, kind, maker = parts
    folder.mkdir(parents=True, exist_ok=True)
    titles = ["".join(words) for words in zip(*map(_spelt, (MATERIALS, COLOURS, KINDS, MAKERS), parts), strict=True)]
    lines = [f"i{item},{title}" for item, title in enumerate(titles)]
    (folder / "items.csv").write_text("\n".join(["item_id,title", *lines]) + "\n", encoding="utf-8")
    log = ["user_id,item_id,timestamp"]
    for user in range(users):
        kinds, makers = rng.choice(len(KINDS), 3, replace=False), rng.choice(len(MAKERS), 2, replace=False)
        liked = np.exp(2.5 * np.isin(kind, kinds) + 1.5 * np.isin(maker, makers))
        for step, item in enumerate(rng.choice(items, rng.integers(5, 13), replace=False, p=liked / liked.sum())):
            log.append(f"u{user},i{item},{1_700_000_000 + 86_400 * step + user}")
    (folder / "interactions.csv").write_text("\n".join(log) + "\n", encoding="utf-8")


def _spelt(words: tuple[str, ...], numbers: np.ndarray) -> list[str]:
    return [words[number] for number in numbers]


def _ndcg(config: Config, data: TrainingData, views: tuple[str, ...], seed: int) -> np.ndarray:
    """NDCG@10 of each test user, of a teacher that sees these views of the text."""
    seen = replace(data, content={name: data.content[name] for name in views})
    own = replace(config, seed=seed)
    run = inputs.run_of(own, seen, RUNS / f"{len(views)}-{seed}", "teacher", "teacher")
    scorer = own.teacher.scorer(fit(own.teacher, seen, run))
    result = ranking.evaluate(scorer, inputs.requests_of(seen, "test"), ks=(10,), description=f"{views} {seed}")
    return np.asarray(result.per_user[METRIC])


def _row(name: str, values: np.ndarray, plain: np.ndarray) -> dict[str, Any]:
    """Figures of one teacher, [seeds, users], beside those of ids alone; a user counts by the mean over seeds."""
    interval = paired_bootstrap(values.mean(0), plain.mean(0), seed=0)
    return {
        "case": name,
        "metric": METRIC,
        "test": round(float(values.mean()), 4),
        "seeds": [round(float(value), 4) for value in values.mean(1)],
        "against_ids_alone": [round(value, 4) for value in (interval.difference, interval.low, interval.high)],
        "users": values.shape[1],
    }


if __name__ == "__main__":
    main()
