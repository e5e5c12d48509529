"""The files of a :class:`lcat.data.CSCGraph`: one per array, and a description."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

from lcat._edge_formats import read_edges
from lcat._files import move_file, replace_file, reserve, scratch_folder
from lcat.data.storage._mapping import map_readonly

FORMAT = "lcat-csc-1"
TYPES = {"int32": torch.int32, "int64": torch.int64}


def write_in_two_passes(
    folder: Path, chunks: Callable[[], Iterable[Tensor]], num_nodes: int, undirected: bool, edge_numbers: bool
) -> None:
    """See :meth:`lcat.data.CSCGraph.write`."""
    pointer = torch.zeros(num_nodes + 1, dtype=torch.int64)
    for chunk in chunks():
        _, target = _both_ends(chunk, num_nodes, undirected)
        pointer[1:] += torch.bincount(target, minlength=num_nodes)
    torch.cumsum(pointer, 0, out=pointer)
    with _replaced(folder) as scratch:
        _write_second_pass(
            scratch, chunks, pointer, num_nodes=num_nodes, undirected=undirected, edge_numbers=edge_numbers
        )


def write_arrays(folder: Path, arrays: dict[str, Tensor], num_sources: int) -> None:
    """See :meth:`lcat.data.CSCGraph.save`."""
    with _replaced(folder) as scratch:
        for name, array in arrays.items():
            _write_array(scratch / f"{name}.bin", array)
        describe(scratch, num_sources, {name: [type_name(a), a.numel()] for name, a in arrays.items()})


@contextlib.contextmanager
def _replaced(folder: Path) -> Iterator[Path]:
    """A folder to write to, whose files then replace those of ``folder``: the arrays first, the description last.

    Written in their place, the arrays of an older graph would be lost where something fails, and processes that have
    mapped them would end.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise NotADirectoryError(
            f"a graph is written to a folder, and {error.filename} is a file: choose another name"
        ) from None
    with scratch_folder(folder / "csc.json") as scratch:
        yield scratch
        (folder / "csc.json").unlink(missing_ok=True)  # until all are moved there is no graph here
        for name in ("pointer.bin", "source.bin", "edge.bin"):
            if (scratch / name).exists():
                move_file(scratch / name, folder / name)
            else:
                (folder / name).unlink(missing_ok=True)
        move_file(scratch / "csc.json", folder / "csc.json")


def _write_second_pass(
    folder: Path,
    chunks: Callable[[], Iterable[Tensor]],
    pointer: Tensor,
    *,
    num_nodes: int,
    undirected: bool,
    edge_numbers: bool,
) -> None:
    count = int(pointer[-1])
    _write_array(folder / "pointer.bin", pointer)
    small = torch.int32 if max(num_nodes, count) < 2**31 else torch.int64
    kinds = {"source": torch.int32 if num_nodes < 2**31 else torch.int64} | ({"edge": small} if edge_numbers else {})
    arrays = {name: _new_array(folder / f"{name}.bin", kind, count) for name, kind in kinds.items()}

    free = pointer[:-1].clone()  # the next free slot of every node
    first = 0
    for chunk in chunks():
        source, target = _both_ends(chunk, num_nodes, undirected)
        target, order = torch.sort(target, stable=True)
        nodes, sizes = torch.unique_consecutive(target, return_counts=True)
        begin = sizes.cumsum(0) - sizes
        slot = torch.arange(target.numel()) + (free[nodes] - begin).repeat_interleave(sizes)
        free[nodes] += sizes
        if bool((free[nodes] > pointer[nodes + 1]).any()):
            raise ValueError("the second pass over the chunks gave other edges than the first: it must give the same")
        arrays["source"][slot] = source[order].to(arrays["source"].dtype)
        if edge_numbers:
            arrays["edge"][slot] = (first + order % chunk.shape[1]).to(small)
        first += chunk.shape[1]
    if not torch.equal(free, pointer[1:]):
        raise ValueError("the second pass over the chunks gave other edges than the first: it must give the same")
    described = {"pointer": pointer, **arrays}
    describe(folder, num_nodes, {name: [type_name(array), array.numel()] for name, array in described.items()})


def _both_ends(chunk: Tensor, num_nodes: int, undirected: bool) -> tuple[Tensor, Tensor]:
    edges = read_edges(chunk, flow="source_to_target", name="chunk")
    if edges.layout != "edge_index":
        raise ValueError(f"expected chunks of edges [2, n], got a matrix ({edges.layout}), whose values would be lost")
    source, target, *_ = edges.checked(num_nodes, num_nodes)
    return (torch.cat([source, target]), torch.cat([target, source])) if undirected else (source, target)


def _write_array(path: Path, array: Tensor) -> None:
    def write(file: IO[bytes]) -> None:
        file.write(array.contiguous().numpy().data)  # not `tofile`, which does not say why it cannot write

    replace_file(path, write)


def _new_array(path: Path, dtype: torch.dtype, count: int) -> Tensor:
    reserve(path, count * dtype.itemsize)
    if count == 0:
        return torch.empty(0, dtype=dtype)
    return torch.from_file(str(path), shared=True, size=count, dtype=dtype)


def type_name(array: Tensor) -> str:
    """What a description calls the type of an array."""
    return str(array.dtype).removeprefix("torch.")


def describe(folder: Path, num_sources: int, arrays: dict[str, list[Any]]) -> None:
    """Write the description, which makes the files a graph."""
    description = {"format": FORMAT, "num_sources": num_sources, "arrays": arrays}
    (folder / "csc.json").write_text(json.dumps(description), encoding="utf-8")


def map_array(path: Path, dtype: torch.dtype, shape: tuple[int, ...]) -> Tensor:
    """A file as a tensor that is read where it is touched, and not to be written to.

    Raises:
        ValueError: the file is missing or has another size.
    """
    count = math.prod(shape)
    wanted, size = count * dtype.itemsize, path.stat().st_size if path.is_file() else -1
    if size != wanted:
        got = "no such file" if size < 0 else f"{size} bytes"
        raise ValueError(f"{path} must have {wanted} bytes ({list(shape)} of {dtype}); got {got}: write it again")
    if count == 0:
        return torch.empty(shape, dtype=dtype)
    return map_readonly(path, np.dtype(type_name(torch.empty(0, dtype=dtype))), shape)[1]
