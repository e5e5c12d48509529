"""Timing, memory and machine facts for the benchmarks."""

from __future__ import annotations

import ctypes
import gc
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import lcat.ops
from lcat._environment import load_average, memory_bytes, process_bytes, processor
from lcat._files import replace_file
from lcat._json import strict_json

# glibc's malloc gives large blocks back to the system at every free, and on small virtual machines touching fresh
# pages is slow: that flatters whoever allocates less. The second mode keeps freed memory for the next round.
ALLOCATORS = {
    "default": {},
    "keep": {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "64000000000"},
}


def turns(contenders: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each contender in each round; every round runs each once, after one unmeasured round."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for round_ in range(rounds + 1):
        for name, run in contenders.items():
            start = time.perf_counter()
            run()
            if round_ > 0:
                times[name].append((time.perf_counter() - start) * 1e3)
    return times


def interleaved(contenders: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Median milliseconds of each contender that takes its :func:`turns`."""
    return {name: statistics.median(values) for name, values in turns(contenders, rounds).items()}


def spread(milliseconds: list[float]) -> dict[str, Any]:
    """Median, quartiles and minimum."""
    low, median, high = (
        statistics.quantiles(milliseconds, n=4, method="inclusive") if len(milliseconds) > 1 else milliseconds * 3
    )
    return {"median": median, "quartiles": [low, high], "minimum": min(milliseconds), "calls": len(milliseconds)}


def spread_text(values: dict[str, Any]) -> str:
    """A :func:`spread` for a table."""
    low, high = values["quartiles"]
    return f"{values['median']:8.3f} ({low:.3f} to {high:.3f}), {values['minimum']:.3f}"


def beside_rival(facts: dict[str, Any], times: dict[str, list[float]], name: str, rival: str) -> dict[str, Any]:
    """A row of results: ``facts``, both times and their ratio; it is printed as well."""
    row = {**facts, "lcat": spread(times[name]), "PyG": spread(times[rival])}
    row["ratio"] = row["PyG"]["median"] / row["lcat"]["median"]
    sides = "   ".join(f"{side} {spread_text(row[side])}" for side in ("lcat", "PyG"))
    print(f"  {name:<14} {sides}   PyG / ours {row['ratio']:5.2f}", flush=True)
    return row


def rounds_within(
    contenders: dict[str, Callable[[], Any]], seconds: float, min_rounds: int = 5, max_rounds: int = 400
) -> int:
    """How many rounds of all contenders take about so long; three are enough where one takes over ten seconds."""
    for run in contenders.values():
        run()
    start = time.perf_counter()
    for run in contenders.values():
        run()
    once = max(time.perf_counter() - start, 1e-6)
    return max(3 if once > 10 else min_rounds, min(max_rounds, int(seconds / once)))


def in_every_mode(script: str, modes: list[str], extra: dict[str, list[str]] | None = None) -> dict[str, Any]:
    """Run ``script`` with the arguments of this process once for each allocator mode.

    Args:
        script: path; with ``--worker FILE`` it measures in its own process and writes JSON to the file.
        modes: keys of :data:`ALLOCATORS`.
        extra: further arguments by mode.

    Returns:
        By mode, what was written.
    """
    facts = {}
    for mode in modes:
        print(f"\n== allocator mode: {mode}", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            result_file = Path(folder) / "mode.json"
            command = [
                sys.executable,
                script,
                *sys.argv[1:],
                "--worker",
                str(result_file),
                *(extra or {}).get(mode, []),
            ]
            subprocess.run(command, check=True, env={**os.environ, **ALLOCATORS[mode]})
            facts[mode] = json.loads(result_file.read_text())
    return facts


def peak_megabytes(run: Callable[[], Any]) -> float:
    """Most memory that ``run`` held beyond what the process held before (Linux: resident set), in MB."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts again from here
    before = resident_gigabytes("VmRSS")
    result = run()
    peak = resident_gigabytes("VmHWM") - before
    del result
    return peak * 1e3


def resident_gigabytes(field: str) -> float:
    """Memory of this process in GB: "VmRSS" now, "VmHWM" at its highest."""
    return _known(process_bytes(field), field) / 1e9


def available_megabytes() -> float:
    """Memory that the machine can still give."""
    return _known(memory_bytes("MemAvailable"), "MemAvailable") / 1e6


def _known(value: int | None, field: str) -> int:
    if value is None:
        raise RuntimeError(f"there is no {field} under /proc: measuring memory needs Linux")
    return value


def copy_bandwidth(megabytes: int) -> float:
    """Bytes read plus written per second when copying an array of this size, best of several."""
    source = torch.rand(megabytes * 250_000)
    target = torch.empty_like(source).fill_(0)
    best = float("inf")
    for _ in range(12):
        start = time.perf_counter()
        target.copy_(source)
        best = min(best, time.perf_counter() - start)
    return 2 * source.numel() * 4 / best


def machine() -> dict[str, Any]:
    """What the numbers were measured on."""
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "kernels": lcat.ops.native_status().instruction_set,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "load": load_average(),
    }


def write_results(path: Path, report: dict[str, Any], announce: bool = True, one_line: str | None = None) -> None:
    """Write ``report`` as strict JSON, completely or not at all, and say where.

    Args:
        path: the file; its folder is made if it is missing.
        report: plain values.
        announce: print the path.
        one_line: key of a list that gets one line per entry.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    text = strict_json(report if one_line is None else {**report, one_line: []}, indent=1)
    if one_line is not None:
        lines = ",\n".join(f"  {strict_json(entry)}" for entry in report[one_line])
        text = text.replace(f'"{one_line}": []', f'"{one_line}": [\n{lines}\n ]')
    replace_file(path, lambda file: file.write((text + "\n").encode()))
    if announce:
        print(f"\nwritten to {path}", flush=True)


def geometric_mean(values: list[float]) -> float:
    """The mean of ratios."""
    return statistics.geometric_mean(values) if values else float("nan")
