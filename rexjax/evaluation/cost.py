"""What an answer costs: work counted by the compiler, time measured, memory held."""

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


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
    lowered = (fn if hasattr(fn, "lower") else jax.jit(fn)).lower(*shapes)
    analysis = lowered.compile().cost_analysis() or {}
    if isinstance(analysis, (list, tuple)):  # one entry per program before jax 0.4.36
        analysis = analysis[0] if analysis else {}
    found = {"flops": "flops", "bytes_accessed": "bytes accessed"}
    return {name: max(float(analysis.get(key, 0.0)), 0.0) for name, key in found.items()}


def latency(fn: Callable[..., Any], make_args: Callable[[int], tuple], repeats: int = 200) -> dict[str, float]:
    """Time until one user's answer is there, one request after another.

    Args:
      fn: a request, usually jitted.
      make_args: number of the request to the arguments of ``fn``; not timed. All of one shape: only the first call, not
        counted, compiles.
      repeats: requests timed.

    Returns:
      ``{"p50_ms", "p99_ms"}``, milliseconds.

    >>> import jax, jax.numpy as jnp
    >>> sorted(latency(jax.jit(jnp.sum), lambda request: (jnp.full(4, request),), repeats=3))
    ['p50_ms', 'p99_ms']
    """
    jax.block_until_ready(fn(*make_args(0)))
    seconds = [_timed(fn, jax.block_until_ready(make_args(request))) for request in range(repeats)]
    p50, p99 = np.percentile(seconds, [50, 99]) * 1e3
    return {"p50_ms": float(p50), "p99_ms": float(p99)}


def throughput(fn: Callable[..., Any], args: tuple, batch: int, seconds: float = 1.0) -> float:
    """Users answered per second by calls of ``batch`` users each, from the median call within ``seconds``.

    Args:
      fn: answers a batch, usually jitted; called once before the clock starts.
      args: its arguments, for ``batch`` users.
      batch: users per call.
      seconds: about how long to measure; at least three calls.

    Returns:
      Users per second.

    >>> import jax, jax.numpy as jnp
    >>> throughput(jax.jit(jnp.sum), (jnp.ones(4),), batch=4, seconds=0.001) > 0
    True
    """
    jax.block_until_ready(fn(*args))
    times: list[float] = []
    while len(times) < 3 or sum(times) < seconds:
        times.append(_timed(fn, args))
    return batch / float(np.median(times))


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
