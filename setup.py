"""Builds the CPU kernels, one shared library for each instruction set; everything else is in pyproject.toml.

The libraries have a plain C interface, which ``lcat.ops._native`` calls through ctypes: no torch and no Python
headers are needed, and one wheel serves every Python and torch version of a platform. They are optional:
without a C++ compiler (gcc or clang) the package installs, and ``lcat.ops.explain()`` says what is missing.
"""

from __future__ import annotations

import copy
import os
import platform
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

INSTRUCTION_SETS = {"baseline": ["-O3"]}
if platform.machine().lower() in {"x86_64", "amd64"}:
    # Processors of the last ten years load one of the others, so this one need not be the fastest: -O1 spares all who
    # install it most of the time that its compilation takes.
    INSTRUCTION_SETS["baseline"] = ["-O1"]
    INSTRUCTION_SETS["avx2"] = ["-O3", "-mavx2", "-mfma"]
    INSTRUCTION_SETS["avx512"] = [
        "-O3",
        *("-mavx512f", "-mavx512vl", "-mavx512bw", "-mavx512dq", "-mavx2", "-mfma"),
        "-mprefer-vector-width=512",
    ]

# Errno and floating point traps are never looked at. No flag lets the compiler reorder sums or forget NaN, and
# none goes to the linker, where -ffast-math would switch denormals off for the whole process.
FLAGS = [
    *("-std=c++17", "-g0", "-fvisibility=hidden"),
    *("-fno-math-errno", "-fno-trapping-math"),
    *("-Wno-psabi", "-Wno-ignored-attributes", "-Wno-maybe-uninitialized"),
]

SOURCES = Path("lcat/ops/csrc")  # relative, as setuptools wants them
#: A minute each on a slow core, where the others take seconds: they begin first, so that no core waits at the end.
LONGEST = ("gatv2_attention", "dot_attention", "gat_attention")


class BuildSideBySide(build_ext):
    """Compiles the files of all libraries at once, one per core: optimizing them takes minutes of processor time."""

    def build_extensions(self) -> None:
        # Six at a time need up to 3 GB of memory, and take hardly longer than the longest file alone.
        with ThreadPoolExecutor(self.parallel or min(os.cpu_count() or 1, 6)) as self.cores:
            self.parallel = len(self.extensions)  # threads, which only wait for files and link them
            super().build_extensions()

    def build_extension(self, ext: Extension) -> None:
        # Every library is made of the same sources: object files in one folder would overwrite each other.
        alone = copy.copy(self)
        alone.build_temp = str(Path(self.build_temp, ext.name))
        alone.compiler = copy.copy(self.compiler)
        alone.compiler.compile = partial(self.compile_on_cores, self.compiler.compile)
        super(BuildSideBySide, alone).build_extension(ext)

    def compile_on_cores(self, compile_files, sources: list[str], **options) -> list[str]:
        objects = self.cores.map(lambda source: compile_files([source], **options), sources)
        return [name for names in objects for name in names]


setup(
    cmdclass={"build_ext": BuildSideBySide},
    ext_modules=[
        Extension(
            f"lcat.ops._native_{name}",
            sorted(map(str, SOURCES.glob("*.cpp")), key=lambda name: Path(name).stem not in LONGEST),
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
