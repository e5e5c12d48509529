"""Every GPU kernel once on a small graph with hubs, for compute-sanitizer.

    PYTORCH_NO_CUDA_MEMORY_CACHING=1 compute-sanitizer --tool memcheck python benchmarks/gpu_sanitize.py

Each tensor needs a block of memory of its own, or a stray access lands in another tensor and is not seen: hence the
variable. Rows are cut into segments of 16 edges, so that parts of rows are written and put together too. Primitives
only: no layer, no matrix product.
"""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import nullcontext
from unittest import mock

import _source_tree  # noqa: F401
import torch
from _gpu_work import PRIMITIVES, Shape, operator_step

import lcat.ops
from lcat.graph import Graph

SHAPES = [(3, 7), (8, 8), (8, 64), (8, 256)]


def mixed_graph(device: torch.device) -> Graph:
    """170 sources and 150 targets with 2,000 edges, hubs on both sides and nodes without edges."""
    generator = torch.Generator().manual_seed(0)
    source = torch.randint(150, (2000,), generator=generator)
    target = torch.randint(140, (2000,), generator=generator)
    target[:400] = 3
    source[300:700] = 5
    return Graph(source.to(device), target.to(device), 150, 150)


def with_edges(graph: Graph, shape: Shape) -> None:
    """What operator_step leaves out: weights, scores, features of edges and their gradients, scales of nodes."""
    device = graph.device

    def normal(*size: int) -> torch.Tensor:
        return torch.randn(size, device=device).to(shape.dtype).requires_grad_()

    nodes, edges, heads, features = graph.num_sources, graph.num_edges, shape.heads, shape.features
    x, query = normal(nodes, heads, features), normal(nodes, heads, features)
    weight, scale = normal(edges), normal(nodes)
    outputs = [
        lcat.ops.aggregate(x, graph, normal(edges, heads)),
        lcat.ops.aggregate(x, graph, weight, source_scale=scale, target_scale=scale),
        lcat.ops.gat_attention(
            normal(nodes, heads),
            normal(nodes, heads),
            x,
            graph,
            edge_score=normal(edges, heads),
            edge_weight=weight,
            dropout=shape.dropout,
        ),
        lcat.ops.gatv2_attention(
            x,
            query,
            x,
            normal(heads, features),
            graph,
            edge_attr=normal(edges, 5),
            edge_matrix=normal(heads * features, 5),
            edge_weight=weight,
            dropout=shape.dropout,
        ),
        *lcat.ops.dot_attention(
            query,
            x,
            normal(nodes, heads, features),
            graph,
            scale=features**-0.5,
            edge_attr=normal(edges, 5),
            query_edge=normal(nodes, heads, 5),
            edge_weight=weight,
            dropout=shape.dropout,
        ),
        lcat.ops.aggregate(x, graph, normal(edges, heads), reduce="max"),
        lcat.ops.aggregate(x, graph, weight, reduce="min"),
        lcat.ops.aggregate(x, graph, weight, reduce="mean"),
    ]
    torch.autograd.backward(outputs, [torch.ones_like(out) for out in outputs])


def main() -> None:
    """Launch everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dry-run", action="store_true", help="also without a GPU, to see that the script works")
    arguments = parser.parse_args()
    if not arguments.dry_run and not torch.cuda.is_available():
        sys.exit("no GPU is available: there is nothing to look at (--dry-run shows that the script works)")
    if torch.cuda.is_available() and os.environ.get("PYTORCH_NO_CUDA_MEMORY_CACHING") != "1":
        sys.exit("set PYTORCH_NO_CUDA_MEMORY_CACHING=1: otherwise stray accesses end in other tensors and are not seen")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    graph = mixed_graph(device)
    with (
        mock.patch("lcat.ops._triton.schedule.default_tile", return_value=16)
        if device.type == "cuda"
        else nullcontext()
    ):
        for heads, features in SHAPES:
            for dtype, dropout in ((torch.float32, 0.0), (torch.bfloat16, 0.5)):
                shape = Shape(heads, features, dtype, dropout)
                for primitive in PRIMITIVES:
                    operator_step(primitive, graph, shape)()
                with_edges(graph, shape)
                print(f"{heads} x {features} {dtype} dropout {dropout}", flush=True)
    if device.type == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
