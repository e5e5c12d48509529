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

from lcat._arrays import tensor_of
from lcat._files import as_path, replace_file
from lcat._numbers import as_int, refuse_bytes
from lcat.data.storage._mapping import map_readonly

__all__ = ["FeatureFile"]

_FLOATS = ("float16", "float32", "float64")
_WHOLE = ("int8", "uint8", "int16", "int32", "int64", "bool")
_TYPES = {np.dtype(name): getattr(torch, name) for name in (*_FLOATS, *_WHOLE)}
_OUT_TYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_STORAGE = {getattr(torch, name): name for name in _FLOATS}

# Linux maps the cached pages around one that is asked for too, up to 64 KiB (fault_around_bytes).
_MAPPED_AT_ONCE = 1 << 16


class FeatureFile:
    """Rows of a ``.npy`` file, memory-mapped: ``file[index]`` reads those rows and nothing else.

    Features are commonly kept in half precision and computed with in single: half the disk and half the reading.
    Files hold floats (16, 32 or 64 bits), integers (``int8`` to ``int64``, ``uint8``) or ``bool``.

    Args:
        path: a file of :meth:`write`, ``numpy.save`` or the like, in C order, with one dimension or two.
        dtype: floating-point rows are handed out in this type; integers and masks as they are.
        resident: upper bound on the bytes of the file that this process keeps mapped at a time, ``None`` for no bound.
            The system's cache of the file does not count, and gives way where memory is needed; without a bound, what
            is mapped does too.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no such array; the message says why. Or ``resident`` is no number of bytes.
        TypeError: ``dtype`` is no floating-point type. (Integers are handed out as they are, so that of the file is
            accepted, too.)

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
        self.path = as_path("path", path)
        self.dtype = dtype
        self.resident = None if resident is None else as_int(resident)
        if resident is not None and (self.resident is None or self.resident < 0):
            raise ValueError(f"expected a whole number of bytes such as 1 << 30 as resident, or None, got {resident!r}")
        if not self.path.is_file():
            raise FileNotFoundError(f"there is no file {self.path}: write one with FeatureFile.write")
        self._map, self._rows = _mapped(self.path)
        _check_out_type(dtype, self._rows.dtype)
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
        """Rows by number, mask or slice, in memory of their own.

        Raises:
            TypeError: the index is none of these.
            IndexError: a number is out of range, or a mask has another length than the file.
        """
        if isinstance(index, slice):
            return self._copied(torch.arange(*index.indices(len(self))))
        return self._gather(self._row_numbers(index))

    def _row_numbers(self, index: Any) -> Tensor:
        """An index as numbers from 0 on, int64, one or a vector of them."""
        accepted = "expected a whole number, a vector of them, a mask or a slice as index of rows"
        if isinstance(index, tuple):
            raise TypeError(f"{accepted}, got a tuple: a file has no columns to choose from, so take them of the rows")
        try:
            numbers = torch.as_tensor(index)
        except (TypeError, ValueError, RuntimeError):
            raise TypeError(f"{accepted}, got {index!r}") from None
        if numbers.numel() == 0 and not isinstance(index, Tensor):
            numbers = numbers.long()  # an empty list is a tensor of floats
        refuse_bytes("an index of rows", numbers)
        if numbers.is_floating_point() or numbers.is_complex():
            raise TypeError(f"{accepted}, got {numbers.dtype}")
        if numbers.dtype == torch.bool:
            if list(numbers.shape) != [len(self)]:
                raise IndexError(
                    f"expected a mask with one entry per row, [{len(self)}], got {list(numbers.shape)} for {self.path}"
                )
            return numbers.nonzero().flatten().cpu()
        if numbers.dim() > 1:
            raise IndexError(f"{accepted}, got a tensor {list(numbers.shape)}")
        numbers = numbers.long().cpu()
        if numbers.numel():
            low, high = (int(extreme) for extreme in torch.aminmax(numbers))
            if low < -len(self) or high >= len(self):
                raise IndexError(f"expected rows 0 .. {len(self) - 1} of {self.path}, got {low} .. {high}")
            if low < 0:
                numbers = torch.where(numbers < 0, numbers + len(self), numbers)
        return numbers

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
            chunks: ``[n, F]`` or ``[n]`` each, with one F: all of floats, or all of one type of integers or masks. A
                tensor or an array is one chunk.
            storage: type of floats in the file; float16 has 11 significant bits and ends at 65504, and numbers below
                6e-5 have fewer bits. Integers and masks stay as they are.
            dtype: of the file that is returned.

        Raises:
            TypeError: chunks that are no tensors or arrays, or ``dtype`` is no floating-point type.
            FileNotFoundError: there is no folder for ``path``.
            ValueError: no chunk, chunks that do not fit together, a type that files do not have, or numbers too large
                or too small for ``storage``. The file is then as it was before.
        """
        path = as_path("path", path)
        known = f"expected one of {', '.join(_STORAGE.values())} as storage of floats"
        if not isinstance(storage, torch.dtype):
            kind = type(storage).__name__
            raise ValueError(f"{known}, got {storage!r}, a {kind}: pass a type of torch, such as torch.float16")
        if storage not in _STORAGE:
            raise ValueError(f"{known}, got {storage}")
        parts = [chunks] if isinstance(chunks, (Tensor, np.ndarray)) else chunks
        if not isinstance(parts, Iterable):
            raise TypeError(f"expected a tensor, an array or chunks of rows, got {chunks!r}")
        if not path.parent.is_dir():
            raise FileNotFoundError(f"there is no folder {path.parent} to write {path.name} to: create it before")
        if path.is_dir():
            raise IsADirectoryError(f"{path} is a folder: name a file in it, such as {path / 'x.npy'}")
        replace_file(path, lambda file: _write_rows(file, map(_tensor, parts), storage, dtype))
        return cls(path, dtype)


