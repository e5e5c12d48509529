"""GPU kernels: speed and memory against the bound and the rivals, part by part.

    python benchmarks/gpu.py --part operators --budget 160 --output operators.json

    facts       device, versions, bandwidth of a copy, implementations
    operators   primitives alone, forward and backward, beside the bytes that they must move: eager, as a CUDA graph
                with a cold cache, the host's share, time per kernel, peak memory; dropout 0.6; torch.sparse
    layers      whole layers beside PyTorch Geometric's: eager and as a CUDA graph
    compiled    layers under torch.compile, three shapes, each compiled anew
    rivals      PyG's layers under torch.compile, the same shapes
    products    a training step of a 3-layer L-CAT at the size of ogbn-products, float32 and bfloat16
    batches     a step of a 2-layer model on another graph each time: sorting and launching included
    tiles       the tile table: other shares of a warp, edges, rows and warps per program
    one         each operator once at 8 x 32, for a profiler

Each row is written as soon as it is measured. A measurement that fails is recorded and the next one begins; when the
budget is used up, what is left is named; after an error of the device itself the script starts again with the next
one. Numbers are compared before anything is timed: outputs and gradients of operators with the plain implementation in
float64, those of layers with PyG's. Layers are compared with a negative slope of 1: the derivative of LeakyReLU jumps
at 0, and of ten million scores a few are so near to it that rounding decides their side.

``--dry-run`` does all of this on tiny graphs, without a GPU on the CPU, to see that the script works; its times mean
nothing. ``benchmarks/gpu_acceptance.sh`` runs parts in order, with the tests.
"""

from __future__ import annotations

import argparse
import itertools
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import _source_tree  # noqa: F401
import torch
import torch.nn.functional as F
import torch_geometric
import torch_geometric.nn as pyg
from _gpu_device import Device
from _gpu_rows import Rows
from _gpu_work import (
    GRAPHS,
    PRIMITIVES,
    Shape,
    bytes_moved,
    difference,
    layer_pairs,
    layer_step,
    operator_step,
    primitives_of,
    skewed_edges,
    sparse_step,
    view_of,
)
from torch import Tensor
from torch_geometric import EdgeIndex

import lcat
import lcat.nn
import lcat.ops
from lcat._environment import package_version

TOLERANCE = 1e-4  # sums over hubs in float32, in another order, differ by less; an edge that is lost does not
HALF_TOLERANCE = 1e-2  # bfloat16 rounds results by up to 4e-3
PRODUCTS = (2_449_029, 123_718_280)
BATCH = (20_000, 60_000)  # nodes and edges of a sampled batch
SHAPES = [(1, 16), (1, 64), (8, 8), (8, 16), (8, 32), (8, 64)]
BFLOAT16 = torch.bfloat16
TUNED = ("aggregate", "gat_attention", "gatv2_attention")  # by the table of tiles


def facts(device: Device) -> dict[str, Any]:
    """What is measured, and with which versions."""
    properties = torch.cuda.get_device_properties(device.device) if device.is_gpu else None
    return {
        "device": properties.name if properties else "CPU, a dry run",
        "multiprocessors": properties.multi_processor_count if properties else None,
        "L2 bytes": properties.L2_cache_size if properties else None,
        "memory bytes": properties.total_memory if properties else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torch-geometric": torch_geometric.__version__,
        "triton": package_version("triton") or package_version("pytorch-triton-rocm"),
        "cuda": torch.version.cuda,
        "hip": torch.version.hip,
        "lcat": lcat.__version__,
        "cores": os.cpu_count(),
        "rounds": device.rounds,
        "command": " ".join(["python", *sys.argv]),
        "implementations": {c.primitive: c.implementation for c in lcat.ops.explain(device.device)},
    }


def part_facts(device: Device, rows: Rows, tiny: bool) -> None:
    """The bandwidth; everything else stands in the head of each file."""
    del tiny
    rows.measure({"what": "copy"}, lambda: {"bytes a second": device.copy_bandwidth()})


