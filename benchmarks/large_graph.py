"""Peak memory of a graph that stays on disk: written in chunks, sampled, trained on, and inferred.

    python benchmarks/large_graph.py --folder /tmp/large --out benchmarks/results/large_graph.json

By default 4 M nodes with 128 features in float16 (1.0 GB) and 40 M edges, drawn at random with a power-law of degrees.
Every stage runs in its own process; its peak of private memory (RssAnon, what the system cannot take back) is what
it needs. Files in the system's cache give way where memory is short, so they are counted apart. The numbers are
checked: sampled edges are in the graph, features are those that were written, and inferred rows equal those of their
own neighborhoods.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parent))
import _measure

from lcat._json import strict_json
from lcat.data import CSCGraph, FeatureFile, TorchNeighborSampler, neighbor_loader, open_stores
from lcat.nn.models import GAT, LCAT
from lcat.train import layerwise_inference

FEATURES, CLASSES, CHUNK, RESIDENT = 128, 16, 1 << 16, 64 << 20


def edge_chunks(nodes: int, edges: int) -> Iterator[torch.Tensor]:
    """Random edges; targets are the more popular the smaller their number (density ~ u^-1/2)."""
    for number, begin in enumerate(range(0, edges, CHUNK * 4)):
        generator = torch.Generator().manual_seed(number)
        count = min(CHUNK * 4, edges - begin)
        source = torch.randint(nodes, (count,), generator=generator)
        target = (torch.rand(count, dtype=torch.float64, generator=generator) ** 2 * nodes).long()
        yield torch.stack([source, target])


def feature_chunks(nodes: int) -> Iterator[torch.Tensor]:
    """Random features of which the first tells the node's number."""
    for begin in range(0, nodes, CHUNK):
        generator = torch.Generator().manual_seed(begin)
        rows = torch.randn(min(CHUNK, nodes - begin), FEATURES, generator=generator)
        rows[:, 0] = (begin + torch.arange(rows.shape[0])) % 1000
        yield rows


def write(folder: Path, nodes: int, edges: int) -> dict[str, Any]:
    """Features, labels and edges, from chunks."""
    FeatureFile.write(folder / "x.npy", feature_chunks(nodes))
    FeatureFile.write(folder / "y.npy", (rows[:, 0].long() % CLASSES for rows in feature_chunks(nodes)))
    graph = CSCGraph.write(folder / "graph", lambda: edge_chunks(nodes, edges), nodes)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return {"nodes": nodes, "edges": graph.num_edges, "bytes on disk": size}


def train(folder: Path, nodes: int, edges: int) -> dict[str, Any]:
    """Batches of 1024 seeds, fan-out [10, 5], through a GAT of two layers."""
    del edges
    stores = open_stores(folder, resident=RESIDENT)
    seeds = torch.randperm(nodes, generator=torch.Generator().manual_seed(0))[:102_400]
    loader = neighbor_loader(stores, [10, 5], seeds, batch_size=1024, backend="torch")
    batch = next(iter(loader))
    assert torch.equal(batch.x[:, 0].long(), batch.n_id % 1000)
    check_edges(CSCGraph.open(folder / "graph"), batch)

    start = time.perf_counter()
    rows = sum(batch.num_nodes for batch in loader)
    sampling = time.perf_counter() - start
    model = GAT(FEATURES, 64, 2, CLASSES, heads=4)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    start = time.perf_counter()
    for batch in loader:
        optimizer.zero_grad()
        logits = model(batch.x, batch.edge_index)[: batch.batch_size]
        torch.nn.functional.cross_entropy(logits, batch.y[: batch.batch_size]).backward()
        optimizer.step()
    return {
        "batches": len(loader),
        "rows of features read": rows,
        "seconds to sample and read": sampling,
        "seconds with training": time.perf_counter() - start,
    }


def check_edges(graph: CSCGraph, batch: Any) -> None:
    """Every sampled edge is the one that its number says."""
    source, target = batch.n_id[batch.edge_index]
    assert torch.equal(graph.indices[batch.e_id].long(), source)
    assert bool(((graph.indptr[target] <= batch.e_id) & (batch.e_id < graph.indptr[target + 1])).all())


