"""The peer of ``benchmarks.serving``: FastAPI, the student in PyTorch, FAISS; as one writes it with care.

Requests that arrive while a batch is answered are the next batch. PyTorch has one thread, the event loop is uvloop's,
and orjson writes the answers.
"""

import asyncio
import sys
from collections.abc import Callable
from typing import Any

import faiss
import numpy as np
import torch
import uvicorn
from fastapi import FastAPI
from fastapi.responses import ORJSONResponse
from pydantic import BaseModel
from torch.nn import functional

LENGTH, BATCH = 50, 64


class Body(BaseModel):
    """A history and how many answers."""

    history: list[str]
    k: int = 10


class Batcher:
    """Hands requests that wait to ``answer``, up to ``BATCH`` at a time, in a thread."""

    def __init__(self, answer: Callable[[list[Any]], list[Any]]) -> None:
        self.answer, self.waiting, self.task = answer, asyncio.Queue(), None

    async def ask(self, request: Any) -> Any:
        """One request's answer."""
        self.task = self.task or asyncio.create_task(self._work())
        future = asyncio.get_running_loop().create_future()
        self.waiting.put_nowait((request, future))
        return await future

    async def _work(self) -> None:
        while True:
            batch = [await self.waiting.get()]
            while len(batch) < BATCH and not self.waiting.empty():
                batch.append(self.waiting.get_nowait())
            found = await asyncio.to_thread(self.answer, [request for request, _ in batch])
            for (_, future), answer in zip(batch, found, strict=True):
                if not future.done():
                    future.set_result(answer)


def main() -> None:
    """Serves the weights of a file on a port."""
    path, port = sys.argv[1:]
    torch.set_num_threads(1)
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
    def encode(histories: list[list[int]]) -> np.ndarray:
        length = max(1, min(LENGTH, max(map(len, histories))))
        ids = torch.zeros(len(histories), length, dtype=torch.long)
        real = torch.zeros(len(histories), length)
        for row, history in enumerate(histories):  # the latest first, as the decay has it
            latest = history[-length:][::-1]
            ids[row, : len(latest)] = torch.tensor(latest, dtype=torch.long)
            real[row, : len(latest)] = 1
        weights = decay[None, :, :length] * real[:, None]
        pooled = (weights / weights.sum(2, keepdim=True).clamp(min=1e-9)) @ items[ids]
        hidden = functional.gelu(
            pooled.flatten(1) @ leaves["history.up.kernel"] + leaves["history.up.bias"], approximate="tanh"
        )
        users = pooled[:, 0] + hidden @ leaves["history.down.kernel"] + leaves["history.down.bias"]
        return functional.normalize(users, dim=1).numpy()

    def answer(bodies: list[Body]) -> list[list[dict[str, object]]]:
        histories = [[by_name[name] for name in body.history if name in by_name] for body in bodies]
        most = max(body.k + len(history) for body, history in zip(bodies, histories, strict=True))
        scores, ids = index.search(encode(histories), most)
        return [
            [{"id": names[i], "title": titles[i], "score": s} for i, s in _unseen(history, row, own, body.k)]
            for body, history, row, own in zip(bodies, histories, ids.tolist(), scores.tolist(), strict=True)
        ]

    batcher = Batcher(answer)

    @app.get("/readyz")
    async def ready() -> dict[str, bool]:
        return {"ready": True}

    @app.post("/v1/recommend")
    async def recommend(body: Body) -> ORJSONResponse:
        return ORJSONResponse({"items": await batcher.ask(body)})

    uvicorn.run(app, host="127.0.0.1", port=int(port), log_level="warning", access_log=False, loop="uvloop")


def _unseen(history: list[int], ids: list[int], scores: list[float], k: int) -> list[tuple[int, float]]:
    seen = set(history)
    return [(i, score) for i, score in zip(ids, scores, strict=True) if i not in seen][:k]


if __name__ == "__main__":
    main()
