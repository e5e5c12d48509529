"""The compiled CPU kernels: which library is loaded, and how its functions are called.

``setup.py`` builds one library for each instruction set; the best one that this processor can run is loaded
with this module. The functions have a plain C interface (``csrc/*.cpp``) and run without the interpreter
lock, on as many threads as ``torch.get_num_threads()``.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from lcat._checksum import use_compiled
from lcat._memory import check_memory
from lcat.graph import SortedEdges

__all__ = [
    "NativeStatus",
    "all_dense",
    "as_dense",
    "call",
    "changed_unseen",
    "edge_arguments",
    "group_edges",
    "insert_loops",
    "loaded_library",
    "native_status",
    "seed_value",
    "sparse_rows",
    "take_groups",
    "transpose_groups",
]

_INTERFACE = 10  # of the functions below; csrc/group.cpp has the same number
_TYPES = {torch.float32: "f32", torch.float64: "f64"}

InstructionSet = Literal["avx512", "avx2", "baseline"]
# What a processor that torch describes by the first word can run, best first.
_RUNNABLE: dict[str, tuple[InstructionSet, ...]] = {
    "AVX512": ("avx512", "avx2", "baseline"),
    "AVX2": ("avx2", "baseline"),
}


@dataclass(frozen=True)
class NativeStatus:
    """The state of the compiled CPU kernels.

    Args:
        instruction_set: "avx512", "avx2" or "baseline"; ``None`` if no library is loaded.
        path: where the library is.
        problem: why no library, or not the best one for this processor, is loaded; else ``None``.
    """

    instruction_set: InstructionSet | None
    path: str | None
    problem: str | None


# p: pointer, i: int64, d: double, e: what edge_arguments returns. The number of threads (t) comes last everywhere.
_SIGNATURES = {
    "aggregate": "pppp e p iii",
    "aggregate_weight": "pp e p iii",
    "count_entries": "pp ii",
    "take_entries": "pppp ii",
    "dropout": "pp idi",
    "extremes": "pp e pp iiii",
    "extremes_backward": "pppp e pp iii",
    "gat_scores": "ppppp iii",
    "gat_scores_backward": "pppppppp iii",
    "gat_attention_forward": "ppppp e pppp iii ddi",
    "gat_attention_targets": "ppppppp pp iiid",
    "gat_attention_backward": "pppppp e pppp iii ddi",
    "dot_attention_forward": "ppp ppip e ppp iii ddi",
    "dot_attention_backward": "pp ppp ppip ppp e e pppppp iiii ddi",
    "gatv2_attention_forward": "pppp ppip e pp iii ddi",
    "gatv2_attention_backward": "ppppp ppip pp e e ppppppp iiii ddi",
}
# Functions that all types share; they take no number of threads.
_EDGE_SIGNATURES = {
    "group_edges": "ppiii ppp",
    "take_groups": "ppiii pp ppp",
    "transpose_groups": "e ii ppp",
    "insert_loops": "e ii ppp",
    "narrow": "pip",
}
_C_TYPES: dict[str, Any] = {"p": ctypes.c_void_p, "i": ctypes.c_int64, "d": ctypes.c_double, "t": ctypes.c_int}
_NO_MEMORY, _MISFIT = 1, 2  # what the functions return, besides 0; csrc/block.h has the same


def loaded_library() -> ctypes.CDLL:
    """The library that is loaded.

    Raises:
        RuntimeError: none is; the message says why.
    """
    if _LIBRARY is None:
        raise RuntimeError(f"the compiled kernels are missing: {STATUS.problem}")
    return _LIBRARY


def group_edges(row: Tensor, other: Tensor, num_rows: int, num_others: int) -> SortedEdges:
    """Edges grouped by ``row`` and ordered inside by ``other``, then by position.

    Args:
        row: ``[E]`` int64 on the CPU, in ``[0, num_rows]``; edges with ``row == num_rows`` are dead and come last.
        other: ``[E]`` int64 in ``[0, num_others)``.
        num_rows: number of groups; fewer than 2**31 nodes and edges.
        num_others: number of nodes at the other side.

    Raises:
        IndexError: an index is out of its range: a graph that was changed after it was checked.
        RuntimeError: the memory of the edges is gone.
    """
    row, other = _readable(row, other)
    count = row.shape[0]
    indptr = row.new_empty(num_rows + 2)
    indices, edge_ids = (row.new_empty(count, dtype=torch.int32) for _ in range(2))
    sizes = (count, num_rows + 1, num_others)
    status = loaded_library().lcat_group_edges(*_addresses(row, other), *sizes, *_addresses(indptr, indices, edge_ids))
    if status == _MISFIT:
        raise changed_unseen(num_others, num_rows)
    _check_status("group_edges", status)
    return SortedEdges(indptr[: num_rows + 1], indices, edge_ids)


def take_groups(
    row: Tensor, other: Tensor, num_rows: int, num_others: int, *, pointer: Tensor, order: Tensor | None
) -> SortedEdges | None:
    """Edges in groups that somebody else has made, in a copy; ``None`` where these are not groups of these edges.

    Args:
        row: ``[E]`` int64 on the CPU.
        other: ``[E]`` int64.
        num_rows: number of groups; fewer than 2**31 nodes and edges.
        num_others: number of nodes at the other side.
        pointer: ``[num_rows + 1]`` int64, where each group begins.
        order: ``[E]`` int64, the edge in each slot; ``None`` for edges that stand in the order of the groups.

    Raises:
        RuntimeError: the memory of the edges is gone.
    """
    row, other = _readable(row, other)
    count = row.shape[0]
    indptr = row.new_empty(num_rows + 1)
    indices, edge_ids = (row.new_empty(count, dtype=torch.int32) for _ in range(2))
    status = loaded_library().lcat_take_groups(
        *_addresses(row, other),
        *(count, num_rows, num_others, pointer.data_ptr(), None if order is None else order.data_ptr()),
        *_addresses(indptr, indices, edge_ids),
    )
    if status == _MISFIT:
        return None
    _check_status("take_groups", status)
    return SortedEdges(indptr, indices, edge_ids)


def changed_unseen(num_sources: int, num_targets: int) -> IndexError:
    """The error for an index out of range in a graph that was checked when it was made."""
    return IndexError(
        f"an edge leaves the graph of {num_sources} source and {num_targets} target nodes: if its indices were right "
        f"at first, a write that torch cannot see (numpy, .data) has changed them: pass edge_index.clone() after such "
        f"a write"
    )


def transpose_groups(groups: SortedEdges, num_others: int) -> SortedEdges:
    """The edges of :func:`group_edges` grouped by the node at the other side, in the same order inside."""
    indptr, indices, edge_ids = groups
    result = SortedEdges(indptr.new_empty(num_others + 1), torch.empty_like(indices), torch.empty_like(edge_ids))
    _run_on_groups("transpose_groups", groups, num_others, num_others, result)
    return result


def insert_loops(groups: SortedEdges, num_loops: int, num_others: int) -> SortedEdges:
    """The edges of :func:`group_edges`, none of them a loop, and a loop in each of the first ``num_loops`` groups."""
    indptr, _, edge_ids = groups
    indices, positions = (edge_ids.new_empty(edge_ids.shape[0] + num_loops) for _ in range(2))
    result = SortedEdges(torch.empty_like(indptr), indices, positions)
    _run_on_groups("insert_loops", groups, num_others, num_loops, result)
    return result


def _run_on_groups(function: str, groups: SortedEdges, num_others: int, parameter: int, result: SortedEdges) -> None:
    indptr, indices, edge_ids, *sizes = edge_arguments(groups, num_others, per_edge=True)
    addresses = (*_addresses(indptr, indices, edge_ids), *sizes, indptr.shape[0] - 1, parameter, *_addresses(*result))
    _check_status(function, getattr(loaded_library(), f"lcat_{function}")(*addresses))


def _readable(*indices: Tensor) -> list[Tensor]:
    """The indices of edges as the library reads them."""
    for index in indices:
        check_memory("edge_index", index)
    return [index.resolve_neg().contiguous() for index in indices]


def _addresses(*tensors: Tensor) -> list[int]:
    return [t.data_ptr() for t in tensors]


def _check_status(function: str, status: int) -> None:
    if status == _NO_MEMORY:
        raise MemoryError(f"the compiled kernel '{function}' found no memory for its buffers")
    if status == _MISFIT:
        raise IndexError(
            f"expected edges that fit the tensors of '{function}' (a pointer that rises from 0 to at most their "
            f"number, and indices of rows that exist), got others: if the graph was right at first, a write that torch "
            f"cannot see (numpy, .data) has changed it: pass edge_index.clone() after such a write"
        )


def _declare(library: ctypes.CDLL) -> None:
    library.lcat_interface.restype = ctypes.c_int64
    interface = library.lcat_interface()
    if interface != _INTERFACE:
        raise AttributeError(f"interface {interface}, not {_INTERFACE}")
    for name, letters in _SIGNATURES.items():
        for suffix in _TYPES.values():
            _declare_function(library, f"lcat_{name}_{suffix}", letters + "t")
    for name, letters in _EDGE_SIGNATURES.items():
        _declare_function(library, f"lcat_{name}", letters)
    library.lcat_checksum.argtypes = [_C_TYPES[letter] for letter in "piii"] + [ctypes.c_int]
    library.lcat_checksum.restype = ctypes.c_uint64


def _declare_function(library: ctypes.CDLL, name: str, letters: str) -> None:
    function = getattr(library, name)
    function.argtypes = [_C_TYPES[letter] for letter in letters.replace("e", "pppiii").replace(" ", "")]
    function.restype = ctypes.c_int


def _load() -> tuple[ctypes.CDLL | None, NativeStatus]:
    runnable = _RUNNABLE.get(torch.backends.cpu.get_cpu_capability(), ("baseline",))
    problems = []
    for name in runnable:
        path = _find(f"_native_{name}")
        if path is None:
            problems.append(f"there is no library built for {name}")
            continue
        try:
            library = ctypes.CDLL(str(path))
            _declare(library)
        except OSError as error:
            problems.append(f"{path.name} does not load: {error}")
            continue
        except AttributeError as error:
            problems.append(f"{path.name} was built from another version of the sources ({error}): reinstall lcat")
            continue
        return library, NativeStatus(name, str(path), "; ".join(problems) or None)
    remedy = "install a C++ compiler (g++ or clang++) and reinstall: pip install --force-reinstall --no-deps lcat-gnn"
    return None, NativeStatus(None, None, "; ".join(problems) + f" ({remedy})")


def _find(stem: str) -> Path | None:
    folder = Path(__file__).parent
    for suffix in EXTENSION_SUFFIXES:
        path = folder / (stem + suffix)
        if path.exists():
            return path
    return None


_LIBRARY, STATUS = _load()
_names: dict[tuple[str, torch.dtype], str] = {}  # of the functions that were called
if _LIBRARY is not None:
    use_compiled(_LIBRARY.lcat_checksum)


def native_status() -> NativeStatus:
    """Whether the compiled CPU kernels are available, for which instruction set, and what is missing.

    Example:
        >>> import lcat.ops
        >>> status = lcat.ops.native_status()
        >>> (status.instruction_set is None) == (status.path is None)
        True
    """
    return STATUS


def call(function: str, dtype: torch.dtype, *arguments: Tensor | int | float | None) -> None:
    """Run ``lcat_<function>_<type>`` on contiguous CPU tensors, numbers and ``None`` (a null pointer).

    The library trusts the addresses and sizes: operators check their arguments before they come here
    (:mod:`lcat.ops._operators`). The edges are checked inside, as they are read.

    Raises:
        IndexError: the edges do not fit the sizes that :func:`edge_arguments` states.
        MemoryError: a kernel found no memory for its buffers.
    """
    converted = [a.data_ptr() if type(a) is Tensor or isinstance(a, Tensor) else a for a in arguments]
    name = _names.get((function, dtype))
    if name is None:
        name = _names[function, dtype] = f"lcat_{function}_{_TYPES[dtype]}"
    status = getattr(loaded_library(), name)(*converted, torch.get_num_threads())
    if status:
        _check_status(function, status)


def sparse_rows(x: Tensor, limit: int) -> tuple[Tensor, Tensor, Tensor] | None:
    """Row pointer, columns and values of the entries of a matrix that are not zero, in the form of CSR.

    Args:
        x: ``[N, F]``, contiguous, of float32 or float64 on the CPU.
        limit: at most so many entries; ``None`` is returned where there are more.
    """
    rows, columns = x.shape
    pointer = torch.zeros(rows + 1, dtype=torch.int64)
    call("count_entries", x.dtype, x, pointer[1:], rows, columns)
    pointer.cumsum_(0)
    count = int(pointer[-1])
    if count > limit:
        return None
    indices, values = torch.empty(count, dtype=torch.int64), x.new_empty(count)
    call("take_entries", x.dtype, x, pointer, indices, values, rows, columns)
    return pointer, indices, values


def edge_arguments(
    edges: SortedEdges, num_others: int, *, per_edge: bool
) -> tuple[Tensor, Tensor, Tensor, int, int, int]:
    """Edges as the kernels read them, with 32-bit indices, and what they are checked against.

    Copies are made only of the int64 indices of a traced graph.

    Args:
        edges: the edges.
        num_others: rows of the tensors that ``indices`` point into.
        per_edge: whether ``edge_ids`` point into tensors too, with one row per edge.
    """
    indptr, indices, edge_ids = edges
    count = edge_ids.shape[0]
    if indices.dtype is not torch.int32:
        indices, edge_ids = _narrow(indices), _narrow(edge_ids)
    return indptr, indices, edge_ids, count, num_others, count if per_edge else -1


def _narrow(index: Tensor) -> Tensor:
    if index.dtype is torch.int32:
        return index
    narrow = index.new_empty(index.shape, dtype=torch.int32)
    loaded_library().lcat_narrow(index.data_ptr(), index.shape[0], narrow.data_ptr())
    return narrow


def as_dense(tensor: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    """The tensor in ``dtype``, contiguous."""
    if tensor is None or (tensor.dtype is dtype and tensor.is_contiguous()):  # half a microsecond faster than below
        return tensor
    return tensor.to(dtype).contiguous()


def all_dense(dtype: torch.dtype, *tensors: Tensor | None) -> list[Any]:
    """:func:`as_dense` of each, in one call: this runs in every call of a layer."""
    return [t if t is None or (t.dtype is dtype and t.is_contiguous()) else t.to(dtype).contiguous() for t in tensors]


def seed_value(seed: Tensor | None) -> int:
    """The number in a seed tensor; 0 where there is no dropout and so no seed."""
    return 0 if seed is None else int(seed.item())
