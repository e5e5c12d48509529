"""Dropout of features that keeps no mask: compiled on the CPU, torch's own elsewhere."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lcat.ops import _fused, _native
from lcat.ops._operators import define
from lcat.ops._transforms import is_transformed

__all__ = ["dropout"]

_TYPES = (torch.float32, torch.float64)


def dropout(x: Tensor, p: float = 0.5, training: bool = True) -> Tensor:
    r"""Zero each entry with probability ``p`` and scale the others, as :func:`torch.nn.functional.dropout`:

    .. math:: y_i = \frac{b_i\, x_i}{1 - p}, \qquad b_i \sim \mathrm{Bernoulli}(1 - p).

    On CPUs torch draws one entry after the other, on one thread, and keeps a number an entry for the backward pass.
    This draws by counter (Philox, as attention dropout here), on all threads, and keeps a seed of eight bytes:
    the mask is drawn again in the backward pass. On other devices, for other types than float32 and float64, under
    functorch transforms and without the compiled kernels it is torch's function.

    Args:
        x: any shape.
        p: probability of zero, in [0, 1].
        training: ``False`` returns ``x`` itself.

    Raises:
        ValueError: ``p`` is outside [0, 1].

    Complexity:
        O(n) time; O(1) memory is kept for the backward pass.

    Example:
        >>> import torch
        >>> from lcat.ops import dropout
        >>> torch.manual_seed(0)
        <...>
        >>> y = dropout(torch.ones(1000, 8), 0.25)
        >>> y.unique()
        tensor([0.0000, 1.3333])
    """
    if not 0 <= p <= 1:
        raise ValueError(f"p must be a probability in [0, 1], got {p}")
    if not training or p == 0:
        return x
    compiled = x.device.type == "cpu" and x.dtype in _TYPES and _native.STATUS.instruction_set is not None
    if not compiled or x.layout != torch.strided or is_transformed(x):
        return F.dropout(x, p)
    seed = _fused.draw_seed(p, x.device)
    result: Tensor = _DROPOUT(x, seed, p)
    return result


def _run(x: Tensor, seed: Tensor, p: float) -> Tensor:
    x = x.contiguous()
    out = torch.empty_like(x)
    _native.call("dropout", x.dtype, x, out, x.numel(), p, _native.seed_value(seed))
    return out


def _fake(x: Tensor, seed: Tensor, p: float) -> Tensor:
    return x.new_empty(x.shape)


def _remember(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    _, seed, ctx.p = inputs
    ctx.save_for_backward(seed)


def _differentiate(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    (seed,) = ctx.saved_tensors
    return _DROPOUT(grad, seed, ctx.p), None, None


_DROPOUT = define(
    "dropout", "(Tensor x, Tensor seed, float p) -> Tensor", {"cpu": _run}, _fake, _remember, _differentiate
)
