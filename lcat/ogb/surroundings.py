"""The machine and the versions that a result was made with."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

import torch

from lcat._version import __version__

__all__ = ["hardware", "versions"]


def hardware(device: torch.device, world_size: int) -> str:
    """The processor or the accelerators that were used."""
    if device.type == "cuda":
        one = torch.cuda.get_device_properties(device)
        return f"{world_size} x {one.name} ({one.total_memory / 1e9:.0f} GB)"
    processes = f", {world_size} processes" if world_size > 1 else ""
    return f"{_processor()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads{processes}"


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [
            line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if line.startswith("model name")
        ]
        if names:
            return names[0]
    return platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    """Of everything that decides a number."""
    found = {"ogb": metadata.version("ogb"), "lcat": __version__ + _commit(), "torch": torch.__version__}
    found["torch-geometric"] = metadata.version("torch-geometric")
    return {**found, "python": platform.python_version()}


def _commit() -> str:
    """The commit that the package lies in, if it lies in a repository of its own."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return ""
    try:
        done = subprocess.run(
            ["git", "-C", str(root), "rev-parse", "--short", "HEAD"], capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return f"+{done.stdout.strip()}" if done.returncode == 0 else ""
