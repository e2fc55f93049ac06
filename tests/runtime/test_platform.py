import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from rexjax.runtime import platform

TPU, CUDA = "libtpu", "jax_cuda12_plugin"


@pytest.mark.parametrize(
    ("packages", "files", "variables", "useless"),
    [
        ({TPU}, [], {}, True),
        (set(), [], {}, False),  # nothing complains
        ({TPU}, [], {"JAX_PLATFORMS": "tpu"}, False),
        ({TPU}, [], {"JAX_PLATFORMS": ""}, True),
        ({TPU}, ["dev/accel0"], {}, False),
        ({TPU}, ["dev/vfio/0"], {}, False),
        ({TPU}, ["dev/vfio/vfio"], {}, True),
        ({TPU}, [], {"TPU_NAME": "pod"}, False),
        ({TPU}, [], {"TPU_WORKER_HOSTNAMES": "a,b"}, False),
        ({TPU, CUDA}, ["dev/nvidia0"], {}, False),
        ({TPU}, ["dev/nvidia0"], {}, True),  # JAX cannot use it
        ({TPU, CUDA}, [], {}, True),
    ],
)
def test_libtpu_is_asked_only_where_a_tpu_may_be(tmp_path, packages, files, variables, useless):
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert platform.libtpu_is_useless(variables, tmp_path, packages.__contains__) is useless


@pytest.mark.parametrize(("product", "useless"), [("Google Compute Engine\n", False), ("OptiPlex 7090\n", True)])
def test_a_machine_of_googles_may_have_a_tpu(tmp_path, product, useless):
    folder = tmp_path / "sys/class/dmi/id"
    folder.mkdir(parents=True)
    (folder / "product_name").write_text(product)
    assert platform.libtpu_is_useless({}, tmp_path, {TPU}.__contains__) is useless


def test_the_devices_are_found_without_a_line_on_standard_error():
    code = "from rexjax.runtime.platform import skip_absent_tpu as s; s(); import jax; print(len(jax.devices()))"
    environment = {name: value for name, value in os.environ.items() if name not in ("JAX_PLATFORMS", "XLA_FLAGS")}
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert int(done.stdout) > 0 and done.stderr == ""


@pytest.mark.parametrize(
    ("platforms", "words"),
    [("cuda", "cuda"), ("tpu", "no TPU is attached"), ("rocm,cpu", "rocm"), ("nonsense", "nonsense")],
)
def test_a_platform_that_is_not_here_is_said_in_one_sentence(platforms, words):
    program = (
        "from rexjax.errors import UserError\n"
        "from rexjax.runtime import platform\n"
        "try:\n    platform.check_platform()\nexcept UserError as error:\n    print(error)"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TPU_")}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment | {"JAX_PLATFORMS": platforms},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert len(done.stdout.splitlines()) == 1, done.stdout + done.stderr
    assert f"JAX_PLATFORMS={platforms} asks for a device that is not here" in done.stdout and words in done.stdout


def test_flags_of_a_shell_change_no_dtype_and_no_random_number():
    with jax.enable_x64(True), jax.numpy_rank_promotion("raise"), jax.default_prng_impl("rbg"), platform.own_flags():
        assert jnp.arange(3.0).dtype == jnp.float32
        assert (jnp.ones((2, 3)) + jnp.ones(3)).shape == (2, 3)
        assert jax.random.key_data(jax.random.key(0)).shape == (2,)
