"""SAGEConv and GraphConv against PyG's: time of a forward and backward pass, memory of a forward pass.

    python benchmarks/neighbors.py --output benchmarks/results/neighbors.json

Sums, means and maxima on a random graph of 20,000 nodes and 400,000 edges. Before a row is timed, output and gradients
of both layers are compared. Memory is the peak of a forward pass: its result, and what is kept for the backward pass.
Every combination of threads and allocator (see ``_measure.ALLOCATORS``) runs in a process of its own.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
import torch_geometric.nn as pyg
from _layers import make_step, same_numbers
from _measure import ALLOCATORS, interleaved, machine, peak_megabytes, write_results

import lcat.nn

NODES, EDGES = 20_000, 400_000
WIDTHS = (64, 128, 512)
ROWS = [("SAGEConv", "mean"), ("SAGEConv", "sum"), ("SAGEConv", "max"), ("GraphConv", "add")]


def measure_row(name: str, aggr: str, width: int, rounds: int) -> dict[str, Any]:
    """One layer at one width."""
    torch.manual_seed(0)
    edges = torch.randint(NODES, (2, EDGES))
    x = torch.randn(NODES, width).relu_().requires_grad_()  # as the input of a second layer: with ties
    ours = getattr(lcat.nn, name)(width, width, aggr=aggr)
    theirs = getattr(pyg, name)(width, width, aggr=aggr)
    theirs.load_state_dict(ours.state_dict())
    layers = {"lcat": ours, "PyG": theirs}
    steps = {label: make_step(layer, x, edges, list(layer.parameters())) for label, layer in layers.items()}
    same_numbers(f"{name} {aggr}", steps["lcat"](), steps["PyG"](), limit=1e-5)
    memory = {label: peak_megabytes(functools.partial(layer, x, edges)) for label, layer in layers.items()}
    times = interleaved(steps, rounds)
    return {"layer": name, "aggr": aggr, "width": width, "milliseconds": times, "megabytes forward": memory,
            "times faster": times["PyG"] / times["lcat"]}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, nargs="*", default=sorted({1, os.cpu_count() or 1}))
    parser.add_argument("--widths", type=int, nargs="*", default=list(WIDTHS))
    parser.add_argument("--output", type=Path)
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)  # one combination, as lines of JSON
    options = parser.parse_args()
    if options.here:
        torch.set_num_threads(options.threads[0])
        for width in options.widths:
            for name, aggr in ROWS:
                print(json.dumps(measure_row(name, aggr, width, options.rounds)), flush=True)
        return
    report: dict[str, Any] = {
        "command": "python benchmarks/neighbors.py " + " ".join(sys.argv[1:]), "machine": machine(),
        "nodes": NODES, "edges": EDGES, "rows": [],
    }  # fmt: skip
    for threads in options.threads:
        for mode, variables in ALLOCATORS.items():
            command = [sys.executable, __file__, "--here", "--threads", str(threads), "--rounds", str(options.rounds)]
            command += ["--widths", *map(str, options.widths)]
            done = subprocess.run(command, env={**os.environ, **variables}, check=True, capture_output=True, text=True)
            for row in map(json.loads, done.stdout.splitlines()):
                report["rows"].append({"threads": threads, "allocator": mode, **row})
                ms, mb = row["milliseconds"], row["megabytes forward"]
                print(f"{row['layer']:<9} {row['aggr']:<4} {row['width']:>4} {threads} thread(s), {mode:<8} "
                      f"{ms['lcat']:8.1f} ms of {ms['PyG']:8.1f} ({row['times faster']:.1f} times faster), "
                      f"{mb['lcat']:6.0f} MB of {mb['PyG']:6.0f}", flush=True)  # fmt: skip
    if options.output:
        write_results(options.output, report)


if __name__ == "__main__":
    main()
