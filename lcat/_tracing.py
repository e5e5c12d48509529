"""What torch is doing at the moment: whether results are plain tensors that may outlive the call."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

# These are asked in every call of a layer.
_peek_transform = torch._C._functorch.peek_interpreter_stack
_num_modes = torch._C._len_torch_dispatch_stack
_is_tracing = torch._C._is_tracing
_is_wrapped = torch._C._functorch.is_functorch_wrapped_tensor


def is_traced() -> bool:
    """True while a compiler, a transform or a dispatch mode watches, so that results may not be plain tensors."""
    if torch.compiler.is_compiling() or _peek_transform() is not None or _is_tracing():
        return True
    if _num_modes() == 0:
        return False
    # Selective checkpointing keeps some results and runs everything else as it is.
    modes = torch.utils._python_dispatch._get_current_dispatch_mode_stack()
    return any(type(mode).__module__ != "torch.utils.checkpoint" for mode in modes)


def is_jit_tracing() -> bool:
    """True inside ``torch.jit.trace``."""
    return not torch.compiler.is_compiling() and _is_tracing()


def is_exporting() -> bool:
    """True while ``torch.export`` records a program, for itself, AOTInductor or ONNX.

    Not ``torch.compiler.is_exporting()``: up to torch 2.11 that is true in every compiled function.
    """
    return torch.compiler._is_exporting_flag


def is_capturing() -> bool:
    """True inside the capture of a CUDA graph: what is made there lies in memory that replays of it overwrite."""
    return torch.cuda.is_initialized() and torch.cuda.is_current_stream_capturing()


def allocates_for_cuda_graph() -> bool:
    """True where new memory belongs to a CUDA graph: in a capture, and when ``mode="reduce-overhead"`` warms up."""
    if not torch.cuda.is_initialized():
        return False
    if torch.cuda.is_current_stream_capturing():
        return True
    trees = sys.modules.get("torch._inductor.cudagraph_trees")
    if trees is None or not _has_graph_trees(trees):
        return False
    stream = torch.cuda.current_stream()
    manager = trees.get_manager(stream.device_index, create_if_none_exists=False)
    return manager is not None and bool(manager.stream == stream)


def _has_graph_trees(trees: Any) -> bool:
    """Whether this thread can have graphs of ``mode="reduce-overhead"``; in others, asking for them fails."""
    name = "tree_manager_containers"
    return hasattr(trees.local, name) or torch._C._is_key_in_tls(name)


def needs_static_shape(tensor: Tensor) -> bool:
    """True where shapes may not depend on values and values cannot be read."""
    if torch.compiler.is_compiling() or tensor.is_meta or _is_wrapped(tensor):
        return True
    return type(tensor) is not Tensor and isinstance(tensor, torch._subclasses.FakeTensor)


def outside_inference_mode() -> AbstractContextManager[None]:
    """For tensors that outlive the call: those made in inference mode can never be saved for a backward pass."""
    return torch.inference_mode(False) if torch.is_inference_mode_enabled() else nullcontext()
