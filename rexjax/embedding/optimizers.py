"""Row optimizers: the rule that moves one table row, given its summed gradient and its slots.

Each is called what it is (lazy Adam is not Adam: tensorflow#23668), and says where its eps stands (mlcommons/training
#622). They see every row at most once a step, with the gradient summed in float32 over all its occurrences in the
global batch: a row named twice moves once, by the sum, as in dense training.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import optax

from rexjax.errors import UserError

Slots = dict[str, jax.Array]
"""Per-row optimizer state, each float32 or int32 [V, D] or [V]."""


@dataclass(frozen=True)
class RowOptimizer:
    """What the rules share. ``step`` counts the updates before this one, as optax does: 0 at the first."""

    learning_rate: float | Callable[[jax.Array], jax.Array] = 1e-3
    """A number, or an optax schedule of the step."""
    weight_decay: float = 0.0
    """Decoupled (Loshchilov & Hutter 2019), only for the rows that a step touches."""
    clip: float = 0.0
    """A row's summed gradient is scaled down to this L2 norm; 0: never."""

    def slots(self, rows: int, width: int) -> Slots:
        """Slots of untouched rows."""
        return {}

    def current(self, rows: jax.Array, slots: Slots, step: jax.Array) -> jax.Array:
        """Rows [R, D] as they are before update ``step``."""
        return rows

    def apply(self, rows: jax.Array, gradients: jax.Array, slots: Slots, step: jax.Array) -> tuple[jax.Array, Slots]:
        """One update of rows float32 [R, D] by gradients float32 [R, D]."""
        if self.clip:
            norm = jnp.sqrt(jnp.sum(gradients**2, -1, keepdims=True))
            gradients = gradients * jnp.minimum(1, self.clip / jnp.maximum(norm, 1e-12))
        rows, slots = self.synchronise(rows, slots, step)
        move, slots = self.direction(gradients, slots, step)
        return rows - self.rate(step) * (move + self.weight_decay * rows), slots

    def synchronise(self, rows: jax.Array, slots: Slots, step: jax.Array) -> tuple[jax.Array, Slots]:
        """Makes up for the updates between a row's last one and ``step``."""
        return rows, slots

    def direction(self, gradients: jax.Array, slots: Slots, step: jax.Array) -> tuple[jax.Array, Slots]:
        """The move per unit of learning rate, and the new slots."""
        return gradients, slots

    def rate(self, step: jax.Array) -> jax.Array:
        """The learning rate of update ``step``."""
        rate = self.learning_rate(step) if callable(self.learning_rate) else self.learning_rate
        return jnp.asarray(rate, jnp.float32)


@dataclass(frozen=True)
class Sgd(RowOptimizer):
    """``row -= rate * g``."""


@dataclass(frozen=True)
class Adagrad(RowOptimizer):
    """``a += g²; row -= rate * g / (sqrt(a) + eps)`` (Duchi et al. 2011; eps outside the root, as in PyTorch)."""

    eps: float = 1e-10
    initial: float = 0.0
    """Where the accumulator starts."""

    def slots(self, rows: int, width: int) -> Slots:
        """``squares`` [V, D]."""
        return {"squares": jnp.full((rows, width), self.initial, jnp.float32)}

    def direction(self, gradients: jax.Array, slots: Slots, step: jax.Array) -> tuple[jax.Array, Slots]:
        """See the class."""
        squares = slots["squares"] + gradients**2
        return gradients / (jnp.sqrt(squares) + self.eps), {"squares": squares}


@dataclass(frozen=True)
class RowWiseAdagrad(RowOptimizer):
    """``a += mean(g²); row -= rate * g / (sqrt(a) + eps)``: one accumulator a row, eps outside the root (FBGEMM)."""

    eps: float = 1e-8
    initial: float = 0.0
    """Where the accumulator starts."""

    def slots(self, rows: int, width: int) -> Slots:
        """``squares`` [V]."""
        return {"squares": jnp.full((rows,), self.initial, jnp.float32)}

    def direction(self, gradients: jax.Array, slots: Slots, step: jax.Array) -> tuple[jax.Array, Slots]:
        """See the class."""
        squares = slots["squares"] + jnp.mean(gradients**2, -1)
        return gradients / (jnp.sqrt(squares) + self.eps)[:, None], {"squares": squares}


