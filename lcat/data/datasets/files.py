"""An own data set from one file, read without running anything that is in it."""

from __future__ import annotations

import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data, HeteroData
from torch_geometric.data.data import DataEdgeAttr, DataTensorAttr
from torch_geometric.data.storage import AttrType, BaseStorage, EdgeStorage, GlobalStorage, NodeStorage

from lcat._arrays import tensor_of
from lcat._files import as_path
from lcat._measures import TaskName
from lcat.data.datasets._safe_classes import allowed
from lcat.data.datasets.convert import (
    dataset_of_values,
    from_data,
    has_labels_per_node,
    links_of_values,
    only_graph,
    what_it_is,
)
from lcat.data.datasets.graph_dataset import GraphDataset, from_graphs
from lcat.data.datasets.items import DataError
from lcat.data.datasets.link_dataset import LinkDataset
from lcat.data.datasets.node_dataset import NodeDataset
from lcat.data.datasets.steps import with_both_directions
from lcat.data.datasets.tables import from_csv, links_of_csv

__all__ = ["heterophilous_dataset", "load_file", "read_file", "read_links"]


def _dict_of(_: object) -> dict[object, object]:
    """In the place of a defaultdict, which torch's reader makes but does not fill."""
    return {}


# What a pickled PyG Data is made of: plain containers, none of which runs code when read. Graphs of other kinds are
# read to be named. Data that a loader or a transform has asked for the attributes of its nodes keeps the answer, in a
# defaultdict by AttrType.
_SAFE: tuple[Any, ...] = (
    Data, DataEdgeAttr, DataTensorAttr, GlobalStorage, HeteroData, BaseStorage, NodeStorage, EdgeStorage, AttrType,
    (_dict_of, "collections.defaultdict"),
)  # fmt: skip
#: The last pickle protocol that torch's reader of tensors knows.
_LAST_PROTOCOL = 3
#: Names in files of the heterophilous data sets.
_HETEROPHILOUS = {"node_features", "node_labels", "edges"}
_TEXT_BYTES = set(range(32, 256)) - {127, 128} | set(b"\t\n\r\f")


def load_file(path: str | Path, metric: str | None = None, task: TaskName | None = None) -> NodeDataset:
    """A data set of one graph from a ``.pt``, ``.npz`` or ``.csv`` file.

    ``.pt``: ``torch.save`` of a PyG ``Data``, of a list of them with labels per node, or of a dictionary of tensors
    (:func:`read_file` reads lists with a label per graph, too). ``.npz``: ``numpy.savez``. Either holds ``x``,
    ``edge_index``, ``y`` and, if it has its own splits, ``train_mask``, ``val_mask``, ``test_mask`` (``[N]``, or
    ``[N, S]`` for ``S`` splits); without masks every seed draws a stratified random 60/20/20 split. ``edge_weight``
    and ``edge_attr`` are used as :class:`NodeDataset` says. An entry ``metric`` names the metric, ``task`` the task.

    An ``.npz`` may also have the names of the heterophilous data sets of Platonov et al.: ``node_features``,
    ``node_labels``, ``edges`` (``[E, 2]``, each in one direction) and perhaps ``train_masks``, ``val_masks``,
    ``test_masks`` (``[S, N]``). Its edges are taken in both directions, without repetitions.

    ``.csv``: a line per node; the edges are in a file beside it with ``edges`` for ``nodes`` in its name. See
    :func:`lcat.data.from_csv`.

    Only tensors and plain values are read (``weights_only=True``, ``allow_pickle=False``): a file that would run
    code is refused.

    Args:
        path: the file; its stem becomes the name of the data set.
        metric: overrides the file's own; that of the task where nothing says.
        task: ``"node-classification"``, ``"node-multilabel"`` or ``"node-regression"``; overrides the file's own,
            classification where nothing says.

    Raises:
        DataError: one line on what is wrong with the file.

    Example:
        >>> import tempfile, torch
        >>> from pathlib import Path
        >>> from lcat.data import csbm, load_file
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     torch.save(csbm(n=100, seed=0), Path(folder) / "mine.pt")
        ...     load_file(Path(folder) / "mine.pt").name
        'mine'
    """
    path, values = _read(path)
    if values is None:
        return from_csv(path, metric=metric or "", task=task)
    if isinstance(values, list):
        return from_data(values, path.stem, metric or "", task)
    return _from_values(path, values, metric, task)


