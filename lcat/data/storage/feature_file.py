"""A matrix in a file, of which only the rows that are asked for are read."""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lcat._files import replace_file
from lcat.data.storage._mapping import map_readonly

__all__ = ["FeatureFile"]

_TYPES = {
    np.dtype(name): getattr(torch, name)
    for name in ("float16", "float32", "float64", "int8", "uint8", "int32", "int64")
}

# Linux maps the cached pages around one that is asked for too, up to 64 KiB (fault_around_bytes).
_MAPPED_AT_ONCE = 1 << 16


class FeatureFile:
    """Rows of a ``.npy`` file, memory-mapped: ``file[index]`` reads those rows and nothing else.

    Features are commonly kept in half precision and computed with in single: half the disk and half the reading.

    Args:
        path: a file of :meth:`write`, ``numpy.save`` or the like, in C order, with one dimension or two.
        dtype: floating-point rows are handed out in this type; integers as they are.
        resident: upper bound on the bytes of the file that this process keeps mapped at a time, ``None`` for no bound.
            The system's cache of the file does not count, and gives way where memory is needed; without a bound, what
            is mapped does too.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no such array; the message says why.

    Complexity:
        O(rows asked for) reads, in rising order. Memory: those rows, and at most ``resident`` bytes beyond them.

    Example:
        >>> import torch
        >>> from lcat.data import FeatureFile
        >>> chunks = (torch.full((2, 3), float(i)) for i in range(4))
        >>> file = FeatureFile.write("x.npy", chunks)
        >>> file.shape, file[torch.tensor([7, 0])].tolist()
        ((8, 3), [[3.0, 3.0, 3.0], [0.0, 0.0, 0.0]])
    """

    def __init__(self, path: str | Path, dtype: torch.dtype = torch.float32, resident: int | None = None) -> None:
        self.path = Path(path)
        self.dtype = dtype
        self.resident = resident
        if not self.path.is_file():
            raise FileNotFoundError(f"there is no file {self.path}: write one with FeatureFile.write")
        self._map, self._rows = _mapped(self.path)
        self.shape = tuple(self._rows.shape)

    def __repr__(self) -> str:
        return f"FeatureFile({self.path}, {list(self.shape)} {self._rows.dtype})"

    def __reduce__(self) -> Any:
        # Workers map the file themselves.
        return FeatureFile, (self.path, self.dtype, self.resident)

    def __len__(self) -> int:
        return self.shape[0]

    def dim(self) -> int:
        """Number of dimensions, as of a tensor."""
        return len(self.shape)

    def size(self, dim: int | None = None) -> Any:
        """The shape or one entry of it, as of a tensor."""
        return self.shape if dim is None else self.shape[dim]

    def __getitem__(self, index: Tensor | slice | int) -> Tensor:
        """Rows by number, mask or slice, in memory of their own."""
        if isinstance(index, slice):
            rows = self._copied(torch.arange(*index.indices(len(self))))
        else:
            index = torch.as_tensor(index)
            if index.dtype == torch.bool:
                index = index.nonzero().flatten()
            rows = self._gather(index.long().cpu())
        return rows

    @property
    def _out_type(self) -> torch.dtype:
        return self.dtype if self._rows.is_floating_point() else self._rows.dtype

    def _gather(self, index: Tensor) -> Tensor:
        if index.dim() == 0:
            return self._copied(index.view(1))[0]
        ordered, order = torch.sort(index)  # a disk prefers to be read in one direction
        rows = self._copied(ordered)
        return torch.empty_like(rows).index_copy_(0, order, rows)

    def _copied(self, index: Tensor) -> Tensor:
        """These rows in memory of their own, no more of the file mapped at a time than is allowed."""
        if self.resident is None or self._map is None or not hasattr(mmap, "MADV_DONTNEED"):
            return self._rows.index_select(0, index).to(self._out_type)
        row_size = self._rows.element_size() * math.prod(self.shape[1:])
        step = max(self.resident // max(row_size, _MAPPED_AT_ONCE), 1)
        rows = torch.empty((index.numel(), *self.shape[1:]), dtype=self._out_type)
        for begin in range(0, index.numel(), step):
            rows[begin : begin + step] = self._rows.index_select(0, index[begin : begin + step])
            self._map.madvise(mmap.MADV_DONTNEED)
        return rows

    @classmethod
    def write(
        cls,
        path: str | Path,
        chunks: Iterable[Tensor | np.ndarray],
        storage: torch.dtype = torch.float16,
        dtype: torch.dtype = torch.float32,
    ) -> FeatureFile:
        """Write rows as they come, one chunk in memory at a time; an existing file is replaced when all is written.

        Args:
            path: the ``.npy`` file.
            chunks: ``[n, F]`` or ``[n]`` each, with one F.
            storage: type in the file; float16 has 11 significant bits and ends at 65504. Integers stay as they are.
            dtype: of the file that is returned.

        Raises:
            ValueError: no chunk, chunks that do not fit together, or numbers too large for ``storage``.
        """
        path = Path(path)
        tensors = (torch.as_tensor(chunk) for chunk in chunks)
        replace_file(path, lambda file: _write_rows(file, tensors, storage))
        return cls(path, dtype)


def _write_rows(file: Any, chunks: Iterable[Tensor], storage: torch.dtype) -> None:
    count, width, kind = 0, None, None
    for chunk in chunks:
        if width is None:
            width, kind = tuple(chunk.shape[1:]), storage if chunk.is_floating_point() else chunk.dtype
            _write_header(file, kind, (0, *width))
        if tuple(chunk.shape[1:]) != width:
            raise ValueError(f"chunks must have rows of one shape; after {list(width)} came {list(chunk.shape[1:])}")
        rows = chunk.detach().cpu().to(kind)
        if rows.is_floating_point() and bool((torch.isinf(rows) & torch.isfinite(chunk.cpu())).any()):
            raise ValueError(f"a number is too large for {kind}; write with storage=torch.float32")
        rows.contiguous().numpy().tofile(file)
        count += rows.shape[0]
    if width is None or kind is None:
        raise ValueError("there must be at least one chunk")
    end = file.tell()
    file.seek(0)
    _write_header(file, kind, (count, *width))
    file.seek(end)


def _write_header(file: Any, kind: torch.dtype, shape: tuple[int, ...]) -> None:
    """NumPy leaves room for the first dimension to grow, so that the header may be written again in place."""
    descr = np.lib.format.dtype_to_descr(next(dtype for dtype, known in _TYPES.items() if known == kind))
    np.lib.format.write_array_header_1_0(file, {"shape": shape, "fortran_order": False, "descr": descr})


def _mapped(path: Path) -> tuple[mmap.mmap | None, Tensor]:
    """The mapping of a file and its array, after its header was checked."""
    try:
        with path.open("rb") as file:
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, fortran, dtype = read(file)
            start = file.tell()
    except (ValueError, OSError) as error:
        raise ValueError(f"{path} is no .npy array ({' '.join(str(error).split())})") from error
    if dtype not in _TYPES or fortran or len(shape) not in (1, 2):
        raise ValueError(
            f"{path} must hold a vector or a matrix of floats or integers in C order and native byte order; "
            f"got {dtype} {list(shape)}{' in Fortran order' if fortran else ''}"
        )
    count = int(np.prod(shape, dtype=np.int64))
    if path.stat().st_size != start + count * dtype.itemsize:
        raise ValueError(
            f"{path} must have {start + count * dtype.itemsize} bytes for {list(shape)} {dtype}; got "
            f"{path.stat().st_size}: it was not written to its end"
        )
    if count == 0:
        return None, torch.empty(shape, dtype=_TYPES[dtype])
    mapping, array = map_readonly(path, dtype, shape, start)
    if hasattr(mmap, "MADV_RANDOM"):
        mapping.madvise(mmap.MADV_RANDOM)  # rows of a batch are far apart: reading ahead would be for nothing
    return mapping, array
