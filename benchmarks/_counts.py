"""What one call costs the interpreter: calls of Python functions and torch operators. Counts, not times.

On small graphs a layer is bound by them, and unlike times they are the same on a busy machine. Each benchmark with a
budget has a table ``BUDGET``: by name and kind of call, the most calls of Python functions and the most operators.
``tests/test_benchmarks.py`` holds the tables. After a change that needs less, ``--counts`` prints the new numbers.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NamedTuple

import torch
from torch.profiler import ProfilerActivity, profile

__all__ = ["Budget", "Counts", "count", "over_budget", "plain", "print_budget", "print_counts"]

#: torch's own Python code differs between versions; the tables are of this one, others may need so much more.
MEASURED_WITH, OTHER_VERSIONS = "2.13", 1.25
#: Budgets of functions are multiples of this.
ROUNDED = 10


class Counts(NamedTuple):
    """Of one call.

    Attributes:
        functions: Python functions that were called, those of torch and PyG included.
        operators: operators of torch that ran, those called by others included; backward operators as well.
    """

    functions: int
    operators: int


#: By name and kind of call.
Budget = dict[str, dict[str, Counts]]


def count(run: Callable[[], Any], warm_up: int = 3) -> Counts:
    """The counts of ``run()``, after calls that are not counted; of functions the least of three counts."""
    collects, deterministic = gc.isenabled(), torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(False)  # that mode runs other operators
    for _ in range(warm_up):
        run()
    gc.disable()  # finalizers of other objects are functions as well
    try:
        return Counts(min(_functions(run) for _ in range(3)), _operators(run))
    finally:
        torch.use_deterministic_algorithms(deterministic)
        if collects:
            gc.enable()


def _functions(run: Callable[[], Any]) -> int:
    calls = 0

    def watch(_: FrameType, event: str, __: Any) -> None:
        nonlocal calls
        calls += event == "call"

    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        run()
    finally:
        sys.setprofile(before)
    return calls - 1  # run itself


def _operators(run: Callable[[], Any]) -> int:
    with _no_standard_error(), profile(activities=[ProfilerActivity.CPU]) as recorded:
        run()
    names = [event.name for event in recorded.events() or ()]
    # Backward passes of autograd functions have names as operators do.
    return sum("::" in name and not name.startswith("autograd::") and not name.endswith("Backward") for name in names)


@contextmanager
def _no_standard_error() -> Iterator[None]:
    """The profiler writes two lines there whenever it starts and stops."""
    standard_error = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(standard_error, 2)
        os.close(standard_error)
        os.close(nowhere)


def over_budget(counted: Budget, budget: Budget) -> list[str]:
    """One line for each count that is above its budget, and for each that has none."""
    slack = 1.0 if torch.__version__.startswith(MEASURED_WITH) else OTHER_VERSIONS
    lines = []
    for name, kinds in counted.items():
        for kind, counts in kinds.items():
            limits = budget.get(name, {}).get(kind)
            if limits is None:
                lines.append(f"{name}, {kind}: no budget; counted {tuple(counts)}")
                continue
            for what, number, limit in zip(Counts._fields, counts, limits, strict=True):
                if number > limit * slack:
                    lines.append(f"{name}, {kind}: {number} {what}, expected at most {limit * slack:g}")
    return lines


def print_counts(counted: Budget, rivals: Budget, budget: Budget, rival: str) -> None:
    """A table with the budget and the rival's counts, and what is above the budget."""
    print(f"{'functions, operators':<44}{'lcat':>14}{'budget':>14}{rival:>14}")
    for name, kinds in counted.items():
        for kind, counts in kinds.items():
            others = [_pair(table.get(name, {}).get(kind)) for table in (budget, rivals)]
            print(f"{name + ', ' + kind:<44}{_pair(counts):>14}{others[0]:>14}{others[1]:>14}")
    for line in over_budget(counted, budget):
        print(f"above the budget: {line}")
    sys.stdout.flush()


def print_budget(counted: Budget) -> None:
    """A table for a script: the counts, functions rounded up, so that a check more in one call does not break it."""
    print("\nBUDGET: Budget = {")
    for name, kinds in counted.items():
        print(f'    "{name}": {{')
        for kind, counts in kinds.items():
            print(f'        "{kind}": Counts({-(-counts.functions // ROUNDED) * ROUNDED}, {counts.operators}),')
        print("    },")
    print("}", flush=True)


def plain(budget: Budget) -> dict[str, Any]:
    """For JSON."""
    return {name: {kind: counts._asdict() for kind, counts in kinds.items()} for name, kinds in budget.items()}


def _pair(counts: Counts | None) -> str:
    return "-" if counts is None else f"{counts.functions}, {counts.operators}"
