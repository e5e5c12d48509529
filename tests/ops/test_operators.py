"""The torch.library operators: registration, gradients of both orders, tracing, mixed and low precision."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import torch
from functorch.compile import make_boxed_func
from torch import Tensor
from torch._dynamo.backends.common import aot_autograd
from torch.utils._python_dispatch import TorchDispatchMode

from lcat.graph import Graph
from lcat.ops import aggregate, dot_attention, gat_attention, gatv2_attention, native_status, use_implementation
from lcat.ops._aggregate import fused as aggregate_fused
from lcat.ops._dot_attention import fused as dot_fused
from lcat.ops._extremes import fused as extremes_fused
from lcat.ops._fused import for_backward
from lcat.ops._gat_attention import fused as gat_fused
from lcat.ops._gatv2_attention import fused as gatv2_fused
from lcat.ops._operators import Arguments, unpacker
from lcat.ops._sorted import SORTED, sorted_edges
from tests.ops.cases import (
    Call,
    aggregate_call,
    distance,
    dot_attention_call,
    gat_attention_call,
    gatv2_attention_call,
    make_graph,
)
from tests.support.long import quick_or_long

pytestmark = pytest.mark.skipif(
    native_status().instruction_set is None, reason="the operators need the compiled kernels"
)

F64 = torch.float64
OPERATORS = ["aggregate", "gat_attention", "gatv2_attention", "dot_attention", "extremes"]
CALLS = {
    "aggregate": lambda graph: aggregate_call(graph, 2, 3, F64, "none"),
    "aggregate edge": lambda graph: aggregate_call(graph, 2, 3, F64, "edge"),
    "aggregate head": lambda graph: aggregate_call(graph, 2, 3, F64, "head"),
    "aggregate scaled": lambda graph: aggregate_call(graph, 2, 3, F64, "edge scaled"),
    "gat": lambda graph: gat_attention_call(graph, 2, 3, F64, "target"),
    "gat no target": lambda graph: gat_attention_call(graph, 2, 3, F64, "weight"),
    "gat all": lambda graph: gat_attention_call(graph, 2, 3, F64, "target score weight"),
    "gatv2": lambda graph: gatv2_attention_call(graph, 2, 3, F64, ""),
    "gatv2 all": lambda graph: gatv2_attention_call(graph, 2, 3, F64, "values attr weight"),
    "dot": lambda graph: dot_attention_call(graph, 2, 3, F64, ""),
    "dot all": lambda graph: dot_attention_call(graph, 2, 3, F64, "attr weight"),
}
# A padded graph has all that a random one has, and edges that do not count.
QUICK_GRADCHECKS = [("random", False), ("padded", True)]
ATTENTIONS = {"gat": gat_attention_call, "gatv2": gatv2_attention_call, "dot": dot_attention_call}


def small(kind: str = "random") -> Graph:
    return make_graph(kind, sources=6, targets=5, edges=14)


@pytest.mark.parametrize(
    ("kind", "dropout"), quick_or_long([(k, d) for k in ("random", "padded") for d in (False, True)], QUICK_GRADCHECKS)
)
@pytest.mark.parametrize("name", CALLS)
def test_gradcheck_and_gradgradcheck(name: str, kind: str, dropout: bool) -> None:
    call = CALLS[name](small(kind))
    if dropout and not name.startswith("aggregate"):  # which has none
        call = ATTENTIONS[name.split()[0]](small(kind), 3, 2, F64, name + " dropout target")
    inputs = tuple(t.requires_grad_() for t in call.tensors.values())

    def function(*tensors: Tensor) -> Tensor:
        torch.manual_seed(3)  # the seed of the mask is drawn at every call
        with use_implementation("native"):
            return call.function(**dict(zip(call.tensors, tensors, strict=True)))

    assert torch.autograd.gradcheck(function, inputs)
    assert torch.autograd.gradgradcheck(function, inputs)


def test_scales_have_gradients_too() -> None:
    graph = small()
    draw = torch.Generator().manual_seed(0)
    shapes = ((6, 2, 3), (14,), (6,), (5,))
    inputs = tuple(torch.randn(shape, generator=draw, dtype=F64).requires_grad_() for shape in shapes)
    assert torch.autograd.gradcheck(lambda x, w, s, t: aggregate(x, graph, w, s, t), inputs)


def test_third_derivative() -> None:
    call = CALLS["gat"](small())
    results = []
    for implementation in ("native", "naive"):
        inputs = {name: t.detach().requires_grad_() for name, t in call.tensors.items()}
        with use_implementation(implementation):
            out = call.function(**inputs).square().sum()
        for _ in range(3):
            (grad,) = torch.autograd.grad(out, inputs["source_score"], create_graph=True)
            out = grad.square().sum()
        results.append(grad.detach())
    torch.testing.assert_close(*results)


def operator_arguments(name: str, kind: str, dtype: torch.dtype = F64) -> tuple[Arguments, Arguments]:
    """Arguments for the operator of a primitive and those for its backward pass."""
    graph = small(kind)
    by_target, by_source = sorted_edges(graph, "by_target"), sorted_edges(graph, "by_source")
    draw = torch.Generator().manual_seed(0)

    def tensor(*shape: int) -> Tensor:
        return torch.randn(shape, generator=draw, dtype=F64).to(dtype).requires_grad_()

    seed = torch.tensor([11])
    sources, targets, count = graph.num_sources, graph.num_targets, graph.num_edges
    grad = tensor(targets, 2, 3)
    if name == "aggregate":
        scales = (tensor(sources).detach(), tensor(targets).detach())
        inputs = aggregate_fused.Inputs(tensor(sources, 2, 3), tensor(count), *scales)
        forward = aggregate_fused.Forward(inputs, by_target, by_source, targets)
        saved = aggregate_fused.Saved(inputs, by_target, by_source)
        return forward, aggregate_fused.Backward(grad, saved, [True, True, False, False])
    if name == "extremes":
        extremes_inputs = extremes_fused.Inputs(tensor(sources, 2, 3), tensor(count))
        forward = extremes_fused.Forward(extremes_inputs, by_target, by_source, targets, True)
        results = for_backward([t.detach() for t in torch.ops.lcat.extremes(*forward.pack())])
        saved = extremes_fused.Saved(extremes_inputs, extremes_fused.Kept(*results), by_source)
        return forward, extremes_fused.Backward(grad, saved, True, [True, True])
    if name == "gat_attention":
        fused, options = gat_fused, gat_fused.Options(0.2, 0.3, True)
        inputs = fused.Inputs(
            tensor(sources, 2), tensor(targets, 2), tensor(sources, 2, 3), tensor(count, 2), tensor(count)
        )
    elif name == "dot_attention":
        options = dot_fused.Options(0.7, 0.3)
        inputs = dot_fused.Inputs(
            *(tensor(targets, 2, 3), tensor(sources, 2, 3), tensor(sources, 2, 3)),
            *(tensor(count, 2), tensor(targets, 2, 2), tensor(count)),
        )
        forward = dot_fused.Forward(inputs, by_target, by_source, seed, options)
        results = dot_fused.for_backward([t.detach() for t in torch.ops.lcat.dot_attention(*forward.pack())])
        saved = dot_fused.Saved(inputs, dot_fused.Kept(*results), by_target, by_source, seed)
        return forward, dot_fused.Backward(grad, tensor(targets, 2, 2), saved, options, [True] * len(inputs))
    else:
        fused, options = gatv2_fused, gatv2_fused.Options(0.2, 0.3)
        inputs = fused.Inputs(
            *(tensor(sources, 2, 3), tensor(targets, 2, 3), tensor(sources, 2, 3), tensor(2, 3)),
            *(tensor(count, 2), tensor(6, 2), tensor(count)),
        )
    forward = fused.Forward(inputs, by_target, by_source, seed, options)
    results = for_backward([t.detach() for t in getattr(torch.ops.lcat, name)(*forward.pack())])
    saved = fused.Saved(inputs, fused.Kept(*results), by_target, by_source, seed)
    return forward, fused.Backward(grad, saved, options, [True] * len(inputs))


@pytest.mark.parametrize("name", OPERATORS)
def test_arguments_are_unpacked_as_they_were_packed(name: str) -> None:
    forward, backward = operator_arguments(name, "random")
    for arguments in (forward, forward._replace(by_source=None), backward, backward.saved):
        schema_size = len(arguments.pack())
        assert unpacker(type(arguments))(arguments.pack()) == arguments
        if arguments is forward:
            schema = getattr(torch.ops.lcat, name).default._schema
            assert [argument.name for argument in schema.arguments][:2] == list(arguments.inputs._fields[:2])
            assert schema_size == len(schema.arguments)


@pytest.mark.parametrize("kind", quick_or_long(["random", "padded", "no_edges"], ["padded"]))
@pytest.mark.parametrize("name", OPERATORS)
def test_opcheck(name: str, kind: str) -> None:
    forward, backward = operator_arguments(name, kind)
    torch.library.opcheck(getattr(torch.ops.lcat, name).default, forward.pack())
    torch.library.opcheck(getattr(torch.ops.lcat, f"{name}_backward").default, backward.pack())


def detached(arguments: Arguments) -> list[Any]:
    return [t.detach() if isinstance(t, Tensor) else t for t in arguments.pack()]


def tensors_of(results: Any) -> tuple[Tensor, ...]:
    return results if isinstance(results, tuple) else (results,)


class Watching(TorchDispatchMode):
    """A mode that changes nothing: calls under it pass torch's dispatcher after autograd."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("name", OPERATORS)
