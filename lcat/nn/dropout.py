"""Dropout of features as a module, by whatever draws them faster."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lcat._tracing import is_traced
from lcat.nn import _checks
from lcat.ops import dropout

__all__ = ["Dropout", "drop_features"]

# Fewer numbers than these are drawn faster by torch, whose steps cost less each.
_MANY = 1 << 14


def drop_features(x: Tensor, p: float, training: bool) -> Tensor:
    """:func:`torch.nn.functional.dropout`, or :func:`lcat.ops.dropout` where it is faster.

    Compilers fuse torch's with what stands beside it.
    """
    is_sparse = not (x.layout is torch.strided or x.is_nested or x.is_mkldnn)
    if x.is_complex() or is_sparse:  # torch draws neither
        return dropout(x, p, training)
    if not training or is_traced() or x.numel() < _MANY or x.device.type != "cpu":
        return F.dropout(x, p, training)
    return dropout(x, p)


class Dropout(nn.Dropout):
    r"""Zero each feature with probability ``p``, as :class:`torch.nn.Dropout`: same arguments, same distribution.

    .. math:: y_i = \frac{b_i\, x_i}{1 - p}, \qquad b_i \sim \mathrm{Bernoulli}(1 - p).

    Large float32 and float64 tensors on a CPU are dropped by :func:`lcat.ops.dropout`, which draws by counter on all
    threads and keeps no mask for the backward pass; everything else by torch. The two draw different numbers from
    one seed. The models of :mod:`lcat.nn.models` use it.

    Args:
        p: probability of zero, in [0, 1].
        inplace: change the input itself; that is always torch's function, and for dense tensors only.

    Raises:
        ValueError: ``p`` is no number in [0, 1], ``inplace`` neither true nor false, or the input holds integers.
        TypeError: the input is no tensor.

    Shapes:
        - ``x``: any, of a floating point or complex type; of a sparse matrix (COO, CSR, CSC) the stored entries drop
        - output: as ``x``

    Complexity:
        O(n) time; O(1) memory is kept for the backward pass of a large tensor, else O(n).

    Example:
        >>> import torch
        >>> from lcat.nn import Dropout
        >>> drop = Dropout(0.5)
        >>> drop(torch.ones(1000, 64)).unique()
        tensor([0., 2.])
        >>> drop.eval()(torch.ones(2))
        tensor([1., 1.])
    """

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        name = type(self).__name__
        super().__init__(_checks.read_probability(name, "p", p), _checks.read_flag(name, "inplace", inplace))

    def forward(self, input: Tensor) -> Tensor:
        """Drop entries of ``input`` in training mode; in evaluation it is returned as it is."""
        if not isinstance(input, Tensor):
            raise TypeError(f"'input' of {type(self).__name__} is a {type(input).__name__}; it takes a tensor")
        if not (input.is_floating_point() or input.is_complex()):
            raise ValueError(
                f"'input' of {type(self).__name__} has dtype {input.dtype}; it takes a floating point or complex type: "
                f"convert it with .float()"
            )
        if self.inplace:
            return super().forward(input)
        return drop_features(input, self.p, self.training)

    def __prepare_scriptable__(self) -> nn.Dropout:
        """``torch.jit.script`` compiles torch's."""
        return nn.Dropout(self.p, self.inplace).train(self.training)
