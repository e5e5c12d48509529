"""A linear map of each head, whose results lie in memory node by node."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lcat._tracing import is_traced
from lcat.ops import is_transformed

# Fewer numbers than these are copied faster than a step of autograd in Python begins.
_MANY = 1 << 18


def map_heads(x: Tensor, matrices: Tensor) -> Tensor:
    r""":math:`y_{nh} = x_{nh} M_h`, contiguous, and so is the gradient of ``x`` where tensors are large.

    A batched product has the heads first in memory. Kernels, which read node by node, would make a copy of its result,
    and of its gradient at the moment when a backward pass needs most memory.

    Args:
        x: ``[N, H, A]``.
        matrices: :math:`M`, ``[H, A, B]``.
    """
    # A compiler would take the number of nodes for a constant, or compile twice.
    plain = is_traced() or x.numel() < _MANY or x.device.type != "cpu" or x.dtype is not matrices.dtype
    if plain or torch.is_autocast_enabled("cpu") or is_transformed(x, matrices):
        return torch.einsum("nha,hab->nhb", x, matrices).contiguous()
    result: Tensor = _HeadMaps.apply(x, matrices)
    return result


class _HeadMaps(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, matrices: Tensor) -> Tensor:
        ctx.save_for_backward(x, matrices)
        out = x.new_empty(x.shape[0], x.shape[1], matrices.shape[2])
        torch.bmm(x.transpose(0, 1), matrices, out=out.transpose(0, 1))
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grads
        x, matrices = ctx.saved_tensors
        needs_x, needs_matrices = ctx.needs_input_grad
        return (
            _HeadMaps.apply(grad, matrices.transpose(1, 2)) if needs_x else None,
            torch.einsum("nha,nhb->hab", x, grad) if needs_matrices else None,
        )


# What profilers and errors of anomaly mode call it.
_HeadMaps.__name__ = _HeadMaps.__qualname__ = "lcat::headMaps"
_HeadMaps._backward_cls.__name__ = "lcat::headMapsBackward"
