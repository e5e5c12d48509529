"""Versions of packages, and the machine: processor, cores, memory, accelerators."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from functools import lru_cache
from pathlib import Path

from lcat._text import hint
from lcat._version import __version__

__all__ = [
    "device_problem",
    "gpu_names",
    "load_average",
    "memory_bytes",
    "package_version",
    "process_bytes",
    "processor",
    "versions",
]


#: Devices that a model can be trained on.
_DEVICES = ("cpu", "cuda", "mps", "xpu")


def package_version(name: str) -> str | None:
    """Version of an installed distribution, ``None`` if it is missing.

    Example:
        >>> from lcat._environment import package_version
        >>> package_version("no-such-package") is None
        True
    """
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def versions() -> dict[str, str]:
    """Versions and machine that a result was made with, as studies keep them."""
    import torch
    import torch_geometric

    return {
        "lcat": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torch-geometric": torch_geometric.__version__,
        "platform": platform.platform(),
        **_machine(),
        "threads": str(torch.get_num_threads()),
    }


@lru_cache(maxsize=1)
def _machine() -> dict[str, str]:
    """Processor, cores and memory: they decide times and, with the versions, the last digits of numbers."""
    memory = memory_bytes()
    return {
        "processor": processor(),
        "cores": str(os.cpu_count() or "unknown"),
        "memory": "unknown" if memory is None else f"{memory / 2**30:.0f} GiB",
    }


def processor() -> str:
    """Name of the processor's model where the system tells it (Linux), else its architecture."""
    return _field(Path("/proc/cpuinfo"), "model name") or platform.processor() or platform.machine()


def memory_bytes(field: str = "MemTotal") -> int | None:
    """Memory of the machine in bytes, ``None`` where there is no ``/proc/meminfo``.

    Args:
        field: ``"MemTotal"`` for all of it, ``"MemAvailable"`` for what can be used without swapping.
    """
    value = _field(Path("/proc/meminfo"), field)
    return None if value is None else int(value.split()[0]) * 1024


def process_bytes(field: str) -> int | None:
    """Memory of this process in bytes, ``None`` where there is no ``/proc/self/status``.

    Args:
        field: ``"VmRSS"`` for what is in memory now, ``"VmHWM"`` for the most that was.
    """
    value = _field(Path("/proc/self/status"), field)
    return None if value is None else int(value.split()[0]) * 1024


def load_average() -> float | None:
    """Processes that ran or waited for a core in the last minute, on average; ``None`` where the system counts none."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def device_problem(name: str) -> str:
    """Why computing on a device of this name is no use, in words; nothing if it is one. Whether it is here, torch says.

    Example:
        >>> from lcat._environment import device_problem
        >>> device_problem("cuda:1"), device_problem("cudda")
        ('', "there is no device 'cudda' (did you mean cuda?); expected cpu, cuda, cuda:0, mps or xpu, got 'cudda'")
    """
    kind, colon, number = name.partition(":")
    if kind in _DEVICES and (number.isdecimal() if colon else True):
        return ""
    close = " (did you mean cuda?)" if kind.lower() == "gpu" else hint(kind, _DEVICES)
    why = "the device meta holds no numbers" if kind == "meta" else f"there is no device {name!r}{close}"
    return f"{why}; expected cpu, cuda, cuda:0, mps or xpu, got {name!r}"


def gpu_names() -> list[str]:
    """Names of the CUDA devices."""
    import torch

    return [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]


def _field(path: Path, name: str) -> str | None:
    """The value of the first line ``name: value``."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    return next((line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == name), None)
