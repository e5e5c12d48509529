"""One number for the contents of a tensor, that another write changes, whoever writes.

torch counts its own in-place operations. It does not count writes through NumPy, DLPack and ``tensor.data``, nor those
of ``torch.distributed``: collectives, and DistributedDataParallel's copies of buffers. So what is remembered for a
tensor also keeps this number.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lcat._memory import check_memory

__all__ = ["checksum", "use_compiled"]

# address, rows, bytes in a row, bytes from row to row, threads -> 64 bits
Compiled = Callable[[int, int, int, int, int], int]

_compiled: Compiled | None = None
_FACTORS = (0x1E3779B97F4A7C15, 0x31B54A32D192ED03)


def use_compiled(function: Compiled) -> None:
    """Compute checksums of CPU tensors by a compiled function; :mod:`lcat.ops` passes its own when it is imported."""
    global _compiled
    _compiled = function


def checksum(tensor: Tensor, name: str = "tensor") -> int | None:
    """64 bits that change whenever one number in ``tensor`` does, and almost surely when more of them do.

    Args:
        tensor: a plain strided tensor.
        name: what errors call it.

    Returns:
        the number; ``None`` on a GPU where no process group is initialized: to know it, the host would wait for the
        GPU in every call. While there is one, collectives write without being counted, and the host waits.

    Raises:
        RuntimeError: the memory of the tensor was freed.

    Complexity:
        O(n): all numbers are read, at about the speed of memory.
    """
    if not tensor.is_cpu:
        if not _has_process_group() or (tensor.is_cuda and torch.cuda.is_current_stream_capturing()):
            return None
        return _by_torch(tensor)
    check_memory(name, tensor)
    if _compiled is None:
        return _by_torch(tensor)
    if tensor.is_contiguous():
        return _compiled(tensor.data_ptr(), 1, tensor.nbytes, 0, torch.get_num_threads())
    tensor, rows = _in_rows(tensor)
    size = tensor.element_size()
    length, stride = tensor.numel() * size, 0
    if rows > 1:
        length, stride = length // rows, tensor.stride(0) * size
    return _compiled(tensor.data_ptr(), rows, length, stride, torch.get_num_threads())


def _has_process_group() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def _in_rows(tensor: Tensor) -> tuple[Tensor, int]:
    """The same numbers as rows whose numbers follow each other in memory, and how many rows."""
    if not tensor.is_contiguous():
        if tensor.dim() == 2 and tensor.stride(1) == 1 and tensor.stride(0) >= tensor.shape[1]:
            return tensor, tensor.shape[0]
        tensor = tensor.transpose(0, -1)
        if not tensor.is_contiguous():
            tensor = tensor.contiguous()
    return tensor, 1


def _by_torch(tensor: Tensor) -> int:
    """By plain torch operations, on any device: a sum of words whose factors are odd and depend on their place."""
    words = tensor.detach().contiguous().flatten().view(torch.uint8)
    words = torch.cat([words, words.new_zeros(-words.numel() % 8)]).view(torch.int64)
    factors = _mixed(torch.arange(1, words.numel() + 1, device=words.device))
    return int((_mixed(words) * (factors | 1)).sum()) + tensor.nbytes


def _mixed(words: Tensor) -> Tensor:
    """A bijection that spreads differences, those of high bits too, over all bits."""
    first, second = _FACTORS
    words = words * first
    words = (words ^ ((words >> 32) & 0xFFFFFFFF)) * second
    return words ^ ((words >> 29) & 0x7FFFFFFFF)
