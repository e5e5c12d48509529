"""Averages of nodes with their neighbors: one step for autograd, which small graphs need."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lcat._tracing import is_traced
from lcat.ops import is_transformed

_TYPES = (torch.float32, torch.float64)


def average(own: Tensor, neighbor_sum: Tensor, degree: Tensor, strength: Tensor | float) -> Tensor:
    r""":math:`(h_i + \lambda s_i) / (1 + \lambda d_i)`.

    Args:
        own: :math:`h`, ``[N, ...]``.
        neighbor_sum: :math:`s`, of the same shape.
        degree: :math:`d`, ``[N, 1, ...]`` integers, of as many dimensions as ``own``.
        strength: :math:`\lambda`, without dimensions, or in a form that multiplies ``own``.
    """
    tensors = (own, neighbor_sum, strength) if isinstance(strength, Tensor) else (own, neighbor_sum)
    # Half types round each step, and there the type of the scalar does not decide that of the result.
    of_one_type = own.dtype in _TYPES and all(tensor.dtype is own.dtype for tensor in tensors)
    by_head = isinstance(strength, Tensor) and strength.dim() > 0
    if by_head or is_traced() or not of_one_type or is_transformed(*tensors):
        return (own + strength * neighbor_sum) / (1.0 + strength * degree.to(own.dtype))
    if not isinstance(strength, Tensor) and own.dtype is not torch.get_default_dtype():
        degree = degree.to(own.dtype)  # times a tensor without dimensions it has that one's type, else the default type
    result: Tensor = _Average.apply(own, neighbor_sum, degree, strength)
    return result


class _Average(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, own: Tensor, neighbor_sum: Tensor, degree: Tensor, strength: Any) -> Tensor:
        denominator = (degree * strength).add_(1.0)
        if isinstance(strength, Tensor):
            out = torch.addcmul(own, neighbor_sum, strength)
        else:
            out = torch.add(own, neighbor_sum, alpha=strength)
        out = out.div_(denominator)
        learned = ctx.needs_input_grad[3]
        saved = (neighbor_sum, out, degree) if learned else (None, None, degree)
        ctx.save_for_backward(*saved, denominator, strength if isinstance(strength, Tensor) else None)
        ctx.strength = strength if not isinstance(strength, Tensor) else None
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grads
        neighbor_sum, out, degree, denominator, strength = ctx.saved_tensors
        strength = ctx.strength if strength is None else strength
        if torch.is_grad_enabled():  # in a form that has gradients itself; ``out`` is connected to its inputs
            denominator = 1.0 + strength * degree
        need_own, need_sum, _, need_strength = ctx.needs_input_grad
        share = grad / denominator
        d_strength = None
        if need_strength:
            d_strength = (torch.addcmul(neighbor_sum, out, degree, value=-1) * share).sum()
        return share if need_own else None, share * strength if need_sum else None, None, d_strength


# What profilers and errors of anomaly mode call it.
_Average.__name__ = _Average.__qualname__ = "lcat::average"
_Average._backward_cls.__name__ = "lcat::averageBackward"
