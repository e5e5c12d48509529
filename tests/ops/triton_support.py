"""Graphs, guarded memory and references for the tests of the GPU kernels.

Import this before anything that imports the kernels: it decides how they run. With a GPU they are compiled; without
one Triton's interpreter runs them on CPU tensors (a few milliseconds a program, so graphs are small here).
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import pytest
import torch
from torch import Tensor

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1" or not torch.cuda.is_available()
DEVICE = "cpu" if INTERPRETED else "cuda"
if INTERPRETED and os.environ.get("TRITON_INTERPRET") != "1":
    # Triton reads this when it is imported, for its own functions, and again at every kernel's definition.
    if "triton" in sys.modules:
        pytest.skip(
            "triton was imported before it could be told to interpret: set TRITON_INTERPRET=1", allow_module_level=True
        )
    if importlib.util.find_spec("triton") is not None:
        os.environ["TRITON_INTERPRET"] = "1"
pytest.importorskip("triton")

from lcat.graph import Graph  # noqa: E402
from lcat.ops._triton import schedule as _triton_schedule  # noqa: E402
from lcat.ops._triton.dropout import keep_mask  # noqa: E402

GUARD = 64  # numbers before and after every allocation: a multiple of the 16-byte alignment kernels count on
CANARY = -12345.0
TOLERANCE = {torch.float64: 1e-11, torch.float32: 2e-5}
SHAPES = [(1, 1), (3, 7), (2, 16), (1, 40), (1, 47), (4, 8), (8, 3), (2, 64), (1, 256)]


def graph(kind: str = "mixed") -> Graph:
    """A small graph of the named kind; the same on every call."""
    generator = torch.Generator().manual_seed(7)

    def random(count: int, size: tuple[int, ...]) -> Tensor:
        return torch.randint(0, count, size, generator=generator)

    if kind == "mixed":  # bipartite; hubs on both sides, parallel edges, isolated nodes on both sides, unsorted
        source, target = random(6, (30,)), random(8, (30,))
        target[3:14] = 3
        source[12:24] = 2
        order = torch.randperm(30, generator=generator)
        made = Graph(source[order], target[order], 7, 9)
    elif kind == "loops":  # square, every node with its own loop and little else
        ends = torch.arange(5)
        made = Graph(torch.cat([ends, random(5, (4,))]), torch.cat([ends, random(5, (4,))]), 5, 5)
    elif kind == "edgeless":
        made = Graph(random(1, (0,)), random(1, (0,)), 3, 4)
    elif kind == "no targets":
        made = Graph(random(1, (0,)), random(1, (0,)), 3, 0)
    elif kind == "one edge":
        made = Graph(torch.tensor([1]), torch.tensor([0]), 2, 1)
    elif kind == "dead edges":  # a third of the edges points nowhere, as in a graph traced by torch.compile
        source, target = random(5, (24,)), random(6, (24,))
        target[::3] = 6
        made = Graph(source, target, 5, 6, padded=True)
    else:
        raise ValueError(kind)
    return Graph(made.source.to(DEVICE), made.target.to(DEVICE), made.num_sources, made.num_targets, padded=made.padded)


GRAPHS = ["mixed", "loops", "edgeless", "no targets", "one edge", "dead edges"]


def random_tensor(*size: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    """Normal numbers inside a buffer of NaN: a load that strays spoils the result."""
    generator = torch.Generator().manual_seed(seed + 31 * len(size) + sum(size))
    values = torch.randn(size, generator=generator, dtype=torch.float64).to(dtype)
    count = values.numel()
    flat = torch.full((count + 2 * GUARD,), float("nan"), dtype=dtype)
    flat[GUARD : GUARD + count] = values.flatten()
    return flat.to(DEVICE)[GUARD : GUARD + count].view(size)


@contextmanager
def guarded_memory() -> Iterator[None]:
    """Inside, ``torch.empty`` gives NaN between canaries; afterwards every canary must still be there."""
    real, real_like, made = torch.empty, torch.empty_like, []

    def empty(*size: Any, dtype: torch.dtype | None = None, device: Any = None) -> Tensor:
        shape = torch.Size(size[0] if size and isinstance(size[0], (tuple, list, torch.Size)) else size)
        dtype = dtype or torch.get_default_dtype()
        if not dtype.is_floating_point:
            return real(shape, dtype=dtype, device=device)
        flat = torch.full((shape.numel() + 2 * GUARD,), CANARY, dtype=dtype, device=device)
        inside = flat[GUARD : GUARD + shape.numel()]
        inside.fill_(float("nan"))
        made.append(flat)
        return inside.view(shape)

    def empty_like(x: Tensor) -> Tensor:
        return empty(x.shape, dtype=x.dtype, device=x.device) if x.is_contiguous() else real_like(x)

    with mock.patch.object(torch, "empty", empty), mock.patch.object(torch, "empty_like", empty_like):
        yield
    for flat in made:
        expected = torch.tensor(CANARY, dtype=flat.dtype, device=flat.device)
        assert bool((flat[:GUARD] == expected).all()), "a kernel wrote before its buffer"
        assert bool((flat[-GUARD:] == expected).all()), "a kernel wrote past its buffer"


@contextmanager
def tiles_of(edges: int) -> Iterator[None]:
    """Inside, rows are cut into segments of ``edges``, so that small graphs have cut rows too."""
    with mock.patch.object(_triton_schedule, "default_tile", return_value=edges):
        yield


def seed_tensor(dropout: float, value: int = 2**40 + 17) -> Tensor | None:
    """The seed argument of a call with this dropout."""
    return torch.tensor([value], device=DEVICE) if dropout else None


def factors(graph: Graph, heads: int, dropout: float) -> Tensor | None:
    """What the kernels multiply coefficients by (``keep_mask`` has tests of its own), in float64."""
    seed = seed_tensor(dropout)
    if seed is None:
        return None
    mask = keep_mask(graph.num_edges, heads, dropout, seed) > 0
    return mask.double() / (1 - dropout) if dropout < 1 else torch.zeros_like(mask, dtype=torch.float64)


def gradients(
    function: Callable[..., Tensor], inputs: list[Tensor | None], grad: Tensor
) -> tuple[Tensor, list[Tensor | None]]:
    """``function(*inputs)`` by autograd, and the gradient of each input (``None`` for a missing one)."""
    leaves = [None if x is None else x.detach().clone().requires_grad_() for x in inputs]
    present = [x for x in leaves if x is not None]
    # Not every sum of the naive implementation can be had in a fixed order on a GPU.
    strict = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(False)
    out = function(*leaves)
    present_gradients = iter(
        torch.autograd.grad(out, present, grad.to(out.dtype), allow_unused=True, materialize_grads=True)
    )
    torch.use_deterministic_algorithms(strict)
    return out.detach(), [None if x is None else next(present_gradients) for x in leaves]


def error(x: Tensor, reference: Tensor) -> float:
    """Largest difference, relative to the largest number there is (or 1)."""
    assert x.shape == reference.shape
    if x.numel() == 0:
        return 0.0
    assert bool(torch.isfinite(x).all()), "not finite"
    scale = max(1.0, float(reference.abs().max()))
    return float((x.double() - reference.double()).abs().max()) / scale


def same(name: str, x: Tensor | None, reference: Tensor | None, tolerance: float) -> None:
    """Both absent, or equal up to ``tolerance``."""
    assert (x is None) == (reference is None), name
    if x is not None and reference is not None:
        assert error(x, reference) <= tolerance, f"{name}: {error(x, reference):.1e}"
