"""Item texts to vectors: in length buckets, over all devices, in shards that survive a kill.

Attention and MLP cost the same for a padding token as for a word, and item titles are short: most of a batch that is
padded to one length is wasted. Texts are therefore sorted by length and padded to the next of a few buckets, with one
compilation per bucket; the rows of a batch shrink as the bucket grows, so that all batches have about as many tokens.
"""

import dataclasses
import functools
import operator
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from rexjax.encoders import shards
from rexjax.encoders.bert import Bert, BertConfig, Pooling, pool
from rexjax.encoders.loading import TextModel
from rexjax.encoders.shards import Shard, digest
from rexjax.errors import UserError
from rexjax.runtime.progress import track

BUCKETS = (8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
_NOMINAL_LENGTH = 32  # the length at which a batch has as many rows as the caller asked for


def encode_texts(
    model: TextModel,
    texts: Sequence[str],
    folder: Path,
    *,
    mesh: Mesh | None,
    batch: int = 64,
    shard_size: int = 4096,
) -> np.ndarray:
    """One vector per text, in the order of ``texts``: f32 [N, W].

    A text with no token of its own (empty, or only blanks) gives zeros without a run of the model. A text longer than
    ``model.max_length`` tokens is cut, its special tokens kept.

    ``folder`` receives shards (``rexjax.encoders.shards``): a run that was cut off goes on at the first one that is
    missing, damaged or made from something else, and other workers may ``fill`` the same folder at the same time.

    mesh: devices of this process with an axis "data" over which each batch is split; None is one device. batch: texts
    of 32 tokens in a batch; shorter ones are more, longer ones fewer. shard_size: texts per shard.

    Raises:
        UserError: a shard is damaged as soon as it is written.

    >>> import tempfile
    >>> from rexjax.encoders import default_model_folder, load_model
    >>> model = load_model(default_model_folder())
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     vectors = encode_texts(model, ["", " "], Path(folder), mesh=None)
    >>> vectors.shape, bool(vectors.any())  # blank texts give zeros
    ((2, 384), False)
    """
    fill(model, texts, folder, mesh=mesh, batch=batch, shard_size=shard_size)
    found = []
    for shard, _ in _shards(model, texts, folder, shard_size):
        vectors = shards.read(shard)
        if vectors is None:
            raise UserError(f"{shard.path} was damaged since it was written: check the disk, then run it again")
        found.append(vectors)
    return np.concatenate([np.zeros((0, model.module.config.width), np.float32), *found])


def fill(
    model: TextModel,
    texts: Sequence[str],
    folder: Path,
    *,
    mesh: Mesh | None,
    batch: int = 64,
    shard_size: int = 4096,
) -> None:
    """What ``encode_texts`` leaves in ``folder``, made by as many workers as call this; returns when all is there.

    A shard's vectors depend on nothing outside it, so they are the same however many workers share the work.
    """
    folder.mkdir(parents=True, exist_ok=True)
    parts = _shards(model, texts, folder, shard_size)
    to_do = shards.to_do([shard for shard, _ in parts])
    encode = None
    total = -(-len(texts) // shard_size) * min(shard_size, len(texts))
    for number in track(to_do, "Encoding item texts", total, size=min(shard_size, len(texts))):
        encode = encode or _on_devices(model, mesh or Mesh(np.array(jax.devices()[:1]), ("data",)), batch)
        shard, own = parts[number]
        shards.write(shard, encode(own))


def _shards(model: TextModel, texts: Sequence[str], folder: Path, size: int) -> list[tuple[Shard, list[str]]]:
    """Each shard with its texts."""
    settings = identity(model)
    parts = [list(texts[start : start + size]) for start in range(0, len(texts), size)]
    return [
        (Shard(folder / f"shard-{number:05d}.npy", digest([settings, part])), part) for number, part in enumerate(parts)
    ]


def provenance(model: TextModel, texts: Sequence[str]) -> dict[str, Any]:
    """What the vectors of ``texts`` depend on, for a manifest; the hash of the texts depends on their order.

    ``truncated`` and ``empty`` count the texts that were cut and those that have no token of their own; ``tokens`` all
    but the special ones, and ``unknown`` those among them that the tokenizer does not know.
    """
    counts = dict.fromkeys(("truncated", "empty", "tokens", "unknown"), 0)
    for start in range(0, len(texts), 4096):
        encoded = model.tokenizer.encode_batch_fast(list(texts[start : start + 4096]))
        own = [sum(map(operator.not_, encoding.special_tokens_mask)) for encoding in encoded]
        counts["truncated"] += sum(n and len(e.ids) > model.max_length for n, e in zip(own, encoded, strict=True))
        counts["empty"] += own.count(0)
        counts["tokens"] += sum(own)
        counts["unknown"] += sum(encoding.ids.count(model.unknown) for encoding in encoded)
    texts_hash = digest(list(texts))
    return {"name": model.name, **identity(model), "texts": len(texts), **counts, "texts_sha256": texts_hash}


def read_vectors(path: Path, items: int) -> np.ndarray:
    """Precomputed vectors from a ``.npy`` file, mapped into memory in the float type it has: [items, W].

    Raises:
        UserError: no readable .npy, not two-dimensional, not floating, not ``items`` rows, or not finite.
    """
    try:
        vectors = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path} cannot be read as a .npy file ({error}): write it with numpy.save.") from error
    if not isinstance(vectors, np.ndarray):
        raise UserError(f"{path} is an archive of arrays: write the one array of vectors with numpy.save.")
    shape = list(vectors.shape)
    if vectors.ndim != 2 or not vectors.shape[1]:
        raise UserError(f"{path} has shape {shape}: vectors must be [items, width], here [{items}, W].")
    if not np.issubdtype(vectors.dtype, np.floating):
        raise UserError(f"{path} holds {vectors.dtype}: convert the vectors to float32 before saving them.")
    if len(vectors) != items:
        raise UserError(f"{path} has {len(vectors)} rows, but the data has {items} items: write one row per item.")
    for start in range(0, items, 65536):
        bad = ~np.isfinite(vectors[start : start + 65536]).all(axis=1)
        if bad.any():
            raise UserError(f"{path} has NaN or infinity in row {start + int(bad.argmax())}: mend or zero that row.")
    return vectors


# --- the model on the devices -------------------------------------------------------------------------------------


def _on_devices(model: TextModel, mesh: Mesh, batch: int) -> Callable[[list[str]], np.ndarray]:
    """A function from texts to f32 [N, W], the parameters being on every device of ``mesh`` already."""
    # The same devices with automatic axes: `jax.make_mesh` makes explicit ones, which want every gather annotated.
    mesh = Mesh(mesh.devices, mesh.axis_names)
    run = compiled_forward(model.module.config, model.pooling, model.normalize, mesh)
    params = jax.device_put(model.params, NamedSharding(mesh, PartitionSpec()))
    buckets = [bucket for bucket in BUCKETS if bucket < model.max_length] + [model.max_length]

    def rows(bucket: int) -> int:
        devices = mesh.shape["data"]
        # A dimension that does not divide would be replicated in silence (jax#26946).
        return max(1, round(batch * _NOMINAL_LENGTH / bucket / devices)) * devices

    def encode(texts: list[str]) -> np.ndarray:
        tokens, _ = tokenize_texts(model, texts)
        vectors = np.zeros((len(texts), model.module.config.width), np.float32)
        plan = plan_batches(np.array([len(ids) for ids in tokens]), buckets, rows)
        # All batches are dispatched before the first result is fetched, so that no device waits for the host.
        pending = [(chosen, run(params, *pad_tokens(tokens, chosen, bucket, rows(bucket)))) for bucket, chosen in plan]
        for chosen, pooled in pending:
            vectors[chosen] = np.asarray(pooled)[: len(chosen)]
        return vectors

    return encode


@functools.lru_cache(maxsize=8)
def compiled_forward(config: BertConfig, pooling: Pooling, normalize: bool, mesh: Mesh) -> Callable[..., jax.Array]:
    """The jitted forward pass: (params, tokens i32 [B, L], lengths i32 [B]) → f32 [B, W]."""
    replicated, split = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in ((), ("data",)))

    def forward(params: Any, tokens: jax.Array, lengths: jax.Array) -> jax.Array:
        mask = jnp.arange(tokens.shape[1])[None] < lengths[:, None]
        # TPU and GPU would else multiply in bf16 or TF32; vectors must not depend on where they were computed.
        with jax.default_matmul_precision("highest"):
            return pool(Bert(config).apply(params, tokens, mask), mask, pooling, normalize=normalize)

    return jax.jit(forward, in_shardings=(replicated, split, split), out_shardings=split)


