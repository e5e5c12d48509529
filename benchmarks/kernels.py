"""Whole layers, forward and backward, against PyG, PyG compiled, DGL, torch.sparse and EdgeIndex.matmul.

    python benchmarks/kernels.py                            # the whole grid, both allocator modes, JSON
    python benchmarks/kernels.py --graphs small --heads 8 --features 16 --rounds 3 --no-compiled

Layers map F features to H heads of F (GCN: to H * F). First every layer's output and gradients are compared with its
rival's under the same weights; a wrong number stops the run. Then the contenders take turns, round by round, in one
process. The grid is run once for each allocator mode (see ``_measure.ALLOCATORS``); the summary claims the one less
favorable to this library. Floors are the time to read each input and write each output once (stream), and besides to
gather the rows that no algorithm avoids (gather).
"""

from __future__ import annotations

import argparse
import copy
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch_geometric
import torch_geometric.nn as pyg
from _layers import make_step, same_numbers
from _measure import (
    ALLOCATORS,
    available_megabytes,
    copy_bandwidth,
    geometric_mean,
    in_every_mode,
    interleaved,
    machine,
    peak_megabytes,
    write_results,
)
from torch import Tensor, nn

import lcat
import lcat.nn
import lcat.ops
from lcat._json import strict_json

warnings.filterwarnings("ignore", message=".*[Ss]parse.*")

GRAPHS = {"small": (20_000, 400_000), "medium": (170_000, 1_200_000)}
VIEW_GRAPH = (20_000, 100_000)  # as large as sampled batches come
RESULTS = Path(__file__).parent / "results" / "kernels.json"
# Rows of H * F numbers read or written once a node (stream) and gathered once an edge, forward and backward together.
TRAFFIC = {"GCNConv": (4, 2), "GATConv": (6, 2), "GATv2Conv": (9, 4), "LCATConv": (6, 2), "LCATv2Conv": (13, 6)}
# PyG's peak, in tensors of E * H * F numbers: what decides whether it fits.
PYG_PEAK = {"GCNConv": 2.2, "GATConv": 4.4, "GATv2Conv": 6.4}
TARGETS = [
    ("GATv2Conv", "PyG GATv2Conv", "at least", 5.0),
    ("GATConv", "PyG GATConv", "at least", 4.5),
    ("GCNConv", "PyG GCNConv", "at least", 6.0),
    ("GATConv", "LCATConv", "at most", 1.25),
    ("GATv2Conv", "LCATv2Conv", "at most", 2.2),
    ("LCATConv", "PyG GCNConv", "at least", 1.0),
]


def make_edges(nodes: int, edges: int) -> Tensor:
    """Random edges with skewed degrees, sorted by target as most data sets are."""
    draw = torch.Generator().manual_seed(0)
    source = (torch.rand(edges, generator=draw).square() * nodes).long()
    target = (torch.rand(edges, generator=draw).pow(1.5) * nodes).long()
    order = torch.argsort(target * nodes + source)
    return torch.stack([source, target])[:, order]


def make_layers(heads: int, features: int) -> dict[str, nn.Module]:
    """This library's layers and PyG's, pairs under the same weights."""
    width = heads * features
    layers: dict[str, nn.Module] = {
        "GCNConv": lcat.nn.GCNConv(features, width),
        "GATConv": lcat.nn.GATConv(features, features, heads=heads),
        "GATv2Conv": lcat.nn.GATv2Conv(features, features, heads=heads),
        "LCATConv": lcat.nn.LCATConv(features, features, heads=heads),
        "LCATv2Conv": lcat.nn.LCATv2Conv(features, features, heads=heads),
        "PyG GCNConv": pyg.GCNConv(features, width),
        "PyG GCNConv cached": pyg.GCNConv(features, width, cached=True),
        "PyG GATConv": pyg.GATConv(features, features, heads=heads),
        "PyG GATv2Conv": pyg.GATv2Conv(features, features, heads=heads),
    }
    for name, layer in layers.items():
        if name.startswith("PyG"):
            layer.load_state_dict(layers[name.split()[1]].state_dict())
    return layers


