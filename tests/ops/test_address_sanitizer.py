"""The tests of the compiled kernels once more, with kernels that AddressSanitizer watches."""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest

import lcat
from lcat.ops import native_status

ROOT = Path(lcat.__file__).parents[1]
TESTS = (
    "tests/ops/test_native.py",
    "tests/ops/test_group_edges.py",
    "tests/ops/test_freed_memory.py",
    "tests/ops/test_operands.py",
    "tests/ops/test_feature_dropout.py",
    "tests/ops/test_attention_dropout.py",
    "tests/test_graph.py",
)
# Tests of the library's files, which are others here, and of processes, which are slow here.
LEFT_OUT = "not every_instruction_set and not library and not compile and not thread and not process"
# One number more than the source has: AddressSanitizer must end the process.
BEYOND_THE_END = """
import torch
from lcat.ops import _native
source, target = torch.zeros(1000, dtype=torch.int64), torch.zeros(2000, dtype=torch.int32)
_native.loaded_library().lcat_narrow(source.data_ptr(), 1001, target.data_ptr())
"""

pytestmark = pytest.mark.long


def library(compiler: str, *names: str) -> str | None:
    """The first of these libraries that the compiler has."""
    for name in names:
        run = subprocess.run([compiler, f"-print-file-name={name}"], capture_output=True, text=True, check=False)
        path = Path(run.stdout.strip())
        if path.is_absolute() and path.exists():
            return str(path.resolve())
    return None


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A copy of the package and its tests with watched kernels, and the environment to run it in."""
    compiler = shutil.which(os.environ.get("CXX", "g++")) or shutil.which("clang++")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("AddressSanitizer needs Linux and a C++ compiler: none was found")
    sanitizer = library(compiler, "libasan.so", "libclang_rt.asan-x86_64.so", "libclang_rt.asan.so")
    # AddressSanitizer looks for the function that throws exceptions when it starts, before torch loads this.
    exceptions = library(compiler, "libstdc++.so.6")
    if sanitizer is None or exceptions is None:
        pytest.skip(f"{compiler} has no libasan: install it (gcc brings it, clang has compiler-rt)")
    if native_status().instruction_set is None:
        pytest.skip(f"no compiled kernels: {native_status().problem}")
    folder = tmp_path_factory.mktemp("watched")
    for name in ("lcat", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    with mock.patch("setuptools.setup"):
        build = runpy.run_path(str(ROOT / "setup.py"))
    instruction_set = native_status().instruction_set
    subprocess.run(
        [
            *(compiler, "-shared", "-fPIC", *build["FLAGS"], *build["INSTRUCTION_SETS"][instruction_set]),
            *("-O1", "-g", "-fno-omit-frame-pointer", "-fsanitize=address", "-pthread"),
            *sorted(map(str, (ROOT / build["SOURCES"]).glob("*.cpp"))),
            *("-o", str(folder / "lcat" / "ops" / f"_native_{instruction_set}.abi3.so")),
        ],
        check=True,
    )
    # torch frees with another function than it allocates with in places, and nothing here is about leaks.
    options = "detect_leaks=0:alloc_dealloc_mismatch=0:exitcode=99"
    environment = {
        "PYTHONPATH": str(folder),
        "LD_PRELOAD": f"{sanitizer} {exceptions}",
        "ASAN_OPTIONS": options,
        "OMP_NUM_THREADS": "1",
    }
    return folder, {**os.environ, **environment}


def run(watched: tuple[Path, dict[str, str]], *arguments: str) -> subprocess.CompletedProcess[str]:
    folder, environment = watched
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_it_watches(watched: tuple[Path, dict[str, str]]) -> None:
    status = run(watched, "-c", "import lcat.ops; print(lcat.ops.native_status().path)")
    assert str(watched[0]) in status.stdout, status.stderr
    wrong = run(watched, "-c", BEYOND_THE_END)
    assert wrong.returncode == 99
    assert "AddressSanitizer: heap-buffer-overflow" in wrong.stderr
    assert "lcat_narrow" in wrong.stderr


def test_kernels_read_and_write_their_own_memory(watched: tuple[Path, dict[str, str]]) -> None:
    tests = run(watched, "-m", "pytest", "-x", "-q", "-s", "-m", "long or not long", "-k", LEFT_OUT, *TESTS)
    assert tests.returncode == 0, (tests.stdout + tests.stderr)[-10_000:]
