"""Builds the CPU kernels, one shared library for each instruction set; everything else is in pyproject.toml.

The libraries have a plain C interface, which ``lcat.ops._native`` calls through ctypes: no torch and no Python
headers are needed, and one wheel serves every Python and torch version of a platform. They are optional:
without a C++ compiler (gcc or clang) the package installs, and ``lcat.ops.explain()`` says what is missing.
"""

from __future__ import annotations

import copy
import os
import platform
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

INSTRUCTION_SETS = {"baseline": []}
if platform.machine().lower() in {"x86_64", "amd64"}:
    INSTRUCTION_SETS["avx2"] = ["-mavx2", "-mfma"]
    INSTRUCTION_SETS["avx512"] = [
        *("-mavx512f", "-mavx512vl", "-mavx512bw", "-mavx512dq", "-mavx2", "-mfma"),
        "-mprefer-vector-width=512",
    ]

# Errno and floating point traps are never looked at. No flag lets the compiler reorder sums or forget NaN, and
# none goes to the linker, where -ffast-math would switch denormals off for the whole process.
FLAGS = [
    *("-std=c++17", "-O3", "-g0", "-fvisibility=hidden"),
    *("-fno-math-errno", "-fno-trapping-math"),
    *("-Wno-psabi", "-Wno-ignored-attributes", "-Wno-maybe-uninitialized"),
]

SOURCES = Path("lcat/ops/csrc")  # relative, as setuptools wants them


class BuildSideBySide(build_ext):
    """Compiles the libraries at once, one per core: optimizing them takes over a minute of processor time."""

    def finalize_options(self) -> None:
        super().finalize_options()
        self.parallel = self.parallel or os.cpu_count()

    def build_extension(self, ext: Extension) -> None:
        # Every library is made of the same sources: object files in one folder would overwrite each other.
        alone = copy.copy(self)
        alone.build_temp = str(Path(self.build_temp, ext.name))
        super(BuildSideBySide, alone).build_extension(ext)


setup(
    cmdclass={"build_ext": BuildSideBySide},
    ext_modules=[
        Extension(
            f"lcat.ops._native_{name}",
            sorted(map(str, SOURCES.glob("*.cpp"))),
            depends=sorted(map(str, SOURCES.glob("*.h"))),
            extra_compile_args=FLAGS + flags,
            extra_link_args=["-pthread"],
            language="c++",
            optional=True,
            py_limited_api=True,
        )
        for name, flags in reversed(INSTRUCTION_SETS.items())  # the longest to compile first
    ],
    options={"bdist_wheel": {"py_limited_api": "cp310"}},
)
