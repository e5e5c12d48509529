"""An own data set from one file, read without running anything that is in it."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.data.data import DataEdgeAttr, DataTensorAttr
from torch_geometric.data.storage import GlobalStorage

from lcat.data.datasets._safe_classes import allowed
from lcat.data.datasets.node_dataset import DataError, NodeDataset, random_splits, splits_from_masks

__all__ = ["from_data", "load_file"]

# What a pickled PyG Data is made of: plain containers, none of which runs code when read.
_SAFE = (Data, DataEdgeAttr, DataTensorAttr, GlobalStorage)
_FIELDS = ("x", "edge_index", "y", "train_mask", "val_mask", "test_mask")


def load_file(path: str | Path, metric: str | None = None) -> NodeDataset:
    """A data set from a ``.pt`` or ``.npz`` file.

    ``.pt``: ``torch.save`` of a PyG ``Data``, or of a dictionary of tensors. ``.npz``: ``numpy.savez``. Either
    holds ``x``, ``edge_index``, ``y`` and, if it has its own splits, ``train_mask``, ``val_mask``,
    ``test_mask`` (``[N]``, or ``[N, S]`` for ``S`` splits); without masks every seed draws a stratified random
    60/20/20 split. An entry ``metric`` names the metric.

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
    path = Path(path)
    if not path.is_file():
        raise DataError(f"there is no file {path}")
    if path.suffix == ".pt":
        values = _read_pt(path)
    elif path.suffix == ".npz":
        values = _read_npz(path)
    else:
        raise DataError(f"{path}: an own data set is a .pt or .npz file; got {path.suffix or 'no suffix'}")
    own = values.get("metric")
    data = Data(**{key: values[key] for key in _FIELDS if values.get(key) is not None})
    return from_data(data, path.stem, metric=metric or (str(own) if own is not None else "accuracy"))


def from_data(data: Data, name: str = "own", metric: str = "accuracy") -> NodeDataset:
    """A data set from a PyG ``Data``: its masks if it has all three, else stratified random 60/20/20 splits.

    Features of another type (NumPy's float64, counts) become float32, whole numbers as labels int64, and labels of
    shape ``[N, 1]`` ``[N]``; ``data`` itself stays as it is.

    Args:
        data: ``x``, ``edge_index``, ``y`` and perhaps ``train_mask``, ``val_mask``, ``test_mask``.
        name: how tables call it.
        metric: ``"accuracy"`` or ``"roc-auc"``.

    Raises:
        DataError: on data that cannot be used, or with one or two of the three masks only.

    Example:
        >>> from lcat.data import csbm, from_data
        >>> from_data(csbm(n=100, seed=0), "mine").split_rule
        'own masks'
    """
    masks = {part: data.get(f"{part}_mask") for part in ("train", "val", "test")}
    present = [part for part, mask in masks.items() if mask is not None]
    missing = [key for key in ("x", "edge_index", "y") if data.get(key) is None]
    if missing:
        has = ", ".join(data.keys()) or "nothing"
        raise DataError(
            f"{name}: there is no {' and no '.join(missing)}; a data set has x, edge_index and y, got {has}"
        )
    graph = Data(x=_features(data.get("x")), edge_index=data.get("edge_index"), y=_labels(data.get("y")))
    if not present:
        # The labels are checked by NodeDataset before any split is drawn.
        return NodeDataset(name, graph, random_splits(graph.y), metric, "random stratified 60/20/20 by seed")
    if len(present) < 3:
        raise DataError(
            f"{name}: train_mask, val_mask and test_mask come together or not at all; got only {', '.join(present)}"
        )
    train, val, test = masks.values()
    try:
        splits = splits_from_masks(train, val, test)
    except DataError as error:
        raise DataError(f"{name}: {error}") from None
    rule = "own masks" if train.dim() == 1 else f"own {train.size(1)} masks, seed s takes number s mod {train.size(1)}"
    return NodeDataset(name, graph, splits, metric, rule)


def _features(x: object) -> object:
    if not isinstance(x, Tensor) or x.layout != torch.strided or x.is_complex():
        return x  # refused by NodeDataset
    return x.to(torch.float32)


def _labels(y: object) -> object:
    if not isinstance(y, Tensor) or y.layout != torch.strided:
        return y
    y = y.squeeze(1) if y.dim() == 2 and y.size(1) == 1 else y
    return y if y.is_floating_point() or y.is_complex() else y.to(torch.int64)


def _read_pt(path: Path) -> Mapping[str, object]:
    try:
        with allowed(_SAFE):
            value = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:  # what a file of any other kind makes torch's reader raise is not listed anywhere
        raise DataError(
            f"{path} cannot be read as tensors only ({_first_line(error)}); save a PyG Data or a dictionary of "
            "tensors with torch.save"
        ) from error
    if isinstance(value, Data):
        entries: Mapping[str, object] = value.to_dict()
        return entries
    if isinstance(value, Mapping):
        return value
    raise DataError(f"{path} holds a {type(value).__name__}; save a PyG Data or a dictionary of tensors")


def _read_npz(path: Path) -> Mapping[str, object]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {key: _tensor(arrays[key]) for key in arrays.files}
    except (OSError, ValueError, EOFError, TypeError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} cannot be read as plain arrays ({_first_line(error)})") from error


def _tensor(array: np.ndarray) -> Tensor | str | np.ndarray:
    if array.dtype.kind in "US":  # one word may name the metric; of many, torch makes no tensor
        return str(array) if array.ndim == 0 else array
    return torch.from_numpy(np.ascontiguousarray(array))


def _first_line(error: BaseException) -> str:
    """What is wrong, in one line: torch wraps what it refused in a page of advice to switch safety off."""
    refused = re.search(r"GLOBAL (\S+)", str(error))
    if refused:
        return f"it holds {refused[1]}, which is no plain value"
    return (str(error).strip() or type(error).__name__).splitlines()[0]