def _tensor(chunk: Any) -> Tensor:
    """A chunk whose type and shape a file can have."""
    if isinstance(chunk, (list, tuple)):  # of numbers: a row or a chunk? A list of them reads as another shape
        raise TypeError(f"expected tensors or arrays as chunks, got a {type(chunk).__name__}: pass torch.tensor(rows)")
    try:
        rows = tensor_of(chunk) if isinstance(chunk, np.ndarray) else torch.as_tensor(chunk).detach()
    except (TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"expected chunks of numbers, got {type(chunk).__name__} ({reason})") from error
    known = [*_STORAGE.values(), *_WHOLE]
    if rows.is_floating_point() and rows.dtype not in _STORAGE:  # bfloat16
        rows = rows.float()
    if rows.dtype not in _TYPES.values():
        raise ValueError(f"expected chunks of one of the types {', '.join(known)}, got {rows.dtype}: convert them")
    if rows.dim() not in (1, 2) or rows.layout != torch.strided:
        layout = "" if rows.layout == torch.strided else f", {rows.layout}"
        raise ValueError(f"expected dense chunks [rows] or [rows, features], got {list(rows.shape)}{layout}")
    return rows.cpu()


def _check_out_type(dtype: Any, kind: torch.dtype) -> None:
    """Whether rows of type ``kind`` can be handed out as ``dtype`` without a change of what they mean."""
    if not isinstance(dtype, torch.dtype) or (dtype not in _OUT_TYPES and (kind.is_floating_point or dtype != kind)):
        known = ", ".join(map(str, _OUT_TYPES))
        raise TypeError(
            f"expected one of {known} as dtype of floats, got {dtype!r} for a file of {kind}: convert the rows that "
            "you read"
        )


def _write_rows(file: Any, chunks: Iterable[Tensor], storage: torch.dtype, dtype: torch.dtype) -> None:
    count, first, largest = 0, None, 0.0
    for chunk in chunks:
        if first is None:
            first = chunk[:0]
            kind = storage if chunk.is_floating_point() else chunk.dtype
            _check_out_type(dtype, kind)
            _write_header(file, kind, (0, *chunk.shape[1:]))
        if chunk.shape[1:] != first.shape[1:]:
            raise ValueError(
                f"chunks must have rows of one shape; after {list(first.shape[1:])} came {list(chunk.shape[1:])}"
            )
        if chunk.dtype != first.dtype and not (chunk.is_floating_point() and first.is_floating_point()):
            raise ValueError(
                f"chunks must be floats, or all of one type; after {first.dtype} came {chunk.dtype}: convert them"
            )
        rows = chunk.to(kind)
        if rows.is_floating_point() and rows.numel():
            if bool((torch.isinf(rows) & torch.isfinite(chunk)).any()):
                raise ValueError(f"a number is too large for {kind}; write with storage=torch.float32")
            if largest < torch.finfo(kind).smallest_normal:  # the first chunk decides it for nearly all files
                largest = max(largest, float(chunk.nan_to_num(0.0).abs().max()))
        file.write(rows.contiguous().numpy().data)  # not `tofile`, which does not say why it cannot write
        count += rows.shape[0]
    if first is None:
        raise ValueError("there must be at least one chunk")
    if kind.is_floating_point and 0 < largest < torch.finfo(kind).smallest_normal:
        raise ValueError(
            f"no number is larger than {largest:g}, where {kind} has fewer significant bits; "
            "write with storage=torch.float32"
        )
    end = file.tell()
    file.seek(0)
    _write_header(file, kind, (count, *first.shape[1:]))
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
