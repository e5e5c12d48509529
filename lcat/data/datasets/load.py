"""Public data sets by name, from files on disk or through PyG's own download."""

from __future__ import annotations

import os
import socket
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from torch_geometric import datasets as pyg_datasets
from torch_geometric.data import Data, InMemoryDataset
from torch_geometric.utils import to_undirected

from lcat._files import as_path
from lcat._numbers import read_bool
from lcat._text import hint
from lcat.data.datasets.catalog import CATALOG, RANDOM, DatasetSpec
from lcat.data.datasets.files import load_file
from lcat.data.datasets.folders import check_folder
from lcat.data.datasets.graphland import PREFIX, graphland_dataset, graphland_spec
from lcat.data.datasets.node_dataset import DataError, NodeDataset, random_splits, splits_from_masks
from lcat.data.splits.splits import Split, load_split_file

__all__ = ["DatasetUnavailable", "UnknownDataset", "default_root", "load", "missing_files"]

#: Seconds without an answer after which a download is given up.
DOWNLOAD_TIMEOUT = 30.0


class UnknownDataset(DataError):
    """No data set has this name; the message lists the closest ones."""


class DatasetUnavailable(DataError):
    """The files are not there and could not be fetched, or cannot be read; one line says what to put where."""


def default_root() -> Path:
    """``$LCAT_DATA`` where it is set, else ``~/.cache/lcat/data``.

    Raises:
        DatasetUnavailable: if there is no home directory either, as in a container of a user without an entry.
    """
    folder = os.environ.get("LCAT_DATA")
    if folder:
        return check_folder(Path(folder), "LCAT_DATA")
    try:
        return Path.home() / ".cache" / "lcat" / "data"
    except RuntimeError as error:
        raise DatasetUnavailable(
            "there is no home directory to keep data sets in: set LCAT_DATA to a folder, or name one with --data "
            "(root= in Python)"
        ) from error


def load(name: str, root: str | Path | None = None, *, download: bool = True) -> NodeDataset:
    """A public data set, read by PyG's own class, with its metric, splits and preprocessing.

    Files are looked for under ``root`` in the layout of PyG's classes, one folder per class (for example
    ``root/Planetoid/Cora/raw/ind.cora.x``, ``root/Amazon/Photo/raw/amazon_electronics_photo.npz``). Where they
    are, no network is used; otherwise PyG downloads them. PyG's processed copy goes beside the raw files. Nothing
    is ever deleted.

    Args:
        name: a name of ``lcat.data.CATALOG``, or ``"graphland:tolokers-2,rh"`` (a data set of GraphLand and its
            split, ``rl``, ``rh``, ``th`` or ``thi``); upper case and ``_`` for ``-`` are accepted.
        root: the data folder, :func:`default_root` by default.
        download: ``False`` never touches the network.

    Returns:
        The data set; ``data`` holds ``x``, ``edge_index`` and ``y``, the masks live in ``split(seed)``.

    Raises:
        UnknownDataset: with the closest names.
        DatasetUnavailable: with the missing files and where they belong.

    Example:
        >>> from lcat.data import load
        >>> load("coraa")  # doctest: +IGNORE_EXCEPTION_DETAIL
        Traceback (most recent call last):
        lcat.data.datasets.load.UnknownDataset: there is no data set called 'coraa' (did you mean cora?); ...
    """
    spec = find_spec(name)
    download = read_bool("download", download)
    root = check_folder(as_path("root", root), "root") if root is not None else default_root()
    missing = missing_files(spec.name, root)
    if missing and not download:
        raise DatasetUnavailable(f"data set {spec.name!r} is not under {root}: {_what_to_put(spec, missing)}")
    if not spec.pyg_class:
        return _read_file(spec, root, missing)
    graphs = _read(spec, root, missing)
    if spec.name.startswith(PREFIX):
        return graphland_dataset(spec, graphs)
    data = graphs[0]
    masks = [data.get(f"{part}_mask") for part in ("train", "val", "test")]
    graph = _prepare(spec, data)
    splits, rule = _splits(spec, root, graph, masks)
    steps = (spec.preprocessing,)
    return NodeDataset(spec.name, graph, splits, metric=spec.metric, split_rule=rule, steps=steps)


def _read_file(spec: DatasetSpec, root: Path, missing: list[Path]) -> NodeDataset:
    """A data set that is one file and has no class of PyG.

    Raises:
        DatasetUnavailable: if the file is missing, as nothing downloads it, or cannot be read.
    """
    if missing:
        raise DatasetUnavailable(
            f"data set {spec.name!r} is not under {root}, and is not downloaded: {_what_to_put(spec, missing)}"
        )
    path = root / spec.raw[0]
    try:
        dataset = load_file(path, spec.metric)
    except DataError as error:
        raise DatasetUnavailable(
            f"data set {spec.name!r}: {error}; download the file again. Source: {spec.homepage}"
        ) from error
    return replace(dataset, name=spec.name, split_rule=spec.split)


