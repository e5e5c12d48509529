"""One full-batch training step of a 3-layer L-CAT at the size of ogbn-products, with its time and its peak memory.

    python benchmarks/products_scale.py                      # 2.45 M nodes, 123.7 M edges: some minutes, 20 GiB
    python benchmarks/products_scale.py --scale 0.01         # a hundredth of it

The graph is generated (random, symmetric, skewed degrees), with as many nodes, edges, features and classes as
ogbn-products has; nothing about accuracy is shown. A message passing layer that writes its messages out needs, for the
messages of one layer alone, edges x heads x features x 4 bytes: the figure printed beside ours. Before the step, the
same model on a graph of a ten-thousandth of the size is checked against the naive implementation.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import torch
import torch_geometric
from _measure import machine, resident_gigabytes, write_results
from torch import Tensor
from torch.nn import functional as F

import lcat
import lcat.ops
from lcat.nn.models import LCAT

NODES, EDGES, FEATURES, CLASSES = 2_449_029, 123_718_280, 100, 47
HEADS, WIDTH, LAYERS = 8, 8, 3
LIMIT_GIB = 20.0
RESULTS = Path(__file__).parent / "results" / "products_scale.json"


def make_graph(nodes: int, edges: int) -> Tensor:
    """Both directions of ``edges / 2`` random pairs of different nodes, [2, edges], in no order."""
    draw = torch.Generator().manual_seed(0)
    half = edges // 2
    edge_index = torch.empty(2, 2 * half, dtype=torch.long)
    for row, power in ((0, 1.5), (1, 1.0)):
        edge_index[row, :half] = (torch.rand(half, generator=draw).pow_(power) * nodes).long().clamp_(max=nodes - 1)
    loops = edge_index[0, :half] == edge_index[1, :half]
    edge_index[1, :half][loops] = (edge_index[1, :half][loops] + 1) % nodes
    edge_index[0, half:] = edge_index[1, :half]
    edge_index[1, half:] = edge_index[0, :half]
    return edge_index


def make_model() -> LCAT:
    """Three L-CAT layers of 8 heads of 8, and a linear map to the classes."""
    torch.manual_seed(0)
    in_place = {"inplace": True}  # ELU then needs its output alone for the backward pass
    return LCAT(FEATURES, HEADS * WIDTH, LAYERS, CLASSES, heads=HEADS, act="elu", act_kwargs=in_place, jk="last")


def gradients(model: LCAT, x: Tensor, edge_index: Tensor, labels: Tensor) -> list[Tensor]:
    loss = F.cross_entropy(model(x, edge_index), labels)
    return [loss.detach(), *torch.autograd.grad(loss, list(model.parameters()))]


def check_numbers() -> None:
    """Loss and all gradients on a small graph, fused against naive, in float64."""
    nodes, edges = NODES // 10_000, EDGES // 10_000
    model, edge_index = make_model().double(), make_graph(nodes, edges)
    x, labels = torch.randn(nodes, FEATURES, dtype=torch.double), torch.randint(CLASSES, (nodes,))
    ours = gradients(model, x, edge_index, labels)
    with lcat.ops.use_implementation("naive"):
        theirs = gradients(model, x, edge_index, labels)
    for a, b in zip(ours, theirs, strict=True):
        if not torch.allclose(a, b, rtol=1e-8, atol=1e-10):
            raise SystemExit("the fused numbers are wrong; nothing is measured")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0, help="part of ogbn-products' nodes and edges")
    parser.add_argument("--steps", type=int, default=2, help="training steps; the first one sorts the edges")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    check_numbers()

    nodes, edges = int(NODES * options.scale), int(EDGES * options.scale)
    result: dict[str, Any] = {"nodes": nodes, "edges": edges // 2 * 2, "features": FEATURES, "classes": CLASSES}
    before = resident_gigabytes("VmRSS")
    start = time.perf_counter()
    edge_index = make_graph(nodes, edges)
    x, labels = torch.randn(nodes, FEATURES), torch.randint(CLASSES, (nodes,))
    result["seconds to generate"] = time.perf_counter() - start
    result["gigabytes of inputs"] = (edge_index.numel() * 8 + x.numel() * 4 + labels.numel() * 8) / 1e9
    print(f"{nodes:,} nodes, {edges:,} edges; generated in {result['seconds to generate']:.0f} s", flush=True)

    model = make_model()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    result["seconds a step"], result["losses"] = [], []
    for step in range(options.steps):
        start = time.perf_counter()
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x, edge_index), labels)
        loss.backward()
        optimizer.step()
        taken = time.perf_counter() - start
        result["seconds a step"].append(taken)
        result["losses"].append(loss.item())
        note = " (with sorting the edges)" if step == 0 else ""
        print(f"step {step}: {taken:.1f} s{note}, loss {loss.item():.4f}", flush=True)

    result["peak GiB of the process"] = resident_gigabytes("VmHWM") * 1e9 / 2**30
    result["GiB before the graph"] = before * 1e9 / 2**30
    result["limit GiB"] = LIMIT_GIB
    result["GiB of one layer's messages, written out"] = edges * HEADS * WIDTH * 4 / 2**30
    result["met"] = result["peak GiB of the process"] <= LIMIT_GIB
    messages = result["GiB of one layer's messages, written out"]
    verdict = "met" if result["met"] else "MISSED"
    print(
        f"peak {result['peak GiB of the process']:.1f} GiB (at most {LIMIT_GIB:.0f}: {verdict}); "
        f"one layer's messages, written out, would be {messages:.1f} GiB"
    )
    result |= {
        "machine": machine(),
        "versions": {"lcat": lcat.__version__, "torch_geometric": torch_geometric.__version__},
        "command": " ".join(["python", *sys.argv]),
    }
    write_results(options.output, result)


if __name__ == "__main__":
    main()
