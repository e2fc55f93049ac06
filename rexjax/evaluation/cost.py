"""What an answer costs: work counted by the compiler, time measured, memory held."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats

from rexjax import native


def compiled_cost(fn: Callable[..., Any], *shapes: Any) -> dict[str, float]:
    """Work of one call, from the compiler's own count (HLO cost analysis of the optimised module).

    The body of a loop (`jax.lax.scan`, `map`) counts once, however often it runs: measure a function without one.

    Args:
      fn: a function of arrays, jitted or not.
      *shapes: pytrees of `jax.ShapeDtypeStruct` or arrays, its arguments; no values are needed.

    Returns:
      ``{"flops": floating-point operations, "bytes_accessed": bytes}``; 0 where the compiler gives no figure.

    >>> import jax, jax.numpy as jnp
    >>> vector = jax.ShapeDtypeStruct((100,), jnp.float32)
    >>> compiled_cost(lambda x: x + x, vector)["flops"]
    100.0
    """
    with native.without():  # the compiler does not count what is not its own
        lowered = (fn if hasattr(fn, "lower") else jax.jit(fn)).lower(*shapes)
    analysis = lowered.compile().cost_analysis() or {}
    if isinstance(analysis, (list, tuple)):  # one entry per program before jax 0.4.36
        analysis = analysis[0] if analysis else {}
    found = {"flops": "flops", "bytes_accessed": "bytes accessed"}
    return {name: max(float(analysis.get(key, 0.0)), 0.0) for name, key in found.items()}


def interleaved(
    requests: Mapping[str, tuple[Callable[..., Any], Callable[[int], tuple]]], repeats: int = 200
) -> dict[str, np.ndarray]:
    """Times of several functions that take turns, so that what else the machine does meets all of them alike.

    Args:
      requests: by name, a function, usually jitted, and what makes its arguments of a call's number; that is not timed.
        All arguments of a function have one shape: its first call, not counted, compiles.
      repeats: calls timed of each. The order changes from round to round.

    Returns:
      float64 [repeats] by name, seconds from a call until its answer is there.

    >>> import jax, jax.numpy as jnp
    >>> add = jax.jit(jnp.add)
    >>> interleaved({"add": (add, lambda number: (jnp.ones(4), number))}, repeats=3)["add"].shape
    (3,)
    """
    for fn, make_args in requests.values():
        jax.block_until_ready(fn(*make_args(0)))
    names, seconds = list(requests), {name: np.zeros(repeats) for name in requests}
    for number in range(repeats):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            fn, make_args = requests[name]
            seconds[name][number] = _timed(fn, jax.block_until_ready(make_args(number)))
    return seconds


def quantile(seconds: np.ndarray, share: float) -> tuple[float, float, float]:
    """A quantile of times and its 95 % interval, in milliseconds.

    The interval lies between two order statistics (the binomial distribution of how many times fall below the
    quantile), and needs no shape of the distribution.

    Args:
      seconds: float [n].
      share: 0.5 for the median.

    Returns:
      Quantile, low, high.

    >>> quantile(np.arange(1, 100) / 1000, 0.5)
    (50.0, 40.0, 60.0)
    """
    ordered = np.sort(seconds) * 1e3
    low, high = scipy.stats.binom.interval(0.95, len(ordered), share)
    last = len(ordered) - 1
    return (
        float(np.quantile(ordered, share)),
        float(ordered[max(int(low) - 1, 0)]),
        float(ordered[min(int(high), last)]),
    )


def tree_bytes(tree: Any) -> int:
    """Bytes of all leaves, arrays or shapes; types under 8 bits count as packed.

    >>> import jax.numpy as jnp
    >>> tree_bytes({"rows": jnp.zeros((2, 3)), "codes": jnp.zeros(4, jnp.int8)})
    28
    """
    return sum(-(-leaf.size * _bits(leaf.dtype) // 8) for leaf in jax.tree.leaves(tree))


def tree_parameters(tree: Any) -> int:
    """Numbers in all leaves, arrays or shapes.

    >>> import jax.numpy as jnp
    >>> tree_parameters({"rows": jnp.zeros((2, 3)), "codes": jnp.zeros(4, jnp.int8)})
    10
    """
    return sum(int(leaf.size) for leaf in jax.tree.leaves(tree))


def _timed(fn: Callable[..., Any], args: tuple) -> float:
    start = time.perf_counter()
    jax.block_until_ready(fn(*args))
    return time.perf_counter() - start


def _bits(dtype: Any) -> int:
    if jnp.issubdtype(dtype, jnp.integer):
        return jnp.iinfo(dtype).bits
    return np.dtype(dtype).itemsize * 8
