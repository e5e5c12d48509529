"""What it costs to keep views of graphs: the checksum in every call, beside a training step, and memory.

    python benchmarks/graph_cache.py --output benchmarks/results/graph_cache.json

A step is forward, backward and Adam, of two layers with 64 hidden features. It is run in turns with the checksum and
without it (a constant takes its place), on one thread. Both are timed in processor time of the process, which other
processes disturb less than time on the clock; the ratio is the median over the rounds of the ratio in each of them.
Memory is what ``lcat.graph.cache_info`` counts after a pass over 60 graphs of 20,000 nodes and 200,000 edges.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from _measure import machine, write_results
from torch import Tensor, nn

import lcat._edge_formats as formats
from lcat._checksum import checksum
from lcat.graph import cache_info, forget, set_cache_limit
from lcat.nn import models

# Nodes, edges, features and classes; the first is as large as Cora.
SIZES = ((2708, 10_556, 1433, 7), (20_000, 200_000, 128, 40), (100_000, 1_000_000, 128, 40))
MODELS = ("GCN", "GAT", "LCAT")


def seconds_of_step(net: nn.Module, optimizer: torch.optim.Optimizer, x: Any, edges: Any, y: Any) -> float:
    """Processor time of one step."""
    start = time.process_time()
    optimizer.zero_grad()
    F.cross_entropy(net(x, edges), y).backward()
    optimizer.step()
    return time.process_time() - start


def unread(tensor: Tensor) -> int:
    """Takes the place of the checksum."""
    del tensor
    return 0


def steps(rounds: int) -> list[dict[str, Any]]:
    """Every model on every size."""
    rows = []
    for nodes, num_edges, features, classes in SIZES:
        edges, x, y = (
            torch.randint(nodes, (2, num_edges)),
            torch.randn(nodes, features),
            torch.randint(classes, (nodes,)),
        )
        times = []
        for _ in range(50):
            start = time.process_time()
            checksum(edges)
            times.append(time.process_time() - start)
        for name in MODELS:
            heads = {} if name == "GCN" else {"heads": 8}
            net = getattr(models, name)(features, 64, num_layers=2, out_channels=classes, **heads)
            optimizer = torch.optim.Adam(net.parameters())
            ratios, with_checksum = [], []
            for round_ in range(rounds + 1):
                seconds = {}
                for used in (True, False) if round_ % 2 else (False, True):
                    formats.checksum = checksum if used else unread
                    seconds_of_step(net, optimizer, x, edges, y)  # sorts the edges again
                    seconds[used] = seconds_of_step(net, optimizer, x, edges, y)
                if round_ > 0:
                    ratios.append(seconds[True] / seconds[False])
                    with_checksum.append(seconds[True])
            formats.checksum = checksum
            row = {
                "nodes": nodes, "edges": num_edges, "model": name,
                "ms per checksum": statistics.median(times) * 1e3,
                "ms per step": statistics.median(with_checksum) * 1e3,
                "two checksums / step": 2 * statistics.median(times) / statistics.median(with_checksum),
                "step with / without": statistics.median(ratios),
            }  # fmt: skip
            rows.append(row)
            print(row, flush=True)
    return rows


def memory() -> list[dict[str, Any]]:
    """What is kept for 60 graphs after a forward and backward pass over each."""
    graphs, x = [torch.randint(20_000, (2, 200_000)) for _ in range(60)], torch.randn(20_000, 16)
    rows = []
    for name in MODELS:
        for limit in (None, 256 * 2**20):
            forget()
            set_cache_limit(limit)
            net = getattr(models, name)(16, 16, num_layers=1)
            for edges in graphs:
                net(x, edges).sum().backward()
            tensors, num_bytes, used_limit = cache_info()
            rows.append({"model": name, "limit MB": used_limit / 1e6, "graphs kept": tensors, "MB": num_bytes / 1e6})
            print(rows[-1], flush=True)
    set_cache_limit(None)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    report = {
        "command": "python benchmarks/graph_cache.py " + " ".join(sys.argv[1:]),
        "machine": machine(),
        "memory": memory(),
        "steps": steps(options.rounds),
    }
    if options.output:
        write_results(options.output, report)


if __name__ == "__main__":
    main()
