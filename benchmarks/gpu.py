"""GPU kernels: first the tests without the interpreter, then speed and memory against the bound and the rivals.

    python benchmarks/gpu.py --output benchmarks/results/gpu.json

1. Every test of the kernels runs compiled; if one fails, nothing is timed.
2. Operators alone, forward and backward: time, the bytes that they must move if no gather hits a cache, and how far
   that is from this device's measured copy bandwidth.
3. Whole layers against PyTorch Geometric's, eager and compiled, and against torch.sparse for GCN: first the
   outputs and gradients are compared, then rounds are interleaved; medians, ratios, peak memory above the inputs.
4. One full-batch training step of a 3-layer L-CAT at the size of ogbn-products (with ``--products``).

``--dry-run`` does all of this on a tiny graph on the CPU, to see that the script works; its times mean nothing.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import torch_geometric
import torch_geometric.nn as pyg
from _measure import write_results
from torch import Tensor

import lcat
import lcat.nn
import lcat.ops
from lcat._environment import package_version
from lcat._json import strict_json
from lcat.graph import Graph, graph_view

ROOT = Path(__file__).resolve().parents[1]
GRAPHS = {"20k": (20_000, 400_000), "170k": (170_000, 1_200_000)}
PRODUCTS = (2_449_029, 123_718_280)


@dataclass(frozen=True)
class Device:
    """Where to measure, and how to read its clock and its memory."""

    device: torch.device
    rounds: int

    @property
    def is_gpu(self) -> bool:
        return self.device.type == "cuda"

    def wait(self) -> None:
        """Until everything that was launched is done."""
        if self.is_gpu:
            torch.cuda.synchronize(self.device)

    def seconds(self, call: Callable[[], Any]) -> float:
        """The time of one call; the device's own clock where it has one."""
        if not self.is_gpu:
            start = time.perf_counter()
            call()
            return time.perf_counter() - start
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        call()
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) / 1e3

    def peak_bytes(self, call: Callable[[], Any]) -> int | None:
        """The peak memory that a call takes beyond what was in use before it; ``None`` without a GPU."""
        if not self.is_gpu:
            return None
        self.wait()
        torch.cuda.reset_peak_memory_stats(self.device)
        before = torch.cuda.memory_allocated(self.device)
        call()
        self.wait()
        return torch.cuda.max_memory_allocated(self.device) - before

    def medians(self, calls: dict[str, Callable[[], Any]]) -> dict[str, float]:
        """Median time of each, in interleaved rounds after two rounds of warming up."""
        times: dict[str, list[float]] = {name: [] for name in calls}
        for turn in range(self.rounds + 2):
            for name, call in calls.items():
                taken = self.seconds(call)
                if turn >= 2:
                    times[name].append(taken)
        return {name: statistics.median(taken) for name, taken in times.items()}


def copy_bandwidth(device: Device) -> float:
    """Bytes a second (read and written together) of a large copy: what no kernel can beat."""
    source = torch.ones(2**28 if device.is_gpu else 2**22, device=device.device)
    target = torch.empty_like(source)
    taken = device.medians({"copy": lambda: target.copy_(source)})["copy"]
    return 2 * source.numel() * source.element_size() / taken


def skewed_edges(nodes: int, edges: int, device: torch.device) -> Tensor:
    """``[2, E]``: degrees with a heavy tail (a few hubs), endpoints independent, unsorted."""
    generator = torch.Generator().manual_seed(0)
    ends = (torch.rand(2, edges, generator=generator, dtype=torch.float64) ** 2 * nodes).long()
    return torch.stack([torch.randperm(nodes, generator=generator)[row] for row in ends]).to(device)


def bytes_moved(primitive: str, graph: Graph, heads: int, features: int, size: int) -> int:
    """Forward and backward, every gather from memory, every stream once, indices of 4 bytes."""
    nodes, edges, row = graph.num_targets, graph.num_edges, heads * features * size
    if primitive == "aggregate":
        return 2 * edges * (row + 4) + 4 * nodes * row
    if primitive == "gat_attention":
        return 2 * edges * (row + 4) + 16 * edges * heads + 8 * nodes * row
    return edges * (4 * row + 12 + 8 * heads) + 10 * nodes * row


def operators(device: Device, graphs: dict[str, tuple[int, int]], bandwidth: float) -> list[dict[str, Any]]:
    """The three primitives alone against the bytes that they must move."""
    results = []
    for name, (nodes, edges) in graphs.items():
        graph, _ = graph_view(skewed_edges(nodes, edges, device.device), nodes, nodes)
        for dtype in (torch.float32, torch.bfloat16):
            for heads, features in [(1, 16), (1, 64), (8, 8), (8, 16), (8, 32), (8, 64)]:
                calls = _operator_steps(graph, heads, features, dtype)
                for primitive, taken in device.medians(calls).items():
                    bound = bytes_moved(primitive, graph, heads, features, dtype.itemsize) / bandwidth
                    results.append(
                        {
                            "graph": name,
                            "primitive": primitive,
                            "heads": heads,
                            "features": features,
                            "dtype": str(dtype).removeprefix("torch."),
                            "milliseconds": taken * 1e3,
                            "bound milliseconds": bound * 1e3,
                            "times the bound": taken / bound,
                            "peak bytes": device.peak_bytes(calls[primitive]),
                        }
                    )
                    print(strict_json(results[-1]), flush=True)
    return results