def test_a_call_without_gradients_is_one_function(name: str, backward: bool) -> None:
    """Compiled models call the operators so, and on small graphs they wait for the host."""
    operator = getattr(torch.ops.lcat, f"{name}_backward" if backward else name).default
    flat = detached(operator_arguments(name, "random")[backward])
    with Watching():
        expected = tensors_of(operator(*flat))  # and all that is done once has been done
    calls: list[str] = []

    def note(frame: Any, event: str, _: Any) -> None:
        if event == "call":
            calls.append(f"{frame.f_code.co_filename} {frame.f_code.co_name}")

    previous = sys.getprofile()
    sys.setprofile(note)
    try:
        results = tensors_of(operator(*flat))
    finally:
        sys.setprofile(previous)
    assert sum("torch/_ops.py __call__" in call for call in calls) == 1
    assert [call for call in calls if "torch/_library" in call or "redispatch" in call or "apply" in call] == []
    for ours, theirs in zip(results, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


@pytest.mark.parametrize("name", OPERATORS)
def test_results_share_no_memory(name: str) -> None:
    """Compilers may write into the result of an operator."""
    for operator_name, arguments in zip((name, f"{name}_backward"), operator_arguments(name, "random"), strict=True):
        flat = detached(arguments)
        results = tensors_of(getattr(torch.ops.lcat, operator_name)(*flat))
        tensors = [t for t in (*flat, *results) if isinstance(t, Tensor) and t.numel()]
        inputs = {t.data_ptr() for t in flat if isinstance(t, Tensor) and t.numel()}
        assert len({t.data_ptr() for t in tensors}) == len(inputs) + sum(t.numel() > 0 for t in results)


@pytest.mark.parametrize("name", OPERATORS)
def test_the_operators_have_gradients_of_any_order(name: str) -> None:
    operator = getattr(torch.ops.lcat, name)
    forward, _ = operator_arguments(name, "random")
    flat = forward.pack()
    inputs = [t for t in forward.inputs if t is not None and t.requires_grad]

    def derivatives(function: Any) -> list[Tensor]:
        out, gradients = function(), []
        for _ in range(3):
            (grad,) = torch.autograd.grad(out.square().sum(), inputs[0], create_graph=True)
            gradients.append(out := grad)
        return gradients

    def function(*changed: Tensor) -> Tensor:
        following = iter(changed)
        numbers = [next(following) if t is not None and t.requires_grad else t for t in forward.inputs]
        return tensors_of(operator(*numbers, *flat[len(numbers) :]))[0]

    assert torch.autograd.gradcheck(function, inputs)
    plain = derivatives(lambda: function(*inputs))
    with Watching():
        watched = derivatives(lambda: function(*inputs))
    for ours, theirs in zip(plain, watched, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
    assert function(*inputs).grad_fn.name() == f"lcat::{name}Backward"


@pytest.mark.parametrize("gradients", [True, False])
@pytest.mark.parametrize("name", OPERATORS)
def test_tensors_that_are_not_what_lies_in_memory(name: str, gradients: bool) -> None:
    """Lazy negatives, zeros without memory, other strides, fakes and inference tensors reach no kernel as they are."""
    operator = getattr(torch.ops.lcat, name)
    forward, _ = operator_arguments(name, "random")
    flat = list(forward.pack())
    position = next(i for i, t in enumerate(flat) if t is not None and t.dim() == 3)
    rows = flat[position].detach()

    def out(tensor: Tensor) -> Tensor:
        arguments = [*flat[:position], tensor, *flat[position + 1 :]]
        with torch.set_grad_enabled(gradients):
            return tensors_of(operator(*arguments))[0].detach()

    lazy = torch.complex(rows, -rows).conj().imag
    assert lazy.is_neg()
    zeros = torch._efficientzerotensor(rows.shape, dtype=rows.dtype)
    strided = rows.transpose(0, 2).contiguous().transpose(0, 2)
    for tensor, same in ((lazy, rows), (zeros, torch.zeros_like(rows)), (strided, rows)):
        assert torch.equal(out(tensor), out(same))
    assert out(rows).shape == out(rows.clone()).shape
    with torch.inference_mode():
        assert torch.equal(tensors_of(operator(*detached(forward)))[0], out(rows))
    moved = [t.to("meta") if isinstance(t, Tensor) else t for t in flat]
    assert tensors_of(operator(*moved))[0].device.type == "meta"


@pytest.mark.parametrize("name", OPERATORS)
def test_transforms_of_the_operators_themselves(name: str) -> None:
    """Users never meet them: the primitives take the naive path there."""
    operator = getattr(torch.ops.lcat, name)
    flat = detached(operator_arguments(name, "random")[0])
    position = next(i for i, t in enumerate(flat) if t is not None and t.dim() == 3)
    rows = flat[position]

    def out(tensor: Tensor) -> Tensor:
        return tensors_of(operator(*flat[:position], tensor, *flat[position + 1 :]))[0]

    with pytest.raises(RuntimeError, match="setup_context"):
        torch.func.grad(lambda tensor: out(tensor).sum())(rows)
    with (
        torch.autograd.forward_ad.dual_level(),
        pytest.raises(NotImplementedError, match="jvp"),
    ):
        out(torch.autograd.forward_ad.make_dual(rows.requires_grad_(), torch.ones_like(rows)))


@pytest.mark.parametrize("gradients", [True, False])
@pytest.mark.parametrize("dtype", quick_or_long([torch.float16, torch.bfloat16], [torch.bfloat16]), ids=str)
@pytest.mark.parametrize("name", quick_or_long(OPERATORS, ["gat_attention", "extremes"]))
def test_opcheck_of_half_precision(name: str, dtype: torch.dtype, gradients: bool) -> None:
    forward, backward = operator_arguments(name, "random", dtype)
    if not gradients:
        forward = forward._replace(inputs=type(forward.inputs)(*(t.detach() for t in forward.inputs)), by_source=None)
    checks = ("test_schema", "test_autograd_registration", "test_faketensor", "test_aot_dispatch_dynamic")
    torch.library.opcheck(getattr(torch.ops.lcat, name).default, forward.pack(), test_utils=checks)
    if gradients:
        torch.library.opcheck(getattr(torch.ops.lcat, f"{name}_backward").default, backward.pack(), test_utils=checks)


@pytest.mark.parametrize("name", ["gat_attention", "gatv2_attention"])
def test_the_output_is_kept_unrounded_for_gradients_alone(name: str) -> None:
    operator = getattr(torch.ops.lcat, name)
    forward, _ = operator_arguments(name, "random", torch.float16)
    out, lse, *_, unrounded = operator(*forward.pack())
    assert (out.dtype, lse.dtype, unrounded.dtype) == (torch.float16, torch.float32, torch.float32)
    assert torch.equal(out, unrounded.half())
    again, *_, nothing = operator(*forward._replace(by_source=None).pack())
    torch.testing.assert_close(again, out)
    assert nothing.shape == (0,)
    with pytest.raises(ValueError, match="'by_source' for a backward pass"):
        again.sum().backward()
    for dtype in (torch.float32, F64):
        out, *_, unrounded = operator(*operator_arguments(name, "random", dtype)[0].pack())
        assert (out.dtype, unrounded.shape) == (dtype, (0,))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
@pytest.mark.parametrize("name", ["gat all", "gatv2 all", "dot all"])
def test_no_casts_of_rows_in_compiled_graphs(name: str, dtype: torch.dtype) -> None:
    """The gradient reaches the backward pass in the type of the inputs; only that pass sees ``out`` unrounded."""
    call = CALLS[name](make_graph("random"))
    tensors = {key: t.to(dtype).requires_grad_() for key, t in call.tensors.items()}
    graphs: list[torch.fx.GraphModule] = []

    def noted(module: torch.fx.GraphModule, _: Any) -> Any:
        graphs.append(module)
        return make_boxed_func(module.forward)

    torch._dynamo.reset()
    backend = aot_autograd(fw_compiler=noted, bw_compiler=noted)
    out = torch.compile(lambda: call.function(**tensors), fullgraph=True, backend=backend)()
    grad = torch.randn(out.shape, generator=torch.Generator().manual_seed(5), dtype=F64).to(dtype)
    traced = torch.autograd.grad(out, list(tensors.values()), grad)
    plain = torch.autograd.grad(call.function(**tensors), list(tensors.values()), grad)
    for value, expected in zip(traced, plain, strict=True):
        torch.testing.assert_close(value, expected)
    nodes = [node for graph in graphs for node in graph.graph.nodes if node.op == "call_function"]
    casts = [node for node in nodes if "convert_element_type" in str(node.target) or "_to_copy" in str(node.target)]
    assert [node for node in casts if node.meta["val"].is_floating_point()] == []
    (backward,) = (node for node in nodes if "attention_backward" in str(node.target))
    names = [argument.name for argument in backward.target._schema.arguments]
    for argument, expected in (("grad", dtype), ("out", torch.float32)):
        assert backward.args[names.index(argument)].meta["val"].dtype == expected


@pytest.mark.parametrize("name", ["aggregate edge", "gat all", "gatv2 all", "dot all"])
def test_compiles_whole_with_dynamic_sizes(name: str) -> None:
    torch._dynamo.reset()
    compiled = {}
    for size in (6, 9, 13):
        graph = make_graph("random", sources=size, targets=size + 1, edges=3 * size)
        call = CALLS[name](graph)

        def run(source: Tensor, target: Tensor, tensors: dict[str, Tensor], call: Call, sizes: Tensor) -> Tensor:
            made = Graph(source, target, sizes.shape[0], sizes.shape[1])
            kind = "aggregate" if name.startswith("aggregate") else name.split()[0]
            if kind == "aggregate":
                return aggregate(tensors["x"], made, tensors["edge_weight"])
            if kind == "gat":
                names = ("edge_score", "edge_weight")
                picked = {key: tensors[key] for key in names}
                return gat_attention(tensors["source_score"], tensors["target_score"], tensors["value"], made, **picked)
            if kind == "dot":
                picked = {key: tensors[key] for key in ("edge_attr", "query_edge", "edge_weight")}
                rows = tensors["query"], tensors["key"], tensors["value"]
                return torch.cat(dot_attention(*rows, made, scale=0.7, **picked), dim=-1)
            picked = {key: tensors[key] for key in ("edge_attr", "edge_matrix", "edge_weight")}
            return gatv2_attention(tensors["key"], tensors["query"], tensors["value"], tensors["att"], made, **picked)

        if not compiled:
            compiled[name] = torch.compile(run, fullgraph=True, dynamic=True, backend="aot_eager")
        results = []
        for function in (run, compiled[name]):
            tensors = {key: t.detach().requires_grad_() for key, t in call.tensors.items()}
            out = function(graph.source, graph.target, tensors, None, torch.empty(size, size + 1))
            results.append((out, *torch.autograd.grad(out.square().sum(), list(tensors.values()))))
        for plain, traced in zip(*results, strict=True):
            torch.testing.assert_close(plain, traced)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", ["aggregate edge", "gat all", "gatv2", "gatv2 all", "dot", "dot all"])
def test_half_precision_is_as_exact_as_the_naive_path(name: str, dtype: torch.dtype) -> None:
    call = CALLS[name](make_graph("random", edges=300))
    rounded = Call(call.function, {key: t.to(dtype) for key, t in call.tensors.items()})
    exact = rounded.run("naive", F64)
    ours, naive = rounded.run("native"), rounded.run("naive")
    for key, expected in exact.items():
        assert ours[key].dtype == dtype
        limit = 2 * distance(naive[key], expected) + torch.finfo(dtype).eps / 2
        assert distance(ours[key], expected) <= limit, key


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", ["gat all", "gatv2 all", "dot all"])
def test_gradients_of_gradients_in_half_precision(name: str, dtype: torch.dtype) -> None:
    call = CALLS[name](make_graph("random"))

    def twice(implementation: str, dtype: torch.dtype) -> list[Tensor]:
        inputs = [t.detach().to(rounded).to(dtype).requires_grad_() for t in call.tensors.values()]
        with use_implementation(implementation):
            out = call.function(**dict(zip(call.tensors, inputs, strict=True)))
        cotangent = torch.randn(out.shape, generator=torch.Generator().manual_seed(5), dtype=F64).to(rounded).to(dtype)
        cotangent.requires_grad_()
        first = torch.autograd.grad(out, inputs, cotangent, create_graph=True)
        return list(torch.autograd.grad(sum(g.double().square().sum() for g in first), [*inputs, cotangent]))

    rounded = dtype
    exact = twice("naive", F64)
    for ours, naive, expected in zip(twice("native", dtype), twice("naive", dtype), exact, strict=True):
        assert ours.dtype == dtype
        assert distance(ours, expected) <= 3 * distance(naive, expected) + torch.finfo(dtype).eps


def test_equal_messages_have_no_gradient_in_low_precision() -> None:
    """Equal values make the output independent of the scores; a rounded ``out`` would show here."""
    graph = make_graph("random", edges=400)
    s = torch.randn(graph.num_sources, 2).bfloat16().requires_grad_()
    t = torch.randn(graph.num_targets, 2).bfloat16().requires_grad_()
    v = torch.full((graph.num_sources, 2, 16), 1.7).bfloat16()
    out = gat_attention(s, t, v, graph)
    scale = torch.randn(out.shape)
    ds, dt = torch.autograd.grad((out.float() * scale).sum(), (s, t))
    assert float(ds.abs().max()) < 1e-5
    assert float(dt.abs().max()) < 1e-5


@pytest.mark.parametrize("name", ["aggregate edge", "gat all", "gatv2 all", "dot all"])
def test_autocast_leaves_types_as_plain_torch_does(name: str) -> None:
    call = CALLS[name](make_graph("random"))
    floats = {key: t.float() for key, t in call.tensors.items()}
    for key in ("x", "value", "key"):
        if key in floats:
            floats[key] = floats[key].bfloat16()  # as a linear map under autocast makes them
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours = call.function(**floats)
        with use_implementation("naive"):
            theirs = call.function(**floats)
    assert ours.dtype == theirs.dtype == torch.float32
    assert distance(ours, theirs) < 1e-2


class TestTransforms:
    """They take the naive path by themselves, even where another was requested."""

    def test_vmap(self) -> None:
        graph = small()
        call = CALLS["gat"](graph)
        stack = torch.stack([call.tensors["value"], 2 * call.tensors["value"]])
        scores = call.tensors["source_score"], call.tensors["target_score"]
        batched = torch.vmap(lambda value: gat_attention(*scores, value, graph))(stack)
        torch.testing.assert_close(batched[0], call.function(**call.tensors))
        torch.testing.assert_close(batched[1], 2 * batched[0])

    def test_jvp_of_both_kinds(self) -> None:
        graph = small()
        x, tangent = torch.randn(6, 4, dtype=F64), torch.randn(6, 4, dtype=F64)
        with use_implementation("native"):
            _, moved = torch.func.jvp(lambda x: aggregate(x, graph), (x,), (tangent,))
            with torch.autograd.forward_ad.dual_level():
                dual = torch.autograd.forward_ad.make_dual(x, tangent)
                moved_too = torch.autograd.forward_ad.unpack_dual(aggregate(dual, graph)).tangent
        torch.testing.assert_close(moved, aggregate(tangent, graph))
        torch.testing.assert_close(moved_too, moved)

    def test_func_grad(self) -> None:
        graph = small()
        call = CALLS["gatv2"](graph)
        key, query, att = call.tensors["key"], call.tensors["query"], call.tensors["att"]
        by_transform = torch.func.grad(lambda query: gatv2_attention(key, query, key, att, graph).square().sum())(query)
        query = query.detach().requires_grad_()
        (by_autograd,) = torch.autograd.grad(gatv2_attention(key, query, key, att, graph).square().sum(), query)
        torch.testing.assert_close(by_transform, by_autograd)


def test_gradients_only_where_asked() -> None:
    graph = small()
    check_each_gradient_alone(CALLS["gat all"](graph))
    check_each_gradient_alone(CALLS["dot all"](graph))


def check_each_gradient_alone(call: Call) -> None:
    full = call.run("native")
    for name in call.tensors:
        leaves = {key: t.detach().requires_grad_(key == name) for key, t in call.tensors.items()}
        out = call.function(**leaves)
        cotangent = torch.randn(out.shape, generator=torch.Generator().manual_seed(5), dtype=F64)
        (grad,) = torch.autograd.grad(out, leaves[name], cotangent)
        torch.testing.assert_close(grad, full[name], rtol=0, atol=0)


def test_no_sorting_by_source_without_gradients() -> None:
    graph = small()
    with torch.no_grad():
        gat_attention(torch.randn(6, 1), None, torch.randn(6, 1, 2), graph)
    assert graph.is_cached(SORTED, "by_target")
    assert not graph.is_cached(SORTED, "by_source")
