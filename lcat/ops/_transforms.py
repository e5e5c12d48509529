"""Whether something other than plain autograd works on tensors, so that kernels written by hand may not be used."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["is_transformed"]

# These are asked in every call of a primitive.
_functorch = torch._C._functorch
_is_wrapped = _functorch.is_functorch_wrapped_tensor
_is_tracing = torch._C._is_tracing


def is_transformed(*tensors: Tensor | None) -> bool:
    """Whether a function of these tensors must use plain torch operations.

    Kernels written by hand, and shortcuts that write into memory, know reverse-mode autograd only. They may not be
    used for a functorch transform (``vmap``, ``grad``, ``jvp``) or forward-mode differentiation that works on one of
    the tensors, nor under ``torch.jit.trace``, which does not see what kernels write. While ``torch.compile`` traces,
    the answer is about the transforms inside the compiled function.

    Args:
        tensors: the arguments of the function; ``None`` is skipped.

    Complexity:
        O(number of tensors); no value is read.

    Example:
        >>> import torch
        >>> from lcat.ops import is_transformed
        >>> is_transformed(torch.ones(3), None)
        False
        >>> # True inside: the slope is 1
        >>> torch.func.grad(lambda x: x * is_transformed(x))(torch.tensor(2.0))
        tensor(1.)
    """
    if torch.compiler.is_compiling():
        # Dynamo represents an empty stack by an object that is not None, but knows its type.
        return isinstance(_functorch.peek_interpreter_stack(), _functorch.CInterpreter)
    if _is_tracing():
        return True
    level = torch.autograd.forward_ad._current_level
    for tensor in tensors:
        if tensor is not None:
            if _is_wrapped(tensor):
                return True
            if level >= 0 and torch.autograd.forward_ad.unpack_dual(tensor).tangent is not None:
                return True
    return False
