"""Builds the C++ loops of rexjax.native where there is a compiler; pyproject.toml holds all else."""

import sys
from pathlib import Path

import jaxlib
from setuptools import Extension, setup

LOOPS = Extension(
    "rexjax.native._loops",
    sources=sorted(str(path) for path in Path("rexjax/native").glob("*.cc")),
    extra_compile_args=[
        "-std=c++17",
        "-O3",
        "-fno-math-errno",
        "-fno-trapping-math",
        "-Wno-psabi",
        "-Wno-attributes",
        f"-isystem{Path(jaxlib.__file__).parent / 'include'}",
    ],
    depends=["rexjax/native/parallel.h"],
    language="c++",
    optional=True,  # without a compiler the package works in XLA alone
)

setup(ext_modules=[LOOPS] if sys.platform == "linux" else [])
