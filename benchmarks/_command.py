"""What the benchmarks with a budget have in common: options, one run per allocator mode, the results file."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch_geometric
from _counts import Budget, over_budget, plain, print_budget, print_counts
from _measure import ALLOCATORS, in_every_mode, machine, write_results

import lcat
from lcat._json import strict_json

#: Seconds of a case with ``--quick``.
QUICK = 0.5


def make_parser(description: str, seconds: float) -> argparse.ArgumentParser:
    """A parser with the shared options.

    Args:
        description: of the script.
        seconds: of each case, by default.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=seconds, help="of each case; decides the number of rounds")
    parser.add_argument("--rounds", type=int, help="instead of --seconds")
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--allocators", nargs="+", default=list(ALLOCATORS), choices=list(ALLOCATORS))
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} s each; no file unless --out names one")
    parser.add_argument(
        "--counts",
        action="store_true",
        help="print functions and operators of a call, and end (1 if over budget)",
    )
    parser.add_argument("--out", type=Path, help="JSON; by default in benchmarks/results")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    return parser


def run(
    script: str,
    options: argparse.Namespace,
    *,
    counts: Callable[[argparse.Namespace], tuple[Budget, Budget]],
    budget: Budget,
    measure: Callable[[argparse.Namespace], list[dict[str, Any]]] | None = None,
    summarize: Callable[[dict[str, list[dict[str, Any]]]], list[dict[str, Any]]],
    rival: str = "PyG",
    measure_modes: Callable[[], dict[str, Any]] | None = None,
) -> None:
    """Count, measure in every allocator mode, print the summary, write the results.

    Args:
        script: ``__file__`` of the benchmark.
        options: of :func:`make_parser`.
        counts: of this library and of its rival.
        budget: of the script.
        measure: the rows of one mode, in this process; needed without ``measure_modes``.
        summarize: entries with ``"what"``, ``"value"``, and ``"target"`` and ``"met"`` or neither, from rows by mode.
        rival: what is counted beside this library.
        measure_modes: machine and rows by allocator mode; :func:`_measure.in_every_mode` by default.
    """
    if options.quick:
        options.seconds = min(options.seconds, QUICK)
    if options.worker and measure is not None:
        torch.set_num_threads(options.threads)
        rows = measure(options)
        Path(options.worker).write_text(strict_json({"machine": machine(), "rows": rows}))
        return
    ours, theirs = counts(options)
    print_counts(ours, theirs, budget, rival)
    if options.counts:
        print_budget(ours)
        raise SystemExit(1 if over_budget(ours, budget) else 0)
    facts = measure_modes() if measure_modes is not None else in_every_mode(script, options.allocators)
    summary = summarize({mode: fact["rows"] for mode, fact in facts.items()})
    print("\n== in the allocator mode less favorable to lcat")
    for entry in summary:
        target = f"   target {entry['target']:<14}{'met' if entry['met'] else 'MISSED'}" if "target" in entry else ""
        print(f"  {entry['what']:<76}{entry['value']:6.2f}{target}")
    name = Path(script).stem
    output = options.out or (None if options.quick else Path(script).parent / "results" / f"{name}.json")
    if output is not None:
        report = {
            "command": f"python benchmarks/{name}.py {' '.join(sys.argv[1:])}".strip(),
            "versions": {"lcat": lcat.__version__, "torch_geometric": torch_geometric.__version__},
            "counts": {"lcat": plain(ours), rival: plain(theirs)},
            "summary": summary,
            "modes": facts,
        }
        write_results(output, report)


def least_favorable(what: str, modes: dict[str, list[float]], sense: str, limit: float | None) -> dict[str, Any]:
    """An entry of a summary: the worst value over all cases and modes.

    Args:
        what: is claimed.
        modes: values by allocator mode.
        sense: "at least" or "at most".
        limit: the target, if there is one.
    """
    worst = min if sense == "at least" else max
    by_mode = {mode: worst(values) for mode, values in modes.items()}
    value = worst(by_mode.values())
    entry: dict[str, Any] = {"what": what, "value": value, "modes": by_mode}
    if limit is not None:
        met = value >= limit if sense == "at least" else value <= limit
        entry |= {"target": f"{sense} {limit}", "met": met}
    return entry
