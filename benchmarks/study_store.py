"""What the store of a study costs: seconds per finished cell, and to open and report 20,000 cells.

    python benchmarks/study_store.py

Writes ``results/study_store.json``.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from _measure import machine, write_results

from lcat._json import strict_json
from lcat.study import CellResult, Study, make_plan, run_study, write_study
from lcat.study.plan.cell import Cell
from lcat.study.running.engines.base import CellRunner
from lcat.study.store.store import Store
from lcat.train import FitResult, History

RESULTS = Path(__file__).parent / "results" / "study_store.json"


def made_up(cell: Cell, epochs: int = 200) -> CellResult:
    """A result with a history of random numbers, which no compression makes small."""
    draw = random.Random(cell.key)
    curve = [[draw.random() for _ in range(epochs)] for _ in range(6)]
    layers = cell.hyper.num_layers if "lcat" in cell.layer else 0
    paths = {f"gnn.convs.{i}": [[draw.random(), draw.random()] for _ in range(epochs + 1)] for i in range(layers)}
    test = 0.7 + 0.2 * draw.random()
    ends = {name: path[-1] for name, path in paths.items()}
    fit = FitResult(
        "accuracy", test, test, test, epochs - 1, epochs, "epochs", 1.0, ends, History(*curve, lambdas=paths)
    )
    facts = {"metric": "accuracy", "split_rule": "made up", "split_sizes": (60, 20, 20), "seconds": 1.0}
    facts |= {"split_hash": f"s{cell.seed}", "test_set": "t", "device": "cpu", "worker": "here:1"}
    return CellResult(cell, fit, parameters=1000, peak_memory=10**6, versions={"torch": "x"}, **facts)


def seconds(work: Callable[[], object]) -> float:
    """Wall-clock time of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def a_cell(count: int) -> dict[str, float]:
    """Milliseconds that a cell costs beside its training: the commit alone, and all that the driver does."""
    plan = make_plan(datasets=["cora"], layers=["lcat"], seeds=count)
    results = [made_up(cell) for cell in plan.cells()]
    by_key = {result.cell.key: result for result in results}
    with tempfile.TemporaryDirectory(dir=".") as folder:
        with Store(folder, write=True) as store:
            store.add_cells(plan.cells())
            commits = [seconds(lambda result=result: store.finish(result)) for result in results]
        original = CellRunner.run

        def run_at_once(self: CellRunner, cell: Cell, on_epoch: object = None) -> CellResult:
            del self, on_epoch
            return by_key[cell.key]

        CellRunner.run = run_at_once  # type: ignore[method-assign]
        own = Path(folder, "driver")
        quick = make_plan(datasets=["csbm:easy,n=60"], layers=["lcat"], seeds=count)
        by_key.update({cell.key: made_up(cell) for cell in quick.cells()})
        whole = seconds(lambda: run_study(quick, own, engine="inline")) / count
        CellRunner.run = original  # type: ignore[method-assign]
    return {
        "commit_median_ms": round(1e3 * statistics.median(commits), 3),
        "commit_95_percent_ms": round(1e3 * statistics.quantiles(commits, n=20)[-1], 3),
        "driver_and_store_mean_ms": round(1e3 * whole, 3),
        "share_of_a_cell_of_one_second_percent": round(100 * whole, 3),
    }


def many(count: int) -> dict[str, float]:
    """Seconds to read and report a study of ``count`` cells."""
    layers = ["gcn", "gat", "gatv2", "cat", "catv2", "lcat", "lcatv2", "gcn-mean"]
    plan = make_plan(datasets=["cora", "citeseer", "photo", "computers", "facebook"], layers=layers, seeds=count // 40)
    cells = plan.cells()
    with tempfile.TemporaryDirectory(dir=".") as folder:
        with Store(folder, write=True) as store:
            store.put("plan", plan.model_dump(mode="json"))
            store.add_cells(cells)
            write = seconds(lambda: store.finish_many(map(made_up, cells)))
        size = sum(path.stat().st_size for path in Path(folder).glob("study.sqlite*"))
        opened = seconds(lambda: Study.load(folder))
        frame = seconds(lambda: Study.load(folder).results())
        report = seconds(lambda: write_study(Study.load(folder)))
        num_results = len(Study.load(folder).results())
    if num_results != len(cells):
        raise RuntimeError(f"{num_results} of {len(cells)} cells came back")
    return {
        "cells": len(cells),
        "megabytes": round(size / 1e6, 1),
        "write_seconds": round(write, 2),
        "open_seconds": round(opened, 3),
        "open_and_frame_seconds": round(frame, 2),
        "open_and_report_seconds": round(report, 2),
    }


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=20_000)
    arguments = parser.parse_args()
    document = {
        "what": "cost of the store: one finished cell of 200 epochs; reading and reporting many",
        "one_cell": {**a_cell(400), "required_percent": 1.0},
        "many_cells": {**many(arguments.cells), "required_seconds": 10.0},
        "machine": machine(),
    }
    write_results(RESULTS, document)
    print(strict_json(document, indent=1))


if __name__ == "__main__":
    main()