def part_operators(device: Device, rows: Rows, tiny: bool) -> None:
    """The primitives alone. The most telling shapes come first, in case the budget ends."""
    bandwidth = device.copy_bandwidth()
    rows.facts["bytes a second of a copy"] = bandwidth
    cases = [("170k", shape, dtype, 0.0) for dtype in (torch.float32, BFLOAT16) for shape in SHAPES[::-1]]
    cases += [("170k", (8, 8), torch.float32, 0.6), ("170k", (8, 32), torch.float32, 0.6)]
    cases += [("20k", shape, torch.float32, 0.0) for shape in SHAPES[::-1]]
    cases += [("icosphere", (16, 64), BFLOAT16, 0.0), ("twitch-views", (8, 32), torch.float32, 0.0)]
    cases += [("hm-prices", (8, 8), torch.float32, 0.0)]
    if tiny:
        cases = [("170k", (8, 8), torch.float32, 0.0), ("20k", (2, 4), BFLOAT16, 0.6)]
    for name, (heads, features), dtype, dropout in cases:
        nodes, edges = (50, 300) if tiny else GRAPHS[name]
        shape = Shape(heads, features, dtype, dropout)
        graph = view_of(nodes, edges, device.device)
        for primitive in primitives_of(shape):

            def row(primitive: str = primitive, graph: Any = graph, shape: Shape = shape) -> dict[str, Any]:
                worst = _like_naive(device, primitive, shape)
                step = operator_step(primitive, graph, shape)
                step()
                moved = bytes_moved(primitive, graph.num_targets, graph.num_edges, shape)
                eager = device.medians({"eager": step})["eager"]
                replayed = device.medians({"graph": device.captured(step)}, cold=True)["graph"]
                return {
                    "difference from naive": worst,
                    "eager ms": eager * 1e3,
                    "graph ms": replayed * 1e3,
                    "host ms": device.host_seconds(step) * 1e3,
                    "bytes": moved,
                    "times the bound": replayed * bandwidth / moved,
                    "peak bytes": device.peak_bytes(step),
                    "kernels": _short(device.kernel_seconds(step)),
                }

            rows.measure({"graph": name, "primitive": primitive, **shape.facts()}, row)


def _like_naive(device: Device, primitive: str, shape: Shape) -> float:
    """Output and gradients beside the plain implementation's, on a graph with hubs that is small enough for it.

    The kernels are those of the measurement: they depend on heads, features and types. Without dropout, whose masks
    differ.
    """
    graph = view_of(2_000, 30_000, device.device)
    plain = Shape(shape.heads, shape.features, shape.dtype)
    fused = operator_step(primitive, graph, plain)()
    with lcat.ops.use_implementation("naive"):
        worst = difference(fused, operator_step(primitive, graph, plain, computed_in=torch.float64)())
    limit = TOLERANCE if shape.dtype == torch.float32 else HALF_TOLERANCE
    if not worst <= limit:
        raise RuntimeError(f"numbers differ from naive's by {worst:.1e}, expected at most {limit:.0e}: not timed")
    return worst


def _short(kernels: dict[str, float] | None) -> dict[str, float] | None:
    return None if kernels is None else {name[:60]: round(1e3 * taken, 4) for name, taken in kernels.items()}


def part_layers(device: Device, rows: Rows, tiny: bool) -> None:
    """Whole layers, and torch.sparse for what GCN does between its linear maps."""
    for name in ("170k", "20k"):
        nodes, edges = (50, 300) if tiny else GRAPHS[name]
        edge_index = skewed_edges(nodes, edges, device.device)
        for heads, features in [(8, 8)] if tiny else [(8, 32), (8, 64), (1, 64), (8, 16), (1, 16)]:
            shape = Shape(heads, features)
            x, grad = (torch.randn(nodes, heads * features, device=device.device) for _ in range(2))
            alike = layer_pairs(heads * features, shape, negative_slope=1.0)
            for layer, pair in layer_pairs(heads * features, shape).items():
                what = {"graph": name, "layer": layer, **shape.facts()}
                rows.measure(
                    what, lambda p=pair, a=alike[layer], x=x, e=edge_index, g=grad: _pair(device, p, a, x, e, g)
                )
            what = {"graph": name, "layer": "torch.sparse product", **shape.facts()}
            rows.measure(what, lambda e=edge_index, x=x, g=grad: _alone(device, sparse_step(e, x, g)))


def _alone(device: Device, step: Callable[[], Any]) -> dict[str, Any]:
    step()
    return {"eager ms": device.medians({"step": step})["step"] * 1e3, "peak bytes": device.peak_bytes(step)}


Pair = tuple[torch.nn.Module, torch.nn.Module | None]


