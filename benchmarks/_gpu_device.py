"""A GPU as an instrument: clocks, graph capture, cold caches, memory and kernel times.

Everything also runs on a CPU, so that the scripts can be tried without a GPU; what only a GPU has is ``None`` there.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch

__all__ = ["Device"]

Step = Callable[[], Any]


@dataclass(frozen=True)
class Device:
    """Where to measure, and how to read its clock and its memory.

    Args:
        device: a CUDA device, or the CPU.
        rounds: measured rounds per median.
    """

    device: torch.device
    rounds: int

    @property
    def is_gpu(self) -> bool:
        """Whether times are those of a GPU."""
        return self.device.type == "cuda"

    def wait(self) -> None:
        """Until everything that was launched is done."""
        if self.is_gpu:
            torch.cuda.synchronize(self.device)

    def seconds(self, call: Step) -> float:
        """The time of one call; the device's own clock where it has one."""
        if not self.is_gpu:
            start = time.perf_counter()
            call()
            return time.perf_counter() - start
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        call()
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) / 1e3

    def medians(self, calls: Mapping[str, Step], *, cold: bool = False) -> dict[str, float]:
        """Median time of each, in interleaved rounds after two rounds of warming up.

        Args:
            calls: by name.
            cold: overwrite the L2 cache before each call. A call of many launches then also waits for the host:
                combine it with :meth:`captured`.
        """
        times: dict[str, list[float]] = {name: [] for name in calls}
        for turn in range(self.rounds + 2):
            for name, call in calls.items():
                if cold:
                    self.flush_cache()
                taken = self.seconds(call)
                if turn >= 2:
                    times[name].append(taken)
        return {name: statistics.median(taken) for name, taken in times.items()}

    @cached_property
    def _larger_than_cache(self) -> torch.Tensor:
        size = torch.cuda.get_device_properties(self.device).L2_cache_size if self.is_gpu else 2**20
        return torch.empty(4 * size, dtype=torch.uint8, device=self.device)

    def flush_cache(self) -> None:
        """Fill the L2 cache with something else."""
        self._larger_than_cache.zero_()

    def captured(self, call: Step) -> Step:
        """The same launches as one CUDA graph: a replay has no gaps that the host leaves. On a CPU the call itself.

        The call is run three times on a stream of its own first: kernels are compiled, cuBLAS has its workspace, and
        what is computed once per graph of nodes is computed then.
        """
        if not self.is_gpu:
            return call
        stream = torch.cuda.Stream(self.device)
        stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(stream):
            for _ in range(3):
                call()
        torch.cuda.current_stream(self.device).wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            call()
        return graph.replay

    def host_seconds(self, call: Step) -> float:
        """The median time until a call returns, with an idle device before it."""
        times = []
        for turn in range(self.rounds + 2):
            self.wait()
            start = time.perf_counter()
            call()
            if turn >= 2:
                times.append(time.perf_counter() - start)
        self.wait()
        return statistics.median(times)

    def kernel_seconds(self, call: Step) -> dict[str, float] | None:
        """The time of each kernel of one call, by its name; ``None`` without a GPU."""
        if not self.is_gpu:
            return None
        from torch.profiler import ProfilerActivity, profile

        self.wait()
        with profile(activities=[ProfilerActivity.CUDA]) as profiler:
            call()
            self.wait()
        rows = sorted(profiler.key_averages(), key=lambda row: -row.self_device_time_total)
        return {row.key: row.self_device_time_total / 1e6 for row in rows if row.self_device_time_total > 0}

    def peak_bytes(self, call: Step) -> int | None:
        """The peak memory that a call takes beyond what was in use before it; ``None`` without a GPU."""
        if not self.is_gpu:
            return None
        self.wait()
        gc.collect()
        torch.cuda.reset_peak_memory_stats(self.device)
        before = torch.cuda.memory_allocated(self.device)
        call()
        self.wait()
        return torch.cuda.max_memory_allocated(self.device) - before

    def copy_bandwidth(self) -> float:
        """Bytes a second (read and written together) of a large copy: what no kernel can beat."""
        source = torch.ones(2**28 if self.is_gpu else 2**22, device=self.device)
        target = torch.empty_like(source)
        taken = self.medians({"copy": lambda: target.copy_(source)})["copy"]
        return 2 * source.numel() * source.element_size() / taken