def _operator_steps(
    graph: Graph, heads: int, features: int, dtype: torch.dtype
) -> dict[str, Callable[[], list[Tensor]]]:
    device, nodes = graph.device, graph.num_targets
    x, query, grad = (torch.randn(nodes, heads, features, device=device).to(dtype) for _ in range(3))
    scores = [torch.randn(nodes, heads, device=device) for _ in range(2)]
    att = torch.randn(heads, features, device=device)

    def gat_attention(source_score: Tensor, target_score: Tensor, value: Tensor) -> Tensor:
        return lcat.ops.gat_attention(source_score, target_score, value, graph)

    def gatv2_attention(key: Tensor, query: Tensor, att: Tensor) -> Tensor:
        return lcat.ops.gatv2_attention(key, query, key, att, graph)

    return {
        "aggregate": _step(lambda x: lcat.ops.aggregate(x, graph), [x], grad),
        "gat_attention": _step(gat_attention, [*scores, x], grad),
        "gatv2_attention": _step(gatv2_attention, [x, query, att], grad),
    }


def _step(function: Callable[..., Tensor], inputs: list[Tensor], grad: Tensor) -> Callable[[], list[Tensor]]:
    """A call that goes forward and backward and returns the output and the gradients of ``inputs``."""
    leaves = [x.detach().clone().requires_grad_() for x in inputs]

    def step() -> list[Tensor]:
        out = function(*leaves)
        return [out.detach(), *torch.autograd.grad(out, leaves, grad.to(out.dtype).view_as(out))]

    return step


def layers(device: Device, graphs: dict[str, tuple[int, int]], compiled: bool) -> list[dict[str, Any]]:
    """Whole layers, ours and theirs with the same weights."""
    results = []
    for name, (nodes, edges) in graphs.items():
        edge_index = skewed_edges(nodes, edges, device.device)
        for heads, features in [(1, 16), (1, 32), (1, 64), (8, 16), (8, 32), (8, 64)]:
            width = heads * features
            x = torch.randn(nodes, width, device=device.device)
            grad = torch.randn(nodes, width, device=device.device)
            rivals = {
                "GCNConv": (lcat.nn.GCNConv(width, width), pyg.GCNConv(width, width)),
                "GATConv": (lcat.nn.GATConv(width, features, heads), pyg.GATConv(width, features, heads)),
                "GATv2Conv": (lcat.nn.GATv2Conv(width, features, heads), pyg.GATv2Conv(width, features, heads)),
            }
            alone = {
                "LCATConv": lcat.nn.LCATConv(width, features, heads),
                "LCATv2Conv": lcat.nn.LCATv2Conv(width, features, heads),
            }
            calls: dict[str, Callable[[], list[Tensor]]] = {}
            for layer, (ours, theirs) in rivals.items():
                theirs.load_state_dict(ours.state_dict())
                calls[f"lcat {layer}"] = _layer_step(ours.to(device.device), x, edge_index, grad)
                calls[f"PyG {layer}"] = _layer_step(theirs.to(device.device), x, edge_index, grad)
                _compare(layer, calls[f"lcat {layer}"](), calls[f"PyG {layer}"]())
                if compiled:
                    calls[f"PyG compiled {layer}"] = _layer_step(torch.compile(theirs), x, edge_index, grad)
            for layer, module in alone.items():
                calls[f"lcat {layer}"] = _layer_step(module.to(device.device), x, edge_index, grad)
            calls["torch.sparse product"] = _sparse_step(edge_index, x, grad)
            times = device.medians(calls)
            for call, taken in times.items():
                layer = call.split()[-1]
                ours_taken = times.get(f"lcat {layer}")
                results.append(
                    {
                        "graph": name,
                        "layer": call,
                        "heads": heads,
                        "features": features,
                        "milliseconds": taken * 1e3,
                        "times ours": None if ours_taken is None else taken / ours_taken,
                        "peak bytes": device.peak_bytes(calls[call]),
                    }
                )
                print(strict_json(results[-1]), flush=True)
    return results


def _layer_step(layer: Any, x: Tensor, edge_index: Tensor, grad: Tensor) -> Callable[[], list[Tensor]]:
    x = x.detach().clone().requires_grad_()
    leaves = [x, *layer.parameters()]

    def step() -> list[Tensor]:
        out = layer(x, edge_index)
        return [out.detach(), *torch.autograd.grad(out, leaves, grad, allow_unused=True, materialize_grads=True)]

    return step


