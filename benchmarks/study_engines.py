"""How much faster two worker processes finish a study of 40 cells than one; and that their numbers are equal.

    python benchmarks/study_engines.py

Needs two cores that nobody else uses. Writes ``results/study_engines.json``.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from _measure import machine, write_results

from lcat._json import strict_json
from lcat.study import Study, make_plan, run_study

RESULTS = Path(__file__).parent / "results" / "study_engines.json"


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=150)
    arguments = parser.parse_args()
    plan = make_plan(
        datasets=["csbm:hard,n=600,q=0.3"],
        layers=["gcn", "gat", "cat", "lcat"],
        seeds=10,
        overrides={"epochs": arguments.epochs, "patience": "none"},
    )
    seconds: dict[int, list[float]] = {1: [], 2: []}
    with tempfile.TemporaryDirectory() as folder:
        for round_ in range(arguments.rounds):
            frames = {}
            for workers in (1, 2):
                study_folder = Path(folder, f"{round_}-{workers}")
                start = time.perf_counter()
                outcome = run_study(plan, study_folder, engine="processes", workers=workers)
                seconds[workers].append(time.perf_counter() - start)
                if outcome.done != 40:
                    raise RuntimeError(f"{outcome.failed} cells failed")
                frames[workers] = Study.load(study_folder).histories()
            if not frames[1].equals(frames[2]):
                raise RuntimeError("one and two workers give different numbers")
        cell = float(Study.load(study_folder).results()["seconds"].mean())
    one, two = min(seconds[1]), min(seconds[2])
    document = {
        "what": "wall-clock seconds of a study of 40 cells, start of the workers included",
        "cells": 40,
        "mean_cell_seconds": round(cell, 3),
        "seconds": {"1 worker": [round(s, 2) for s in seconds[1]], "2 workers": [round(s, 2) for s in seconds[2]]},
        "ratio": round(two / one, 3),
        "required": 0.6,
        "equal_numbers": True,
        "machine": machine(),
    }
    write_results(RESULTS, document)
    print(strict_json(document, indent=1))


if __name__ == "__main__":
    main()
