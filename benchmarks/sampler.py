"""The neighbor sampler in plain torch: an epoch of batches on one core, and what a batch's graph view costs.

    python benchmarks/sampler.py --out benchmarks/results/sampler.json

50 000 seeds, fan-out [10, 5], 1 M edges, batches of 1024, 32 features gathered with every batch. Samples are checked
first: edges are those of the graph, none twice, counts are min(degree, fan-out).
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch_geometric
from torch_geometric.data import Data

sys.path.insert(0, str(Path(__file__).parent))
import _measure

import lcat
from lcat.data import CSCGraph, neighbor_loader
from lcat.graph import graph_view

NODES, EDGES, FANOUT, BATCH, FEATURES = 50_000, 1_000_000, [10, 5], 1024, 32


def check(data: Data, batch: Data) -> None:
    """One batch against the graph."""
    assert torch.equal(batch.n_id[batch.edge_index], data.edge_index[:, batch.e_id])
    assert batch.e_id.unique().numel() == batch.e_id.numel()
    assert bool((batch.edge_index[1].diff() >= 0).all())
    degree = torch.bincount(data.edge_index[1], minlength=NODES)
    drawn = torch.bincount(batch.edge_index[1], minlength=batch.num_nodes)
    seeds, second = batch.num_sampled_nodes[:2]
    assert torch.equal(drawn[:seeds], degree[batch.n_id[:seeds]].clamp(max=FANOUT[0]))
    hop = slice(seeds, seeds + second)
    assert torch.equal(drawn[hop], degree[batch.n_id[hop]].clamp(max=FANOUT[1]))


def seconds(run: Callable[[], object], rounds: int) -> dict[str, float]:
    """Median and spread of the seconds that ``run`` takes, after one unmeasured round."""
    run()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return {"median": statistics.median(times), "min": min(times), "max": max(times)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    data = Data(x=torch.randn(NODES, FEATURES), edge_index=torch.randint(0, NODES, (2, EDGES)))

    results: dict[str, object] = {}
    cases = {
        "without replacement": {},
        "with replacement": {"replace": True},
        "disjoint": {"disjoint": True},
        "one worker": {"num_workers": 1},
        "all neighbors, 2 hops, 4096 seeds": {"fanout": [-1, -1], "input_nodes": torch.arange(4096)},
    }
    for name, options in cases.items():
        fanout = options.pop("fanout", FANOUT)
        loader = neighbor_loader(data, fanout, batch_size=BATCH, shuffle=True, backend="torch", **options)
        if name == "without replacement":
            check(data, next(iter(loader)))
        edges = sum(batch.num_edges for batch in loader)
        timing = seconds(lambda loader=loader: [None for _ in loader], arguments.rounds)
        results[name] = {**timing, "batches": len(loader), "edges per epoch": edges}
        print(f"{name:36} {timing['median']:6.3f} s an epoch of {len(loader)} batches, {edges} edges")

    batch = next(iter(neighbor_loader(data, FANOUT, batch_size=BATCH, backend="torch")))

    def view() -> None:
        graph, _ = graph_view(batch.edge_index.clone(), batch.num_nodes, batch.num_nodes)
        _ = graph.by_target

    results["graph view of a batch, sorted by target"] = seconds(view, 20)
    results["CSC of the graph, once"] = seconds(lambda: CSCGraph.from_edges(data.edge_index, NODES), 3)
    report = {
        "command": "python benchmarks/sampler.py --out benchmarks/results/sampler.json",
        "machine": _measure.machine(),
        "lcat": lcat.__version__,
        "torch_geometric": torch_geometric.__version__,
        "seconds": results,
    }
    if arguments.out is not None:
        _measure.write_results(arguments.out, report)


if __name__ == "__main__":
    main()
