"""Layers and encoders written out in NumPy."""

from typing import Any

import numpy as np


def softmax(x: np.ndarray) -> np.ndarray:
    """Over the last axis."""
    weights = np.exp(x - x.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def gelu(x: np.ndarray) -> np.ndarray:
    """The approximation with tanh."""
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def causal_mask(segments: np.ndarray) -> np.ndarray:
    """bool [B, L, L]: a query sees a key of its own history that is not later, position by position."""
    rows, length = segments.shape
    mask = np.zeros((rows, length, length), bool)
    for row, query, key in np.ndindex(mask.shape):
        same = segments[row, query] == segments[row, key] != 0
        mask[row, query, key] = same and key <= query
    return mask


def attend(q: np.ndarray, k: np.ndarray, v: np.ndarray, mask: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Attention to all keys at once: [B, Q, H, D] queries, [B, L, H, D] keys and values → [B, H, Q, D]."""
    scores = np.einsum("bqhd,blhd->bhql", q, k) + bias
    return np.einsum("bhql,blhd->bhqd", softmax(np.where(mask[:, None], scores, -np.inf)), v)


def multi_head_attention(params: Any, x: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Self-attention [B, L, D], head by head, from the parameters of ``layers.Attention``."""
    heads = params["q"]["kernel"].shape[1]
    mixed = np.zeros(x.shape)
    for head in range(heads):
        q, k, v = (x @ params[name]["kernel"][:, head] for name in "qkv")
        scores = q @ k.transpose(0, 2, 1) / np.sqrt(x.shape[-1] / heads)
        mixed += softmax(np.where(mask, scores, -np.inf)) @ v @ params["out"]["kernel"][head]
    return mixed + params["out"]["bias"]


def pooled_parts(params: Any, items: np.ndarray, by_time: np.ndarray | float = 0.0) -> np.ndarray:
    """What each item of a history [l, D] adds to each pooled vector: [K, l, D]; ``by_time`` [K, l] are log-weights."""
    ages = np.arange(len(items))[::-1]
    weights = np.exp(params["decay"][:, ages] + by_time)
    return (weights / weights.sum(-1, keepdims=True))[..., None] * items


def pooled_user(params: Any, items: np.ndarray, by_time: np.ndarray | float = 0.0) -> np.ndarray:
    """The user vector [D] after ``items`` [l, D] alone, from the parameters of ``PooledEncoder``."""
    pooled = pooled_parts(params, items, by_time).sum(1)
    hidden = gelu(pooled.ravel() @ params["up"]["kernel"] + params["up"]["bias"])
    return pooled[0] + hidden @ params["down"]["kernel"] + params["down"]["bias"]


def contributions(params: Any, items: np.ndarray, item: np.ndarray) -> np.ndarray:
    """What each of ``items`` [l, D], and the biases last, gave to the cosine with the unit vector ``item`` [D]."""
    parts = pooled_parts(params, items)  # [K, l, D]
    up, down = params["up"], params["down"]
    before = [part.ravel() @ up["kernel"] for part in parts.swapaxes(0, 1)]
    whole = sum(before) + up["bias"]
    gates = gelu(whole) / whole
    given = [parts[0, event] + (gates * own) @ down["kernel"] for event, own in enumerate(before)]
    given.append((gates * up["bias"]) @ down["kernel"] + down["bias"])
    return np.asarray(given) @ item / np.linalg.norm(sum(given))


def layer_norm(params: Any, x: np.ndarray) -> np.ndarray:
    """Over the last axis."""
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6) * params["scale"] + params["bias"]


def recurrent_block(params: Any, items: np.ndarray) -> np.ndarray:
    """A history [l, D] alone through ``RecurrentBlock``, event by event."""
    width, found = items.shape[1], []
    state = np.zeros(width)
    for item in items:
        given = layer_norm(params["LayerNorm_0"], item) @ params["input"]["kernel"] + params["input"]["bias"]
        product = state @ params["kernel"]
        keep, reset = (1 / (1 + np.exp(-(given + product)[part * width :][:width])) for part in (0, 1))
        candidate = np.tanh(given[2 * width :] + reset * (product[2 * width :] + params["offset"]))
        state = keep * state + (1 - keep) * candidate
        found.append(item + state @ params["out"]["kernel"] + params["out"]["bias"])
    return np.stack(found)


def item_tower(params: Any, rows: np.ndarray, text: np.ndarray) -> np.ndarray:
    """Vectors [n, D] of rows [n, D] and text [n, W] that are added, from the parameters of ``ItemTower``."""
    fused = rows + text @ params["fused"]["text"]["kernel"]
    hidden = gelu(fused @ params["up"]["kernel"] + params["up"]["bias"])
    return fused + hidden @ params["down"]["kernel"] + params["down"]["bias"]


def user_tower(params: Any, items: np.ndarray) -> np.ndarray:
    """The user vector [D] after ``items`` [l, D] alone, from the parameters of ``UserTower``."""
    pooled = pooled_parts(params, items).sum(1)
    known = np.concatenate([*pooled, items[-1]])
    hidden = gelu(known @ params["up"]["kernel"] + params["up"]["bias"])
    return pooled[0] + hidden @ params["down"]["kernel"] + params["down"]["bias"]


def rating_tower(params: Any, matrix: np.ndarray) -> np.ndarray:
    """Unit vectors of the rows of a matrix [U, N]: a linear layer without bias, then layers with rectifiers."""
    x = matrix @ params["kernel"]
    for number in sorted(params["layers"], key=int):
        x = np.maximum(x @ params["layers"][number]["kernel"] + params["layers"][number]["bias"], 0)
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-6)


def fused(params: Any, parts: list[np.ndarray], kind: str, heads: int = 1) -> np.ndarray:
    """The vector [D] of one item from the vectors of its M modalities, zeros where it has none, by a network of
    ``rexjax.models.fusion`` with these parameters."""
    there = [number for number, part in enumerate(parts) if part.any()]
    if kind == "Summed":
        return np.concatenate(parts) @ params["kernel"]
    if kind == "ConcatenatedLayers":
        known = np.concatenate([*parts, [float(part.any()) for part in parts]])
        hidden = gelu(known @ params["up"]["kernel"] + params["up"]["bias"])
        return (hidden @ params["down"]["kernel"] + params["down"]["bias"]) * bool(there)
    projected = [part @ params[f"modality_{number}"]["kernel"] for number, part in enumerate(parts)]
    mixed = np.zeros(projected[0].shape)
    width, size = len(mixed), len(mixed) // heads
    if kind == "GatedMixture":
        gates = np.concatenate(projected) @ params["gate"]["kernel"] + params["gate"]["bias"]
        for column in range(width):
            weights = np.exp([gates[number * width + column] for number in there])
            for number, weight in zip(there, weights, strict=True):
                mixed[column] += weight / weights.sum() * projected[number][column]
        return mixed
    for head in range(heads):
        part = slice(head * size, (head + 1) * size)
        keys = [(projected[n] + params["kinds"][n]) @ params["keys"]["kernel"] + params["keys"]["bias"] for n in there]
        weights = np.exp([key[part] @ params["query"][head] / np.sqrt(size) for key in keys])
        for number, weight in zip(there, weights, strict=True):
            mixed[part] += weight / weights.sum() * projected[number][part]
    return mixed @ params["out"]["kernel"]
