"""The rankers that there are, from a sum of weights to two streams and several tasks."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from rexjax.embedding.ftrl import Ftrl, zeros
from rexjax.embedding.optimizers import Adagrad, LazyAdam, RowOptimizer
from rexjax.embedding.table import Table
from rexjax.errors import UserError, check_share
from rexjax.families.ranking import Ranker
from rexjax.models.fields import Arrays, Crosses, Fields, combine_slots
from rexjax.models.interactions import (
    CrossNet,
    DeepFMNet,
    DotNet,
    Embedded,
    FactorizationNet,
    LinearNet,
    MixtureNet,
    SharedBottomNet,
    TwoStreamNet,
    WideDeepNet,
)


@dataclass(frozen=True)
class LogisticRegression(Ranker):
    """The sum of a weight for each value. The width does not matter."""

    width: int = 1

    def network(self) -> nn.Module:
        """A sum."""
        return LinearNet()


@dataclass(frozen=True)
class FM(Ranker):
    """A factorisation machine (Rendle 2010)."""

    def network(self) -> nn.Module:
        """Dot products of all pairs."""
        return FactorizationNet()


@dataclass(frozen=True)
class DeepRanker(Ranker):
    """A ranker with dense layers."""

    hidden: tuple[int, ...] = (400, 400, 400)
    """Widths of the layers."""
    dropout: float = 0.2
    """Dropped share of activations."""
    norm: bool = True
    """Batch normalisation."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_share(self, type(self).__name__, "dropout")
        if not self.hidden or min(self.hidden) < 1:
            raise UserError(f"{type(self).__name__} has hidden={self.hidden}: set one width or more, each 1 or more")


@dataclass(frozen=True)
class WideDeep(DeepRanker):
    """Wide & Deep (Cheng et al. 2016): weights of values and of crosses by FTRL with L1, a network by Adagrad, and one
    joint loss."""

    crosses: Crosses = Crosses()
    """Products of fields in the wide part."""
    deep: Literal["adagrad", "adam"] = "adagrad"
    """The rule of the deep part."""
    wide_rate: float = 0.1
    """Step size of FTRL."""
    wide_l1: float = 5e-4
    """L1 of FTRL: with batches of 4096 and their mean loss, three one-sided examples outweigh it."""
    wide_beta: float = 2e-4
    """Beta of FTRL: one over the batch is as 1 with a sum of losses."""

    def network(self) -> nn.Module:
        """A sum and a network."""
        return WideDeepNet(self.hidden, self.dropout, self.norm)

    def row_optimizer(self) -> RowOptimizer:
        """Of the vectors."""
        rate = self.training.learning_rate
        return Adagrad(rate, initial=1e-8) if self.deep == "adagrad" else LazyAdam(rate)

    def optimizer(self) -> optax.GradientTransformation:
        """Of the network."""
        rate = self.training.learning_rate
        return optax.adagrad(rate, 1e-8, 1e-10) if self.deep == "adagrad" else optax.adam(rate)

    def tables(self, fields: Fields) -> dict[str, Table]:
        """The vectors, and the wide weights, which start at zero."""
        rows, sparse = fields.rows + sum(self.crosses.sizes(fields)), self.training.sparse
        rule = Ftrl(self.wide_rate, beta=self.wide_beta, l1=self.wide_l1)
        return {
            "fields": Table(
                "fields", fields.rows, self.width, stddev=self.stddev, optimizer=self.row_optimizer(), sparse=sparse
            ),
            "wide": Table("wide", rows, 1, initializer=zeros, optimizer=rule, sparse=sparse),
        }

    def ids(self, fields: Fields, arrays: Arrays) -> dict[str, jax.Array]:
        """Values for both tables, and crosses for the wide one."""
        values = fields.slots(arrays).ids
        if not self.crosses.of:
            return {"fields": values, "wide": values}
        crossed = self.crosses.ids(fields, arrays) + fields.rows
        return {"fields": values, "wide": jnp.concatenate([values, crossed], 1)}

    def embed(self, fields: Fields, rows: Mapping[str, jax.Array], arrays: Arrays) -> Embedded:
        """Vectors of one table, weights of the other."""
        slots, widths = fields.slots(arrays), fields.widths(arrays)
        count, wide = slots.ids.shape[1], rows["wide"][..., 0]
        linear = (wide[:, :count] * slots.weights).sum(1) + wide[:, count:].sum(1)
        return Embedded(combine_slots(rows["fields"], slots, widths), linear, fields.numbers(arrays))


@dataclass(frozen=True)
class DeepFM(DeepRanker):
    """A factorisation machine and a network of the same vectors (Guo et al. 2017)."""

    def network(self) -> nn.Module:
        """Both, added."""
        return DeepFMNet(self.hidden, self.dropout, self.norm)


@dataclass(frozen=True)
class DCNv2(DeepRanker):
    """Cross layers beside a network (Wang et al. 2021)."""

    crosses: int = 3
    """Cross layers."""
    rank: int = 0
    """Of their matrices; 0: they are whole."""

    def network(self) -> nn.Module:
        """Both, side by side."""
        return CrossNet(self.crosses, self.rank, self.hidden, self.dropout, self.norm)


@dataclass(frozen=True)
class DLRM(DeepRanker):
    """Dot products of the fields below a network (Naumov et al. 2019)."""

    bottom: tuple[int, ...] = (64,)
    """Hidden widths of the network of the numbers."""

    def network(self) -> nn.Module:
        """``hidden`` are the widths of the top."""
        return DotNet(self.bottom, self.hidden, self.dropout, self.norm)


@dataclass(frozen=True)
class FinalMLP(DeepRanker):
    """Two streams with gates over the fields and a bilinear end (Mao et al. 2023)."""

    hidden: tuple[int, ...] = (400,)
    """Widths of the first stream."""
    second: tuple[int, ...] = (100,)
    """Widths of the second stream."""
    heads: int = 5
    """Of the bilinear form; divides both last widths."""
    gates: tuple[int, int] = (0, 1)
    """The places of the fields that the streams' gates are computed of; -1: a learned constant."""
    gate_hidden: int = 400
    """Width of the gates' hidden layer."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.hidden[-1] % self.heads or self.second[-1] % self.heads:
            raise UserError(
                f"FinalMLP has heads={self.heads}, which does not divide {self.hidden[-1]} and {self.second[-1]}: set "
                "heads to a divisor of both"
            )

    def network(self) -> nn.Module:
        """Two streams."""
        return TwoStreamNet(self.hidden, self.second, self.heads, self.gates, self.gate_hidden, self.dropout, self.norm)


@dataclass(frozen=True)
class SharedBottom(DeepRanker):
    """Several tasks, such as click and purchase, above one network (Caruana 1997)."""

    tasks: int = 2
    """T."""
    tower: tuple[int, ...] = (64,)
    """Hidden widths of each task's own network."""

    def network(self) -> nn.Module:
        """``hidden`` are the widths of what is shared."""
        return SharedBottomNet(self.tasks, self.hidden, self.tower, self.dropout, self.norm)


@dataclass(frozen=True)
class MMoE(SharedBottom):
    """Several tasks that mix shared experts, each by a gate of its own (Ma et al. 2018)."""

    experts: int = 4
    """How many."""

    def network(self) -> nn.Module:
        """``hidden`` are the widths of an expert."""
        return MixtureNet(self.tasks, self.experts, self.hidden, self.tower, self.dropout, self.norm)
