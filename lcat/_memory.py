"""Whether the memory that a tensor describes exists: storages can be freed or shrunk beneath their tensors."""

from __future__ import annotations

from torch import Tensor

__all__ = ["check_memory", "has_memory"]


def has_memory(tensor: Tensor) -> bool:
    """Whether the storage of a strided tensor holds all numbers that its shape, strides and offset speak of."""
    return _end(tensor) <= tensor.untyped_storage().nbytes()


def check_memory(name: str, tensor: Tensor) -> None:
    """The storage of ``tensor`` holds all its numbers: what reads an address checks this first.

    FSDP and offloading free storages with ``untyped_storage().resize_(0)`` and leave the tensors as they are.

    Raises:
        RuntimeError: it does not.
    """
    available = tensor.untyped_storage().nbytes()
    if tensor.nbytes <= available and tensor.storage_offset() == 0 and tensor.is_contiguous():
        return  # most tensors
    if _end(tensor) > available:
        raise RuntimeError(
            f"expected '{name}' with {_end(tensor)} bytes of memory, as its shape {list(tensor.shape)} needs, got "
            f"{available}: its storage was freed or shrunk (untyped_storage().resize_, as FSDP and offloading do); "
            f"load it again before the call, and keep it until the backward pass is done"
        )


def _end(tensor: Tensor) -> int:
    """Bytes from the beginning of the storage to the end of the tensor; 0 for a tensor without elements."""
    size: int = tensor.nbytes
    if size == 0:
        return 0
    if not tensor.is_contiguous():
        steps = sum((n - 1) * stride for n, stride in zip(tensor.shape, tensor.stride(), strict=True))
        size = (1 + steps) * tensor.itemsize
    return int(tensor.storage_offset()) * tensor.itemsize + size
