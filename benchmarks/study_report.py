"""Seconds to open a study of many cells and to write its report.

    python benchmarks/study_report.py                 # 20,000 cells, results to benchmarks/results/study_report.json
    python benchmarks/study_report.py --cells 2400 --out /tmp/small.json

The cells are made up and never trained: 10 data sets, 8 layers, 5 settings, and as many seeds as it takes, with curves
of 100 epochs and lambdas of two layers. What is timed is real: a process of its own opens the store, makes the frames,
the statistics, the tables and the page, and writes them.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from _measure import write_results

from lcat._json import strict_json

LAYERS = ("gcn", "gcn-mean", "gat", "gatv2", "cat", "catv2", "lcat", "lcatv2")
DATASETS = ("cora", "citeseer", "pubmed", "photo", "computers", "cs", "physics", "tolokers", "minesweeper", "questions")
WIDTHS = (16, 32, 64, 128, 256)
EPOCHS = 100

_TIMED = """
import json, sys, time
start = time.perf_counter()
from lcat.study import Study
imported = time.perf_counter()
study = Study.load(sys.argv[1])
opened = time.perf_counter()
written = study.report(sys.argv[2])
done = time.perf_counter()
frame = study.results()
read = time.perf_counter()
print(json.dumps({"cells": len(frame), "import": imported - start, "open": opened - imported,
                  "report": done - opened, "results": read - done,
                  "page_bytes": next(path for path in written if path.suffix == ".html").stat().st_size}))
"""


def main() -> None:
    """Fill a store, then time a fresh process that reports it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "study_report.json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lcat-benchmark-") as folder:
        start = time.perf_counter()
        size = fill(Path(folder) / "study", options.cells)
        print(
            f"filled {options.cells:,} cells, {size / 1e6:.0f} MB, in {time.perf_counter() - start:.0f} s", flush=True
        )
        rounds = [timed(Path(folder)) for _ in range(options.rounds)]
    middle = sorted(rounds, key=lambda one: one["open"] + one["report"])[len(rounds) // 2]
    middle["open_and_report"] = middle["open"] + middle["report"]
    facts = {"store_bytes": size, "rounds": options.rounds, "python": platform.python_version()}
    facts["machine"] = platform.platform()
    write_results(options.out, {**middle, **facts})
    print(strict_json(middle, indent=1))


def timed(folder: Path) -> dict[str, float]:
    """Seconds of one fresh process."""
    command = [sys.executable, "-c", _TIMED, str(folder / "study"), str(folder / "report")]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    values: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return values


def fill(folder: Path, cells: int) -> int:
    """A store with so many finished cells; its size in bytes."""
    from lcat.study import Study, make_plan
    from lcat.study.store.store import Store

    seeds = max(1, round(cells / (len(DATASETS) * len(LAYERS) * len(WIDTHS))))
    plan = make_plan(datasets=list(DATASETS), layers=list(LAYERS), seeds=seeds, grid={"hidden_channels": list(WIDTHS)})
    study = Study.create(plan, folder)
    with Store(folder, write=True) as store:
        store.finish_many(results(study))
    return sum(file.stat().st_size for file in folder.iterdir())


def results(study: object) -> Iterator[object]:
    """A made-up result for every cell."""
    from lcat.study import CellResult
    from lcat.train import FitResult, History

    generator = np.random.default_rng(0)
    rise = 1 - np.exp(-np.arange(1, EPOCHS + 1) / 20)
    for cell in study.cells():  # type: ignore[attr-defined]
        top = float(generator.uniform(0.6, 0.9))
        series = [(top * rise + 0.01 * generator.standard_normal(EPOCHS)).tolist() for _ in range(5)]
        paths = {}
        if cell.layer.startswith("lcat"):
            paths = {f"convs.{depth}": generator.uniform(0, 1, (EPOCHS + 1, 2)).tolist() for depth in range(2)}
        history = History(*series, [0.01] * EPOCHS, paths)
        ends = {name: path[-1] for name, path in paths.items()}
        fit = FitResult("accuracy", top, top, top - 0.01, EPOCHS - 1, EPOCHS, "epochs", 1.0, ends, history)
        yield CellResult(
            cell, fit, None, 1000, "accuracy", "random", (600, 200, 200), float(generator.uniform(1, 5)), 10**8,
            f"{cell.seed:016x}", f"{cell.seed + 999:016x}", "2026-01-01T00:00:00.000+00:00",
            "2026-01-01T00:00:01.000+00:00", "here:1", "cpu", {"lcat": "0"},
        )  # fmt: skip


if __name__ == "__main__":
    main()
