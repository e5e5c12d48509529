"""The GPU kernels behind the library's own functions: operators, autograd, autocast, torch.compile, layers.

Without a GPU the interpreted kernels stand in for the compiled CPU ones, under the same operators.
"""

from __future__ import annotations

from contextlib import ExitStack
from importlib import import_module
from unittest import mock

import pytest
import torch

# First, because it decides whether the kernels are interpreted.
from tests.ops.triton_support import DEVICE, error, gradients, graph, random_tensor, same, tiles_of

# isort: split
import lcat.nn
import lcat.ops
from lcat.graph import Graph
from lcat.ops import _eager, use_implementation
from lcat.ops._fused import native_objection
from lcat.ops._triton import schedule as _triton_schedule
from lcat.ops.dispatch import Call

NAME = "native" if DEVICE == "cpu" else "triton"
FUNCTIONS = {
    "aggregate": ("forward", "weight_grad"),
    "extremes": ("forward", "backward"),
    "gat_attention": ("forward", "backward"),
    "gatv2_attention": ("forward", "backward"),
    "dot_attention": ("forward", "backward"),
}

if DEVICE == "cpu":
    pytestmark = pytest.mark.skipif(
        native_objection(Call(torch.device("cpu"), torch.float32)) is not None,
        reason="without the compiled CPU kernels there is nothing on the CPU that the GPU kernels could stand in for",
    )


@pytest.fixture(autouse=True)
def standing_in():
    """On the CPU the operators call the interpreted kernels."""

    with ExitStack() as stack:
        stack.enter_context(tiles_of(4))
        if DEVICE == "cpu":
            for name, functions in FUNCTIONS.items():
                native, kernels = (import_module(f"lcat.ops._{name}.{module}") for module in ("native", "triton"))
                for function in functions:
                    stack.enter_context(mock.patch.object(native, function, getattr(kernels, function)))
        yield


def compare(function, inputs, rows: int, width: int, tolerance: float = 1e-11) -> None:
    grad = random_tensor(rows, 2, width, seed=9)
    with use_implementation("naive"):
        out, expected = gradients(function, inputs, grad)
    with use_implementation(NAME):
        kernel_out, kernel_gradients = gradients(function, inputs, grad)
    same("out", kernel_out, out, tolerance)
    for index, (value, reference) in enumerate(zip(kernel_gradients, expected, strict=True)):
        same(f"gradient {index}", value, reference, tolerance)


def test_aggregate():
    edges = graph()
    x, w = random_tensor(edges.num_sources, 2, 3), random_tensor(edges.num_edges, 2)
    compare(lambda x, w: lcat.ops.aggregate(x, edges, w), [x, w], edges.num_targets, 3)


@pytest.mark.parametrize("reduce", ["mean", "min", "max"])
def test_other_reductions(reduce):
    edges = graph()
    x, w = random_tensor(edges.num_sources, 2, 3).relu(), random_tensor(edges.num_edges, 2)
    scales = [random_tensor(edges.num_sources, seed=2), random_tensor(edges.num_targets, seed=3)]

    def call(x, w, *scales):
        return lcat.ops.aggregate(x, edges, w, *scales, reduce=reduce)

    compare(call, [x, w], edges.num_targets, 3)
    compare(call, [x, w, *scales], edges.num_targets, 3)


def test_gat_attention():
    edges = graph()
    s, t = random_tensor(edges.num_sources, 2), random_tensor(edges.num_targets, 2, seed=1)
    v, score = random_tensor(edges.num_sources, 2, 3), random_tensor(edges.num_edges, 2)

    def call(s, t, v, score):
        return lcat.ops.gat_attention(s, t, v, edges, edge_score=score)

    compare(call, [s, t, v, score], edges.num_targets, 3)


@pytest.mark.parametrize("values", [False, True])
def test_gatv2_attention(values):
    edges = graph()
    k, q = random_tensor(edges.num_sources, 2, 3), random_tensor(edges.num_targets, 2, 3, seed=1)
    v = random_tensor(edges.num_sources, 2, 3, seed=2) if values else None
    att, weight = random_tensor(2, 3, seed=3), random_tensor(edges.num_edges)

    def call(k, q, v, att, weight):
        return lcat.ops.gatv2_attention(k, q, k if v is None else v, att, edges, edge_weight=weight)

    compare(call, [k, q, v, att, weight], edges.num_targets, 3)


