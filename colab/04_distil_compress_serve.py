# %% [markdown]
# # 4 · Distil, compress, serve
#
# A teacher is too dear to answer every request. Here a student learns from its lists, a **budget** decides how small
# the student is to be, the result is exported into a folder that needs none of the training code, and a server answers
# from it over HTTP.
#
# About a minute and a half on a CPU.

# %%
# Colab: installs rexjax. Where it is there already (a clone, CI) this does nothing.
import subprocess
import sys
from importlib.util import find_spec

REPOSITORY = "git+https://github.com/OWNER/rexjax"  # put the address of your copy here
if find_spec("rexjax") is None:
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", f"rexjax[all] @ {REPOSITORY}"], check=True)

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
    compress=Compress(variants=("int8",), training=Training(epochs=3, batch=32, learning_rate=5e-4, decay_steps=-1)),
    evaluate=Evaluate(latency_repeats=50, resamples=1000),
)

# %% [markdown]
# ## Distil
#
# Up to here nothing is small. The teacher writes the fifty articles it expects after every history into a file, and the
# student learns those lists beside the labels; its *control* learns from labels alone, with the same settings.

# %%
from rexjax import run

_ = run(config, ("prepare", "encode", "baselines", "teacher", "distill"), update=False, say=print)
# %% [markdown]
# ## Compress to a budget
#
# Sixteen bytes for an article, all told. For each number of bits the widest student that keeps to it is cut out of the
# trained one and trained on with its rounding; the best on *validation* is kept. On the command line:
# `rexjax compress CONFIG --budget "bytes_per_item=16"`; other budgets are `flops=`, `p50_ms=` and `quality>=`.

# %%
from rexjax.pipeline import budget

chosen, tried = budget.run(config, budget.read("bytes_per_item=16"), print)
kept = budget.keep(config, chosen.name, print)

# %%
import pandas as pd

pd.DataFrame(tried)[["name", "ndcg", "quality", "bytes_per_item", "flops"]].round(4)

# %% [markdown]
# ## The frontier
#
# Everything before one evaluator, on *test* now. The grey line joins the models that no cheaper one equals: what stands
# below it is not worth its price.

# %%
outcomes = run(kept, ("evaluate",), update=True, say=print)
models = outcomes[0].artifact.metrics["models"]

# %%
import matplotlib.pyplot as plt

from rexjax.evaluation.pictures import draw_frontier, dress, frontier_points

figure, both = plt.subplots(1, 2, figsize=(13, 3.6), dpi=75, layout="constrained")
for axes, cost, label in zip(
    both, ("bytes_per_item", "flops_user_encoding"), ("bytes an article", "FLOPs of a user's vector"), strict=True
):
    dress(axes, label, "NDCG@10, test")
    draw_frontier(axes, frontier_points(models, cost), gap=0.1)

# %% [markdown]
# ## Export and serve
#
# The folder holds programs (StableHLO, for CPU, GPU and TPU), weights, ids and hashes of all of them. The server checks
# them, compiles, and only then says where it listens.

# %% language="bash"
# rexjax export runs/shop exported --compare

# %%
import atexit

server = subprocess.Popen(
    [sys.executable, "-m", "rexjax.cli", "serve", "exported", "--port", "0"],
    stdout=subprocess.PIPE,
    stderr=subprocess.DEVNULL,
    text=True,
)
atexit.register(server.terminate)  # also if the notebook ends before its last cell
said = server.stdout.readline()
address = said.split(": ")[0]
print(said.split(": ")[1])

# %%
import json
from urllib.request import Request, urlopen


def ask(path, body=None):
    """The server's answer."""
    data = None if body is None else json.dumps(body).encode()
    with urlopen(Request(address + path, data, {"content-type": "application/json"})) as reply:
        return json.load(reply)


history = ["sku-00012", "sku-00345", "sku-00101"]
answer = ask("/v1/recommend", {"history": history, "k": 5})
pd.set_option("display.max_colwidth", None)
pd.DataFrame(answer["items"])

# %% [markdown]
# Only lamps, or whatever kinds there are:

# %%
pd.DataFrame(ask("/v1/recommend", {"history": history, "k": 3, "categories": ["lamps"]})["items"])

# %% [markdown]
# Why the first one? What each event of the history gave to its cosine, as an exact sum and not an estimate. (Rows of
# four bits are not quite of length one, so that the score above differs a little.)

# %%
why = ask("/v1/explain", {"history": history, "item": answer["items"][0]["id"]})
print(f"{answer['items'][0]['title']}: {why['score']:.3f}, of which {why['always']:.3f} whatever the history")
pd.DataFrame(why["items"])

# %% [markdown]
# Teacher, student and the compressed student on the same history: do they agree? In brackets,
# what each must hold in memory.

# %%
compared = ask("/v1/compare", {"history": history, "k": 5})["models"]
pd.DataFrame({f"{one['name']} ({one['bytes']:,} bytes)": [item["title"] for item in one["items"]] for one in compared})

# %%
server.terminate()
_ = server.wait(timeout=60)  # it answers what it has accepted first

# %% [markdown]
# ## Try next
#
# - `bytes_per_item=8`, or `quality>=0.98`: the smallest student that keeps 98 % of the teacher.
# - In a terminal, `rexjax serve exported` and a browser at <http://127.0.0.1:8000/>: the page for people.
# - `rexjax items runs/shop --put new.csv`: an article that nobody has bought yet, by its title; export again, and the
#   running server swaps it in.
