"""A ranker in PyTorch, in an environment of its own: prints its name and the seconds of each epoch.

PYTHON benchmarks/rankers_peer_worker.py FOLDER SETTINGS
"""

import json
import os
import sys
import time

import numpy as np
import torch
from torch import nn


class Ranker(nn.Module):
    """DCN-v2, DeepFM or DLRM, as in ``rexjax.models.interactions``."""

    def __init__(self, settings):
        super().__init__()
        self.kind, self.width = settings["kind"], settings["width"]
        fields = settings["fields"]
        self.table = nn.Embedding(settings["rows"], self.width + 1)
        nn.init.normal_(self.table.weight, std=0.01)
        flat = fields * self.width
        pairs = fields * (fields - 1) // 2 if self.kind == "DLRM" else 0
        self.deep = layers(flat + pairs, settings["hidden"], settings["dropout"])
        self.crosses = nn.ModuleList(nn.Linear(flat, flat) for _ in range(settings["crosses"]))
        last = settings["hidden"][-1] + (flat if self.crosses else 0)
        self.logit = nn.Linear(last, 1)
        self.register_buffer("places", torch.tril_indices(fields, fields, -1))

    def forward(self, ids):
        """Logits [B] of ids [B, F]."""
        rows = self.table(ids)
        vectors, linear = rows[..., :-1], rows[..., -1].sum(1)
        x = vectors.flatten(1)
        if self.kind == "DCNv2":
            crossed = x
            for layer in self.crosses:
                crossed = x * layer(crossed) + crossed
            return self.logit(torch.cat([crossed, self.deep(x)], 1))[:, 0]
        if self.kind == "DLRM":
            met = torch.bmm(vectors, vectors.transpose(1, 2))[:, self.places[0], self.places[1]]
            return self.logit(self.deep(torch.cat([x, met], 1)))[:, 0]
        pairs = 0.5 * (vectors.sum(1) ** 2 - (vectors**2).sum(1)).sum(1)
        return linear + pairs + self.logit(self.deep(x))[:, 0]


def layers(width, hidden, dropout):
    """Dense layers with batch normalisation and dropout."""
    found = []
    for size in hidden:
        found += [nn.Linear(width, size, bias=False), nn.BatchNorm1d(size), nn.ReLU(), nn.Dropout(dropout)]
        width = size
    return nn.Sequential(*found)


def main():
    """Trains and prints."""
    folder, settings = sys.argv[1], json.loads(sys.argv[2])
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    torch.manual_seed(0)
    file = np.load(f"{folder}/data.npz")
    ids, labels = torch.from_numpy(file["ids"]).long(), torch.from_numpy(file["labels"])
    model = Ranker(settings | {"fields": ids.shape[1]})
    table = [model.table.weight]
    rest = [own for name, own in model.named_parameters() if name != "table.weight"]
    groups = [{"params": table, "weight_decay": settings["l2"]}, {"params": rest}]
    optimizer, loss, seconds = torch.optim.Adam(groups, lr=settings["rate"]), nn.BCEWithLogitsLoss(), []
    for _ in range(settings["epochs"]):
        started, order = time.perf_counter(), torch.randperm(len(ids))
        for chosen in order.split(settings["batch"]):
            optimizer.zero_grad(set_to_none=True)
            loss(model(ids[chosen]), labels[chosen]).backward()
            optimizer.step()
        seconds.append(time.perf_counter() - started)
    print(json.dumps({"name": f"PyTorch {torch.__version__}", "seconds": seconds}))


if __name__ == "__main__":
    main()
