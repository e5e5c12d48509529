"""Cost: seconds and memory of a training epoch of each layer, beside PyG's, on the data sets of ``question.py``.

    python benchmarks/paper/cost.py --data DIR
    python benchmarks/paper/cost.py --data DIR --quick

Models of two layers, 64 wide, 8 heads, dropout 0.5 (those of ``benchmarks/epochs.py``): one step of Adam and one
evaluation. Outputs and gradients are compared with PyG's first; then all models take turns in one process, in the
allocator mode that keeps freed pages, which is the less favorable one to this library. Memory is the peak of an epoch
beyond what the process held before.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
import torch
import torch_geometric
from _measure import (
    ALLOCATORS,
    beside_rival,
    in_every_mode,
    machine,
    peak_megabytes,
    rounds_within,
    turns,
    write_results,
)
from epochs import RIVALS, checked_epochs

import lcat
from lcat._json import strict_json
from lcat.data import DataError, load

DATASETS = ("cora", "citeseer", "twitch-en", "facebook", "photo", "tolokers", "github", "dblp", "computers", "physics")
MODE = "keep"


def measure(dataset: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """One row per model."""
    try:
        graph = load(dataset, options.data, download=False)
    except DataError as error:
        raise SystemExit(str(error)) from None
    data = graph.data
    data.train_mask = graph.split(0).train
    data.y = data.y.long()
    epochs = checked_epochs(options.models, data)
    times = turns(epochs, rounds_within(epochs, options.seconds, min_rounds=3))
    memory = {name: peak_megabytes(epoch) for name, epoch in epochs.items()}
    print(f"\n{dataset}: {data.num_nodes} nodes, {data.num_edges} edges, {data.num_features} features; ms an epoch")
    rows = []
    for name in options.models:
        rival = f"PyG {RIVALS[name]}"
        facts = {"dataset": dataset, "nodes": data.num_nodes, "edges": data.num_edges, "features": data.num_features}
        facts |= {"model": name, "rival": RIVALS[name], "megabytes": memory[name], "PyG megabytes": memory[rival]}
        rows.append(beside_rival(facts, times, name, rival))
    return rows


def main() -> None:
    """Measure in a process of its own, in one allocator mode, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("LCAT_TEST_DATA"), help="folder of data sets")
    parser.add_argument("--datasets", nargs="+", default=list(DATASETS), choices=list(DATASETS))
    parser.add_argument("--models", nargs="+", default=list(RIVALS), choices=list(RIVALS))
    parser.add_argument("--seconds", type=float, default=20.0, help="of each data set")
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--quick", action="store_true", help="two data sets, short; no file unless --out names one")
    parser.add_argument("--out", type=Path, help="JSON; by default in benchmarks/results")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.quick:
        options.seconds, options.datasets = 1.0, options.datasets[:2]
    if options.worker:
        torch.set_num_threads(options.threads)
        rows = [row for dataset in options.datasets for row in measure(dataset, options)]
        Path(options.worker).write_text(strict_json({"machine": machine(), "rows": rows}))
        return
    assert MODE in ALLOCATORS
    facts = in_every_mode(__file__, [MODE])[MODE]
    output = options.out or (None if options.quick else Path(__file__).parents[1] / "results" / "paper_cost.json")
    if output is not None:
        report = {
            "command": f"python benchmarks/paper/cost.py {' '.join(sys.argv[1:])}".strip(),
            "versions": {"lcat": lcat.__version__, "torch_geometric": torch_geometric.__version__},
            "allocator": MODE,
            **facts,
        }
        write_results(output, report, one_line="rows")


if __name__ == "__main__":
    main()
