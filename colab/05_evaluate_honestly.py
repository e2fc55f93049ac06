# %% [markdown]
# # 5 · Evaluate honestly
#
# Three ways to be misled by one's own figures, on a shop that is small enough to show them: a split that knows the
# future, a difference that is luck, and a ranking of few candidates in place of the whole catalogue.
#
# About a minute on a CPU.

# %%
# Colab: installs rexjax. Where it is there already (a clone, CI) this does nothing.
import subprocess
import sys
from importlib.util import find_spec

REPOSITORY = "git+https://github.com/OWNER/rexjax"  # put the address of your copy here
if find_spec("rexjax") is None:
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", f"rexjax[all] @ {REPOSITORY}"], check=True)

# %%
from rexjax.config import Config, Data, Encode, Pooled, Shop, Student, Training, Transformer

training = Training(epochs=10, batch=32, learning_rate=3e-3, warmup=30)
config = Config(
    workdir="runs/leave_one_out",
    data=Data(source=Shop(users=1500, items=400, interactions=30_000), strict=False, length=32),
    encode=Encode(width=64),
    teacher=Transformer(width=64, training=training),
    student=Student(model=Pooled(width=32, training=training)),
)

# %% [markdown]
# ## 1. The split
#
# *Leave-one-out* tests each customer's last purchase and trains on all others, also on purchases that other customers
# made later: the model knows next month's fashion. *Global time* cuts the whole log at one moment, as life does. Both
# are trained here, from the same log.

# %%
from dataclasses import replace

from rexjax import run

by_time = replace(config, workdir="runs/global_time", data=replace(config.data, split="global_time"))
splits = {"leave-one-out": config, "global time": by_time}
quiet = {"update": False, "say": lambda line: None}
stages = ("prepare", "encode", "baselines", "teacher", "distill")
done = {
    name: {outcome.stage: outcome.artifact for outcome in run(own, stages, **quiet)} for name, own in splits.items()
}

# %% [markdown]
# One evaluator for all of them: the whole catalogue is ranked, what the customer has bought already is left out, ties
# count as the average over their orders. The bars are 95 % intervals: customers drawn again and again.

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from rexjax.evaluation import ranking
from rexjax.evaluation.pictures import dress
from rexjax.evaluation.significance import bootstrap_mean, paired_bootstrap
from rexjax.pipeline.stages import evaluate, inputs

logs = {name: inputs.training_data(own, done[name]) for name, own in splits.items()}
models = {name: evaluate.models_of(own, done[name]) for name, own in splits.items()}
asked = {name: inputs.requests_of(log, "test") for name, log in logs.items()}
results = {
    split: {name: ranking.evaluate(model, asked[split], ks=(10,)) for name, model in models[split].items()}
    for split in splits
}

# %%
figure, both = plt.subplots(1, 2, figsize=(10, 3.2), dpi=80, layout="constrained")
for axes, (split, found) in zip(both, results.items(), strict=True):
    means = [bootstrap_mean(result.per_user["ndcg@10"], seed=0) for result in found.values()]
    around = np.array([[m.mean - m.low, m.high - m.mean] for m in means]).T
    axes.barh(
        list(found), [m.mean for m in means], xerr=around, color="#4477aa", error_kw={"elinewidth": 1, "capsize": 3}
    )
    axes.set_title(f"{split}: {len(asked[split].histories):,} customers", loc="left", fontsize=11)
    dress(axes, "NDCG@10, test", "")

# %% [markdown]
# Look at popularity. Under global time it is far better, relative to the rest, than leave-one-out says: what is in
# fashion at the end is what is bought next. And only few customers are left to test, so that the bars are long.
# Figures of two splits cannot be compared with each other; figures of one split can.
#
# ## 2. Luck
#
# Two models answered the same customers, so their difference is taken customer by customer and the customers are drawn
# again (a *paired* bootstrap). An interval that holds 0 is no difference, whatever the means say.

# %%
pairs = [("teacher", "popularity"), ("student", "student_control"), ("student", "teacher")]
rows = []
for split, found in results.items():
    for a, b in pairs:
        interval = paired_bootstrap(found[a].per_user["ndcg@10"], found[b].per_user["ndcg@10"], seed=0)
        clear = interval.low > 0 or interval.high < 0
        rows.append([split, f"{a} - {b}", interval.difference, interval.low, interval.high, "yes" if clear else "no"])
columns = ["split", "NDCG@10", "difference", "low", "high", "clear of 0"]
pd.DataFrame(rows, columns=columns).round(4)

# %% [markdown]
# Pairing is what makes small differences visible. The same two models with fewer customers, drawn once: how wide is
# what one would have reported?

# %%
found = results["leave-one-out"]
student, control = (found[name].per_user["ndcg@10"] for name in ("student", "student_control"))
sizes = [50, 100, 200, 400, 800, len(student)]
drawn = [np.random.default_rng(size).permutation(len(student))[:size] for size in sizes]
intervals = [paired_bootstrap(student[users], control[users], seed=0) for users in drawn]
figure, axes = plt.subplots(figsize=(6, 3), dpi=80, layout="constrained")
axes.fill_between(sizes, [i.low for i in intervals], [i.high for i in intervals], alpha=0.3)
axes.plot(sizes, [i.difference for i in intervals], "o-")
axes.axhline(0, color="black", linewidth=0.8)
axes.set_xscale("log")
axes.set_xticks(sizes, map(str, sizes))
axes.minorticks_off()
dress(axes, "customers asked", "student - control, NDCG@10")

# %% [markdown]
# ## 3. Sampled metrics
#
# Many papers rank the target among 99 items drawn at random instead of all. It is quicker, and it is another metric:
# whoever puts the target in the upper half of the catalogue looks good. `sampled` asks the same questions among few
# candidates; the figures of this project never come from it.

# %%
from rexjax.evaluation.requests import sampled

items = logs["leave-one-out"].items
negatives = [19, 49, 99, 199, items]
curves = {name: [] for name in models["leave-one-out"]}
for count in negatives:
    few = sampled(asked["leave-one-out"], items, count, seed=0)
    for name, model in models["leave-one-out"].items():
        curves[name].append(ranking.evaluate(model, few, ks=(10,)).means["ndcg@10"])

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(11, 3.4), dpi=80, layout="constrained")
for name, values in curves.items():
    left.plot(negatives, values, "o-", label=name)
    right.plot(negatives, np.array(values) / curves["teacher"], "o-", label=name)
for axes, label in ((left, "NDCG@10"), (right, "share of the teacher's NDCG@10")):
    axes.set_xscale("log")
    axes.set_xticks(negatives, [*map(str, negatives[:-1]), "all"])
    axes.minorticks_off()
    dress(axes, "candidates besides the target", label)
_ = figure.legend(*left.get_legend_handles_labels(), loc="outside right center", frameon=False)

# %% [markdown]
# The same models and the same answers. With fewer candidates every figure rises and the models move together: of the
# distance between popularity and the teacher little is left, and a share of the teacher's quality, which is what a
# smaller model is chosen by, depends on how many candidates somebody drew.
#
# ## Try next
#
# - `split="cold_items"`, or `"last_session"` with `Columns(session="session")`: what is asked changes again.
# - Another `seed` in `Config`: how much of a difference is the training's own luck? (The bootstrap only knows that of
#   the customers.)
# - `evaluate=Evaluate(exclude_seen=False)`: what was bought may be recommended again; whom does that cost most?
