"""What may be assumed of a linear map that a user can replace, patch or hook."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.module import _has_any_global_hook
from torch.nn.parameter import UninitializedParameter
from torch_geometric.nn.dense.linear import Linear

from lcat._tracing import is_traced
from lcat.ops import sparse_features, sparse_linear

_FORWARD = Linear.forward
# Below this width no features count as sparse; asking for them would cost more than this comparison.
_NARROW = 128
# From this width and this many rows on, one product for several maps is faster, their weights put together included.
_WIDE, _MANY_ROWS = 256, 512


def has_hooks(module: nn.Module) -> bool:
    """Whether somebody looks at the calls of a module."""
    attributes = module.__dict__  # those of a module are slow to read by name
    return bool(
        attributes["_forward_pre_hooks"]
        or attributes["_forward_hooks"]
        or attributes["_backward_pre_hooks"]
        or attributes["_backward_hooks"]
        or _has_any_global_hook()
    )


def is_plain(linear: Any) -> bool:
    """Whether a call of ``linear`` is ``x @ weight.T + bias`` and nothing more.

    Only then may a layer use its weight itself, or let the map change places with a sum.
    """
    return _is_pyg_linear(linear) and not _takes_first_width(linear) and not has_hooks(linear)


def map_rows(linear: Any, x: Any) -> Any:
    """``linear(x)``, by :func:`lcat.ops.sparse_linear` where ``x`` is a CSR matrix or mostly zero."""
    if x.layout is torch.strided and x.shape[-1] < _NARROW:
        return linear(x)
    matrix = x if x.layout is torch.sparse_csr else sparse_features(x)
    if matrix is not None and is_plain(linear):
        return sparse_linear(matrix, linear.weight, linear.bias)
    return linear(x)


def map_rows_together(linears: Sequence[Any], x: Any) -> list[Any]:
    """``map_rows(linear, x)`` of each, by one product where ``x`` is wide and large."""
    # A compiler would take the number of rows for a constant, or compile twice.
    is_large = x.dim() == 2 and x.shape[1] >= _WIDE and not is_traced() and x.shape[0] >= _MANY_ROWS
    if not is_large or not all(is_plain(linear) for linear in linears):
        return [map_rows(linear, x) for linear in linears]
    weights, biases = [linear.weight for linear in linears], [linear.bias for linear in linears]
    alike = len({(weight.dtype, weight.device) for weight in weights}) == len({bias is None for bias in biases}) == 1
    if not alike:
        return [map_rows(linear, x) for linear in linears]
    weight, bias = torch.cat(weights), None if biases[0] is None else torch.cat(biases)
    matrix = x if x.layout is torch.sparse_csr else sparse_features(x)
    rows = F.linear(x, weight, bias) if matrix is None else sparse_linear(matrix, weight, bias)
    return [part.contiguous() for part in rows.split([weight.shape[0] for weight in weights], dim=1)]


def csr_or_dense(x: Any) -> Any:
    """``x``, but a sparse matrix of another layout as CSR, or dense where torch cannot convert it: blocks, hybrids."""
    if x is None or x.layout in (torch.strided, torch.sparse_csr):
        return x
    is_matrix = x.layout is torch.sparse_csc or (x.layout is torch.sparse_coo and x.dim() == x.sparse_dim() == 2)
    with warnings.catch_warnings():  # torch calls its CSR matrices a beta state
        warnings.simplefilter("ignore")
        return x.to_sparse_csr() if is_matrix else x.to_dense()


def dense_rows(x: Any) -> Any:
    """``x`` for a step that takes its rows apart: torch cannot do that with a CSR matrix, of which it makes a copy."""
    return x.to_dense() if x is not None and x.layout is torch.sparse_csr else x


def input_weight(linear: Any) -> Tensor | None:
    """The weight that a call of ``linear`` multiplies with the very input that it gets.

    ``None`` for a map of another type, a patched one, and one with pre-hooks, which may load the weight (as for CPU
    offloading), cast it, or change the input: what such a map takes, only the map knows.
    """
    if not _is_pyg_linear(linear):
        return None
    hooks = linear.__dict__["_forward_pre_hooks"]
    # A weight that takes its size from the first input has a pre-hook for that.
    if hooks and not (len(hooks) == 1 and _takes_first_width(linear)):
        return None
    weight: Tensor | None = linear.__dict__["_parameters"].get("weight")  # by name it is slow to read
    return linear.weight if weight is None else weight


def linear_weight(linear: Any) -> Tensor | None:
    """The weight of a map that multiplies with one, plain or not; ``None`` for others, and before the first input."""
    weight = getattr(linear, "weight", None)
    if not isinstance(linear, (Linear, nn.Linear)) or not isinstance(weight, Tensor) or _takes_first_width(linear):
        return None
    return weight


def _takes_first_width(linear: Any) -> bool:
    return type(linear.__dict__["_parameters"].get("weight")) is UninitializedParameter


def _is_pyg_linear(linear: Any) -> bool:
    """Whether it is PyG's Linear; libraries for offloading patch ``forward`` of the instance."""
    return type(linear) is Linear and Linear.forward is _FORWARD and "forward" not in linear.__dict__
