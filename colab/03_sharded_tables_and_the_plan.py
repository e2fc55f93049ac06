# %% [markdown]
# # 3 · Sharded tables, and the plan
#
# A catalogue of a billion items does not fit on one device. Its table is cut into pieces, one for each device, and a
# step reads and moves only the rows that its batch names. Here eight devices are emulated on the CPU: the sharded table
# ends where that of one device ends, and each holds an eighth of it. Then `rexjax plan` asks the TPU compiler what a
# real slice would need, without a TPU.
#
# About a minute on a CPU.

# %%
# Colab: installs rexjax. Where it is there already (a clone, CI) this does nothing.
import subprocess
import sys
from importlib.util import find_spec

REPOSITORY = "git+https://github.com/OWNER/rexjax"  # put the address of your copy here
if find_spec("rexjax") is None:
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", f"rexjax[all,plan] @ {REPOSITORY}"], check=True)

# %% [markdown]
# Eight devices have to be asked for before jax is imported; if it is already, restart the kernel.

# %%
import os

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"

import jax
import jax.numpy as jnp
import numpy as np

jax.device_count()

# %% [markdown]
# ## One table, two meshes
#
# 100,003 rows, so that eight devices do not even divide them. Row *r* lies on device *r* mod 8: popular neighbours are
# never together. The optimizer's two numbers for each weight lie beside the row.

# %%
from rexjax import make_mesh
from rexjax.embedding import order
from rexjax.embedding import table as tables
from rexjax.embedding.optimizers import LazyAdam
from rexjax.embedding.table import Table

table = Table("items", rows=100_003, width=32, optimizer=LazyAdam(0.1))
meshes = {"one device": make_mesh(data=1), "eight devices": make_mesh(data=8)}
start = {name: tables.create(table, jax.random.key(0), mesh) for name, mesh in meshes.items()}

# %% [markdown]
# ## Train it on both
#
# The model is a toy (each row is to become a given vector); the table does what it does in a real one: the ids of the
# batch are deduplicated, rows are fetched from wherever they lie, and their gradients go back there.

# %%
batches = np.random.default_rng(0).zipf(1.2, (30, 1024)).astype(np.int32) % table.rows
wanted = jax.random.normal(jax.random.key(1), (table.rows, table.width))


def train(state, mesh):
    """Thirty steps; the loss of each."""

    @jax.jit
    def step(state, ids, number):
        routing = tables.route(ids, table, mesh)
        (rows, _), _ = tables.gather(state, routing, number, table, mesh)

        def loss(rows):
            return jnp.mean((tables.expand(rows, routing, mesh) - wanted[ids]) ** 2)

        value, gradients = jax.value_and_grad(loss)(rows)
        return tables.update(state, routing, gradients, number, jax.random.key(2), table, mesh)[0], value

    losses = []
    for number, ids in enumerate(batches):
        state, loss = step(state, ids, number)
        losses.append(float(loss))
    return state, losses


trained = {name: train(start[name], mesh) for name, mesh in meshes.items()}

# %%
import matplotlib.pyplot as plt

from rexjax.evaluation.pictures import dress

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.2), dpi=80, layout="constrained")
for (name, (_, losses)), style in zip(trained.items(), ("-", "--"), strict=True):
    left.plot(losses, style, label=name, linewidth=2)
dress(left, "step", "loss")
left.legend(frameon=False)

held = [[part.data.nbytes / 1e6 for part in state.packed.addressable_shards] for state, _ in trained.values()]
right.bar([0], held[0], label="one device")
right.bar(range(2, 10), held[1], label="eight devices")
right.set_xticks([0, *range(2, 10)], ["0", *map(str, range(8))])
dress(right, "device", "rows and slots, MB")
_ = right.legend(frameon=False)
# %% [markdown]
# The two lines lie on each other. In numbers, over all rows of the table and in the order of their ids:

# %%
one, eight = (
    np.asarray(order.to_logical(tables.split(state, table).rows, mesh))[: table.rows]
    for (state, _), mesh in zip(trained.values(), meshes.values(), strict=True)
)
before = np.asarray(tables.split(start["one device"], table).rows)[: table.rows]
print(f"largest difference between one device and eight: {abs(one - eight).max():.1e}")
print(f"rows that moved: {(one != before).any(1).sum():,}; different ids in the batches: {len(np.unique(batches)):,}")

# %% [markdown]
# ## The plan
#
# The same programs, compiled for TPUs that are not here: fifty million items on four v5e chips. The plan lists what
# each device must hold, what travels between them, and what binds a step. It needs the TPU compiler (the extra `plan`),
# not a TPU; without it, it says so.

# %%
# %%writefile pod.py
from rexjax.config import Config, Data, Files, Pooled, Rows, Student, Training, Transformer


def get_config():
    training = Training(batch=256, rows=Rows("row_wise_adagrad", learning_rate=0.05))
    return Config(
        workdir="runs/pod",
        data=Data(source=Files(), path="data", text=(), length=32),
        teacher=Transformer(width=128, layers=1, loss="sampled_softmax", negatives=256, training=training),
        student=Student(model=Pooled(width=32, training=training)),
    )


# %% magic_args="--no-raise-error" language="bash"
# rexjax plan pod.py --topology v5e:2x2 --items 50000000 --json plan.json

# %%
import json
from pathlib import Path

plan = json.loads(Path("plan.json").read_text(encoding="utf-8")) if Path("plan.json").exists() else None
if plan:
    figure, axes = plt.subplots(figsize=(8, 2.6), dpi=80, layout="constrained")
    kinds = {
        "table": "rows",
        "table_slots": "their slots",
        "catalogue": "popularity",
        "padding": "padding",
        "temporary": "temporary",
    }
    reached = np.zeros(len(plan["programs"]))
    for kind, label in kinds.items():
        sizes = np.array([program["hbm_bytes"].get(kind, 0) / 2**30 for program in plan["programs"].values()])
        axes.barh(list(plan["programs"]), sizes, left=reached, label=label)
        reached += sizes
    axes.axvline(
        next(iter(plan["programs"].values()))["hbm_limit"] / 2**30, color="black", linestyle=":", label="what there is"
    )
    axes.invert_yaxis()
    dress(axes, f"GiB on each of {plan['devices']} chips, {plan['topology']}", "")
    _ = axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
else:
    print("no plan: the TPU compiler is not installed (pip install 'rexjax[plan]')")

# %% [markdown]
# ## Try next
#
# - `--items 200000000`: that does not fit on four of these chips; the plan says by how much, and where it would.
# - `--teacher.width 64`: half the rows' bytes, but a TPU keeps 128 numbers in a line, and what was saved in rows is
#   spent in temporary copies (the student's 32 do so above).
# - `--topology v5p:2x2x2`, or two slices of it (`--slices 2`): the table of collectives changes, and with it what
#   binds.
# - A table in `bfloat16` (`dtype=` above): rows are rounded stochastically, and take half the memory.
# - A run on this mesh: `Config(mesh=Mesh(data=8))` gives the same losses as one device.