def _pair(device: Device, pair: Pair, alike: Pair, x: Tensor, edge_index: Tensor, grad: Tensor) -> dict[str, Any]:
    """Ours beside PyG's: those that are ``alike`` compared, then the ``pair`` timed in turn."""
    ours, theirs = pair
    steps = {"lcat": layer_step(ours.to(device.device), x, edge_index, grad)}
    row: dict[str, Any] = {}
    if theirs is not None:
        steps["PyG"] = layer_step(theirs.to(device.device), x, edge_index, grad)
        numbers = [layer_step(layer.to(device.device), x, edge_index, grad)() for layer in alike if layer is not None]
        row["difference"] = _checked(*numbers, "PyG's")
        del numbers
    for name, taken in device.medians(steps).items():
        row[f"{name} eager ms"] = taken * 1e3
    row["lcat graph ms"] = device.medians({"graph": device.captured(steps["lcat"])})["graph"] * 1e3
    row["lcat host ms"] = device.host_seconds(steps["lcat"]) * 1e3
    for name, step in steps.items():
        row[f"{name} peak bytes"] = device.peak_bytes(step)
    if theirs is not None:
        row["PyG / lcat"] = row["PyG eager ms"] / row["lcat eager ms"]
    return row


def _checked(ours: list[Tensor], theirs: list[Tensor], whose: str) -> float:
    worst = difference(ours, theirs)
    if not worst <= TOLERANCE:
        raise RuntimeError(f"numbers differ from {whose} by {worst:.1e}, expected at most {TOLERANCE:.0e}: not timed")
    return worst


def part_compiled(device: Device, rows: Rows, tiny: bool) -> None:
    """Our layers under torch.compile, beside themselves without it."""
    for what, (ours, _), alike, arguments in _compiled_cases(device, tiny):

        def row(ours: Any = ours, alike: Any = alike[0], arguments: Any = arguments) -> dict[str, Any]:
            start = time.perf_counter()
            ours, alike = ours.to(device.device), alike.to(device.device)
            compiled = _compile(alike, tiny)
            worst = _checked(layer_step(compiled, *arguments)(), layer_step(alike, *arguments)(), "those in eager mode")
            steps = {
                "eager": layer_step(ours, *arguments),
                "compiled": layer_step(_compile(ours, tiny), *arguments),
            }
            for step in steps.values():
                step()
            compiling = time.perf_counter() - start
            times = {f"{name} ms": taken * 1e3 for name, taken in device.medians(steps).items()}
            return {"difference": worst, "compiling s": compiling, **times}

        rows.measure({"library": "lcat", **what}, row)


def part_rivals(device: Device, rows: Rows, tiny: bool) -> None:
    """PyG's layers under torch.compile; some of them end in an error of the device."""
    for what, (_, theirs), alike, arguments in _compiled_cases(device, tiny):
        if theirs is None:
            continue

        def row(theirs: Any = theirs, alike: Any = alike[1], arguments: Any = arguments) -> dict[str, Any]:
            start = time.perf_counter()
            alike = alike.to(device.device)
            compiled = _compile(alike, tiny)
            worst = _checked(layer_step(compiled, *arguments)(), layer_step(alike, *arguments)(), "those in eager mode")
            step = layer_step(_compile(theirs.to(device.device), tiny), *arguments)
            step()
            device.wait()
            compiling = time.perf_counter() - start
            taken = device.medians({"step": step})["step"]
            return {"difference": worst, "compiling s": compiling, "compiled ms": taken * 1e3}

        rows.measure({"library": "PyG", **what}, row)


def _compiled_cases(device: Device, tiny: bool) -> Iterator[tuple[dict[str, Any], Pair, Pair, tuple[Any, ...]]]:
    for name, heads, features in [("170k", 8, 32), ("20k", 8, 8), ("20k", 8, 64)][: 1 if tiny else 3]:
        nodes, edges = (50, 300) if tiny else GRAPHS[name]
        edge_index = skewed_edges(nodes, edges, device.device)
        shape = Shape(heads, features)
        x, grad = (torch.randn(nodes, heads * features, device=device.device) for _ in range(2))
        alike = layer_pairs(heads * features, shape, negative_slope=1.0)
        for layer, pair in layer_pairs(heads * features, shape).items():
            yield {"graph": name, "layer": layer, **shape.facts()}, pair, alike[layer], (x, edge_index, grad)