def sparse_rivals(x: Tensor, edge_index: Tensor, nodes: int, layer: nn.Module) -> dict[str, Callable[[], Any]]:
    """GCN's product with a normalized matrix made beforehand: torch.sparse (CSR) and PyG's EdgeIndex."""
    loops = torch.arange(nodes).repeat(2, 1)
    edges = torch.cat([edge_index, loops], dim=1)
    degree = torch.zeros(nodes).scatter_add_(0, edges[1], torch.ones(edges.shape[1]))
    weight = degree.rsqrt()[edges[0]] * degree.rsqrt()[edges[1]]
    matrix = torch.sparse_coo_tensor(edges.flip(0), weight, (nodes, nodes)).coalesce().to_sparse_csr()
    index, order = torch_geometric.EdgeIndex(edges, sparse_size=(nodes, nodes)).sort_by("col")
    sorted_weight = weight[order]
    parameters = [layer.lin.weight, layer.bias]

    def by_matrix(x: Tensor, _: Any) -> Tensor:
        return matrix @ layer.lin(x) + layer.bias

    def by_edge_index(x: Tensor, _: Any) -> Tensor:
        return index.matmul(layer.lin(x), sorted_weight, transpose=True) + layer.bias

    return {
        "torch.sparse GCN": make_step(by_matrix, x, None, parameters),
        "EdgeIndex.matmul GCN": make_step(by_edge_index, x, None, parameters),
    }


def dgl_rivals(x: Tensor, edge_index: Tensor, nodes: int, heads: int, features: int) -> dict[str, Callable[[], Any]]:
    """DGL's layers, where DGL can be imported (its last release does not import beside a current torch)."""
    try:
        import dgl
    except Exception:
        return {}
    loops = torch.arange(nodes)
    graph = dgl.graph((torch.cat([edge_index[0], loops]), torch.cat([edge_index[1], loops])), num_nodes=nodes)
    layers = {
        "DGL GATConv": dgl.nn.GATConv(features, features, heads),
        "DGL GATv2Conv": dgl.nn.GATv2Conv(features, features, heads),
        "DGL GraphConv": dgl.nn.GraphConv(features, heads * features),
    }
    return {
        name: make_step(lambda x, _, layer=layer: layer(graph, x), x, None, list(layer.parameters()))
        for name, layer in layers.items()
    }


