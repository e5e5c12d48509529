"""Layers at the sizes for which GPUs are used: a million edges, hubs, repeated runs, graph capture.

On a GPU these tests run its kernels on large graphs. Without one the same tests run on the CPU with small ones, which
keeps the tests themselves right; what only a GPU has is skipped.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor
from torch_geometric import EdgeIndex

import lcat.nn
import lcat.ops
from lcat.graph import graph_view
from tests.support.layers import LAYERS

GPU = torch.cuda.is_available()
DEVICE = torch.device("cuda" if GPU else "cpu")
NODES, EDGES = (170_000, 1_200_000) if GPU else (700, 5_000)
HUB = 1_000_000 if GPU else 4_000
REPEATS = 200 if GPU else 5
needs_gpu = pytest.mark.skipif(not GPU, reason="there is no GPU")


@pytest.fixture(autouse=True)
def any_order_of_sums():
    """The plain implementation on a GPU adds in no fixed order; what must repeat is asserted bit for bit below."""
    strict = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(False)
    yield
    torch.use_deterministic_algorithms(strict)


def skewed(nodes: int = NODES, edges: int = EDGES) -> Tensor:
    """Unsorted edges; the squares of uniform numbers as ends make degrees with a heavy tail."""
    generator = torch.Generator().manual_seed(0)
    ends = (torch.rand(2, edges, generator=generator, dtype=torch.float64) ** 2 * nodes).long()
    return torch.stack([torch.randperm(nodes, generator=generator)[row] for row in ends])


def made(name: str, channels: int = 16, heads: int = 8, features: int = 8, **options: Any) -> torch.nn.Module:
    torch.manual_seed(0)
    if name == "GCNConv":
        return lcat.nn.GCNConv(channels, heads * features, **options)
    return getattr(lcat.nn, name)(channels, features, heads=heads, **options)


def numbers(nodes: int, channels: int = 16, seed: int = 1) -> Tensor:
    return torch.randn(nodes, channels, generator=torch.Generator().manual_seed(seed))


def results(layer: torch.nn.Module, x: Tensor, edges: Any, *arguments: Tensor) -> list[Tensor]:
    """Output and all gradients, for a gradient of the output that is the same for every type and device."""
    x = x.detach().requires_grad_()
    out = layer(x, edges, *arguments)
    grad = numbers(out.shape[0], out.shape[1], seed=2).to(out.device, out.dtype)
    return [out.detach(), *torch.autograd.grad(out, [x, *layer.parameters()], grad)]


def worst(values: list[Tensor], references: list[Tensor]) -> float:
    """The largest difference, relative to the largest number of the tensor, or a hundredth of that of all tensors.

    Of a scalar to at least 1.
    """
    differences = []
    smallest_scale = max(float(reference.double().abs().max()) for reference in references) / 100
    for value, reference in zip(values, references, strict=True):
        assert bool(torch.isfinite(value).all())
        scale = max(float(reference.double().abs().max()), 1.0 if reference.numel() == 1 else smallest_scale)
        differences.append(float((value.double().cpu() - reference.double().cpu()).abs().max()) / scale)
    return max(differences)


@contextmanager
def no_synchronization() -> Iterator[None]:
    """Inside, an operation that waits for the device is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the mode is a prototype
        try:
            torch.cuda.set_sync_debug_mode("error")
            yield
        finally:
            torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("self_loops", [False, True])
@pytest.mark.parametrize("name", LAYERS)
def test_like_float64_on_the_cpu(name, self_loops):
    edges, x = skewed(300, 3_000), numbers(300)
    layer = made(name, add_self_loops=self_loops)
    with lcat.ops.use_implementation("naive"):
        reference = results(deepcopy(layer).double(), x.double(), edges)
    assert worst(results(layer.to(DEVICE), x.to(DEVICE), edges.to(DEVICE)), reference) < 2e-5


@pytest.mark.parametrize(("heads", "features"), [(1, 7), (8, 8), (3, 40), (4, 64), (2, 256)])
@pytest.mark.parametrize("name", ["GATConv", "GATv2Conv", "LCATConv", "LCATv2Conv"])
def test_edge_features_of_every_width(name, heads, features):
    edges, x, edge_attr = skewed(200, 2_000), numbers(200), numbers(2_000, 5, seed=3)
    layer = made(name, heads=heads, features=features, edge_dim=5, add_self_loops=False)
    with lcat.ops.use_implementation("naive"):
        reference = results(deepcopy(layer).double(), x.double(), edges, edge_attr.double())
    values = results(layer.to(DEVICE), x.to(DEVICE), edges.to(DEVICE), edge_attr.to(DEVICE))
    assert worst(values, reference) < 2e-5


