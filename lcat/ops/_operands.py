"""The checks that an operator makes of its arguments, whoever calls it: compiled code, autograd, saved-tensor hooks.

Kernels trust what they are given. The public functions state errors in the words of their users; these checks are the
last ones before a tensor becomes an address.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lcat._memory import check_memory
from lcat.graph import SortedEdges
from lcat.ops._dtypes import FLOAT_DTYPES

__all__ = [
    "check_devices",
    "check_edges",
    "check_floats",
    "check_needs",
    "check_options",
    "check_sums",
    "in_memory",
    "sizes_of",
]

_SUM_DTYPES = (torch.float32, torch.float64)
_INDEX_DTYPES = (torch.int32, torch.int64)


def check_devices(flat: Sequence[Any], tensors: Sequence[tuple[int, str]]) -> None:
    """The tensors among the arguments of an operator are on one device.

    Args:
        flat: the arguments.
        tensors: position and name of those that are tensors or ``None``.

    Raises:
        ValueError: a tensor is on another device.
    """
    device: torch.device | None = None
    for position, name in tensors:
        tensor = flat[position]
        if tensor is None:
            continue
        if device is None:
            device = tensor.device
        elif tensor.device != device:
            raise _elsewhere(name, tensor, device)


def in_memory(flat: Sequence[Any], tensors: Sequence[tuple[int, str]], device_type: str) -> list[Any]:
    """The arguments of an operator, with tensors that a kernel can read: on its device, contiguous, in memory.

    Args:
        flat: the arguments.
        tensors: position and name of those that are tensors or ``None``.
        device_type: the kind of the device.

    Raises:
        ValueError: a tensor is on another device.
        RuntimeError: the memory of a tensor is gone.
    """
    result = list(flat)
    device: torch.device | None = None
    for position, name in tensors:
        tensor = flat[position]
        if tensor is None:
            continue
        if tensor.device != device:
            if device is not None or tensor.device.type != device_type:
                raise _elsewhere(name, tensor, device_type)
            device = tensor.device
        # Most tensors are whole storages: fewer questions for them.
        if not tensor.is_contiguous():
            check_memory(name, tensor)
            result[position] = tensor.contiguous()
        elif tensor.storage_offset() or tensor.untyped_storage().nbytes() < tensor.nbytes:
            check_memory(name, tensor)
    return result


def _elsewhere(name: str, tensor: Tensor, device: torch.device | str) -> ValueError:
    return ValueError(f"expected '{name}' on one {device} device with the other arguments, got {tensor.device}")


def sizes_of(name: str, tensor: Tensor, dims: int) -> torch.Size:
    """The shape of ``tensor``, which has ``dims`` dimensions."""
    shape = tensor.shape
    if len(shape) != dims:
        raise ValueError(f"expected '{name}' with {dims} dimensions, got shape {list(shape)}")
    return shape


def check_floats(name: str, tensor: Tensor | None, *shape: int) -> None:
    """``tensor`` is ``None`` or of a floating point type and this shape."""
    if tensor is not None and (tensor.shape != shape or tensor.dtype not in FLOAT_DTYPES):
        raise ValueError(
            f"expected '{name}' of shape {list(shape)} and a floating point type, got {list(tensor.shape)} and "
            f"{tensor.dtype}"
        )


def check_sums(*results: Tensor) -> None:
    """What a forward pass has returned: in float32 or float64, all in one type."""
    dtype = results[0].dtype
    if dtype not in _SUM_DTYPES or any(tensor.dtype != dtype for tensor in results):
        raise ValueError(f"expected results as the forward pass returned them, got {[t.dtype for t in results]}")


def check_edges(name: str, edges: SortedEdges | None, num_rows: int, num_edges: int) -> None:
    """``edges`` is ``None`` or has ``num_rows`` groups of ``num_edges`` edges; their values are checked by kernels."""
    if edges is None:
        return
    indptr, indices, edge_ids = edges
    if indptr.shape != (num_rows + 1,) or indptr.dtype != torch.int64:
        raise ValueError(
            f"expected '{name}_indptr' of shape [{num_rows + 1}] and type int64, got {list(indptr.shape)} and "
            f"{indptr.dtype}"
        )
    for part, tensor in (("indices", indices), ("edge_ids", edge_ids)):
        if tensor.shape != (num_edges,) or tensor.dtype not in _INDEX_DTYPES:
            raise ValueError(
                f"expected '{name}_{part}' of shape [{num_edges}] and type int32 or int64, got {list(tensor.shape)} "
                f"and {tensor.dtype}"
            )


def check_needs(needs: Sequence[bool], count: int, by_source: SortedEdges | None) -> None:
    """One bool per gradient, and the edges by source wherever a gradient is needed."""
    if len(needs) != count:
        raise ValueError(f"expected {count} bools in 'needs', got {len(needs)}")
    if by_source is None and any(needs):
        raise ValueError("expected 'by_source' for a backward pass, got None")


def check_options(dropout: float, seed: Tensor | None) -> None:
    """A probability, and a seed where it needs one."""
    if not 0 <= dropout <= 1:
        raise ValueError(f"expected a probability 'dropout' in [0, 1], got {dropout}")
    if seed is None:
        if dropout > 0:
            raise ValueError(f"expected 'seed' for dropout={dropout}, got None")
    elif seed.shape != (1,) or seed.dtype != torch.int64:
        raise ValueError(f"expected 'seed' of shape [1] and type int64, got {list(seed.shape)} and {seed.dtype}")