# --- tokens and batches -------------------------------------------------------------------------------------------


def tokenize_texts(model: TextModel, texts: list[str]) -> tuple[list[list[int]], int]:
    """Splits texts into tokens.

    Args:
      model: with the tokenizer and ``max_length``, in tokens.
      texts: N texts.

    Returns:
      Token ids of each text, special ones included, none for a text without a token of its own; and how many texts
      were cut to ``max_length``, the closing special tokens kept.
    """
    tokens, cut = [], 0
    for encoding in model.tokenizer.encode_batch_fast(texts):
        ids, special = encoding.ids, encoding.special_tokens_mask
        if all(special):
            ids = []
        elif len(ids) > model.max_length:
            closing = special[::-1].index(0)
            ids = ids[: model.max_length - closing] + ids[len(ids) - closing :]
            cut += 1
        tokens.append(ids)
    return tokens, cut


def plan_batches(
    lengths: np.ndarray, buckets: Sequence[int], rows: Callable[[int], int]
) -> list[tuple[int, np.ndarray]]:
    """Puts texts of similar length into one batch.

    A bucket's last texts, too few for a batch, join the next bucket that has texts, unless that one is more than twice
    as long: a batch with few texts, and a compilation for it, costs more than their padding.

    Args:
      lengths: int [N], tokens of each text.
      buckets: rising lengths that batches are padded to; the last one holds the longest text.
      rows: from a bucket to the number of texts in a batch.

    Returns:
      (bucket, int [rows or fewer] text numbers) of each batch, shortest first; texts of length 0 are in none.
    """
    order = np.argsort(lengths, kind="stable")
    order = order[lengths[order] > 0]
    ends = np.searchsorted(lengths[order], buckets, side="right")
    plan, start = [], 0
    for bucket, end in zip(buckets, ends, strict=True):
        size = rows(bucket)
        following = lengths[order[end]] if end < len(order) else None
        joins = following is not None and min(b for b in buckets if b >= following) <= 2 * bucket
        stop = end - (end - start) % size if joins else end
        plan += [(bucket, order[at : min(at + size, stop)]) for at in range(start, stop, size)]
        start = stop
    return plan


def pad_tokens(tokens: list[list[int]], chosen: Iterable[int], bucket: int, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Pads the tokens of one batch.

    Args:
      tokens: ids of every text.
      chosen: numbers of the texts in the batch, at most ``rows``.
      bucket: length of a padded row, at least that of the longest chosen text.
      rows: of the batch.

    Returns:
      Tokens int32 [rows, bucket], 0 at padding, and lengths int32 [rows]; rows left over have length 0.
    """
    padded, lengths = np.zeros((rows, bucket), np.int32), np.zeros(rows, np.int32)
    for row, text in enumerate(chosen):
        lengths[row] = len(tokens[text])
        padded[row, : lengths[row]] = tokens[text]
    return padded, lengths


# --- what vectors depend on ---------------------------------------------------------------------------------------


def identity(model: TextModel) -> dict[str, Any]:
    """All that a vector depends on beside its text; not the folder's name, which may change."""
    return {
        "model_sha256": model.sha256,
        "tokenizer_sha256": digest(model.tokenizer.to_str()),
        "config": dataclasses.asdict(model.module.config),
        "pooling": model.pooling,
        "normalize": model.normalize,
        "max_length": model.max_length,
    }
