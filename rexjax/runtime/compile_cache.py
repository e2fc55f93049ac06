"""Compiled programs, kept on disk between runs."""

import os

import jax


def keep_compiled_programs(least: float = 0.5) -> None:
    """Keeps programs that took ``least`` seconds to compile between runs, in JAX_COMPILATION_CACHE_DIR or the user's
    cache folder."""
    if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
        jax.config.update("jax_compilation_cache_dir", os.path.join(cache, "rexjax", "programs"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", least)