@pytest.mark.parametrize("features", [False, True])
def test_dot_attention(features):
    edges = graph()
    q, k = random_tensor(edges.num_targets, 2, 3, seed=1), random_tensor(edges.num_sources, 2, 3)
    v, weight = random_tensor(edges.num_sources, 2, 3, seed=2), random_tensor(edges.num_edges)
    attr, u = random_tensor(edges.num_edges, 2, seed=3), random_tensor(edges.num_targets, 2, 2, seed=4)

    def call(q, k, v, weight, *more):
        if not more:
            return lcat.ops.dot_attention(q, k, v, edges, scale=0.6, edge_weight=weight)
        options = {"edge_attr": more[0], "query_edge": more[1], "edge_weight": weight}
        return torch.cat(lcat.ops.dot_attention(q, k, v, edges, scale=0.6, **options), dim=-1)

    inputs = [q, k, v, weight, *([attr, u] if features else [])]
    compare(call, inputs, edges.num_targets, 5 if features else 3)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", ["gat_attention", "gatv2_attention"])
def test_half_precision_reaches_the_kernels_as_it_is(name, dtype, compiled, monkeypatch):
    module = import_module(f"lcat.ops._{name}.{NAME}")
    types = {}

    def noting(kind, function):
        def call(*arguments, **options):
            results = function(*arguments, **options)
            if kind == "forward":
                types["results"] = [None if x is None else x.dtype for x in results]
            else:
                types["grad"], types["out"] = arguments[0].dtype, options["out"].dtype
            return results

        return call

    for kind in ("forward", "backward"):
        monkeypatch.setattr(module, kind, noting(kind, getattr(module, kind)))
    edges = graph()
    rows = random_tensor(edges.num_sources, 2, 8, dtype=dtype)
    if name == "gat_attention":
        s, t = (random_tensor(count, 2, dtype=dtype) for count in (edges.num_sources, edges.num_targets))
        inputs = [s, t, rows]
    else:
        inputs = [rows, random_tensor(edges.num_targets, 2, 8, dtype=dtype), random_tensor(2, 8, dtype=dtype)]

    def call(source, target, *tensors):
        made = Graph(source, target, edges.num_sources, edges.num_targets)
        if name == "gat_attention":
            return lcat.ops.gat_attention(*tensors, made)
        key, query, att = tensors
        return lcat.ops.gatv2_attention(key, query, key, att, made)

    function = torch.compile(call, fullgraph=True, backend="aot_eager") if compiled else call
    torch._dynamo.reset()
    grad = random_tensor(edges.num_targets, 2, 8, dtype=dtype, seed=9)

    def run(function, inputs):
        return gradients(lambda *tensors: function(edges.source, edges.target, *tensors), inputs, grad)

    with use_implementation(NAME):
        out, kernel_gradients = run(function, inputs)
    with use_implementation("naive"):
        naive_out, naive_gradients = run(call, inputs)
        exact_out, exact_gradients = run(call, [x.double() for x in inputs])
    if compiled:  # an operator of torch returns an empty tensor for what is missing; here all is asked for
        assert None not in types["results"]
    others = [torch.float32] * (4 if name == "gat_attention" else 2)
    assert types == {"results": [dtype, *others], "grad": dtype, "out": torch.float32}
    for value, other, exact in zip(
        [out, *kernel_gradients], [naive_out, *naive_gradients], [exact_out, *exact_gradients], strict=True
    ):
        assert value.dtype == dtype
        assert error(value, exact) <= 2 * error(other, exact) + torch.finfo(dtype).eps / 2


def test_dropout_is_the_same_forward_and_backward():
    # The output is linear in the values, so their gradient tells the coefficients that were kept.
    edges = graph()
    s, v = random_tensor(edges.num_sources, 2), random_tensor(edges.num_sources, 2, 3).requires_grad_()
    with use_implementation(NAME):
        out = lcat.ops.gat_attention(s, None, v, edges, dropout=0.5)
        (slope,) = torch.autograd.grad(out, v, out.detach())
    assert torch.allclose((slope * v).sum(), (out * out).sum())


def test_a_schedule_is_made_once_for_each_direction(monkeypatch):
    made = []
    build = _triton_schedule.build_schedule

    def counting(edges, tile):
        made.append(edges)
        return build(edges, tile)

    monkeypatch.setattr(_triton_schedule, "build_schedule", counting)
    edges = graph("loops")
    x = random_tensor(5, 2, 3).requires_grad_()
    with use_implementation(NAME):
        for _ in range(2):
            lcat.ops.gatv2_attention(x, x, x, random_tensor(2, 3), edges).sum().backward()
            lcat.ops.aggregate(x, edges).sum().backward()
    assert len(made) == 2