def check_large(name: str, edges: Tensor, nodes: int) -> None:
    """Against float64: with a slope of 1 strictly; with the usual one the output, and all but a few gradients.

    The derivative of LeakyReLU jumps at 0. Of millions of scores some are so near to it that rounding, in the linear
    maps too, decides their side.
    """
    edges, x = edges.to(DEVICE), numbers(nodes).to(DEVICE)
    for slope in (1.0, 0.2):
        layer = made(name, **({} if name == "GCNConv" else {"negative_slope": slope})).to(DEVICE)
        fused = results(layer, x, edges)
        with lcat.ops.use_implementation("naive"):
            reference = results(layer.double(), x.double(), edges)
        assert worst(fused[:1], reference[:1]) < 1e-5
        if slope == 1.0:
            assert worst(fused, reference) < 1e-4
        else:
            d_x, expected = fused[1].double(), reference[1]
            assert float(((d_x - expected).abs() < 1e-4 * expected.abs().max()).double().mean()) > 0.999


@pytest.mark.parametrize("name", LAYERS)
def test_a_large_graph(name):
    check_large(name, skewed(), NODES)


@pytest.mark.parametrize("name", LAYERS)
def test_a_hub_with_most_edges(name):
    """One node receives and sends most edges: the sums of thousands of segments are put together."""
    others = torch.arange(HUB) % (HUB // 2 - 1) + 1
    hub = torch.zeros(HUB, dtype=torch.long)
    check_large(name, torch.cat([torch.stack([others, hub]), torch.stack([hub, others])], dim=1), HUB // 2)


@pytest.mark.parametrize(("heads", "features"), [(8, 8), (3, 7), (8, 256)])
@pytest.mark.parametrize("name", ["GCNConv", "GATConv", "GATv2Conv", "LCATv2Conv"])
def test_the_same_bits_every_time(name, heads, features):
    nodes, count = (3_000, 60_000) if GPU else (300, 4_000)
    edges, x = skewed(nodes, count).to(DEVICE), numbers(nodes).to(DEVICE)
    layer = made(name, heads=heads, features=features).to(DEVICE)
    first = results(layer, x, edges)
    for _ in range(REPEATS):
        for value, reference in zip(results(layer, x, edges), first, strict=True):
            assert torch.equal(value, reference)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("TransformerConv", {"heads": 8}),
        *(("SAGEConv", {"aggr": aggr}) for aggr in ("mean", "max", "min")),
        ("GraphConv", {"aggr": "max"}),
    ],
)
def test_layers_of_pyg_on_a_graph_with_a_hub(name, options):
    """Equal to float64, and the same bits again."""
    others = torch.arange(HUB) % (HUB // 2 - 1) + 1
    hub = torch.zeros(HUB, dtype=torch.long)
    edges = torch.cat([torch.stack([others, hub]), torch.stack([hub, others]), skewed(HUB // 2, HUB)], dim=1).to(DEVICE)
    torch.manual_seed(0)
    layer, x = getattr(lcat.nn, name)(16, 8, **options).to(DEVICE), numbers(HUB // 2).to(DEVICE)
    first = results(layer, x, edges)
    for value, reference in zip(results(layer, x, edges), first, strict=True):
        assert torch.equal(value, reference)
    with lcat.ops.use_implementation("naive"):
        assert worst(first, results(layer.double(), x.double(), edges)) < 1e-4


@pytest.mark.parametrize("name", LAYERS)
def test_bfloat16_under_autocast(name):
    """As near to float64 as the plain implementation in the same types."""
    edges, x, layer = skewed(2_000, 30_000).to(DEVICE), numbers(2_000).to(DEVICE), made(name).to(DEVICE)
    reference = results(deepcopy(layer).double(), x.double(), edges)
    errors = []
    for selection in (nullcontext(), lcat.ops.use_implementation("naive")):
        with selection, torch.autocast(DEVICE.type, torch.bfloat16):
            errors.append(worst(results(layer, x, edges), reference))
    assert errors[0] <= 1.5 * errors[1] + 1e-2


@pytest.mark.parametrize("name", LAYERS)
def test_edge_index(name):
    edges, x, layer = skewed(500, 4_000).to(DEVICE), numbers(500).to(DEVICE), made(name).to(DEVICE)
    index = EdgeIndex(edges, sparse_size=(500, 500)).sort_by("col").values
    assert worst(results(layer, x, index), results(layer, x, index.as_tensor())) < 1e-6


@needs_gpu
@pytest.mark.parametrize("mode", ["default", "reduce-overhead"])
@pytest.mark.parametrize("name", LAYERS)
def test_compiled_on_a_large_graph(name, mode):
    """Several steps: what is kept from the first one, or lies in the memory of a CUDA graph, is right in the next."""
    torch._dynamo.reset()
    options = {} if name == "GCNConv" else {"negative_slope": 1.0}
    edges, x, layer = skewed().to(DEVICE), numbers(NODES).to(DEVICE), made(name, features=32, **options).to(DEVICE)
    reference = [value.clone() for value in results(layer, x, edges)]
    compiled = torch.compile(layer, mode=mode)
    for _ in range(4):
        torch.compiler.cudagraph_mark_step_begin()
        assert worst(results(compiled, x, edges), reference) < 1e-4


@needs_gpu
@pytest.mark.parametrize("name", LAYERS)
def test_a_later_step_does_not_wait_for_the_device(name):
    options = {} if name == "GCNConv" else {"dropout": 0.5}
    edges, x, layer = skewed(500, 4_000).to(DEVICE), numbers(500).to(DEVICE), made(name, **options).to(DEVICE)
    grad = torch.ones(500, 64, device=DEVICE)
    layer(x, edges).backward(grad)
    with no_synchronization():
        layer(x, edges).backward(grad)


@needs_gpu
@pytest.mark.filterwarnings("ignore:The AccumulateGrad node's stream")  # steps run on two streams here
@pytest.mark.parametrize("name", LAYERS)
def test_captured_in_a_cuda_graph(name):
    """A replay computes the same numbers, for inputs that were written in place too."""
    edges, x, layer = skewed(500, 4_000).to(DEVICE), numbers(500).to(DEVICE), made(name).to(DEVICE)
    grad = torch.ones(500, 64, device=DEVICE)

    def step() -> list[Tensor]:
        out = layer(x, edges)
        return [out, *torch.autograd.grad(out, list(layer.parameters()), grad)]

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    captured = torch.cuda.CUDAGraph()
    with torch.cuda.graph(captured):
        outputs = step()
    x.copy_(numbers(500, seed=9))
    captured.replay()
    for value, reference in zip(outputs, step(), strict=True):
        assert torch.equal(value, reference)


@needs_gpu
@pytest.mark.parametrize("name", ["GATConv", "GATv2Conv"])
def test_each_replay_draws_another_mask(name):
    edges, x, layer = skewed(500, 4_000).to(DEVICE), numbers(500).to(DEVICE), made(name, dropout=0.5).to(DEVICE)
    for _ in range(3):
        layer(x, edges)
    torch.cuda.synchronize()
    captured = torch.cuda.CUDAGraph()
    with torch.cuda.graph(captured):
        out = layer(x, edges)
    captured.replay()
    first = out.clone()
    captured.replay()
    assert not torch.equal(out, first)


@needs_gpu
def test_a_graph_first_seen_during_capture_is_seen_again_afterwards():
    """What is computed for a graph inside a capture lies in that capture's memory and must not be used outside."""
    edges, x, layer = skewed(500, 4_000).to(DEVICE), numbers(500).to(DEVICE), made("GATConv").to(DEVICE)
    reference = layer(x, edges.clone()).detach()  # compiles the kernels
    with torch.no_grad():
        layer(x, edges)  # by_target is known now, by_source is not
    captured = torch.cuda.CUDAGraph()
    with torch.cuda.graph(captured):
        torch.autograd.grad(layer(x, edges).sum(), list(layer.parameters()))
    del captured
    filler = [torch.full((4_500,), 10**6, dtype=torch.int32, device=DEVICE) for _ in range(64)]
    layer(x, edges).sum().backward()
    assert torch.equal(layer(x, edges).detach(), reference)
    assert bool(torch.isfinite(layer.lin.weight.grad).all())
    del filler


@needs_gpu
@pytest.mark.parametrize("primitive", ["gat_attention", "gatv2_attention"])
def test_memory_of_an_attention_pass(primitive):
    """No tensor of the size [E, H, F]: beyond inputs and gradients, less than three node tensors."""
    graph, _ = graph_view(skewed().to(DEVICE), NODES, NODES)
    value = torch.randn(NODES, 8, 32, device=DEVICE, requires_grad=True)
    score = torch.randn(NODES, 8, device=DEVICE, requires_grad=True)
    att = torch.randn(8, 32, device=DEVICE, requires_grad=True)

    def step() -> None:
        if primitive == "gat_attention":
            out = lcat.ops.gat_attention(score, score, value, graph)
        else:
            out = lcat.ops.gatv2_attention(value, value, value, att, graph)
        out.backward(value.detach())
        value.grad = score.grad = att.grad = None

    step()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    step()
    node_tensor = value.numel() * 4
    # output, its two gradients as key and value, their sum: four; working memory: three
    assert torch.cuda.max_memory_allocated() - before < 7 * node_tensor