def read_file(path: str | Path, metric: str | None = None, task: TaskName | None = None) -> NodeDataset | GraphDataset:
    """A data set from a file: one graph, as :func:`load_file` reads it, or a list of PyG ``Data`` in a ``.pt`` file.

    Graphs of a list with a label per node become one graph; with one label each they are a data set of graphs.

    Args:
        path: of the file.
        metric: overrides the file's own; that of the task where nothing says.
        task: overrides the file's own; see :func:`load_file` and :func:`lcat.data.from_graphs`.

    Raises:
        DataError: one line on what is wrong with the file.

    Example:
        >>> import tempfile, torch
        >>> from pathlib import Path
        >>> from torch_geometric.data import Data
        >>> from lcat.data import read_file
        >>> edge = torch.tensor([[0, 1], [1, 0]])
        >>> graphs = [
        ...     Data(x=torch.ones(2, 3), edge_index=edge, y=torch.tensor([number % 2]))
        ...     for number in range(10)
        ... ]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     torch.save(graphs, Path(folder) / "pairs.pt")
        ...     read_file(Path(folder) / "pairs.pt").task
        'graph-classification'
    """
    path, values = _read(path)
    if values is None:
        return from_csv(path, metric=metric or "", task=task)
    if isinstance(values, list) and has_labels_per_node(values, task):
        return from_data(values, path.stem, metric or "", task)
    if isinstance(values, list):
        return from_graphs(values, path.stem, task=task, metric=metric or "")
    return _from_values(path, values, metric, task)


def read_links(path: str | Path, metric: str | None = None) -> LinkDataset:
    """The links of one graph in a ``.pt``, ``.npz`` or ``.csv`` file, which may have no labels.

    Args:
        path: of the file, see :func:`load_file`.
        metric: of link prediction; ``"roc-auc"`` by default.

    Raises:
        DataError: one line on what is wrong with the file.
    """
    path, values = _read(path)
    if values is None:
        return links_of_csv(path, metric or "")
    if isinstance(values, list):
        values = only_graph(values, str(path)).to_dict()
    if set(values) >= _HETEROPHILOUS:
        values = heterophilous_dataset(values, path.stem).data.to_dict()
    return links_of_values(values, path.stem, metric or "")


def _read(path: str | Path) -> tuple[Path, Mapping[str, object] | list[Data] | None]:
    """What a file holds; ``None`` for tables, which :func:`from_csv` reads."""
    path = as_path("path", path)
    if not path.is_file():
        raise DataError(f"{path} is a folder; name the file" if path.is_dir() else f"there is no file {path}")
    if path.suffix == ".pt":
        return path, _read_pt(path)
    if path.suffix == ".npz":
        return path, _read_npz(path)
    if path.suffix == ".csv":
        return path, None
    raise DataError(f"{path}: an own data set is a .pt, .npz or .csv file; got {path.suffix or 'no suffix'}")


def _from_values(path: Path, values: Mapping[str, object], metric: str | None, task: TaskName | None) -> NodeDataset:
    metric = metric or str(values.get("metric") or "")
    if set(values) >= _HETEROPHILOUS:
        return heterophilous_dataset(values, path.stem, metric, task or values.get("task"))
    return dataset_of_values(values, path.stem, metric, task or values.get("task"))


def heterophilous_dataset(
    values: Mapping[str, object], name: str, metric: str = "", task: object = None
) -> NodeDataset:
    """A data set in the layout of the heterophilous data sets, see :func:`load_file`.

    Args:
        values: tensors by name.
        name: how tables call it.
        metric: as for :class:`NodeDataset`.
        task: the same; ``None`` for classification.

    Raises:
        DataError: names the array, its shape, and what was expected.
    """
    x, edges = values["node_features"], values["edges"]
    if not isinstance(edges, Tensor) or edges.dim() != 2 or edges.size(1) != 2 or edges.is_floating_point():
        got = f"{edges.dtype} {list(edges.shape)}" if isinstance(edges, Tensor) else type(edges).__name__
        raise DataError(f"{name}: expected edges as whole numbers [edges, 2], got {got}")
    plain: dict[str, object] = {"x": x, "y": values["node_labels"], "edge_index": edges.T.contiguous()}
    for part in ("train", "val", "test"):
        mask = values.get(f"{part}_masks")
        if mask is not None:
            if not isinstance(mask, Tensor) or mask.dim() != 2 or not isinstance(x, Tensor) or len(x) != mask.size(1):
                shape = str(list(mask.shape)) if isinstance(mask, Tensor) else type(mask).__name__
                nodes = len(x) if isinstance(x, Tensor) and x.dim() else "nodes"
                raise DataError(f"{name}: expected {part}_masks as [splits, {nodes}], got {shape}")
            plain[f"{part}_mask"] = mask.T.bool() if mask.dtype in (torch.uint8, torch.int64) else mask.T
    used = {*_HETEROPHILOUS, "metric", "train_masks", "val_masks", "test_masks"}
    others = {key: value for key, value in values.items() if key not in used}
    return with_both_directions(dataset_of_values({**plain, **others}, name, metric, task))


