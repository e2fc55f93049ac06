"""Compiled programs, kept on disk between runs."""

import os
from pathlib import Path

import jax


def keep_compiled_programs(least: float = 0.5) -> None:
    """Keeps programs that took ``least`` seconds to compile between runs, in JAX_COMPILATION_CACHE_DIR or the user's
    cache folder; a user without one keeps none."""
    if not os.environ.get("JAX_COMPILATION_CACHE_DIR") and (folder := cache_folder()):
        jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", least)


def cache_folder() -> Path | None:
    """Where this user's programs are kept; None where the user has no home, or may not write there."""
    try:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser(), "rexjax", "programs")
        folder.mkdir(parents=True, exist_ok=True)
    except (RuntimeError, OSError):
        return None
    return folder if os.access(folder, os.W_OK) else None
