"""Launch compiled kernels without a GPU: a driver for Triton that compiles, binds arguments, and does nothing.

The interpreter sees no options and no argument binding, ahead-of-time compilation no launch: with this driver Triton's
own code does everything up to the call into CUDA. Results are uninitialized memory; what is counted is real. Run as a
script (without TRITON_INTERPRET) it prints one line of JSON per scenario.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

sys.path.insert(0, str(Path(__file__).parents[2]))

import torch
from torch.profiler import ProfilerActivity, profile
from triton.backends.compiler import GPUTarget
from triton.runtime import JITFunction, driver

#: Operations that wait for the device when they are run on one.
SYNCHRONIZING = {"aten::_local_scalar_dense", "aten::nonzero", "aten::equal"}
#: Operations that start nothing on a device: views and empty memory. ``to`` and others do if they copy.
FREE = {
    *("alias", "as_strided", "chunk", "detach", "expand", "flatten", "narrow", "permute", "select", "slice", "split"),
    *("squeeze", "t", "transpose", "unbind", "unflatten", "unsqueeze", "view", "view_as", "empty", "empty_like"),
    *("empty_strided", "new_empty", "contiguous", "reshape", "to"),
}
SORTING = {"aten::sort", "aten::_unique2", "aten::unique_consecutive", "aten::topk"}
LAYERS = ("GCNConv", "GATConv", "CATConv", "GATv2Conv", "LCATConv", "LCATv2Conv", "TransformerConv", "SAGEConv")
WITHOUT_HEADS = {"GCNConv": {}, "SAGEConv": {"aggr": "max"}}


class _Utils:
    def load_binary(self, *arguments: Any) -> tuple[int, int, int, int, int]:
        return 1, 2, 100, 0, 1024  # module, function, registers, spills, threads at most

    def get_device_properties(self, device: int) -> dict[str, int]:
        return {"max_shared_mem": 232448, "max_num_regs": 65536, "multiprocessor_count": 132, "warpSize": 32}


class StandIn:
    """What Triton asks of a driver, for an H100 that is not there."""

    def __init__(self) -> None:
        self.utils = _Utils()
        self.launches: list[str] = []

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", 90, 32)

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int | None = None) -> int:
        return 0

    def get_active_torch_device(self) -> torch.device:
        return torch.device("cpu")

    def launcher_cls(self, source: Any, metadata: Any) -> Callable[..., None]:
        def launch(*arguments: Any) -> None:
            self.launches.append(f"{source.fn.__module__.removeprefix('lcat.ops.')}:{source.fn.__name__}")

        return launch


def counted(stand_in: StandIn, step: Callable[[], Any]) -> dict[str, Any]:
    """One call: its launches, sorts and waits."""
    before, lists, to_list = len(stand_in.launches), 0, torch.Tensor.tolist

    def counting(tensor: torch.Tensor) -> Any:  # no operation, so a profiler does not see it
        nonlocal lists
        lists += 1
        return to_list(tensor)

    # Not by a TorchDispatchMode: inside one, as in any tracing, nothing that was computed once is used again.
    with (
        mock.patch.object(torch.Tensor, "tolist", counting),
        profile(activities=[ProfilerActivity.CPU], record_shapes=True) as profiler,
    ):
        step()
    operations = {row.key: row.count for row in profiler.key_averages()}
    computing = Counter(event.name.removeprefix("aten::") for event in profiler.events() if _computes(event))
    return {
        "launches": dict(Counter(stand_in.launches[before:])),
        "sorts": sum(operations.get(name, 0) for name in SORTING),
        "waits": lists + sum(operations.get(name, 0) for name in SYNCHRONIZING),
        "operations": sum(count for name, count in operations.items() if name.startswith("aten::")),
        "computing": dict(computing),
    }


def _computes(event: Any) -> bool:
    """Whether an event is an operation that starts something on a device.

    That is what no other operation calls, but for those that are free, and the copies that these make after all. (On
    CPUs others copy too, to cast their arguments; and numbers of Python are tensors there.)
    """
    if not event.name.startswith("aten::"):
        return False
    outermost, caller = event, event.cpu_parent
    while caller is not None:
        if caller.name.startswith("aten::"):
            outermost = caller
        caller = caller.cpu_parent
    free = outermost.name.removeprefix("aten::") in FREE
    if outermost is event:
        return not free
    return free and event.name == "aten::copy_" and event.input_shapes[0] != []


def made(name: str, **options: Any) -> torch.nn.Module:
    """A layer from 16 to 8 features, with these options if it has heads."""
    import lcat.nn

    layer: torch.nn.Module = getattr(lcat.nn, name)(16, 8, **WITHOUT_HEADS.get(name, options))
    return layer


def direct() -> dict[str, int]:
    """How often Triton was asked for a kernel, for calls that differ from the first one in one thing."""
    from lcat.graph import graph_view
    from lcat.ops._aggregate import triton
    from lcat.ops._sorted import sorted_edges

    graph, _ = graph_view(torch.randint(300, (2, 6000)), 300, 300)
    edges = sorted_edges(graph, "by_target")
    x = torch.randn(300, 4, 8)

    def asked(x: torch.Tensor, scale: torch.Tensor | None = None) -> int:
        with mock.patch.object(JITFunction, "run", autospec=True, side_effect=JITFunction.run) as run:
            triton.forward(x, None, edges, 300, scale, None)
        return run.call_count

    shifted = torch.randn(300 * 32 + 1)[1:].view(300, 4, 8)
    return {
        "first": asked(x),
        "the same again": asked(x + 1),
        "another type": asked(x.bfloat16()),
        "another width": asked(x[:, :2].contiguous()),
        "one argument more": asked(x, torch.rand(300)),
        "an address that is no multiple of 16": asked(shifted),
        "that again": asked(shifted),
        "the first once more": asked(x),
    }


def of_rows(name: str, dtype: torch.dtype) -> dict[str, Any]:
    """One step of a primitive whose tensors all have this type: its launches, and the casts of its rows."""
    import lcat.ops
    from lcat.graph import graph_view

    graph, _ = graph_view(torch.randint(300, (2, 6000)), 300, 300)
    rows, query = (torch.randn(300, 4, 8).to(dtype).requires_grad_() for _ in range(2))
    scores = [torch.randn(300, 4).to(dtype).requires_grad_() for _ in range(2)]
    att, grad = torch.randn(4, 8).to(dtype).requires_grad_(), torch.randn(300, 4, 8).to(dtype)
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as profiler:
        if name == "gat_attention":
            out = lcat.ops.gat_attention(*scores, rows, graph)
        elif name == "dot_attention":
            out = lcat.ops.dot_attention(query, rows, rows, graph, scale=0.3)
        else:
            out = lcat.ops.gatv2_attention(rows, query, rows, att, graph)
        out.backward(grad)
    copies = [row for row in profiler.key_averages(group_by_input_shape=True) if row.key == "aten::_to_copy"]
    casts = sum(row.count for row in copies if row.input_shapes[0] == [300, 4, 8])
    return {"primitive": name, "dtype": str(dtype), "casts": casts}


def of_compiled(stand_in: StandIn, name: str) -> dict[str, Any]:
    """The first and a later step of a compiled layer, on edges with self-loops."""
    from lcat.ops._triton import schedule

    torch.manual_seed(0)
    layer = torch.compile(made(name), backend="aot_eager", fullgraph=True)
    edge_index = torch.randint(300, (2, 6000))
    x = torch.randn(300, 16, requires_grad=True)
    layer(x, edge_index.clone()).sum().backward()  # compiles
    result = {}
    for kind in ("first", "later"):
        with mock.patch.object(schedule, "build_schedule", side_effect=schedule.build_schedule) as build:
            result[kind] = counted(stand_in, lambda: layer(x, edge_index).sum().backward())
        result[kind]["schedules"] = build.call_count
    return result


def of_groups(stand_in: StandIn, name: str) -> dict[str, Any]:
    """The first and a later step of a layer on edges that come in groups, as the loaders send them."""
    from torch_geometric import EdgeIndex

    torch.manual_seed(0)
    layer, x = made(name), torch.randn(300, 16, requires_grad=True)
    edges = torch.randint(300, (2, 6000))
    edges = edges[:, edges[0] != edges[1]]
    edge_index = EdgeIndex(edges, sparse_size=(300, 300)).sort_by("col")[0].fill_cache_()
    return {kind: counted(stand_in, lambda: layer(x, edge_index).sum().backward()) for kind in ("first", "later")}


def main() -> None:
    """Layers, forward and backward, the first step and a later one."""
    stand_in = StandIn()
    driver.set_active(stand_in)
    from lcat import _device
    from lcat.ops import _grouped
    from tests.support.through_gpu import install

    # Edges are grouped as on a GPU, by operations of torch, where all answers are asked for at once.
    _grouped._is_compiled = lambda graph: False
    _device.host_waits_for = lambda tensor: True

    print(json.dumps({"direct": direct()}), flush=True)
    install(torch.device("cpu"))
    for name in ("gat_attention", "gatv2_attention", "dot_attention"):
        for dtype in (torch.float32, torch.bfloat16, torch.float16):
            print(json.dumps({"rows": of_rows(name, dtype)}), flush=True)
    for name in LAYERS:
        for dropout in (0.0, 0.6):
            if dropout and name in WITHOUT_HEADS:
                continue
            torch.manual_seed(0)
            layer = made(name, heads=8, dropout=dropout)
            edge_index = torch.randint(300, (2, 6000))
            x = torch.randn(300, 16, requires_grad=True)
            grad = torch.ones(300, 8 if name in WITHOUT_HEADS else 64)

            def step(layer: Any = layer, x: Any = x, edge_index: Any = edge_index, grad: Any = grad) -> None:
                torch.autograd.grad(layer(x, edge_index), [x, *layer.parameters()], grad)

            first, later = counted(stand_in, step), counted(stand_in, step)
            print(json.dumps({"layer": name, "dropout": dropout, "first": first, "later": later}), flush=True)
    for name in LAYERS:
        print(json.dumps({"groups": name, **of_groups(stand_in, name)}), flush=True)
    for name in LAYERS:
        print(json.dumps({"compiled": name, **of_compiled(stand_in, name)}), flush=True)


if __name__ == "__main__":
    main()
