# %% [markdown]
# # 2 · Your own log
#
# Two files and a config of ten lines are all that is needed: who took what when, and what each item is called. Here
# both files are written by a cell, so that the notebook runs as it is; put your own in their place. Then some mistakes
# that everybody makes once, and what is said about them.
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
# ## The files
#
# Columns may be called as you like and there may be more of them; the config says which is which. Ids are strings or
# numbers, times are seconds, dates or anything that reads as a timestamp.

# %%
from pathlib import Path

import pandas as pd

from rexjax.config import Shop
from rexjax.data import shop

shop.write(Shop(users=1500, items=400, interactions=30_000), seed=0, folder=Path("raw"))  # your export would do this
log, items = pd.read_parquet("raw/interactions"), pd.read_parquet("raw/items.parquet")
log = log.rename(columns={"user_id": "customer", "item_id": "sku"})
log["bought_at"] = pd.to_datetime(log.timestamp, unit="s")

folder = Path("my_folder")
folder.mkdir(exist_ok=True)
log[["customer", "sku", "bought_at"]].to_csv(folder / "interactions.csv", index=False)
items.rename(columns={"item_id": "sku"}).to_csv(folder / "items.csv", index=False)
log[["customer", "sku", "bought_at"]].head(3)

# %%
pd.read_csv(folder / "items.csv").head(3)

# %% [markdown]
# ## The config, ten lines
#
# `strict=False`: an id that is in only one of the two files is dropped and counted, and no error.

# %%
# %%writefile mine.py
from rexjax.config import Columns, Compress, Config, Data, Encode, Files, Pooled, Student, Training, Transformer


def get_config():
    columns = Columns(user="customer", item="sku", time="bought_at", category="category")
    training = Training(epochs=10, batch=32, learning_rate=3e-3, warmup=30)  # a small log: few rows a step, long steps
    return Config(
        workdir="runs/mine",
        data=Data(source=Files(), path="my_folder", columns=columns, text=("title",), strict=False, length=32),
        encode=Encode(width=64),
        teacher=Transformer(training=training),
        student=Student(model=Pooled(training=training)),
        compress=Compress(variants=("int8",)),
    )


# %% [markdown]
# ## Look before training
#
# `rexjax prepare` reads, cleans and splits, and shows what it did with every row: the data card is where a wrong join
# or a bot with ten thousand purchases is seen.

# %% language="bash"
# rexjax prepare mine.py

# %% [markdown]
# ## Run
#
# Stage *prepare* is not made again: nothing has changed. Any key of the config can also be set behind the command, such
# as `--student.model.width 16 --workdir runs/narrow`.

# %% language="bash"
# rexjax run mine.py

# %% [markdown]
# Does a line still rise at its end? Then more epochs are worth their time (training stops by itself when validation has
# not risen for five).

# %%
import matplotlib.pyplot as plt

from rexjax.artifacts import store
from rexjax.evaluation.pictures import draw_curves, dress
from rexjax.pipeline.stages import evaluate

curves = evaluate.curves_of({stage: store.read(Path("runs/mine") / stage) for stage in ("teacher", "distill")})
figure, axes = plt.subplots(figsize=(5.5, 3), dpi=80, layout="constrained")
draw_curves(axes, curves, "ndcg@10")
dress(axes, "epoch", "NDCG@10, validation")
_ = axes.legend(frameon=False)

# %% [markdown]
# Ask it, by id or by title:

# %% language="bash"
# rexjax recommend runs/mine --history "sku-00012, sku-00101" --k 5

# %% [markdown]
# ## Mistakes
#
# A mistake of yours is answered in one sentence that says what to do, with exit code 2 and without a traceback; what
# was finished before stays as it is. A column that is not there:

# %% magic_args="--no-raise-error" language="bash"
# rexjax prepare mine.py --workdir runs/wrong --data.columns.user client

# %% [markdown]
# A time that is none, in one row of thirty thousand:

# %%
broken = Path("broken_folder")
broken.mkdir(exist_ok=True)
lines = (folder / "interactions.csv").read_text().splitlines()
lines[4000] = ",".join([*lines[4000].split(",")[:2], "last Tuesday"])
(broken / "interactions.csv").write_text("\n".join(lines))
_ = (broken / "items.csv").write_text((folder / "items.csv").read_text())

# %% magic_args="--no-raise-error" language="bash"
# rexjax prepare mine.py --workdir runs/wrong --data.path broken_folder

# %% [markdown]
# Another experiment in a folder that holds one already, and a title that nearly exists:

# %% magic_args="--no-raise-error" language="bash"
# rexjax teacher mine.py --teacher.width 32
# rexjax recommend runs/mine --history "premium nordic lamp"

# %% [markdown]
# ## Try next
#
# - Your own two files in `my_folder`, and their columns in `mine.py`.
# - `--data.split global_time` if your log is a few months long: [05](05_evaluate_honestly.ipynb) says why.
# - A log without titles: `text=()`. One with ratings: `Columns(rating="stars")` and `--data.min-rating 4`.
# - `rexjax run --help` explains every key.
