"""Starting Triton kernels: one place for the device, the compiler options and the shape of the tiles.

All kernels of the library work on tiles ``[rows, edges, heads, features]``: a program takes ``rows`` segments of
a schedule (see :mod:`lcat.ops._triton.schedule`), walks over their edges in steps of ``edges``, and holds
``heads`` heads of ``features`` (padded to a power of two) numbers each. :func:`tile_shape` picks these from a table
instead of timing candidates on the first call: the choice is the same on every run and every machine, which keeps
results bit-for-bit repeatable, and it can be compiled ahead of time where there is no GPU.
"""

from __future__ import annotations

import inspect
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
import triton.language as tl
from torch import Tensor

__all__ = ["TileShape", "accumulator", "blocks", "compiler_options", "launch", "padded", "tile_shape"]

# Numbers that one warp holds of each tile-sized array, and those from which on a row takes another warp. Measured on an
# H100 (benchmarks/gpu.py --part tiles). 256 are 8 registers per thread: the attentions hold three to five such arrays
# and the addresses, and what hides the latency of their gathers is many warps. The pass with two arrays can hold more,
# and so can one that draws dropout masks, which lanes of one head would draw for each other.
_NUMBERS_PER_WARP = {
    "aggregate": (512, 512),
    "aggregate_weight": (1024, 1024),
    "extremes": (256, 256),
    "extremes_source": (256, 256),
    "gat_scores": (1024, 1024),
    "gat_scores_backward": (512, 512),
    "gat_forward": (256, 512),
    "gat_target": (512, 512),
    "gat_source": (256, 512),
    "gat_source_dropout": (512, 512),
    "gatv2_forward": (256, 256),
    "gatv2_target": (256, 256),
    "gatv2_source": (256, 256),
    "gatv2_matrix": (128, 128),
    "dot_forward": (256, 256),
    "dot_target": (256, 256),
    "dot_source": (256, 256),
}
_ROW_LIMIT = 1024  # numbers of a row that one program holds; heads beyond that go to the grid's second axis
_MAX_WARPS = 8
_INT32 = 2**31
_NOTHING = nullcontext()


@dataclass(frozen=True)
class TileShape:
    """The part of the work that a program holds at once.

    Args:
        rows: segments handled side by side.
        edges: edges of each segment taken in one step.
        heads: heads held; a power of two, so it may exceed the number there are.
        features: features of a head, padded to a power of two.
        head_blocks: programs needed along the grid's second axis to cover all heads.
        warps: warps of 32 threads (64 on AMD's CDNA) that share the program.
    """

    rows: int
    edges: int
    heads: int
    features: int
    head_blocks: int
    warps: int


def padded(count: int) -> int:
    """The power of two that holds ``count`` numbers, at least 1."""
    return 1 << max(count - 1, 0).bit_length()


