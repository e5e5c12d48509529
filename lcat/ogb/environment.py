"""The machine and the versions that a result was made with."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

import torch

from lcat._environment import package_version, processor
from lcat._version import __version__

__all__ = ["hardware", "versions"]


def hardware(device: torch.device, world_size: int) -> str:
    """The processor or the accelerators that were used."""
    if device.type == "cuda":
        gpu = torch.cuda.get_device_properties(device)
        return f"{world_size} x {gpu.name} ({gpu.total_memory / 1e9:.0f} GB)"
    processes = f", {world_size} processes" if world_size > 1 else ""
    return f"{processor()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads{processes}"


def versions() -> dict[str, str]:
    """Of everything that a result depends on."""
    packages = {name: package_version(name) or "missing" for name in ("ogb", "torch-geometric")}
    return {
        "ogb": packages["ogb"],
        "lcat": __version__ + _commit(),
        "torch": torch.__version__,
        "torch-geometric": packages["torch-geometric"],
        "python": platform.python_version(),
    }


def _commit() -> str:
    """The commit of the package, if it lies in its own repository."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return ""
    try:
        completed = subprocess.run(
            ["git", "-C", str(root), "rev-parse", "--short", "HEAD"], capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return f"+{completed.stdout.strip()}" if completed.returncode == 0 else ""
