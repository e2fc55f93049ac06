"""No engine builds the image here: its RUN lines are run by a shell, with stand-ins for what they call."""

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent.parent
DOCKERFILE = (REPOSITORY / "launch/Dockerfile").read_text()
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]


def instructions(name):
    joined = "\n".join(line for line in DOCKERFILE.splitlines() if not line.startswith("#")).replace("\\\n", "")
    return re.findall(rf"^{name} +(.*)$", joined, re.M)


@pytest.mark.parametrize(
    ("extras", "jax", "installed"),
    [
        ("all", "", ["rexjax-0.1.0-py3-none-any.whl[all]"]),
        ("serve", "tpu", ["rexjax-0.1.0-py3-none-any.whl[serve]", "jax[tpu]"]),
    ],
)
def test_what_the_image_installs(tmp_path, extras, jax, installed):
    (tmp_path / "rexjax-0.1.0-py3-none-any.whl").touch()
    (tmp_path / "pip").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    (tmp_path / "pip").chmod(0o755)
    run = next(line for line in instructions("RUN") if "EXTRAS" in line)
    command = re.sub(r"^--mount=\S+\s+", "", run).replace("/wheels", str(tmp_path))
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "EXTRAS": extras, "JAX": jax}
    done = subprocess.run(["/bin/sh", "-c", command], env=environment, capture_output=True, text=True, check=True)
    assert [word.removeprefix(f"{tmp_path}/") for word in done.stdout.splitlines()[2:]] == installed


def test_extras_exist_and_python_is_one_that_the_project_supports():
    arguments = dict(line.partition("=")[::2] for line in instructions("ARG"))
    assert set(arguments["EXTRAS"].split(",")) <= set(PROJECT["optional-dependencies"])
    oldest = tuple(map(int, PROJECT["requires-python"].removeprefix(">=").split(".")))
    assert tuple(map(int, arguments["PYTHON"].split("."))) >= oldest


def test_the_wheel_is_made_of_what_is_copied_and_nothing_else_is_sent():
    copied = {name for line in instructions("COPY") for name in line.split()[:-1]}
    assert all((REPOSITORY / name).exists() for name in copied)
    ignored = (REPOSITORY / "launch/Dockerfile.dockerignore").read_text().splitlines()
    assert {line[1:] for line in ignored if line.startswith("!")} == copied
    assert {PROJECT["readme"], *PROJECT["license-files"], "pyproject.toml", "setup.py", "rexjax"} == copied


def test_it_is_not_root_and_starts_the_command():
    assert instructions("USER")[-1] == "1000"
    assert instructions("ENTRYPOINT") == ['["rexjax"]'] and "rexjax" in PROJECT["scripts"]