def tile_shape(kernel: str, heads: int, features: int, dtype: torch.dtype) -> TileShape:
    """The tile of ``kernel`` (a key of the table above) for rows of ``heads`` times ``features`` numbers.

    One warp per program where possible: then sums over features and edges are shuffles. (Some kernels still exchange
    layouts through shared memory: one to five barriers of a single warp in a step.) What is left of a warp's share
    after one row goes to other rows, while they have 64 edges times heads: then every thread has two, and what is kept
    for each (number, address, score) takes no more registers than the row. Rows rather than edges, because rows side by
    side are equally long (see the schedule), while the last step of a row of seven edges leaves lanes idle; from eight
    on, two edges of each: rows side by side also wait for each other.
    """
    width = padded(features)
    held = padded(heads)
    while held > 1 and held * width > _ROW_LIMIT:
        held //= 2
    row = held * width
    share, wide = (numbers // (2 if dtype == torch.float64 else 1) for numbers in _NUMBERS_PER_WARP[kernel])
    warps = min(max(row // wide, 1), _MAX_WARPS)
    row_tiles = max(share * warps // row, 1)
    edges = min(max(row_tiles // 4, 1), 2)
    rows = min(row_tiles // edges, max(64 // (edges * held), 1))
    return TileShape(rows, edges, held, width, -(-heads // held), warps)


def accumulator(dtype: torch.dtype) -> Any:
    """The type in which sums are made: float64 for float64 input, else float32."""
    return tl.float64 if dtype == torch.float64 else tl.float32


# Compiled kernels by what they were compiled for.
_compiled: dict[tuple[Any, ...], Any] = {}


def launch(kernel: Any, grid: tuple[int, ...], warps: int, *, registers: int | None = None, **arguments: Any) -> None:
    """Run ``kernel`` on the device of its tensors. An empty grid is fine and does nothing.

    What Triton does for a call (bind and classify about thirty arguments, make a key of text) takes longer than a small
    graph's kernel. So a kernel that Triton has compiled is kept and started directly where it serves: constants, types
    and device are the same, all addresses are multiples of 16, all numbers fit into 32 bits.

    Args:
        kernel: a ``triton.jit`` function. Names of tensors and constants are in capitals; all other parameters are
            numbers for which it is not specialized.
        grid: the number of programs along each axis.
        warps: warps per program.
        registers: how many a thread may have, for kernels of which NVIDIA's assembler would otherwise put a few
            numbers into memory to fit in another warp.
        arguments: the kernel's arguments by name.
    """
    if 0 in grid:
        return
    names, numbers = _parameters(kernel)
    values = [arguments[name] for name in names]
    tensors = [value for value in values if isinstance(value, Tensor)]
    with _on(tensors[0].device):
        kind: list[Any] = [value.dtype if isinstance(value, Tensor) else value for value in values]
        addresses, wide = 0, False
        for tensor in tensors:
            addresses |= tensor.data_ptr()
        for i in numbers:
            wide |= type(kind[i]) is int and not -_INT32 <= kind[i] < _INT32
            kind[i] = None
        key = (kernel, tensors[0].device, warps, registers, *kind)
        plain = addresses % 16 == 0 and not wide and not kernel.pre_run_hooks  # else Triton looks closer
        compiled = _compiled.get(key) if plain else None
        if compiled is not None:
            compiled[(*grid, 1, 1)[:3]](*values)
            return
        options = compiler_options(warps, None if torch.version.hip else registers, arguments.get("F", 4))
        compiled = kernel[grid](**arguments, **options)
        if plain and compiled is not None:  # the interpreter returns nothing
            _compiled[key] = compiled


@cache
def _parameters(kernel: Any) -> tuple[list[str], list[int]]:
    """The names of all parameters, and the places of the numbers for which the kernel is not specialized."""
    names = list(inspect.signature(kernel.fn).parameters)
    return names, [i for i, name in enumerate(names) if name[0].islower()]


def compiler_options(warps: int, registers: int | None, features: int) -> dict[str, Any]:
    """How a kernel is compiled.

    No software pipelining: it serves dense loops; ours jump through memory. Fused multiply-add is stated explicitly,
    because its default is not the same in all versions of Triton and it changes the last bit. It is off where a thread
    may hold a single number of a head: there a product could be fused into the first addition of a sum over lanes, and
    then the lanes of one sum would differ in the last bit.
    """
    options: dict[str, Any] = {"num_warps": warps, "num_stages": 1, "enable_fp_fusion": features % 4 == 0}
    if registers is not None:
        options["maxnreg"] = registers
    return options


def _on(device: torch.device) -> AbstractContextManager[Any]:
    """Triton launches on the current device, which need not be the one that holds the tensors."""
    if device.type != "cuda" or torch.cuda.current_device() == device.index:
        return _NOTHING
    return torch.cuda.device(device)


def blocks(count: int, size: int) -> int:
    """How many blocks of ``size`` cover ``count``."""
    return -(-count // size)
