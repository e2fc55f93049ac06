"""Frozen dataclasses, one per stage; a config file is a Python module with ``get_config() -> Config``.

Every key has its help text beneath it: ``rexjax STAGE CONFIG --help`` prints it, ``--stage.key value`` overrides it.
"""

import importlib.util
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from rexjax.config.values import check
from rexjax.data.settings import Columns, Data  # noqa: F401 - re-exported
from rexjax.data.sources import Files, Frames, Shop, Source, Tfds  # noqa: F401 - re-exported
from rexjax.errors import UserError, check_least, check_range, check_share


@dataclass(frozen=True)
class Encode:
    """Stage 2, encode: item text to vectors, reduced to a small width."""

    model: str = ""
    """Folder of a BERT-layout model in Hugging Face format; '' is all-MiniLM-L6-v2 from the package rexjax[minilm]."""
    vectors: str = ""
    """A .npy file with one row per line of the items file, instead of a model."""
    words: int = 0
    """Width of a second view of the text beside the model's: its words themselves (TF-IDF, truncated SVD), which know a
    brand or a shade by name; 0: none."""
    more: tuple[str, ...] = ()
    """What else is known of the items, besides their text: NAME=FILE.npy each, such as image=clip.npy, one row per line
    of the items file, zeros where an item has none. Reduced like the text, and projected beside it."""
    width: int = 128
    """Width after reduction, of each."""
    reduction: Literal["pca", "whiten", "select", "none"] = "pca"
    """PCA; PCA whitening; the columns of largest variance; none."""

    def __post_init__(self) -> None:
        check_least(self, "encode", 0, "words")
        names = ["text", "words", *(named.partition("=")[0] for named in self.more)]
        for named in self.more:
            if not all(named.partition("=")) or names.count(named.partition("=")[0]) > 1:
                raise UserError(f"--encode.more {named}: give each a name of its own and a file, NAME=FILE.npy")

    def more_files(self) -> dict[str, Path]:
        """``more`` by name."""
        return {name: Path(file) for name, _, file in (named.partition("=") for named in self.more)}


@dataclass(frozen=True)
class Rows:
    """How the item table is kept and moved: by every step as a whole, or, with sampled_softmax, only where a batch
    names its rows (``rexjax.embedding``)."""

    optimizer: Literal["sgd", "adagrad", "row_wise_adagrad", "lazy_adam", "exact_adam"] = "lazy_adam"
    """lazy_adam moves touched rows by Adam's rule (with full_softmax these are all, and it is Adam); exact_adam is
    dense Adam, made up for on touch; row_wise_adagrad keeps one number a row."""
    learning_rate: float = 0.0
    """0: the model's own; either is warmed up alike."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """bfloat16 rows are rounded stochastically."""
    clip: float = 0.0
    """Each row's gradient is scaled down to this norm; 0: never."""
    capacity: float = 1.25
    """Buckets of the exchange between devices, relative to even demand; smaller ones take more rounds."""


@dataclass(frozen=True)
class Training:
    """How a model is trained; teacher and student have one each."""

    epochs: int = 30
    """At most so many passes over the training histories."""
    batch: int = 48
    """Rows per step; a row packs several histories into --data.length positions."""
    learning_rate: float = 1e-3
    """Adam's step size, after a linear warm-up."""
    warmup: int = 100
    """Steps of warm-up."""
    decay_steps: int = 0
    """Steps over which the step size falls to a fiftieth along a cosine, warm-up included; 0: it stays; -1: all that
    --epochs have."""
    weight_decay: float = 0.0
    """AdamW's decoupled decay; item rows decay when they are touched."""
    rows: Rows = field(default_factory=Rows)
    """The item table."""
    validate_every: int = 1
    """Epochs between validations (full ranking)."""
    validate_users: int = 4096
    """At most so many users (drawn by the seed) are ranked at each validation."""
    patience: int = 5
    """Stop after so many validations without a better NDCG@10."""

    def __post_init__(self) -> None:
        check_least(self, "training", 1, "epochs", "batch", "validate_every", "validate_users", "patience")
        check_least(self, "training", 0, "learning_rate", "warmup", "weight_decay")
        check_least(self, "training", -1, "decay_steps")


