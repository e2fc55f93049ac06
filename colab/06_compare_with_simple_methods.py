# %% [markdown]
# # 6 · Compare with simple methods
#
# A deep model is worth its cost if it beats the best **simple** model on the same log. This notebook fits eight simple
# models, a transformer and a blend of them, and tests the differences.
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
# ## A log
#
# Two data frames: one row per purchase, one row per article. Replace them with your own; the names of the columns are
# arguments of `from_frames`.

# %%
from pathlib import Path

import pandas as pd

import rexjax
from rexjax.config import Shop
from rexjax.data import shop

shop.write(Shop(users=1500, items=400, interactions=30_000), seed=0, folder=Path("raw"))
log, items = pd.read_parquet("raw/interactions"), pd.read_parquet("raw/items.parquet")
dataset = rexjax.Dataset.from_frames(log, items, user="user_id", item="item_id", time="timestamp", text=("title",))
log.head(3)

# %% [markdown]
# ## The models
#
# `baselines` names the simple models. They are counted or solved in closed form, so each takes seconds. `teacher` is a
# blend of the two strongest kinds: its weights are chosen on validation.

# %%
from rexjax.config import (
    IALS,
    Blend,
    Compress,
    Config,
    Ease,
    Encode,
    Evaluate,
    ItemKNN,
    Pooled,
    Popularity,
    RecentPopularity,
    RP3beta,
    SequentialRules,
    Student,
    TextCosine,
    Training,
    Transformer,
)

training = Training(epochs=10, batch=32, learning_rate=3e-3, warmup=30)
simple = (
    Popularity(),
    RecentPopularity(),
    TextCosine(),
    ItemKNN(),
    RP3beta(),
    SequentialRules(),
    Ease(l2=200),
    IALS(width=32),
)
config = Config(
    workdir="runs/simple",
    encode=Encode(width=64),
    baselines=simple,
    teacher=Blend((SequentialRules(), Ease(l2=200), Transformer(training=training))),
    student=Student(model=Pooled(training=training)),
    compress=Compress(variants=("int8",)),
    evaluate=Evaluate(latency_repeats=50),
)
run = rexjax.fit(dataset, "runs/simple", config, say=lambda line: None)
print(run.verdict)

# %% [markdown]
# ## One table
#
# All models rank the whole catalogue for the same customers. The table shows quality on test and what a whole request
# costs.

# %%
columns = ["model", "valid ndcg@10", "test ndcg@10", "test coverage@10", "flops_per_request", "bytes_resident"]
run.table[columns].sort_values("test ndcg@10", ascending=False).round(4)

# %% [markdown]
# ## Is the difference real?
#
# `rexjax.compare` pairs two models customer by customer. The verdict is one of *better*, *worse*, *equal* (the whole
# interval lies within the margin) and *inconclusive*. The best simple model is chosen on validation, never on test.

# %%
names = set(run.metrics["models"]) - {name for name in run.metrics["models"] if name.startswith(("teacher", "student"))}
quality = run.table.set_index("model")["valid ndcg@10"]
best_simple = quality[sorted(names)].idxmax()
pairs = [("teacher", best_simple), ("student_int8", best_simple), ("student_int8", "student_control")]
compared = {pair: rexjax.compare(run.workdir, run.workdir, of=pair[0], against=pair[1]) for pair in pairs}
for one in compared.values():
    print(one.verdict)

# %% [markdown]
# The picture shows each difference with its 95 % interval, as a share of the second model's quality. The grey band is
# the margin: an interval inside it means *equal*.

# %%
import matplotlib.pyplot as plt
import numpy as np

from rexjax.evaluation.pictures import dress

found = [one.found for one in compared.values()]
bases = np.array([one.found.margin / 0.02 for one in compared.values()])
middle = np.array([one.difference for one in found]) / bases
low, high = (np.array([getattr(one, side) for one in found]) / bases for side in ("low", "high"))
figure, axes = plt.subplots(figsize=(7, 2.4), dpi=80, layout="constrained")
axes.axvspan(-0.02, 0.02, color="0.9")
axes.errorbar(middle, range(len(found)), xerr=[middle - low, high - middle], fmt="o", capsize=3)
axes.axvline(0, color="black", linewidth=0.8)
axes.set_yticks(range(len(found)), [f"{a} against {b}" for a, b in pairs])
axes.set_ylim(-0.5, len(found) - 0.5)
dress(axes, "difference, share of the second model's NDCG@10", "")

# %% [markdown]
# ## Try next
#
# - Your own frames in `from_frames`.
# - `rexjax sweep config.py --of teacher --minutes 10` tries members from cheap to dear and keeps those that pay.
# - Several seeds: `rexjax.compare("runs/a-*", "runs/b-*")` adds the spread between trainings to the interval.
# - [07](07_who_is_served_badly.ipynb) asks which customers a model is bad for.
