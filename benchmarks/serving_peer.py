"""The peer of ``benchmarks.serving``: FastAPI, the student in PyTorch, FAISS; as one writes it by hand."""

import sys

import faiss
import numpy as np
import torch
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from torch.nn import functional

LENGTH = 50


class Body(BaseModel):
    """A history and how many answers."""

    history: list[str]
    k: int = 10


def main() -> None:
    """Serves the weights of a file on a port."""
    path, port = sys.argv[1:]
    leaves = {name: torch.from_numpy(leaf) for name, leaf in np.load(path).items()}
    items = leaves["items"]
    index = faiss.IndexScalarQuantizer(items.shape[1], faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT)
    index.train(items.numpy())
    index.add(items.numpy())
    names = [f"item-{i}" for i in range(len(items))]
    titles = [f"Title of item {i}" for i in range(len(items))]
    by_name = {name: i for i, name in enumerate(names)}
    decay = torch.exp(leaves["history.decay"])
    app = FastAPI()

    @torch.inference_mode()
    def encode(history: list[int]) -> np.ndarray:
        vectors = items[history[-LENGTH:]]
        weights = decay[:, : len(vectors)].flip(1)
        pooled = (weights / weights.sum(1, keepdim=True)) @ vectors
        hidden = functional.gelu(
            pooled.reshape(-1) @ leaves["history.up.kernel"] + leaves["history.up.bias"], approximate="tanh"
        )
        user = pooled[0] + hidden @ leaves["history.down.kernel"] + leaves["history.down.bias"]
        return functional.normalize(user, dim=0)[None].numpy()

    @app.get("/readyz")
    def ready() -> dict[str, bool]:
        return {"ready": True}

    @app.post("/v1/recommend")
    def recommend(body: Body) -> dict[str, list[dict[str, object]]]:
        history = [by_name[name] for name in body.history if name in by_name]
        scores, ids = index.search(encode(history), body.k + len(history))
        seen = set(history)
        found = [(i, s) for i, s in zip(ids[0].tolist(), scores[0].tolist(), strict=True) if i not in seen][: body.k]
        return {"items": [{"id": names[i], "title": titles[i], "score": s} for i, s in found]}

    uvicorn.run(app, host="127.0.0.1", port=int(port), log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
