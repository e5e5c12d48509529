"""Whether something other than plain autograd works on tensors, so that kernels written by hand may not be used."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["is_transformed"]


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
        >>> torch.func.grad(lambda x: x * is_transformed(x))(torch.tensor(2.0))  # True inside: the slope is 1
        tensor(1.)
    """
    functorch = torch._C._functorch
    if torch.compiler.is_compiling():
        # Dynamo represents an empty stack by an object that is not None, but knows its type.
        return isinstance(functorch.peek_interpreter_stack(), functorch.CInterpreter)
    if torch.jit.is_tracing():  # type: ignore[attr-defined]  # documented, but not in its __all__
        return True
    present = [t for t in tensors if t is not None]
    if any(functorch.is_functorch_wrapped_tensor(t) for t in present):
        return True
    forward_ad = torch.autograd.forward_ad
    return forward_ad._current_level >= 0 and any(forward_ad.unpack_dual(t).tangent is not None for t in present)
