"""What torch is doing at the moment: whether results are plain tensors that may outlive the call."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def is_traced() -> bool:
    """True while a compiler, a transform or a dispatch mode watches, so that results may not be plain tensors."""
    if torch.compiler.is_compiling() or torch._C._functorch.peek_interpreter_stack() is not None:
        return True
    if is_jit_tracing():
        return True
    if torch._C._len_torch_dispatch_stack() == 0:
        return False
    # Selective checkpointing keeps some results and runs everything else as it is.
    modes = torch.utils._python_dispatch._get_current_dispatch_mode_stack()
    return any(type(mode).__module__ != "torch.utils.checkpoint" for mode in modes)


def is_jit_tracing() -> bool:
    """True inside ``torch.jit.trace``."""
    # torch.jit forgot it in its __all__.
    return bool(torch.jit.is_tracing())  # type: ignore[attr-defined]


def is_exporting() -> bool:
    """True while ``torch.export`` records a program, for itself, AOTInductor or ONNX."""
    return torch.compiler.is_exporting()


def is_capturing() -> bool:
    """True inside the capture of a CUDA graph: what is made there lies in memory that replays of it overwrite."""
    return torch.cuda.is_initialized() and torch.cuda.is_current_stream_capturing()


def needs_static_shape(tensor: Tensor) -> bool:
    """True where shapes may not depend on values and values cannot be read."""
    return (
        torch.compiler.is_compiling()
        or tensor.is_meta
        or isinstance(tensor, torch._subclasses.FakeTensor)
        or torch._C._functorch.is_functorch_wrapped_tensor(tensor)
    )


def outside_inference_mode() -> AbstractContextManager[None]:
    """For tensors that outlive the call: those made in inference mode can never be saved for a backward pass."""
    return torch.inference_mode(False) if torch.is_inference_mode_enabled() else nullcontext()
