# %% [markdown]
# # 7 · Who is served badly?
#
# A mean over all customers hides those for whom a model fails. This notebook splits the test by segment, looks at the
# worst customers and articles as a person reads them, and shows which articles are recommended at all.
#
# About two minutes on a CPU.

# %%
# Colab: installs rexjax. Where it is there already (a clone, CI) this does nothing.
import subprocess
import sys
from importlib.util import find_spec

REPOSITORY = "git+https://github.com/OWNER/rexjax"  # put the address of your copy here
if find_spec("rexjax") is None:
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", f"rexjax[all] @ {REPOSITORY}"], check=True)

# %% [markdown]
# ## A run
#
# Two data frames in, a finished experiment out.

# %%
from pathlib import Path

import pandas as pd

import rexjax
from rexjax.config import (
    Compress,
    Config,
    Encode,
    Evaluate,
    Pooled,
    Popularity,
    SequentialRules,
    Shop,
    Student,
    Training,
    Transformer,
)
from rexjax.data import shop

shop.write(Shop(users=1500, items=400, interactions=30_000), seed=0, folder=Path("raw"))
log, items = pd.read_parquet("raw/interactions"), pd.read_parquet("raw/items.parquet")
dataset = rexjax.Dataset.from_frames(log, items, text=("title",), category="category")
training = Training(epochs=10, batch=32, learning_rate=3e-3, warmup=30)
config = Config(
    workdir="runs/badly",
    encode=Encode(width=64),
    baselines=(Popularity(), SequentialRules()),
    teacher=Transformer(width=64, training=training),
    student=Student(model=Pooled(width=32, training=training)),
    compress=Compress(variants=("int8",)),
    evaluate=Evaluate(latency_repeats=50),
)
run = rexjax.fit(dataset, "runs/badly", config, say=lambda line: None)
print(run.verdict)

# %% [markdown]
# ## Segments
#
# Each row is a group of test customers: by the number of events before, by the popularity and category of what they
# took next, by the time since the event before. The interval says how much of a difference is luck.

# %%
served = run.metrics["served"]
rows = [
    {
        "segment": part["segment"],
        "value": part["value"],
        "users": part["users"],
        "mean": part["models"][served]["mean"],
        "low": part["models"][served]["low"],
        "high": part["models"][served]["high"],
        "popularity": part["models"]["popularity"]["mean"],
    }
    for part in run.metrics["segments"]
]
segments = pd.DataFrame(rows)
segments.round(3)

# %%
import matplotlib.pyplot as plt

from rexjax.evaluation.pictures import dress

shown = segments[segments.segment.isin(["events before", "popularity of the target", "category"])]
shown = shown[(shown.users >= 20) & shown.low.notna()][::-1]
figure, axes = plt.subplots(figsize=(7.5, 0.28 * len(shown) + 1), dpi=80, layout="constrained")
axes.errorbar(
    shown["mean"],
    range(len(shown)),
    xerr=[shown["mean"] - shown.low, shown.high - shown["mean"]],
    fmt="o",
    capsize=2,
    label=served,
)
axes.plot(shown.popularity, range(len(shown)), "x", color="0.4", label="popularity")
axes.axvline(run.metrics["models"][served]["quality"]["test"]["ndcg@10"], color="black", linewidth=0.8)
axes.set_yticks(range(len(shown)), [f"{row.segment}: {row.value} ({row.users})" for row in shown.itertuples()])
axes.legend(frameon=False)
dress(axes, "NDCG@10, test", "")

# %% [markdown]
# The line is the mean of all customers. Segments to its left are served worse. Rare targets are usually the farthest
# left: what few people buy is hard to learn. Compare with the crosses: a model that is no better than popularity for a
# segment has learnt nothing about it.
#
# ## The worst customers and articles
#
# The same, person by person. A history that makes no sense to a reader points at a fault of the data; one that does
# points at a fault of the model.

# %%
pd.set_option("display.max_colwidth", 80)
pd.DataFrame(
    [
        {"NDCG@10": user["value"], "history": " · ".join(user["history"]), "took": " · ".join(user["wanted"])}
        for user in run.metrics["worst"]["users"][:8]
    ]
)

# %%
pd.DataFrame(run.metrics["worst"]["items"][:8])

# %% [markdown]
# ## Which articles are seen?
#
# A list of ten for every customer: how often does each article appear? `gini@10` is 0 if all appear equally often and
# near 1 if few articles take all places.

# %%
columns = ["model", "test ndcg@10", "test coverage@10", "test gini@10", "test mean_popularity@10", "test novelty@10"]
run.table[columns].round(3)

# %%
import numpy as np

lists = run.recommend("all", k=10)
bought = log.item_id.value_counts()
counts = lists.item.value_counts().reindex(bought.index, fill_value=0)
figure, axes = plt.subplots(figsize=(6, 3), dpi=80, layout="constrained")
for name, values in (("recommended", counts), ("bought", bought)):
    ordered = np.sort(values.to_numpy())
    axes.plot(np.linspace(0, 1, len(ordered)), np.cumsum(ordered) / ordered.sum(), label=name)
axes.plot([0, 1], [0, 1], color="black", linewidth=0.8)
axes.legend(frameon=False)
dress(axes, "share of the articles, rarest first", "share of all places")

# %% [markdown]
# The farther a curve lies below the diagonal, the more unequal the places are. If *recommended* lies below *bought*,
# the model makes the popular more popular.
#
# ## Try next
#
# - `RecentPopularity` or `TextCosine` among the baselines: for which segment is a simple model enough?
# - `data.split="cold_items"`: articles that training never met.
# - [05](05_evaluate_honestly.ipynb) explains splits, luck and sampled metrics.