def test_gradients_that_are_not_contiguous():
    edges = graph("loops")
    x = random_tensor(5, 2, 3).requires_grad_()
    with use_implementation(NAME):
        (kernel_gradient,) = torch.autograd.grad(lcat.ops.gatv2_attention(x, x, x, random_tensor(2, 3), edges).sum(), x)
    with use_implementation("naive"):
        (expected,) = torch.autograd.grad(lcat.ops.gatv2_attention(x, x, x, random_tensor(2, 3), edges).sum(), x)
    same("x", kernel_gradient, expected, 1e-11)


@pytest.fixture
def copied(monkeypatch):
    """For each pass of gatv2_attention, whether keys and whether queries came in one piece."""
    monkeypatch.setattr(_eager, "ROWS_APART", {DEVICE})
    module = import_module(f"lcat.ops._gatv2_attention.{NAME}")
    passes = []

    def noted(function, first):
        def call(*arguments, **options):
            passes.append(tuple(x.is_contiguous() for x in arguments[first : first + 2]))
            return function(*arguments, **options)

        return call

    for function, first in (("forward", 0), ("backward", 1)):
        monkeypatch.setattr(module, function, noted(getattr(module, function), first))
    return passes


@pytest.mark.parametrize(
    ("dim", "features", "in_one_piece"),
    [
        (1, 4, (False, False)),  # heads of both side by side
        (2, 4, (True, True)),  # features of both: rows are in pieces, and copied
        (1, 6, (False, False)),
        (1, 3, (False, True)),  # the second half begins after 24 bytes, no multiple of 16
    ],
)
def test_halves_of_one_tensor_are_read_where_they_are(dim, features, in_one_piece, copied):
    edges = graph("loops")
    shape = [5, 2, features]
    shape[dim] *= 2
    both = random_tensor(*shape, dtype=torch.float32)
    att = random_tensor(2, features, dtype=torch.float32)
    grad = random_tensor(5, 2, features, dtype=torch.float32, seed=9)

    def call(both):
        key, query = both.chunk(2, dim=dim)
        return lcat.ops.gatv2_attention(key, query, key, att, edges)

    with use_implementation("naive"):
        out, expected = gradients(call, [both], grad)
    with use_implementation(NAME):
        fused, (gradient,) = gradients(call, [both], grad)
    same("out", fused, out, 1e-5)
    same("both", gradient, expected[0], 1e-5)
    assert copied == [in_one_piece] * 2


def same_as_naive(name, module, x, edge_index, tolerance):
    """Output and all gradients of a layer."""
    leaves, results = [x, *module.parameters()], []
    for implementation in ("naive", NAME):
        with use_implementation(implementation):
            out = module(x, edge_index)
            results.append([out, *torch.autograd.grad((out * out).sum(), leaves)])
    for value, reference in zip(results[1], results[0], strict=True):
        same(name, value.detach(), reference.detach(), tolerance)


@pytest.mark.parametrize("batch", [(), (3,)])
@pytest.mark.parametrize("per_head", [False, True])
def test_keys_and_queries_of_lcat_are_not_copied(per_head, batch, copied):
    edges = graph("loops")
    edge_index = torch.stack([edges.source, edges.target])
    module = lcat.nn.LCATv2Conv(20, 4, 2, lambdas_per_head=per_head).to(DEVICE)
    x = torch.randn(*batch, 5, 20, device=DEVICE).requires_grad_()
    same_as_naive("LCATv2Conv", module, x, edge_index, 1e-5)
    assert copied == ([(True, True)] if batch else [(False, False)]) * 2  # heads of several sets are put together


@pytest.mark.parametrize(
    ("layer", "arguments", "options"),
    [
        ("GCNConv", (4, 6), {}),
        *((layer, (4, 3, 2), {}) for layer in ("GATConv", "GATv2Conv", "LCATConv", "LCATv2Conv", "TransformerConv")),
        *(("SAGEConv", (4, 6), {"aggr": aggr}) for aggr in ("mean", "min", "max")),
        ("GraphConv", (4, 6), {"aggr": "max"}),
    ],
)
def test_layers(layer, arguments, options):
    edges = graph("loops")
    edge_index = torch.stack([edges.source, edges.target])
    module = getattr(lcat.nn, layer)(*arguments, **options).double().to(DEVICE)
    same_as_naive(layer, module, random_tensor(5, 4).requires_grad_(), edge_index, 1e-10)