def check_numbers(steps: dict[str, Callable[[], Any]], layers: dict[str, nn.Module], graph: str, features: int) -> None:
    """Outputs and gradients: in float64 on a smaller graph, and as they are timed.

    The rival of L-CAT, which PyG has not, is its naive path. What is timed is compared as a whole (norms): where a
    score's LeakyReLU is within rounding of its kink, two right answers differ in a few numbers by more than rounding.
    """
    nodes, edges = (count // 40 for count in GRAPHS[graph])
    edge_index = make_edges(nodes, edges)
    x = torch.randn(nodes, features, dtype=torch.double, requires_grad=True)
    for name in TRAFFIC:
        layer = copy.deepcopy(layers[name]).double()
        rival = copy.deepcopy(layers.get(f"PyG {name}", layer)).double()
        ours = make_step(layer, x, edge_index, list(layer.parameters()))()
        with lcat.ops.use_implementation("naive"):
            theirs = make_step(rival, x, edge_index, list(rival.parameters()))()
        same_numbers(name, ours, theirs, 1e-9)
        if f"PyG {name}" in steps:
            same_numbers(name, steps[name](), steps[f"PyG {name}"](), 1e-3)


def floors(name: str, nodes: int, edges: int, width: int, bandwidth: dict[str, float]) -> dict[str, float]:
    """Least milliseconds of a layer's edge part at the machine's copy bandwidth."""
    rows, gathers = TRAFFIC[name]
    row = width * 4
    stream = (rows * nodes * row + 24 * edges) / bandwidth["memory"]
    fits = nodes * row < 20e6
    gather = stream + gathers * edges * row / bandwidth["cache" if fits else "memory"]
    return {"stream_ms": stream * 1e3, "gather_ms": gather * 1e3}


def run_case(graph: str, heads: int, features: int, options: argparse.Namespace, bandwidth: dict[str, float]) -> dict:
    """Times, ratios, floors and memory of one point of the grid."""
    nodes, edges = GRAPHS[graph]
    torch.manual_seed(0)
    edge_index = make_edges(nodes, edges)
    x = torch.randn(nodes, features, requires_grad=True)
    layers = make_layers(heads, features)
    tensor = (edges + nodes) * heads * features * 4 / 1e6
    room = available_megabytes() * 0.7
    skipped = {}
    for name, peak in PYG_PEAK.items():
        if peak * tensor > room:
            skipped[f"PyG {name}"] = f"needs {peak * tensor / 1e3:.0f} GB"
    if "PyG GCNConv" in skipped:
        skipped["PyG GCNConv cached"] = skipped["PyG GCNConv"]
    active = {name: layer for name, layer in layers.items() if name not in skipped}
    steps = {name: make_step(layer, x, edge_index, list(layer.parameters())) for name, layer in active.items()}
    steps |= sparse_rivals(x, edge_index, nodes, layers["GCNConv"])
    check_numbers(steps, layers, graph, features)
    if options.compiled and graph in options.compiled_graphs:
        for name in ("PyG GATConv", "PyG GATv2Conv", "PyG GCNConv"):
            if name in active:
                torch._dynamo.reset()
                compiled = torch.compile(active[name])
                steps[f"{name} compiled"] = make_step(compiled, x, edge_index, list(active[name].parameters()))
    steps |= dgl_rivals(x, edge_index, nodes, heads, features)
    case: dict[str, Any] = {"graph": graph, "heads": heads, "features": features, "skipped": skipped}
    case["milliseconds"] = interleaved(steps, options.rounds)
    case["floors"] = {name: floors(name, nodes, edges + nodes, heads * features, bandwidth) for name in TRAFFIC}
    if options.memory:
        case["peak_megabytes"] = {name: peak_megabytes(steps[name]) for name in active}
    return case


def view_cases(rounds: int) -> list[dict]:
    """What a view of a graph costs that is seen for the first time, beside a step of one layer: sampled batches."""
    nodes, edges = VIEW_GRAPH
    torch.manual_seed(0)
    by_target = make_edges(nodes, edges)
    by_target = by_target[:, by_target[0] != by_target[1]].contiguous()
    shuffled = by_target[:, torch.randperm(by_target.shape[1])].contiguous()
    filled = torch_geometric.EdgeIndex(by_target, sparse_size=(nodes, nodes), sort_order="col").fill_cache_()
    inputs = {
        "edges by target": by_target.clone,
        "edges in no order": shuffled.clone,
        "EdgeIndex, cache filled": filled.clone,
    }
    cases = []
    for heads, features in ((1, 16), (8, 16)):
        x = torch.randn(nodes, features, requires_grad=True)
        layers = make_layers(heads, features)
        for name in TRAFFIC:
            parameters = list(layers[name].parameters())

            def step(edge_index: Any, layer: nn.Module = layers[name], wanted: Any = (x, *parameters)) -> None:
                torch.autograd.grad(layer(wanted[0], edge_index).sum(), wanted)

            contenders: dict[str, Callable[[], Any]] = {"step": lambda step=step: step(by_target)}
            for kind, make in inputs.items():
                fresh = [make() for _ in range(rounds + 1)]
                contenders[kind] = lambda step=step, fresh=fresh: step(fresh.pop())
            times = interleaved(contenders, rounds)
            views = {kind: times[kind] - times["step"] for kind in inputs}
            cases.append(
                {"layer": name, "heads": heads, "features": features, "step_ms": times["step"], "view_ms": views}
            )
    return cases


def hub_cases(rounds: int, threads: int) -> list[dict]:
    """Layers on a graph where one node has 30 % of the edges in each direction, on one thread and on all."""
    nodes, edges = GRAPHS["small"]
    torch.manual_seed(0)
    edge_index = torch.randint(nodes, (2, edges))
    edge_index[1, : edges * 3 // 10] = nodes // 3
    edge_index[0, edges * 3 // 10 : edges * 6 // 10] = nodes // 2
    cases = []
    for heads, features in ((1, 16), (8, 32)):
        x = torch.randn(nodes, features, requires_grad=True)
        for name, layer in make_layers(heads, features).items():
            if name not in TRAFFIC:
                continue
            step = make_step(layer, x, edge_index, list(layer.parameters()))

            def on_threads(count: int, step: Callable[[], Any] = step) -> None:
                torch.set_num_threads(count)
                step()

            contenders = {
                str(count): lambda count=count, on_threads=on_threads: on_threads(count)
                for count in sorted({1, threads})
            }
            times = interleaved(contenders, rounds)
            cases.append({"layer": name, "heads": heads, "features": features, "ms_by_threads": times})
    torch.set_num_threads(threads)
    return cases


def print_hubs(cases: list[dict]) -> None:
    print("\na node with 30 % of the edges in each direction, forward and backward")
    for case in cases:
        times = ", ".join(f"{ms:.1f} ms on {count} threads" for count, ms in case["ms_by_threads"].items())
        print(f"  {case['layer']:<12}{case['heads']} x {case['features']}  {times}")


def print_views(cases: list[dict]) -> None:
    nodes, edges = VIEW_GRAPH
    print(f"\nviews of a new graph of {nodes} nodes and {edges} edges, beside a step of one layer")
    for case in cases:
        views = ", ".join(f"{kind} {ms:.1f} ms" for kind, ms in case["view_ms"].items())
        print(f"  {case['layer']:<12}{case['heads']} x {case['features']}  step {case['step_ms']:6.1f} ms;  {views}")


def print_case(case: dict) -> None:
    times = case["milliseconds"]
    print(f"\n{case['graph']}, {case['heads']} heads of {case['features']}")
    for name, ms in times.items():
        line = f"  {name:<24}{ms:9.1f} ms"
        if name in case["floors"]:
            floor = case["floors"][name]
            line += f"   {ms / floor['stream_ms']:5.1f} x stream, {ms / floor['gather_ms']:4.1f} x gather floor"
        rival = times.get(f"PyG {name}")
        if rival is not None:
            line += f"   PyG / ours {rival / ms:5.2f}"
        if case.get("peak_megabytes", {}).get(name) is not None:
            line += f"   peak {case['peak_megabytes'][name]:.0f} MB"
        print(line)
    for name, why in case["skipped"].items():
        print(f"  {name:<24}skipped: {why}")
    sys.stdout.flush()


def summarize(modes: dict[str, list[dict]]) -> list[dict]:
    """Each target in the allocator mode less favorable to this library."""
    rows = []
    for ours, rival, sense, limit in TARGETS:
        ratios_by_mode = {}
        for mode, cases in modes.items():
            ratios = [c["milliseconds"][rival] / c["milliseconds"][ours] for c in cases if rival in c["milliseconds"]]
            ratios_by_mode[mode] = geometric_mean(ratios)
        value = min(ratios_by_mode.values()) if sense == "at least" else max(ratios_by_mode.values())
        met = value >= limit if sense == "at least" else value <= limit
        row = {
            "what": f"{rival} / {ours}",
            "target": f"{sense} {limit}",
            "ratio": value,
            "met": met,
            "modes": ratios_by_mode,
        }
        rows.append(row)
    for cases in modes.values():
        for case in cases:
            peaks = case.get("peak_megabytes", {})
            if (case["heads"], case["features"]) == (8, 64) and "PyG GATv2Conv" in peaks:
                value = peaks["PyG GATv2Conv"] / peaks["GATv2Conv"]
                what = f"peak memory, PyG / ours, GATv2Conv, 8 x 64, {case['graph']}"
                rows.append({"what": what, "target": "at least 20", "ratio": value, "met": value >= 20})
    return rows


def run_mode(options: argparse.Namespace) -> None:
    """The grid in this process, under whatever allocator it was started with."""
    torch.set_num_threads(options.threads)
    bandwidth = {"memory": copy_bandwidth(512), "cache": copy_bandwidth(8)}
    cases = []
    for graph in options.graphs:
        for heads in options.heads:
            for features in options.features:
                case = run_case(graph, heads, features, options, bandwidth)
                print_case(case)
                cases.append(case)
    views = view_cases(options.rounds)
    print_views(views)
    hubs = hub_cases(options.rounds, options.threads)
    print_hubs(hubs)
    facts = {"machine": machine(), "bandwidth": bandwidth, "cases": cases, "views": views, "hubs": hubs}
    Path(options.worker).write_text(strict_json(facts))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--graphs", nargs="+", default=list(GRAPHS), choices=list(GRAPHS))
    parser.add_argument("--heads", nargs="+", type=int, default=[1, 8])
    parser.add_argument("--features", nargs="+", type=int, default=[16, 32, 64])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--allocators", nargs="+", default=list(ALLOCATORS), choices=list(ALLOCATORS))
    parser.add_argument("--compiled", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--compiled-graphs", nargs="+", default=["small"], help="compiling takes long on 2 cores")
    parser.add_argument("--memory", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--worker", default=None, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        return run_mode(options)

    # Kept pages would hide the peak.
    facts = in_every_mode(__file__, options.allocators, {"keep": ["--no-memory"]})
    modes = {allocator: fact["cases"] for allocator, fact in facts.items()}
    summary = summarize(modes)
    for kind in ("edges by target", "edges in no order", "EdgeIndex, cache filled"):
        ratios_by_mode = {
            mode: geometric_mean([max(c["view_ms"][kind] / c["step_ms"], 0.01) for c in fact["views"]])
            for mode, fact in facts.items()
        }
        value = max(ratios_by_mode.values())
        what = f"view of a new graph / step, {kind}"
        row = {"what": what, "target": "at most 1.0", "ratio": value, "met": value <= 1.0, "modes": ratios_by_mode}
        summary.append(row)
    print("\n== geometric means over the grid, in the allocator mode less favorable to lcat")
    for row in summary:
        print(f"  {row['what']:<52}{row['ratio']:7.2f}   target {row['target']:<14}{'met' if row['met'] else 'MISSED'}")
    versions = {"lcat": lcat.__version__, "torch_geometric": torch_geometric.__version__}
    command = "python benchmarks/kernels.py " + " ".join(sys.argv[1:])
    result = {"command": command.strip(), "versions": versions, "summary": summary, "modes": facts}
    write_results(options.out, result)


if __name__ == "__main__":
    main()
