"""Calls of the primitives over graphs, shapes, types and options, and their comparison with the naive path."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from unittest import mock

import torch
from torch import Tensor

from lcat.graph import Graph
from lcat.ops import aggregate, dot_attention, gat_attention, gatv2_attention, use_implementation

GRAPHS = ("random", "alone", "duplicates", "isolated", "hub", "no_edges", "no_targets", "padded")
WIDTHS = (1, 3, 7, 16, 40, 47, 64, 256)
CANARY = -12345.0
GUARD = 64


def make_graph(kind: str, sources: int = 23, targets: int = 19, edges: int = 90, seed: int = 0) -> Graph:
    """A bipartite graph of the named kind, its edges in no order."""
    draw = torch.Generator().manual_seed(seed)
    if kind == "no_targets":
        targets = edges = 0
    if kind == "no_edges":
        edges = 0
    source = torch.randint(max(sources, 1), (edges,), generator=draw)
    target = torch.randint(max(targets, 1), (edges,), generator=draw)
    if kind == "duplicates":
        source, target = torch.cat([source, source, source[:7]]), torch.cat([target, target, target[:7]])
    elif kind == "isolated":
        source, target = source % (sources // 2), target % (targets // 2)
    elif kind == "hub":
        target[: edges * 3 // 4] = 2 % targets
        source[edges // 8 :] = 3 % sources
        target[edges // 8 : edges // 4] = 5 % targets
    elif kind == "alone":  # one edge each, five more of one node, and three without any
        target = torch.cat([torch.arange(max(targets - 3, 0)), torch.full((5,), 2 % max(targets, 1))])[:edges]
        source = source[: target.numel()]
    padded = kind == "padded"
    if padded:
        target[::4] = targets
    return Graph(source, target, sources, targets, padded=padded)


def aggregate_call(graph: Graph, heads: int, width: int, dtype: torch.dtype, weight: str, seed: int = 1) -> Call:
    """aggregate with the named kind of weight ("none", "edge" or "head"), and perhaps "scaled"."""
    draw = _Draw(dtype, seed)
    tensors = {"x": draw(graph.num_sources, heads, width)}
    if "none" not in weight:
        tensors["edge_weight"] = draw(graph.num_edges, *([heads] if "head" in weight else []))
    scales = (draw(graph.num_sources), draw(graph.num_targets)) if "scaled" in weight else None

    def function(**t: Tensor) -> Tensor:
        constants = {} if scales is None else dict(zip(("source_scale", "target_scale"), scales, strict=True))
        constants = {name: scale.to(t["x"].dtype) for name, scale in constants.items()}
        return aggregate(t["x"], graph, t.get("edge_weight"), **constants)

    return Call(function, tensors)


def gat_attention_call(
    graph: Graph, heads: int, width: int, dtype: torch.dtype, options: str = "", seed: int = 1, slope: float = 0.2
) -> Call:
    """gat_attention with the options in the text: target, score, weight, dropout."""
    draw = _Draw(dtype, seed)
    tensors = {
        "source_score": draw(graph.num_sources, heads),
        "value": draw(graph.num_sources, heads, width),
    }
    if "target" in options:
        tensors["target_score"] = draw(graph.num_targets, heads)
    if "score" in options:
        tensors["edge_score"] = draw(graph.num_edges, heads)
    if "weight" in options:
        tensors["edge_weight"] = draw(graph.num_edges)

    def function(**t: Tensor) -> Tensor:
        return gat_attention(
            *(t["source_score"], t.get("target_score"), t["value"], graph),
            negative_slope=slope,
            edge_score=t.get("edge_score"),
            edge_weight=t.get("edge_weight"),
            dropout=0.4 if "dropout" in options else 0.0,
        )

    return Call(function, tensors)


def gatv2_attention_call(
    graph: Graph, heads: int, width: int, dtype: torch.dtype, options: str = "", seed: int = 1, slope: float = 0.2
) -> Call:
    """gatv2_attention with the options in the text: values, attr, weight, dropout."""
    draw = _Draw(dtype, seed)
    tensors = {
        "key": draw(graph.num_sources, heads, width),
        "query": draw(graph.num_targets, heads, width),
        "att": draw(heads, width),
    }
    if "values" in options:
        tensors["value"] = draw(graph.num_sources, heads, width)
    if "attr" in options:
        tensors["edge_attr"] = draw(graph.num_edges, 3)
        tensors["edge_matrix"] = draw(heads * width, 3)
    if "weight" in options:
        tensors["edge_weight"] = draw(graph.num_edges)

    def function(**t: Tensor) -> Tensor:
        return gatv2_attention(
            *(t["key"], t["query"], t.get("value", t["key"]), t["att"], graph),
            negative_slope=slope,
            edge_attr=t.get("edge_attr"),
            edge_matrix=t.get("edge_matrix"),
            edge_weight=t.get("edge_weight"),
            dropout=0.4 if "dropout" in options else 0.0,
        )

    return Call(function, tensors)


def dot_attention_call(
    graph: Graph,
    heads: int,
    width: int,
    dtype: torch.dtype,
    options: str = "",
    *,
    seed: int = 1,
    scale: float = 0.7,
    edge_width: int = 3,
) -> Call:
    """dot_attention with the options in the text: attr, weight, dropout. Two results are put side by side."""
    draw = _Draw(dtype, seed)
    tensors = {
        "query": draw(graph.num_targets, heads, width),
        "key": draw(graph.num_sources, heads, width),
        "value": draw(graph.num_sources, heads, width),
    }
    if "attr" in options:
        tensors["edge_attr"] = draw(graph.num_edges, edge_width)
        tensors["query_edge"] = draw(graph.num_targets, heads, edge_width)
    if "weight" in options:
        tensors["edge_weight"] = draw(graph.num_edges)

    def function(**t: Tensor) -> Tensor:
        return dot_attention_as_one(**t, graph=graph, scale=scale, dropout=0.4 if "dropout" in options else 0.0)

    return Call(function, tensors)


def dot_attention_as_one(*tensors: Tensor | Graph, scale: float = 0.7, **others: Tensor | Graph | float) -> Tensor:
    """dot_attention with its two results, if there are two, side by side in one tensor."""
    result = dot_attention(*tensors, scale=scale, **others)
    return result if isinstance(result, Tensor) else torch.cat(result, dim=-1)


class Call:
    """A primitive with all but its differentiable tensors bound."""

    def __init__(self, function: Callable[..., Tensor], tensors: dict[str, Tensor]) -> None:
        self.function = function
        self.tensors = tensors

    def run(self, implementation: str, dtype: torch.dtype | None = None) -> dict[str, Tensor]:
        """The output ("out") and the gradient of each tensor for one random cotangent."""
        inputs = {
            name: tensor.detach().to(dtype or tensor.dtype).requires_grad_() for name, tensor in self.tensors.items()
        }
        with use_implementation(implementation):
            out = self.function(**inputs)
        cotangent = torch.randn(out.shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
        gradients = torch.autograd.grad(out, list(inputs.values()), cotangent.to(out.dtype))
        return {"out": out.detach(), **dict(zip(inputs, gradients, strict=True))}

    def check(self, implementation: str = "native", tolerance: float | None = None) -> None:
        """Same output and gradients as the naive path in float64, to about the precision of the input."""
        dtype = next(iter(self.tensors.values())).dtype
        limit = tolerance or {torch.float64: 1e-11, torch.float32: 3e-5}[dtype]
        ours, theirs = self.run(implementation), self.run("naive", torch.float64)
        for name, expected in theirs.items():
            assert ours[name].shape == expected.shape
            assert ours[name].dtype == dtype
            assert distance(ours[name], expected) <= limit, f"{name}: off by {distance(ours[name], expected):.2g}"


def distance(ours: Tensor, theirs: Tensor) -> float:
    """Largest difference, relative to the largest entry (at least 1); infinite where either is not a number."""
    if ours.numel() == 0:
        return 0.0
    ours, theirs = ours.detach().double(), theirs.detach().double()
    worst = float((ours - theirs).abs().max() / theirs.abs().max().clamp(min=1.0))
    return worst if worst == worst else float("inf")


class _Draw:
    def __init__(self, dtype: torch.dtype, seed: int) -> None:
        self.dtype = dtype
        self.generator = torch.Generator().manual_seed(seed)

    def __call__(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self.generator, dtype=torch.float64).to(self.dtype)


@contextmanager
def guarded_memory() -> Iterator[list[Tensor]]:
    """Every ``new_empty`` inside is filled with NaN and framed by canaries, which are checked at the end."""
    frames: list[Tensor] = []
    plain = Tensor.new_empty

    def new_empty(self: Tensor, *size: int, **options: torch.dtype) -> Tensor:
        shape = size[0] if len(size) == 1 and not isinstance(size[0], int) else size
        count = int(torch.Size(shape).numel())
        frame = plain(self, count + 2 * GUARD, **options)
        frame.fill_(CANARY)
        frame[GUARD : GUARD + count] = float("nan") if frame.is_floating_point() else -1
        frames.append(frame)
        return frame[GUARD : GUARD + count].view(shape)

    with mock.patch.object(Tensor, "new_empty", new_empty):
        yield frames
    for frame in frames:
        assert bool((frame[:GUARD] == CANARY).all()), "written before the beginning of an allocation"
        assert bool((frame[-GUARD:] == CANARY).all()), "written beyond the end of an allocation"