def find_spec(name: str) -> DatasetSpec:
    """The catalog's row for ``name``.

    Raises:
        UnknownDataset: with the closest names.
    """
    if not isinstance(name, str):
        raise UnknownDataset(
            f"expected the name of a data set, such as 'cora' (lcat.data.CATALOG lists them); got {name!r}"
        )
    key = name.strip().lower().replace("_", "-")
    if key in CATALOG:
        return CATALOG[key]
    if key.startswith(PREFIX):
        try:
            return graphland_spec(key)
        except DataError as error:
            raise UnknownDataset(str(error)) from None
    known = ", ".join(sorted(CATALOG))
    if key.startswith("csbm"):
        raise UnknownDataset(
            f"{name!r} is no public data set: lcat.data.csbm(...) makes such graphs; known names are {known}"
        )
    raise UnknownDataset(f"there is no data set called {name!r}{hint(key, CATALOG)}; known are {known}")


def missing_files(name: str, root: str | Path) -> list[Path]:
    """The raw files of a data set that are not under ``root``; an empty list means that no network is needed."""
    folder = as_path("root", root)
    return [folder / file for file in find_spec(name).raw if not (folder / file).exists()]


def _read(spec: DatasetSpec, root: Path, missing: list[Path]) -> list[Data]:
    """The graphs of PyG's class: one, and three of an inductive split."""
    if not hasattr(pyg_datasets, spec.pyg_class):
        raise DatasetUnavailable(
            f"data set {spec.name!r} needs PyG's {spec.pyg_class}, which this version of PyG does not have: pip "
            "install -U torch-geometric"
        )
    cls: type[InMemoryDataset] = getattr(pyg_datasets, spec.pyg_class)
    args = [str(root / spec.folder)] + ([spec.pyg_name] if spec.pyg_name is not None else [])
    try:
        with _download_timeout(), warnings.catch_warnings():
            # PyG's reader makes a sparse tensor by torch's beta interface; it is turned dense right after.
            warnings.filterwarnings("ignore", message="Sparse ", category=UserWarning)
            return list(cls(*args, **dict(spec.kwargs)))
    except ModuleNotFoundError as error:
        raise DatasetUnavailable(
            f"data set {spec.name!r}: PyG's {spec.pyg_class} needs {error.name}: pip install {error.name}"
        ) from error
    except Exception as error:  # PyG lets through whatever its readers raise: pickle, zip, json, index errors
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        still = missing_files(spec.name, root)
        if isinstance(error, PermissionError) or (isinstance(error, OSError) and error.errno in (28, 30)):
            text = f"cannot write under {root / spec.folder} ({reason}), where PyG keeps a processed copy"
        elif still:
            text = f"could not be downloaded ({reason}); {_what_to_put(spec, still)}"
        else:
            fresh = " (just downloaded)" if missing else ""
            text = (
                f"its files{fresh} cannot be read ({reason}); move {root / Path(spec.raw[0]).parent} and the folder "
                f"'processed' beside it away and run again. Source: {spec.homepage}"
            )
        raise DatasetUnavailable(f"data set {spec.name!r}: {text}") from error


def _what_to_put(spec: DatasetSpec, missing: list[Path]) -> str:
    names = ", ".join(path.name for path in missing)
    return f"put {names} into {missing[0].parent} (or name another folder with --data). Source: {spec.homepage}"


@contextmanager
def _download_timeout() -> Iterator[None]:
    """PyG opens its URLs without a time limit; without one, a silent network would hang for ever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _prepare(spec: DatasetSpec, data: Data) -> Data:
    x = data.x
    if x.layout != torch.strided:
        x = x.to_dense()
    x = x.float()
    if spec.normalize:
        x = x / x.sum(dim=-1, keepdim=True).clamp(min=1.0)
    edge_index = data.edge_index
    if spec.undirected:
        edge_index = to_undirected(edge_index, num_nodes=x.size(0))
    return Data(x=x.contiguous(), edge_index=edge_index.contiguous(), y=data.y.long().view(-1))


def _splits(
    spec: DatasetSpec, root: Path, data: Data, masks: list[torch.Tensor | None]
) -> tuple[Callable[[int], Split], str]:
    if spec.split_file is not None:
        path = root / "splits" / spec.split_file
        if path.exists():
            split = load_split_file(path, data.num_nodes)
            return splits_from_masks(split.train, split.val, split.test), f"fixed 60/20/20 of {spec.split_file}"
        return random_splits(data.y), RANDOM
    if spec.split == RANDOM:
        return random_splits(data.y), RANDOM
    if any(mask is None for mask in masks):
        raise DatasetUnavailable(f"data set {spec.name!r}: PyG's {spec.pyg_class} gave no masks, which {spec.split}")
    train, val, test = (mask.bool() for mask in masks if mask is not None)
    return splits_from_masks(train, val, test), spec.split
