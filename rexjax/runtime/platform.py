"""Which platforms JAX looks for: where there is no TPU, libtpu is not asked, since it complains at length."""

import os
import sys
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path

_TPU_VARIABLES = (
    "TPU_NAME",
    "TPU_WORKER_HOSTNAMES",
    "TPU_WORKER_ID",
    "TPU_ACCELERATOR_TYPE",
    "TPU_CHIPS_PER_HOST_BOUNDS",
    "TPU_VISIBLE_DEVICES",
    "TPU_VISIBLE_CHIPS",
    "COLAB_TPU_ADDR",
    "JAX_FORCE_TPU_INIT",
)
_TPU_FILES = ("dev/accel*", "dev/vfio/[0-9]*")
_GPU_FILES = ("dev/nvidia[0-9]*", "dev/nvidiactl", "dev/dxg", "dev/kfd")
_GPU_PLUGINS = ("jax_cuda12_plugin", "jax_cuda13_plugin", "jax_rocm60_plugin", "jax_rocm7_plugin")


def skip_absent_tpu() -> None:
    """Sets JAX_PLATFORMS to cpu where libtpu is installed and no TPU is there. Must run before JAX is imported."""
    if "jax" not in sys.modules and libtpu_is_useless(os.environ):
        os.environ["JAX_PLATFORMS"] = "cpu"


def libtpu_is_useless(
    environment: Mapping[str, str], root: Path = Path("/"), installed: Callable[[str], bool] | None = None
) -> bool:
    """Whether JAX would ask libtpu in vain, and nothing but the CPU is there.

    Args:
        environment: variables; JAX_PLATFORMS there is the user's choice.
        root: of the file system with device files.
        installed: (name of a package) → whether it can be imported; by default ``find_spec`` says so.
    """
    has = installed or _is_installed
    if environment.get("JAX_PLATFORMS") or not has("libtpu"):
        return False
    return not (_has_tpu(environment, root) or (_any_file(root, _GPU_FILES) and any(map(has, _GPU_PLUGINS))))


def _has_tpu(environment: Mapping[str, str], root: Path) -> bool:
    return any(map(environment.get, _TPU_VARIABLES)) or _any_file(root, _TPU_FILES) or _is_google_machine(root)


def _is_google_machine(root: Path) -> bool:
    """A virtual machine of Google's may have a TPU that its device files do not show."""
    try:
        return "Google" in (root / "sys/class/dmi/id/product_name").read_text()
    except OSError:
        return False


def _any_file(root: Path, patterns: tuple[str, ...]) -> bool:
    return any(next(root.glob(pattern), None) is not None for pattern in patterns)


def _is_installed(name: str) -> bool:
    return find_spec(name) is not None