def _compile(layer: torch.nn.Module, tiny: bool) -> Any:
    """A compiled layer. Dynamo forgets everything else: beyond eight versions of a function it would run eagerly."""
    torch._dynamo.reset()
    return torch.compile(layer, backend="aot_eager" if tiny else "inductor")


def part_products(device: Device, rows: Rows, tiny: bool) -> None:
    """A training step of a 3-layer L-CAT, 8 heads of 8, 100 features, 47 classes, on one generated graph."""
    nodes, edges = (60, 400) if tiny else PRODUCTS
    half = skewed_edges(nodes, edges // 2, device.device)
    edge_index = torch.cat([half, half.flip(0)], dim=1)
    del half
    for dtype in (torch.float32, BFLOAT16):
        what = {"nodes": nodes, "edges": edge_index.shape[1], **Shape(8, 8, dtype).facts()}
        rows.measure(what, lambda dtype=dtype: _training(device, edge_index, nodes, dtype))


def _training(device: Device, edge_index: Tensor, nodes: int, dtype: torch.dtype) -> dict[str, Any]:
    x = torch.randn(nodes, 100, device=device.device)
    y = torch.randint(47, (nodes,), device=device.device)
    torch.manual_seed(0)
    model = torch.nn.ModuleList(
        [lcat.nn.LCATConv(100, 8, 8), lcat.nn.LCATConv(64, 8, 8), lcat.nn.LCATConv(64, 47, 1)]
    ).to(device.device)
    optimizer = torch.optim.Adam(model.parameters())
    kind = device.device.type
    mixed = torch.autocast(kind, dtype) if dtype != torch.float32 else nullcontext()

    def step() -> float:
        h = x
        with mixed:
            for layer in model[:-1]:
                h = F.elu(layer(h, edge_index))
            loss = F.cross_entropy(model[-1](h, edge_index).float(), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    device.wait()
    start = time.perf_counter()
    peak = device.peak_bytes(step)  # the first step, which sorts the graph
    first = time.perf_counter() - start
    taken = device.medians({"step": step})["step"]
    return {"first step s": first, "step s": taken, "peak bytes above the graph": peak, "loss": step()}


def part_batches(device: Device, rows: Rows, tiny: bool) -> None:
    """A step on a graph that was never seen: its view is built each time, as in training on sampled batches.

    The edges are plain tensors with self-loops in them, or bring their groups as those of lcat's loaders do.
    """
    nodes, edges = (50, 150) if tiny else BATCH
    plain = [skewed_edges(nodes, edges, device.device, seed=seed) for seed in range(8)]
    loopless = [edge_index[:, edge_index[0] != edge_index[1]] for edge_index in plain]
    grouped = [
        EdgeIndex(e, sparse_size=(nodes, nodes)).sort_by("col", stable=True).values.fill_cache_() for e in loopless
    ]
    x = torch.randn(nodes, 128, device=device.device)
    for dropout, (kind, graphs) in itertools.product((0.0, 0.6), {"edge_index": plain, "EdgeIndex": grouped}.items()):
        shape = Shape(8, 32, dropout=dropout)
        for name in ("GCNConv", "GATConv", "GATv2Conv", "LCATConv", "LCATv2Conv"):

            def row(name: str = name, shape: Shape = shape, graphs: list[Tensor] = graphs) -> dict[str, Any]:
                steps = {}
                for library, module in (("lcat", lcat.nn), ("PyG", pyg)):
                    if hasattr(module, name):
                        steps[library] = _batch_step(getattr(module, name), shape, x, graphs)
                taken = {f"{library} ms": value * 1e3 for library, value in device.medians(steps).items()}
                return {**taken, "lcat host ms": device.host_seconds(steps["lcat"]) * 1e3}

            rows.measure({"nodes": nodes, "edges": edges, "format": kind, "layer": name, **shape.facts()}, row)


def _batch_step(layer: Any, shape: Shape, x: Tensor, graphs: list[Tensor]) -> Callable[[], None]:
    width = shape.heads * shape.features
    if layer.__name__ == "GCNConv":
        layers = [layer(x.shape[1], width), layer(width, width)]
    else:
        options = {"heads": shape.heads, "dropout": shape.dropout}
        layers = [layer(x.shape[1], shape.features, **options), layer(width, shape.features, **options)]
    model = torch.nn.ModuleList(layers).to(x.device)
    turn = 0

    def step() -> None:
        nonlocal turn
        edge_index = graphs[turn % len(graphs)].clone()  # a new tensor: nothing is known about it
        turn += 1
        model[1](F.elu(model[0](x, edge_index)), edge_index).square().mean().backward()
        for parameter in model.parameters():
            parameter.grad = None

    return step


def part_tiles(device: Device, rows: Rows, tiny: bool) -> None:
    """Other tiles than those of the table. ``gpu_warm.py --tiles`` compiles their kernels beforehand, on all cores."""
    from _gpu_tiles import SHAPES as TRIED
    from _gpu_tiles import different_tiles, tiles

    bandwidth = device.copy_bandwidth()
    nodes, edges = (50, 300) if tiny else GRAPHS["170k"]
    graph = view_of(nodes, edges, device.device)
    for shape in TRIED[1:2] if tiny else TRIED:
        for numbers, at_once in different_tiles(shape)[: 2 if tiny else None]:
            for primitive in (name for name in primitives_of(shape) if name in TUNED):

                def row(
                    shape: Shape = shape, numbers: int = numbers, at_once: int = at_once, primitive: str = primitive
                ) -> dict[str, Any]:
                    with tiles(numbers, at_once):
                        worst = _like_naive(device, primitive, shape)
                        step = operator_step(primitive, graph, shape)
                        step()
                        taken = device.medians({"graph": device.captured(step)}, cold=True)["graph"]
                        kernels = _short(device.kernel_seconds(step))
                    moved = bytes_moved(primitive, graph.num_targets, graph.num_edges, shape)
                    return {
                        "difference from naive": worst,
                        "graph ms": taken * 1e3,
                        "times the bound": taken * bandwidth / moved,
                        "kernels": kernels,
                    }

                what = {**shape.facts(), "numbers per warp": numbers, "edges": at_once, "primitive": primitive}
                rows.measure(what, row)


def part_one(device: Device, rows: Rows, tiny: bool) -> None:
    """Each operator once, after one call that compiles: what a profiler is pointed at."""
    nodes, edges = (50, 300) if tiny else GRAPHS["170k"]
    graph = view_of(nodes, edges, device.device)
    for primitive in PRIMITIVES:
        step = operator_step(primitive, graph, Shape(8, 32))
        step()
        device.wait()
        rows.measure({"primitive": primitive}, lambda step=step: {"seconds": device.seconds(step)})


PARTS: Mapping[str, Callable[[Device, Rows, bool], None]] = {
    "facts": part_facts,
    "operators": part_operators,
    "layers": part_layers,
    "compiled": part_compiled,
    "rivals": part_rivals,
    "products": part_products,
    "batches": part_batches,
    "tiles": part_tiles,
    "one": part_one,
}


def main() -> None:
    """Measure one part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=list(PARTS), required=True, help="what to measure")
    parser.add_argument("--budget", type=float, default=600.0, help="seconds; no measurement begins after them")
    parser.add_argument("--output", type=Path, help="where to write the results as JSON, after each row")
    parser.add_argument("--rounds", type=int, default=20, help="measured rounds per median")
    parser.add_argument("--dry-run", action="store_true", help="tiny graphs, to see that the script works")
    parser.add_argument(
        "--resume", action="store_true", help="keep the rows of the output that exist, measure the rest"
    )
    arguments = parser.parse_args()
    if arguments.resume and arguments.output is None:
        parser.error("--resume needs --output, the file to go on with")
    if not arguments.dry_run and not torch.cuda.is_available():
        sys.exit("no GPU is available: nothing was measured (--dry-run shows that the script works)")
    torch.manual_seed(0)
    device = Device(
        torch.device("cuda" if torch.cuda.is_available() else "cpu"), 1 if arguments.dry_run else arguments.rounds
    )
    about = {"part": arguments.part, **facts(device)}
    rows = Rows(arguments.output, about, arguments.budget, resume=arguments.resume)
    try:
        with torch.cuda.device(device.device) if device.is_gpu else nullcontext():
            PARTS[arguments.part](device, rows, arguments.dry_run)
    except torch.AcceleratorError:
        if arguments.output is None or rows.seconds_left <= 0:
            raise
        again = [*sys.argv, "--resume", "--budget", str(rows.seconds_left)]  # the last value of an option counts
        os.execv(sys.executable, [sys.executable, *again])
    print(f"{len(rows.rows)} rows, {len(rows.failures)} failed, {len(rows.left_out)} left out for lack of time")
    sys.exit(1 if rows.failures else 0)


if __name__ == "__main__":
    main()
