"""NumPy arrays as tensors."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

__all__ = ["tensor_of"]


def tensor_of(array: np.ndarray) -> Tensor:
    """An array as a tensor, in the byte order of this machine; it shares memory where it can.

    Torch refuses the other byte order, and its error about other types lists all types and not the way out.

    Args:
        array: of any shape.

    Raises:
        ValueError: the array holds no numbers that torch has.

    Example:
        >>> import numpy as np
        >>> from lcat._arrays import tensor_of
        >>> tensor_of(np.array([1, 2], ">i4"))
        tensor([1, 2], dtype=torch.int32)
    """
    if not array.dtype.isnative and array.dtype.kind in "biufc":
        array = array.astype(array.dtype.newbyteorder("="))
    try:
        return torch.from_numpy(np.ascontiguousarray(array))
    except (TypeError, ValueError) as error:
        raise ValueError(f"an array of {array.dtype}: convert it to numbers, such as float32 and int64") from error
