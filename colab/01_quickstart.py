# %% [markdown]
# # 1 · Quickstart: a large teacher, a small student
#
# A shop that exists only in this notebook has 400 articles and 1,500 customers. A language model reads the articles'
# titles, a **teacher** (a transformer) learns from what people bought, a **student** with a sixtieth of its FLOPs
# learns from the teacher, and int8 makes it smaller still. At the end: how good each of them is, what each costs, and
# what they recommend.
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

# %% [markdown]
# ## The config
#
# One frozen dataclass a stage. What is not named keeps its default; a name that does not exist is an error.

# %%
from rexjax.config import (
    Columns,
    Compress,
    Config,
    Data,
    Encode,
    Evaluate,
    Pooled,
    Shop,
    Student,
    Training,
    Transformer,
)

training = Training(epochs=10, batch=32, learning_rate=3e-3, warmup=30)
config = Config(
    workdir="runs/shop",
    data=Data(
        source=Shop(users=1500, items=400, interactions=30_000),
        columns=Columns(category="category"),
        strict=False,
        length=32,
    ),
    encode=Encode(width=64),
    teacher=Transformer(width=64, training=training),
    student=Student(model=Pooled(width=32, training=training)),
    compress=Compress(variants=("int8",)),
    evaluate=Evaluate(latency_repeats=50, resamples=1000),
)

# %% [markdown]
# ## The run
#
# Eight stages; each leaves one folder in `runs/shop`. Run the cell again and every stage is skipped: nothing has
# changed. Stop it halfway and it goes on where it was.

# %%
from rexjax import run
from rexjax.pipeline import runner

outcomes = run(config, tuple(runner.BY_NAME), update=False, say=print)
done = {outcome.stage: outcome.artifact for outcome in outcomes}

# %% [markdown]
# ## What was learnt, epoch by epoch
#
# Left, the loss each model trains on: the student's is mostly the distance to the teacher's lists, so that the lines do
# not share a scale. Right, NDCG@10 on validation, which they do share: *control* is the same student without a teacher.

# %%
import matplotlib.pyplot as plt

from rexjax.evaluation.pictures import draw_curves, draw_frontier, draw_map, dress, frontier_points
from rexjax.pipeline.stages import evaluate

curves = evaluate.curves_of(done)
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.4), dpi=80, layout="constrained")
dress(left, "epoch", "training loss")
dress(right, "epoch", "NDCG@10, validation")
draw_curves(left, curves, "loss")
draw_curves(right, curves, "ndcg@10")
_ = right.legend(frameon=False)
# %% [markdown]
# ## Quality against cost
#
# All models answered the same questions: each customer's last purchase, looked for among all articles. Up is better,
# left is cheaper; the grey line joins those that no cheaper one equals.

# %%
models = done["evaluate"].metrics["models"]
figure, both = plt.subplots(1, 2, figsize=(13, 3.4), dpi=75, layout="constrained")
for axes, cost, label in zip(
    both, ("flops_user_encoding", "bytes_resident"), ("FLOPs of a user's vector", "bytes held"), strict=True
):
    dress(axes, label, "NDCG@10, test")
    draw_frontier(axes, frontier_points(models, cost), gap=0.1)

# %%
import pandas as pd

pd.set_option("display.max_colwidth", None)
rows = {name: model["quality"]["test"] | model["cost"] for name, model in models.items()}
columns = ["ndcg@10", "recall@10", "coverage@10", "parameters", "bytes_resident", "flops_user_encoding"]
pd.DataFrame(rows).T[columns].map(lambda value: f"{value:,.0f}" if value > 1 else f"{value:.3f}")

# %% [markdown]
# ## The map of the articles
#
# Two principal components of the article vectors, coloured by category. Left, what the language model knows from titles
# alone: rugs lie with rugs. Right, the student's own vectors: what the same people buy has moved together, whatever
# kind of thing it is; read the styles in the titles. Only two of many dimensions are shown, and the axes say how much
# of the variance that is.

# %%
from rexjax.embedding.quantized import dequantize
from rexjax.pipeline.stages import inputs
from rexjax.retrieval import index

found = index.read(done["index"].folder)
figure, (left, right) = plt.subplots(1, 2, figsize=(13, 4.6), dpi=75)
draw_map(left, inputs.content(done["encode"])["text"], found.categories)
draw_map(right, dequantize(found.scorer.state.items), found.categories, found.titles)
left.set_title("titles, as the language model reads them")
_ = right.set_title("the student, after training")
# %% [markdown]
# ## Recommendations
#
# The int8 student, asked after three purchases. The score is a cosine.

# %%
history, unknown = index.find_items(found, ["sku-00012", "sku-00345", "sku-00101"])
pd.DataFrame({"bought": [found.titles[item] for item in history]})

# %%
pd.DataFrame(index.recommend(found, history, k=8)).round(3)

# %% [markdown]
# ## Try next
#
# - Other three articles, in another order: the latest counts most.
# - `Pooled(width=16)` with `workdir="runs/narrow"`: how far left does the student move, and how far down?
# - `Shop(users=3000, items=1000, interactions=60_000)`: as large as the README's quickstart, whose student keeps all of
#   its teacher's NDCG@10.
# - `runs/shop/evaluate/report.html` holds all of this on one page.
# - [02](02_your_own_log.ipynb): the same with a log of your own.
