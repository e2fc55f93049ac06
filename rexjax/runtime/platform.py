"""Which platforms JAX looks for, and under which of its flags rexjax runs.

Where there is no TPU, libtpu is not asked, since it complains at length. Flags that change dtypes, shapes or random
numbers would change results, so that they are the same here whatever a shell or notebook sets.
"""

import contextlib
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from importlib.util import find_spec
from pathlib import Path

from rexjax.errors import UserError

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
_FLAGS = {
    "jax_enable_x64": False,
    "jax_numpy_dtype_promotion": "standard",
    "jax_numpy_rank_promotion": "allow",
    "jax_default_prng_impl": "threefry2x32",
    "jax_threefry_partitionable": True,
}
"""What rexjax is written and tested for."""


@contextlib.contextmanager
def own_flags() -> Iterator[None]:
    """Within, JAX's flags are those that results are made with, in this thread; and no warning is an error for
    PYTHONWARNINGS alone."""
    import jax

    with contextlib.ExitStack() as stack:
        if warnings_are_errors():
            stack.enter_context(warnings.catch_warnings())
            warn_as_usual()
        for name, value in _FLAGS.items():
            stack.enter_context(getattr(jax, name.removeprefix("jax_"))(value))
        yield


def warnings_are_errors() -> bool:
    """Whether PYTHONWARNINGS or -W say so; they speak to those who write the packages used here."""
    return any(option.startswith("error") for option in sys.warnoptions)


def warn_as_usual() -> None:
    """Python's own choice of warnings, for the whole process."""
    warnings.simplefilter("default")
    for kind in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
        warnings.simplefilter("ignore", kind)


def set_flags(environment: MutableMapping[str, str]) -> None:
    """The same for a whole process of rexjax's own, all threads. Must run before JAX is imported."""
    environment.update({name.upper(): str(value).lower() for name, value in _FLAGS.items()})


def check_platform() -> None:
    """Opens the devices that JAX_PLATFORMS names.

    Raises:
        UserError: there are none of that kind here.
    """
    named = os.environ.get("JAX_PLATFORMS", "")
    if "tpu" in named and not _has_tpu(os.environ, Path("/")):
        raise UserError(_no_platform(named, "no TPU is attached to this machine"))
    import jax

    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:  # a platform without a plugin fails an assertion of JAX's
        reason = str(error).partition(" (set JAX_PLATFORMS")[0] or f"JAX has no plugin for {named}"
        raise UserError(_no_platform(named, reason)) from error


def _no_platform(named: str, reason: str) -> str:
    return (
        f"JAX_PLATFORMS={named} asks for a device that is not here ({reason}): unset it to use what there is, or "
        "install JAX for that device, such as pip install 'jax[cuda12]'"
    )


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
