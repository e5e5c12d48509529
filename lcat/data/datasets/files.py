"""An own data set from one file, read without running anything that is in it."""

from __future__ import annotations

import re
import warnings
import zipfile
from collections.abc import Mapping, Sequence
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
from lcat.data.datasets._safe_classes import allowed
from lcat.data.datasets.node_dataset import DataError, NodeDataset, random_splits, splits_from_masks

__all__ = ["from_data", "load_file"]


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
_TEXT_BYTES = set(range(32, 256)) - {127, 128} | set(b"\t\n\r\f")
_NEEDED = ("x", "edge_index", "y")
_EDGE_VALUES = ("edge_weight", "edge_attr")
_MASKS = ("train_mask", "val_mask", "test_mask")
# What files say beside a graph that needs no word; the metric is read by load_file.
_SILENT = ("metric", "num_nodes", "name")
# Other names for what is needed, as other libraries and users write it.
_OTHER_NAMES = {
    "x": ("feat", "feats", "feature", "features", "node_feat", "node_features", "attr_matrix", "X"),
    "edge_index": ("edge", "edges", "edge_list", "edgelist", "edge_idx", "adj", "adj_t", "adj_matrix"),
    "y": ("label", "labels", "node_label", "target", "targets", "Y"),
}


def load_file(path: str | Path, metric: str | None = None) -> NodeDataset:
    """A data set from a ``.pt`` or ``.npz`` file.

    ``.pt``: ``torch.save`` of a PyG ``Data``, or of a dictionary of tensors. ``.npz``: ``numpy.savez``. Either
    holds ``x``, ``edge_index``, ``y`` and, if it has its own splits, ``train_mask``, ``val_mask``,
    ``test_mask`` (``[N]``, or ``[N, S]`` for ``S`` splits); without masks every seed draws a stratified random
    60/20/20 split. ``edge_weight`` and ``edge_attr`` are used as :class:`NodeDataset` says. An entry ``metric`` names
    the metric.

    Only tensors and plain values are read (``weights_only=True``, ``allow_pickle=False``): a file that would run
    code is refused.

    Args:
        path: the file; its stem becomes the name of the data set.
        metric: ``"accuracy"`` or ``"roc-auc"``; overrides the file's own, ``accuracy`` where nothing says.

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
    path = as_path("path", path)
    if not path.is_file():
        raise DataError(f"{path} is a folder; name the file" if path.is_dir() else f"there is no file {path}")
    if path.suffix == ".pt":
        values = _read_pt(path)
    elif path.suffix == ".npz":
        values = _read_npz(path)
    else:
        raise DataError(f"{path}: an own data set is a .pt or .npz file; got {path.suffix or 'no suffix'}")
    own = values.get("metric")
    return _dataset(values, path.stem, metric=metric or (str(own) if own is not None else "accuracy"))


def from_data(data: Data, name: str = "own", metric: str = "accuracy") -> NodeDataset:
    """A data set from a PyG ``Data``: its masks if it has all three, else stratified random 60/20/20 splits.

    Features of another type (NumPy's float64, counts) become float32, whole numbers as labels int64, and labels of
    shape ``[N, 1]`` ``[N]``; ``data`` itself stays as it is.

    Args:
        data: ``x``, ``edge_index``, ``y`` and perhaps ``edge_weight``, ``edge_attr``, ``train_mask``, ``val_mask``,
            ``test_mask``.
        name: how tables call it.
        metric: ``"accuracy"`` or ``"roc-auc"``.

    Raises:
        DataError: on data that cannot be used, or with one or two of the three masks only.

    Example:
        >>> from lcat.data import csbm, from_data
        >>> from_data(csbm(n=100, seed=0), "mine").split_rule
        'own masks'
    """
    if not isinstance(data, Data):
        raise DataError(f"{name}: {_what_it_is(data)}")
    return _dataset(data.to_dict(), name, metric)


def _dataset(values: Mapping[str, object], name: str, metric: str) -> NodeDataset:
    values = {key: value for key, value in values.items() if value is not None}
    masks = {part: values.get(f"{part}_mask") for part in ("train", "val", "test")}
    present = [part for part, mask in masks.items() if mask is not None]
    missing = [key for key in _NEEDED if key not in values]
    if missing:
        raise DataError(f"{name}: {_missing(missing, list(values))}")
    edges = {key: _edge_values(key, values[key]) for key in _EDGE_VALUES if key in values}
    graph = Data(x=_features(values["x"]), edge_index=_edges(values["edge_index"]), y=_labels(values["y"]), **edges)
    used = (*_NEEDED, *_EDGE_VALUES, *_MASKS, *_SILENT)
    unused = tuple(str(key) for key in values if key not in used)
    graph_nodes = values.get("num_nodes")
    if isinstance(graph_nodes, int) and isinstance(graph.x, Tensor) and graph_nodes != graph.x.size(0):
        raise DataError(f"{name}: num_nodes is {graph_nodes}, and x has {graph.x.size(0)} rows; they must agree")
    if not present:
        # The labels are checked by NodeDataset before any split is drawn.
        rule = "random stratified 60/20/20 by seed"
        return NodeDataset(name, graph, random_splits(graph.y), metric, rule, unused)
    if len(present) < 3:
        raise DataError(
            f"{name}: train_mask, val_mask and test_mask come together or not at all; got only {', '.join(present)}"
        )
    train, val, test = masks.values()
    try:
        splits = splits_from_masks(train, val, test)  # type: ignore[arg-type]
    except DataError as error:
        raise DataError(f"{name}: {error}") from None
    count = max(mask.size(1) if mask.dim() == 2 else 1 for mask in (train, val, test))  # type: ignore[attr-defined]
    rule = f"own {count} masks, seed s takes number s mod {count}" if count > 1 else "own masks"
    return NodeDataset(name, graph, splits, metric, rule, unused)


def _missing(missing: Sequence[str], keys: Sequence[object]) -> str:
    """What is missing, what there is, and which of it may be meant."""
    text = (
        f"there is no {' and no '.join(missing)}; a data set has x, edge_index and y, got "
        f"{', '.join(map(str, keys)) or 'nothing'}"
    )
    meant = [f"{key} to {name}" for name in missing for key in keys if key in _OTHER_NAMES[name]]
    return text + (f": rename {', '.join(meant)}" if meant else "")


def _what_it_is(value: object) -> str:
    """What was given in place of a graph, and the way out."""
    needed = "expected one graph, a PyG Data or a dictionary of tensors with x, edge_index and y"
    if isinstance(value, HeteroData):
        return f"{needed}, got a HeteroData: heterogeneous graphs are not supported (value.to_homogeneous() joins them)"
    if isinstance(value, (list, tuple)):
        kinds = ", ".join(dict.fromkeys(type(part).__name__ for part in value)) or "nothing"
        return (
            f"{needed}, got a {type(value).__name__} of {len(value)} ({kinds}): save one of them; data sets of many "
            "graphs are not supported"
        )
    return f"{needed}, got a {type(value).__name__}"


def _features(x: object) -> object:
    if not isinstance(x, Tensor) or x.layout != torch.strided or x.is_complex():
        return x  # refused by NodeDataset
    return x.to(torch.float32)


def _edges(edge_index: object) -> object:
    if not isinstance(edge_index, Tensor) or edge_index.layout != torch.strided:
        return edge_index
    whole = not edge_index.is_floating_point() and not edge_index.is_complex() and edge_index.dtype != torch.bool
    return edge_index.to(torch.int64) if whole else edge_index


def _edge_values(key: str, values: object) -> object:
    if not isinstance(values, Tensor) or values.layout != torch.strided or values.is_complex():
        return values  # refused by NodeDataset
    if key == "edge_weight" and values.dim() == 2 and values.size(1) == 1:
        values = values.squeeze(1)
    if key == "edge_attr" and values.dim() == 1:
        values = values.unsqueeze(1)
    return values.to(torch.float32)


def _labels(y: object) -> object:
    if not isinstance(y, Tensor) or y.layout != torch.strided:
        return y
    y = y.squeeze(1) if y.dim() == 2 and y.size(1) == 1 else y
    return y if y.is_floating_point() or y.is_complex() else y.to(torch.int64)


def _read_pt(path: Path) -> Mapping[str, object]:
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
    raise DataError(f"{path}: {_what_it_is(value)}")


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