def _read_pt(path: Path) -> Mapping[str, object] | list[Data]:
    try:
        _refuse_text(path)
        with allowed(_SAFE), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on the pickle protocol, which the error names
            value = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:  # what a file of any other kind makes torch's reader raise is not listed anywhere
        protocol = _pickle_protocol(path)
        old = f"it was written with pickle protocol {protocol}, and can be read with torch.save's own, 2"
        reason = old if protocol > _LAST_PROTOCOL else _first_line(error)
        raise DataError(
            f"{path} cannot be read as tensors only ({reason}); save a PyG Data or a dictionary of tensors with "
            "torch.save"
        ) from error
    if isinstance(value, Data):
        entries: Mapping[str, object] = value.to_dict()
        return entries
    if isinstance(value, Mapping):
        return value
    if isinstance(value, (list, tuple)) and value and all(isinstance(graph, Data) for graph in value):
        return list(value)
    raise DataError(f"{path}: {what_it_is(value)}")


def _pickle_protocol(path: Path) -> int:
    """Of a file of torch.save or pickle.dump; 0 if it is neither."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                names = [name for name in archive.namelist() if name.endswith("/data.pkl")]
                start = archive.read(names[0])[:2] if names else b""
        else:
            with path.open("rb") as file:
                start = file.read(2)
    except (OSError, zipfile.BadZipFile):
        return 0
    return start[1] if len(start) == 2 and start[0] == 0x80 else 0


def _read_npz(path: Path) -> Mapping[str, object]:
    try:
        _refuse_text(path)
        arrays = np.load(path, allow_pickle=False)
        if not isinstance(arrays, np.lib.npyio.NpzFile):
            raise DataError(f"{path} holds a single array; expected x, edge_index and y of numpy.savez")
        with arrays:
            return {key: _read_array(arrays, key) for key in arrays.files}
    except (OSError, ValueError, EOFError, TypeError, zipfile.BadZipFile) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path} cannot be read as plain arrays ({_first_line(error)})") from error


def _refuse_text(path: Path) -> None:
    """Readers' own words about empty and about text files say nothing of either.

    Raises:
        ValueError: with what the file is.
    """
    with path.open("rb") as file:
        start = file.read(512)
    if not start:
        raise ValueError("it is empty")
    if all(byte in _TEXT_BYTES for byte in start):
        raise ValueError("it is a text file; the documentation shows how to read one, under Your own data")


def _read_array(arrays: Mapping[str, np.ndarray], key: str) -> Tensor | str | np.ndarray:
    way_out = "save numbers, such as float32 and int64, or leave it out"
    try:
        array = arrays[key]
    except ValueError as error:
        if "allow_pickle" not in str(error):
            raise
        raise ValueError(f"{key} is an array of Python's objects; {way_out}") from error
    if array.dtype.kind in "US":  # one word may name the metric; of many, torch makes no tensor
        return str(array) if array.ndim == 0 else array
    try:
        return tensor_of(array)
    except ValueError as error:
        raise ValueError(f"{key} is an array of {array.dtype}; {way_out}") from error


def _first_line(error: BaseException) -> str:
    """What is wrong, in one line: torch wraps what it refused in a page of advice to switch safety off."""
    text = str(error)
    refused = re.search(r"GLOBAL (\S+)", text)
    if refused:
        return f"it holds {refused[1]}, which is no plain value"
    if "weights_only" in text:
        return "it holds more than tensors and plain values"
    return (text.strip() or type(error).__name__).splitlines()[0].split(". ")[0]
