"""Files as tensors that are read where they are touched."""

from __future__ import annotations

import mmap
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor


def map_readonly(path: Path, dtype: np.dtype, shape: tuple[int, ...], offset: int = 0) -> tuple[mmap.mmap, Tensor]:
    """The mapping of a file and the array in it.

    Read-only and shared, for the system counts private writable mappings as memory that may be needed, and refuses
    those that are larger than what it has. So a write to the tensor ends the process; nobody outside may get it whole.

    Args:
        path: a file that is long enough, and not empty.
        dtype: type in the file.
        shape: shape of the array, not empty.
        offset: where in the file it begins.
    """
    with path.open("rb") as file:
        mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    count = int(np.prod(shape, dtype=np.int64))
    array = np.frombuffer(mapping, dtype=dtype, count=count, offset=offset).reshape(shape)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return mapping, torch.from_numpy(array)