@dataclass(frozen=True)
class Teacher:
    """Stage 3, teacher: a large sequential transformer over item ids and text vectors."""

    width: int = 64
    """Width of the item and user vectors."""
    layers: int = 2
    """Transformer blocks."""
    heads: int = 2
    """Attention heads."""
    blocks: tuple[Literal["sasrec", "gated", "hstu", "pooled"], ...] = ("sasrec",)
    """Transformer blocks of SASRec; with gated residuals and SwiGLU (LiGR, eSASRec); HSTU's pointwise attention; or the
    student's pooling. Several: --teacher.members take them in turn (unlike ones err differently; their mean gains)."""
    time: Literal["none", "history", "query"] = "none"
    """What attention is told: the order alone; the times of the history's events; with 'query', also when the next
    one happens, as if the question were asked at that moment (not to be compared with figures without it)."""
    dropout: float = 0.3
    """Dropped share of activations."""
    activations: Literal["float32", "bfloat16"] = "float32"
    """bfloat16 halves the bytes of activations and is what TPUs multiply; rows, parameters and sums stay float32."""
    fusion: Literal["add", "gated", "text", "tuned"] = "add"
    """An item's vector: its row + its projected text; a learned mixture of the two; its projected text alone; its text
    vector itself (its first principal components), fine-tuned as the item's row."""
    temperature: float = 0.0
    """Scores are cosines divided by it; 0: dot products."""
    loss: Literal["full_softmax", "sampled_softmax", "gbce", "bce", "bpr"] = "full_softmax"
    """Cross-entropy over the whole catalogue, or over --teacher.negatives shared samples with logQ correction; for
    comparison gBCE, BCE and BPR with as many samples, drawn evenly."""
    negatives: int = 512
    """Samples of the other losses."""
    members: int = 1
    """Models of this kind, from seeds of their own, whose scores are averaged: one wide teacher in several parts."""
    training: Training = field(default_factory=Training)
    """How it is trained; each member likewise."""

    def __post_init__(self) -> None:
        check_least(self, "teacher", 1, "width", "layers", "heads", "negatives", "members")
        check_least(self, "teacher", 0, "temperature")
        check_share(self, "teacher", "dropout")
        if not 1 <= len(self.blocks) <= self.members:
            least = max(1, len(self.blocks))
            found = f"teacher has blocks of {len(self.blocks)} kinds and members={self.members}"
            raise UserError(f"{found}: set members to {least} or more")


@dataclass(frozen=True)
class Student:
    """Stage 4, distill: a small student learns from labels and the teacher's lists, its control from labels alone."""

    width: int = 32
    """Width of the item and user vectors: what serving pays for."""
    encoder: Literal["pooled", "sasrec", "gated", "hstu"] = "pooled"
    """What makes a history a user vector: pooling and a small MLP, without attention; or transformer blocks."""
    time: Literal["none", "history"] = "none"
    """What it is told: the order alone, or also the times between the history's events."""
    kernels: int = 4
    """pooled: learned recency profiles by which a history is pooled."""
    hidden: int = 64
    """pooled: width of the one hidden layer on the pooled history."""
    layers: int = 1
    """Others: transformer blocks."""
    heads: int = 2
    """Others: attention heads."""
    dropout: float = 0.1
    """Dropped share of activations."""
    temperature: float = 0.07
    """Cosine scores are divided by it in the loss."""
    list_length: int = 50
    """Items in each of the teacher's lists."""
    list_weight: tuple[float, ...] = (0.8,)
    """What the teacher's lists weigh in the loss; labels weigh the rest. Two values: first to last epoch, linearly."""
    list_temperature: tuple[float, ...] = (1.0,)
    """The lists' logits are divided by it: above 1 they say more of what is not at their top. Two values as above."""
    prior: float = 0.0
    """So many times the log of its popularity is added to an item's logits in training: answers lean less to it."""
    ranking_weight: float = 0.0
    """Of the order within the list, besides (DE-RRD's relaxed ranking)."""
    alignment_weight: float = 0.0
    """Of the likeness between the teacher's item vectors and a learned projection of the student's, besides."""
    rounds: int = 0
    """Further rounds of lists over histories that did not happen; epochs take the rounds in turn, the log's first."""
    replaced: float = 0.3
    """Share of a further round's items that are drawn from what the teacher expected in their place."""
    training: Training = field(default_factory=Training)
    """How it is trained; the control is trained likewise."""

    def __post_init__(self) -> None:
        check_least(self, "student", 1, "width", "kernels", "hidden", "layers", "heads", "list_length")
        if self.encoder != "pooled" and self.width % self.heads:
            raise UserError(f"student has width={self.width} and heads={self.heads}: set heads to a divisor of width")
        check_least(self, "student", 0, "rounds", "prior", "ranking_weight", "alignment_weight")
        for name, fits in (("list_weight", lambda v: 0 <= v <= 1), ("list_temperature", lambda v: v > 0)):
            values = getattr(self, name)
            if isinstance(values, tuple) and not (len(values) in (1, 2) and all(map(fits, values))):
                needed = "one or two shares from 0 to 1" if name == "list_weight" else "one or two values above 0"
                raise UserError(f"student has {name}={values}: set {name} to {needed}")
        check_share(self, "student", "dropout", "replaced")
        check_range(self, "student", "more than 0", lambda value: value > 0, "temperature")


