"""Benchmark scripts as functions."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


def runner(monkeypatch: pytest.MonkeyPatch, folder: str = "") -> Callable[..., dict[str, Any]]:
    """Runs a script of ``benchmarks``, or of a folder in it, with arguments; without any it is only imported."""
    for path in (FOLDER, FOLDER / folder):
        monkeypatch.syspath_prepend(str(path))

    def run(name: str, *arguments: str) -> dict[str, Any]:
        monkeypatch.setattr(sys, "argv", [str(Path("benchmarks", folder, f"{name}.py")), *arguments])
        return runpy.run_path(str(FOLDER / folder / f"{name}.py"), run_name="__main__" if arguments else name)

    return run
