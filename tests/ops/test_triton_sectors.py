"""How memory is read: of what the pass by sources gathers of a target, each edge reads no more sectors than it fills.

A GPU reads sectors of 32 bytes. Triton's interpreter shows the addresses of every load.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest
import torch

# First, because it decides whether the kernels are interpreted.
from tests.ops.triton_support import INTERPRETED, graph, seed_tensor
from tests.ops.triton_support import random_tensor as random

# isort: split
from lcat.ops._dot_attention import triton as dot_attention
from lcat.ops._dot_attention.fused import for_backward as for_dot_backward
from lcat.ops._fused import for_backward
from lcat.ops._gat_attention import triton as gat_attention
from lcat.ops._gatv2_attention import triton as gatv2_attention

pytestmark = pytest.mark.skipif(not INTERPRETED, reason="addresses are seen in the interpreter")

SECTOR = 32
HEADS, FEATURES = 8, 4
NUMBERS = {"gat_attention": 3, "gatv2_attention": 2, "dot_attention": 2}  # per target and head


def backward(name: str) -> None:
    """Forward and backward pass of a primitive, on a graph with hubs."""
    view = graph("mixed")
    sources, targets, edges = view.num_sources, view.num_targets, (view.by_target, view.by_source)
    options: tuple[Any, ...] = (0.2, 0.3, seed_tensor(0.3))
    rows = random(sources, HEADS, FEATURES, dtype=torch.float32)
    query, grad = (random(targets, HEADS, FEATURES, dtype=torch.float32, seed=seed) for seed in (1, 2))
    if name == "gat_attention":
        scores = [random(count, HEADS, dtype=torch.float32) for count in (sources, targets)]
        inputs = (*scores, rows, None, None)
        results = for_backward(gat_attention.forward(*inputs, edges[0], *options, True, True))
        gat_attention.backward(grad, *inputs, *results, *edges, *options, [True] * 5)
    elif name == "gatv2_attention":
        inputs = (rows, query, None, random(HEADS, FEATURES, dtype=torch.float32), None, None, None)
        results = for_backward(gatv2_attention.forward(*inputs, edges[0], *options, True))
        gatv2_attention.backward(grad, *inputs, *results, *edges, *options, [True] * 7)
    else:
        inputs = (query, rows, rows, None, None, None)
        results = for_dot_backward(dot_attention.forward(*inputs, edges[0], *options, True))
        dot_attention.backward(grad, None, *inputs, *results, *edges, *options, [True] * 6)


@pytest.mark.parametrize("name", list(NUMBERS))
def test_the_state_of_a_target_is_read_in_whole_sectors(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from triton.runtime import interpreter

    module = importlib.import_module(f"lcat.ops._{name}.triton")
    launch, load = module.launch, interpreter.InterpreterBuilder.create_masked_load
    states: list[tuple[int, int]] = []
    loads: list[tuple[int, int]] = []

    def noted_launch(kernel: Any, *arguments: Any, **named: Any) -> None:
        source = kernel.fn.__name__.strip("_") == "source_kernel"
        states[:] = [(named["STATE"].data_ptr(), named["STATE"].nbytes)] if source else []
        launch(kernel, *arguments, **named)
        states.clear()

    def noted_load(builder: Any, pointers: Any, mask: Any, *rest: Any) -> Any:
        for first, size in states:
            addresses = pointers.data.astype(np.int64) - first
            inside = mask.data & (addresses >= 0) & (addresses < size)
            for edge in np.argwhere(inside.any(axis=-1)) if addresses.ndim == 3 else ():
                read = addresses[tuple(edge)][inside[tuple(edge)]]
                loads.append((len(np.unique(read // SECTOR)), len(read)))
        return load(builder, pointers, mask, *rest)

    monkeypatch.setattr(module, "launch", noted_launch)
    monkeypatch.setattr(interpreter.InterpreterBuilder, "create_masked_load", noted_load)
    backward(name)
    filled = HEADS * torch.float32.itemsize // SECTOR
    assert loads == [(filled, HEADS)] * (NUMBERS[name] * graph("mixed").num_edges)