def infer(folder: Path, nodes: int, edges: int) -> dict[str, Any]:
    """All nodes through an L-CAT of two layers, layers in files."""
    del edges
    torch.manual_seed(0)
    model = LCAT(FEATURES, 32, 2, CLASSES, heads=2).eval()
    x, graph = FeatureFile(folder / "x.npy", resident=RESIDENT), CSCGraph.open(folder / "graph")
    start = time.perf_counter()
    out = layerwise_inference(model, x, graph, rows=16_384, edges=262_144, folder=folder / "layers", progress=True)
    seconds = time.perf_counter() - start
    # A few nodes again, from all that two layers of L-CAT see of them: four hops would be most of the graph, so nodes
    # with few in-edges, which are those of high number.
    sampler = TorchNeighborSampler(graph, [-1, -1, -1, -1])
    from torch_geometric.sampler import NodeSamplerInput

    largest = 0
    checked = torch.arange(nodes - 4, nodes)
    for node in checked:
        sample = sampler.sample_from_nodes(NodeSamplerInput(None, node.view(1)))
        largest = max(largest, sample.node.numel())
        with torch.no_grad():
            again = model(x[sample.node], torch.stack([sample.row, sample.col]))[0]
        torch.testing.assert_close(again, out[node], atol=1e-4, rtol=1e-4)
    return {"seconds": seconds, "nodes checked": checked.numel(), "largest neighborhood in the check": largest}


STAGES: dict[str, Callable[[Path, int, int], dict[str, Any]]] = {"write": write, "train": train, "infer": infer}


class Peak(threading.Thread):
    """Looks at the memory of this process a hundred times a second."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak = {"RssAnon": 0.0, "RssFile": 0.0}
        self.base = self.now()

    def now(self) -> dict[str, float]:
        lines = Path("/proc/self/status").read_text().splitlines()
        fields = dict(line.split(":", 1) for line in lines if ":" in line)
        return {name: float(fields[name].split()[0]) / 1e3 for name in ("RssAnon", "RssFile")}

    def run(self) -> None:
        while True:
            self.peak = {name: max(value, self.peak[name]) for name, value in self.now().items()}
            time.sleep(0.01)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True, help="an empty or missing folder; deleted in the end")
    parser.add_argument("--nodes", type=int, default=4_000_000)
    parser.add_argument("--edges", type=int, default=40_000_000)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--stage", choices=STAGES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.stage is not None:
        torch.set_num_threads(1)
        peak = Peak()
        peak.start()
        start = time.perf_counter()
        result = STAGES[arguments.stage](arguments.folder, arguments.nodes, arguments.edges)
        result["seconds in all"] = time.perf_counter() - start
        result |= {f"peak {name} MB": value for name, value in peak.peak.items()}
        result |= {f"{name} MB after imports": value for name, value in peak.base.items()}
        print(strict_json(result))
        return
    if arguments.folder.exists() and any(arguments.folder.iterdir()):
        parser.error(f"{arguments.folder} is not empty: name another folder, for this one is deleted in the end")
    arguments.folder.mkdir(parents=True, exist_ok=True)
    report: dict[str, Any] = {
        "command": "python benchmarks/large_graph.py --folder /tmp/large --out benchmarks/results/large_graph.json",
        "machine": _measure.machine(),
        "resident bound of features": RESIDENT,
    }
    try:
        for stage in STAGES:
            sizes = ["--nodes", str(arguments.nodes), "--edges", str(arguments.edges)]
            command = [sys.executable, __file__, "--folder", str(arguments.folder), "--stage", stage, *sizes]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            report[stage] = json.loads(done.stdout)
            print(stage, strict_json(report[stage], indent=1), flush=True)
    finally:
        shutil.rmtree(arguments.folder)
    if arguments.out is not None:
        _measure.write_results(arguments.out, report)


if __name__ == "__main__":
    main()