def _sparse_step(edge_index: Tensor, x: Tensor, grad: Tensor) -> Callable[[], list[Tensor]]:
    """The product with the adjacency matrix and with its transpose: what a GCN does between its linear maps."""
    nodes = x.shape[0]
    ones = torch.ones(edge_index.shape[1], device=x.device)
    forward = torch.sparse_coo_tensor(edge_index.flip(0), ones, (nodes, nodes)).coalesce().to_sparse_csr()
    backward = torch.sparse_coo_tensor(edge_index, ones, (nodes, nodes)).coalesce().to_sparse_csr()
    return lambda: [forward @ x, backward @ grad]


def _compare(layer: str, ours: list[Tensor], theirs: list[Tensor]) -> None:
    """Raises if a number differs by more than rounding."""
    for index, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        difference = float((a - b).abs().max()) / max(float(b.abs().max()), 1e-6)
        if not difference < 2e-3:  # sums over hubs in float32, in another order; not "more than", for NaN
            raise RuntimeError(f"{layer}: result {index} differs from PyG's by {difference:.1e}; nothing is timed")


def products(device: Device, nodes: int, edges: int) -> dict[str, Any]:
    """A training step of a 3-layer L-CAT, 8 heads of 8, 100 features, 47 classes, on one generated graph."""
    start = time.perf_counter()
    half = skewed_edges(nodes, edges // 2, device.device)
    edge_index = torch.cat([half, half.flip(0)], dim=1)
    del half
    x = torch.randn(nodes, 100, device=device.device)
    y = torch.randint(47, (nodes,), device=device.device)
    model = torch.nn.ModuleList(
        [lcat.nn.LCATConv(100, 8, 8), lcat.nn.LCATConv(64, 8, 8), lcat.nn.LCATConv(64, 47, 1)]
    ).to(device.device)
    optimizer = torch.optim.Adam(model.parameters())

    def step() -> float:
        h = x
        for layer in model[:-1]:
            h = F.elu(layer(h, edge_index))
        loss = F.cross_entropy(model[-1](h, edge_index), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    device.wait()
    made = time.perf_counter() - start
    peak = device.peak_bytes(step)  # the first step, which sorts the graph
    taken = device.medians({"step": step})["step"]
    return {
        "nodes": nodes,
        "edges": edge_index.shape[1],
        "seconds to make the graph": made,
        "seconds a step": taken,
        "peak bytes above the graph": peak,
        "loss": step(),
    }


def run_tests(dry_run: bool) -> None:
    """The kernels' tests, compiled; raises if one fails."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    # The tests run in torch's deterministic mode, in which matrix products on CUDA ask for this.
    environment["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
    test_files = sorted((ROOT / "tests" / "ops").glob("test_triton_*.py"))
    if dry_run:
        test_files = [path for path in test_files if path.name == "test_triton_schedule.py"]
    command = [sys.executable, "-m", "pytest", "-q", *map(str, test_files)]
    subprocess.run(command, cwd=ROOT, env=environment, check=True)


def machine(device: Device) -> dict[str, Any]:
    """What was measured, and with which versions."""
    return {
        "device": torch.cuda.get_device_name(device.device) if device.is_gpu else "CPU, a dry run",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torch-geometric": torch_geometric.__version__,
        "triton": package_version("triton") or package_version("pytorch-triton-rocm"),
        "cuda": torch.version.cuda,
        "hip": torch.version.hip,
        "lcat": lcat.__version__,
        "command": " ".join(["python", *sys.argv]),
        "implementations": {c.primitive: c.implementation for c in lcat.ops.explain(device.device)},
    }


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, help="where to write the results as JSON")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--products", action="store_true", help="also the step at the size of ogbn-products")
    parser.add_argument("--no-compile", action="store_true", help="leave out PyG under torch.compile")
    parser.add_argument("--dry-run", action="store_true", help="a tiny graph on the CPU, to see that the script works")
    arguments = parser.parse_args()
    if not arguments.dry_run and not torch.cuda.is_available():
        sys.exit("no GPU here: nothing was measured (try --dry-run to see that the script works)")
    torch.manual_seed(0)
    device = Device(torch.device("cpu" if arguments.dry_run else "cuda"), 1 if arguments.dry_run else arguments.rounds)
    graphs = {"tiny": (50, 300)} if arguments.dry_run else GRAPHS
    run_tests(arguments.dry_run)
    with torch.cuda.device(device.device) if device.is_gpu else nullcontext():
        bandwidth = copy_bandwidth(device)
        results: dict[str, Any] = {
            "bytes a second of a copy": bandwidth,
            "operators": operators(device, graphs, bandwidth),
            "layers": layers(device, graphs, compiled=not (arguments.no_compile or arguments.dry_run)),
        }
        if arguments.products or arguments.dry_run:
            results["products"] = products(device, *((60, 400) if arguments.dry_run else PRODUCTS))
    results = {"machine": machine(device), **results}
    if arguments.output:
        write_results(arguments.output, results)
    print(strict_json({k: v for k, v in results.items() if k not in ("operators", "layers")}, indent=1))


if __name__ == "__main__":
    main()