@dataclass(frozen=True)
class Compress:
    """Stage 5, compress: fewer dimensions, fewer bits, fewer weights."""

    points: tuple[str, ...] = ("int8", "int4", "sparse50")
    """What is made of the student: int8, int4, half (its first half of dimensions), w24 (24 of them), w24_int4,
    sparse50 (half of the network's weights are zero), int8_sparse50, …"""
    served: str = "int8"
    """Which of the points the index holds."""
    training: Training = field(
        default_factory=lambda: Training(epochs=6, learning_rate=5e-4, decay_steps=-1, validate_every=2)
    )
    """How what is narrowed, thinned or in int4 is trained on: as the student was, if narrower with lighter labels."""
    dropout: float = 0.1
    """Dropped share of activations while it is trained on: what is smaller overfits less."""

    def __post_init__(self) -> None:
        check_share(self, "compress", "dropout")
        if self.served not in self.points:
            have = ", ".join(self.points)
            raise UserError(
                f"compress has served={self.served!r}, which is none of its points: set it to one of {have}"
            )


@dataclass(frozen=True)
class Evaluate:
    """Stage 7, evaluate: one evaluator for all models, quality and cost."""

    k: tuple[int, ...] = (1, 5, 10, 20)
    """Cut-offs of the metrics; 10 is always among them."""
    exclude_seen: bool = True
    """Items of the user's history are not recommended."""
    resamples: int = 2000
    """Bootstrap samples behind every interval."""
    latency_repeats: int = 200
    """Single-user requests timed for p50 and p99."""


@dataclass(frozen=True)
class Mesh:
    """Devices: axes ("data", "model")."""

    data: int = 0
    """Devices along the batch; 0 takes all that are left."""
    model: int = 1
    """Devices along heads and MLP."""


@dataclass(frozen=True)
class Config:
    """The whole path; one file in configs/ is one experiment."""

    workdir: str
    """Where the artifacts go."""
    seed: int = 0
    """One seed: data order, initialisation, dropout and samples all follow from it."""
    data: Data = field(default_factory=Data)
    """Stage 1."""
    encode: Encode = field(default_factory=Encode)
    """Stage 2."""
    teacher: Teacher = field(default_factory=Teacher)
    """Stage 3."""
    student: Student = field(default_factory=Student)
    """Stage 4."""
    compress: Compress = field(default_factory=Compress)
    """Stage 5."""
    evaluate: Evaluate = field(default_factory=Evaluate)
    """Stage 7."""
    mesh: Mesh = field(default_factory=Mesh)
    """Devices."""
    save_every: int = 0
    """Steps of training between two saves (up to the end of a stretch of 16), all that a kill costs; 0: a minute."""
    wandb: str = ""
    """A Weights & Biases project to log to besides TensorBoard and JSONL; needs rexjax[wandb]."""

    def __post_init__(self) -> None:
        check_least(self, "config", 0, "save_every")


def load(path: str | Path) -> Config:
    """Runs ``get_config()`` of the Python file ``path`` and checks every value's type.

    Raises:
        UserError: no such file, no ``get_config``, an unknown key, a value of the wrong type.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(
            f"no config file {path}: name a Python file with a function get_config(), such as those in configs/"
        )
    spec = importlib.util.spec_from_file_location(f"rexjax_config_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise UserError(f"{path} is not a Python file: a config ends in .py and has a function get_config()")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        config = module.get_config()
    except TypeError as error:
        raise UserError(f"{path}: {error}: see `rexjax run --help` for all keys") from error
    except UserError:
        raise
    except Exception as error:  # a config is a program of the user's
        raise UserError(f"{path} cannot be read as a config: {error}") from error
    if not isinstance(config, Config):
        raise UserError(f"{path}: get_config() returned {type(config).__name__}, not rexjax.config.Config")
    check(config)
    return config
