"""The most memory that a cell held beyond what was there before it."""

from __future__ import annotations

import ctypes
import gc
import sys
from pathlib import Path

import torch

from lcat._environment import process_bytes

__all__ = ["PeakMemory"]


class PeakMemory:
    """Measures from the moment it is made.

    On a CUDA device it is torch's count of allocated bytes. On a CPU it is the high-water mark of the process's
    resident set on Linux, started again from here, and cannot be measured elsewhere. Freed memory is given back to the
    system first, so that a cell does not get for nothing what the cell before it held.

    Args:
        device: where the cell trains.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        gc.collect()
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            self._before: int | None = torch.cuda.memory_allocated(device)
            return
        self._before = None
        if sys.platform != "linux" or device.type != "cpu":
            return
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it, musl has not
        if trim is not None:
            trim(0)
        try:
            Path("/proc/self/clear_refs").write_text("5")
        except OSError:  # some containers refuse
            return
        self._before = process_bytes("VmRSS")

    def bytes(self) -> int | None:
        """The peak since the start, ``None`` where it cannot be measured."""
        if self._before is None:
            return None
        if self._device.type == "cuda":
            return max(0, torch.cuda.max_memory_allocated(self._device) - self._before)
        peak = process_bytes("VmHWM")
        return None if peak is None else max(0, peak - self._before)