@dataclass(frozen=True)
class LazyAdam(RowOptimizer):
    """Adam (Kingma & Ba 2015) on touched rows only, bias-corrected by the global step; eps outside the root.

    The moments of other rows do not decay meanwhile: PyTorch's SparseAdam. With every row touched it is Adam.
    """

    b1: float = 0.9
    b2: float = 0.999
    eps: float = 1e-8

    def slots(self, rows: int, width: int) -> Slots:
        """``mean`` and ``variance``, both [V, D]."""
        zeros = jnp.zeros((rows, width), jnp.float32)
        return {"mean": zeros, "variance": zeros}

    def direction(self, gradients: jax.Array, slots: Slots, step: jax.Array) -> tuple[jax.Array, Slots]:
        """See the class."""
        mean = self.b1 * slots["mean"] + (1 - self.b1) * gradients
        variance = self.b2 * slots["variance"] + (1 - self.b2) * gradients**2
        return self.unbiased(mean, variance, step), slots | {"mean": mean, "variance": variance}

    def unbiased(self, mean: jax.Array, variance: jax.Array, step: jax.Array) -> jax.Array:
        """Adam's move per unit of rate; step int32 scalar or [R, 1]."""
        count = (step + 1).astype(jnp.float32)
        return mean / (1 - self.b1**count) / (jnp.sqrt(variance / (1 - self.b2**count)) + self.eps)


@dataclass(frozen=True)
class ExactAdam(LazyAdam):
    """Dense Adam, to rounding: an untouched row's moments decay and go on moving it, and it is caught up on touch.

    The moves since a row's last update are replayed, at most until the first moment has decayed to 1e-9 of itself
    (197 steps at b1 = 0.9); what is left of them is below rounding, and the moments' decay has a closed form.
    """

    def __post_init__(self) -> None:
        if self.weight_decay:
            raise UserError(
                "exact_adam takes no weight decay (it would move every row): set it to 0, or take lazy_adam"
            )

    def slots(self, rows: int, width: int) -> Slots:
        """Those of Adam and ``updates`` int32 [V]: how many updates the row has in it."""
        return super().slots(rows, width) | {"updates": jnp.zeros(rows, jnp.int32)}

    def current(self, rows: jax.Array, slots: Slots, step: jax.Array) -> jax.Array:
        """Rows with the moves since their last update."""
        return self.synchronise(rows, slots, step)[0]

    def synchronise(self, rows: jax.Array, slots: Slots, step: jax.Array) -> tuple[jax.Array, Slots]:
        """Replays updates ``slots["updates"] … step - 1``, whose gradient was zero."""
        done, horizon = slots["updates"][:, None], math.ceil(math.log(1e-9) / math.log(self.b1))
        missing = jnp.where(slots["mean"].any(-1, keepdims=True), step - done, 0)  # no moment, no move

        def replay(i: jax.Array, rows: jax.Array) -> jax.Array:
            age = i.astype(jnp.float32) + 1
            decayed = self.b1**age * slots["mean"], self.b2**age * slots["variance"]
            return rows - jnp.where(i < missing, self.rate(done + i) * self.unbiased(*decayed, done + i), 0)

        rows = jax.lax.fori_loop(0, jnp.minimum(missing.max(), horizon), replay, rows)
        lag = (step - done).astype(jnp.float32)
        mean, variance = self.b1**lag * slots["mean"], self.b2**lag * slots["variance"]
        return rows, {"mean": mean, "variance": variance, "updates": jnp.full_like(slots["updates"], step)}

    def direction(self, gradients: jax.Array, slots: Slots, step: jax.Array) -> tuple[jax.Array, Slots]:
        """See the class."""
        move, slots = super().direction(gradients, slots, step)
        return move, slots | {"updates": slots["updates"] + 1}


OPTIMIZERS = {
    "sgd": Sgd,
    "adagrad": Adagrad,
    "row_wise_adagrad": RowWiseAdagrad,
    "lazy_adam": LazyAdam,
    "exact_adam": ExactAdam,
}


def schedule(peak: float, warmup: int, decay_steps: int) -> optax.Schedule:
    """A linear warm-up to ``peak``; then, if ``decay_steps`` (warm-up included), a cosine down to a fiftieth of it.

    >>> rate = schedule(0.5, warmup=10, decay_steps=100)
    >>> [round(float(rate(step)), 3) for step in (0, 5, 10, 100)]
    [0.0, 0.25, 0.5, 0.01]
    """
    rising = optax.linear_schedule(0.0, peak, warmup)
    if not decay_steps:
        return rising
    return optax.join_schedules(
        [rising, optax.cosine_decay_schedule(peak, max(decay_steps - warmup, 1), 0.02)], [warmup]
    )
