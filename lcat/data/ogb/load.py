"""Node property prediction of the Open Graph Benchmark, through OGB's own classes, on today's stack and safely.

OGB 1.3.6 as it is cannot read back its own files with torch 2.6 and later, asks questions on standard input, deletes
folders, and calls the network when imported. :func:`load_ogb` uses its loader and its evaluator and does none of this.
"""

from __future__ import annotations

import contextlib
import csv
import importlib.util
import io
import os
import shutil
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data

from lcat._files import as_path, disk_error
from lcat._numbers import read_bool
from lcat._text import hint
from lcat.data.datasets._safe_classes import allowed
from lcat.data.datasets.items import DataError
from lcat.data.datasets.load import DatasetUnavailable, UnknownDataset, default_root
from lcat.data.ogb.download import download, unpack
from lcat.data.ogb.files import (
    MARKER,
    check_counts,
    check_processed,
    check_release,
    error_summary,
    generated_marker,
    missing_raw,
    safe_classes,
    stated_count,
)

__all__ = ["OGBDataset", "import_ogb", "load_ogb", "ogb_names"]

#: SHA-256 of the archives for which one is publicly stated (OGB itself states none).
CHECKSUMS = {
    "ogbn-arxiv": "49f85c801589ecdcc52cfaca99693aaea7b8af16a9ac3f41dd85a5f3193fe276",
    "ogbn-mag": "2afe62ead87f2c301a7398796991d347db85b2d01c5442c95169372bf5a9fca4",
}
_PARTS = ("train", "valid", "test")


@dataclass(frozen=True)
class OGBDataset:
    """One data set of OGB, checked when loaded.

    Attributes:
        name: OGB's name, such as ``"ogbn-arxiv"``.
        data: as OGB makes it; for ogbn-mag a ``Data`` with dictionaries (``x_dict``, ``edge_index_dict``, ...).
        split: node numbers (int64) under ``"train"``, ``"valid"``, ``"test"``; for ogbn-mag those of papers.
        num_classes: number of classes of a task.
        num_tasks: number of columns of ``y``.
        metric: ``"acc"`` or ``"rocauc"``.
        folder: where its files lie.
        generated: what the marker of a generated stand-in says, ``None`` for files without one.

    Example:
        >>> import tempfile, torch
        >>> from lcat.data import load_ogb, write_standin
        >>> with tempfile.TemporaryDirectory() as root:
        ...     _ = write_standin("ogbn-products", root)  # a small generated graph
        ...     dataset = load_ogb("ogbn-products", root, download=False, progress=False)
        >>> perfect = torch.nn.functional.one_hot(dataset.y.view(-1), dataset.num_classes)
        >>> dataset.evaluate(perfect, "test")
        1.0
    """

    name: str
    data: Data
    split: dict[str, Tensor]
    num_classes: int
    num_tasks: int
    metric: str
    folder: Path
    generated: dict[str, Any] | None = None

    @property
    def node_type(self) -> str | None:
        """The node type with labels, ``None`` in a graph with one type of nodes."""
        return next(iter(self.data.y_dict)) if "y_dict" in self.data else None

    @property
    def y(self) -> Tensor:
        """Labels ``[N, tasks]``; int64, or float32 with nan where unlabeled."""
        labels: Tensor = self.data.y if self.node_type is None else self.data.y_dict[self.node_type]
        return labels

    def get_idx_split(self) -> dict[str, Any]:
        """The split as OGB's own class returns it: for ogbn-mag ``{"train": {"paper": [...]}, ...}``."""
        if self.node_type is None:
            return dict(self.split)
        return {part: {self.node_type: rows} for part, rows in self.split.items()}

    def evaluate(self, logits: Tensor, part: str) -> float:
        """OGB's own metric of the nodes of one part, by OGB's ``Evaluator``.

        Args:
            logits: ``[N, classes]`` (``[N, tasks]`` for the metric rocauc) floats of all nodes.
            part: ``"train"``, ``"valid"`` or ``"test"``.

        Returns:
            A number in [0, 1].

        Raises:
            ValueError: for another part, another shape (OGB's own ``y_pred`` holds classes, these are logits), or nan
                among the logits of the part.
        """
        if not isinstance(part, str):
            raise TypeError(f"expected 'part' as one of {', '.join(map(repr, self.split))}, got {type(part).__name__}")
        if part not in self.split:
            raise ValueError(f"'part' is {part!r}; expected one of {', '.join(map(repr, self.split))}")
        columns = self.num_classes if self.metric == "acc" else self.num_tasks
        expected = [self.y.shape[0], columns]
        if list(logits.shape) != expected:
            names = "classes" if self.metric == "acc" else "tasks"
            raise ValueError(f"expected logits of all nodes, [nodes, {names}] = {expected}, got {list(logits.shape)}")
        rows = self.split[part]
        scores = torch.as_tensor(logits).detach()
        scores = scores[rows.to(scores.device)].float().cpu()  # the evaluator takes no bfloat16
        unknown = int(scores.isnan().any(dim=1).sum())
        if unknown:
            raise ValueError(f"expected numbers as logits, got nan for {unknown} of {len(rows)} nodes of {part!r}")
        if self.metric != "acc" and not bool(scores.isfinite().all()):
            raise ValueError(f"expected finite numbers as scores of {part!r}, got inf")
        if self.metric == "acc":
            scores = scores.argmax(dim=-1, keepdim=True)
        evaluator = import_ogb().Evaluator(self.name)
        try:
            return float(evaluator.eval({"y_true": self.y[rows], "y_pred": scores})[self.metric])
        except RuntimeError as error:  # no task has both answers among these nodes
            raise DataError(f"{self.name}: {self.metric} of {part!r} cannot be computed ({error})") from error


def ogb_names() -> list[str]:
    """Names of OGB's data sets for node property prediction, from the installed ``ogb``.

    Example:
        >>> from lcat.data import ogb_names
        >>> "ogbn-arxiv" in ogb_names()
        True
    """
    return list(_master())


def load_ogb(name: str, root: str | Path | None = None, *, download: bool = True, progress: bool = True) -> OGBDataset:
    """A data set for node property prediction of the Open Graph Benchmark.

    Files are looked for in OGB's layout (``root/ogbn_arxiv/raw/edge.csv.gz``, ...). What is missing is downloaded as
    OGB's archive ``root/arxiv.zip``, which is kept. OGB's class reads the files, and writes its processed copy
    beside them, which the next call reuses.

    No file is ever deleted, no question asked, and nothing in the folder is executed: whatever torch reads is read
    with ``weights_only=True``, the few classes of PyG and numpy that OGB's files consist of allowed for the call.

    Args:
        name: such as ``"ogbn-arxiv"`` (``"arxiv"`` will do).
        root: the folder of OGB's data sets; the folder ``ogb`` in :func:`lcat.data.default_root` by default.
        download: ``False`` never touches the network.
        progress: progress with the time left, on standard error.

    Returns:
        The data set; edges, labels and splits have been checked against each other.

    Raises:
        UnknownDataset: if OGB has no such data set, or it is not one for node property prediction.
        DatasetUnavailable: one line on what is missing or cannot be read, and what to do.
        DataError: if the files contradict each other, such as labels out of range.

    Example:
        >>> import tempfile
        >>> from lcat.data import load_ogb, write_standin
        >>> with tempfile.TemporaryDirectory() as root:
        ...     _ = write_standin("ogbn-arxiv", root)  # a small generated graph
        ...     dataset = load_ogb("ogbn-arxiv", root, download=False, progress=False)
        >>> (
        ...     dataset.metric,
        ...     dataset.num_classes,
        ...     sorted(dataset.split),
        ...     dataset.generated is None,
        ... )
        ('acc', 40, ['test', 'train', 'valid'], False)
    """
    name = _known(name)
    meta = _master()[name]
    may_download, progress = read_bool("download", download), read_bool("progress", progress)
    root = as_path("root", root) if root is not None else default_root() / "ogb"
    try:
        folder = _ready_folder(name, meta, root, may_download, progress)
        check_release(name, int(meta["version"]), folder)
        check_processed(folder)
    except OSError as error:
        raise DatasetUnavailable(f"{name}: cannot look into {root} ({error.strerror or error})") from error
    data, split, surplus = _read(name, meta, root, folder, progress)
    dataset = OGBDataset(
        name=name,
        data=data,
        split=split,
        num_classes=int(meta["num classes"]),
        num_tasks=int(meta["num tasks"]),
        metric=meta["eval metric"],
        folder=folder,
        generated=generated_marker(folder),
    )
    _check(dataset)
    if surplus is not None:
        # Made by this call, and it does not show what was left out.
        (folder / "processed" / "geometric_data_processed.pt").unlink()
        raise DataError(surplus)
    return dataset


def _known(name: str) -> str:
    if not isinstance(name, str):
        raise UnknownDataset(f"expected the name of a data set, such as 'ogbn-arxiv'; got {name!r}")
    key = name.strip().lower().replace("_", "-")
    by_lower = {known.lower(): known for known in ogb_names()}
    if key in by_lower or f"ogbn-{key}" in by_lower:
        return by_lower.get(key) or by_lower[f"ogbn-{key}"]
    kinds = {"ogbl-": "link", "ogbg-": "graph"}
    kind = next((kind for prefix, kind in kinds.items() if key.startswith(prefix)), None)
    known = ", ".join(by_lower.values())
    if kind is not None:
        raise UnknownDataset(
            f"{name!r} is a data set for {kind} property prediction; this reads node property: {known}"
        )
    meant = hint(key, by_lower.values()) or hint(f"ogbn-{key}", by_lower.values())
    raise UnknownDataset(f"OGB has no data set {name!r} for node property prediction{meant}; known are {known}")


def _ready_folder(name: str, meta: dict[str, str], root: Path, may_download: bool, progress: bool) -> Path:
    """The folder of the data set, complete, downloaded if necessary."""
    folder = root / name.replace("-", "_")
    if (pyg := root / f"{folder.name}_pyg").exists():  # OGB looks there first
        folder = pyg
    if root.exists() and not root.is_dir():
        raise DatasetUnavailable(f"{root} is a file; expected the folder that holds {folder.name}")
    missing = missing_raw(meta, folder)
    if not missing:
        return folder
    if (folder / MARKER).exists():  # OGB's files in its place would pass for generated ones
        raise DatasetUnavailable(
            f"{name}: {folder} is a generated stand-in and lacks {_list(missing)}; move it away, and --stand-in, or "
            f"lcat.data.write_standin, makes it again"
        )
    archive = root / meta["url"].rpartition("/")[2]
    if not archive.exists() and (not may_download or (root / "raw").is_dir()):
        if (root / "raw").is_dir():
            raise DatasetUnavailable(
                f"{root} seems to be the folder of a data set itself; name the folder above it, which holds "
                f"{folder.name}"
            )
        where = f"{folder} lacks {_list(missing)}" if folder.exists() else f"there is no folder {folder}"
        raise DatasetUnavailable(f"{name}: {where}; put {meta['url']} into {root} (or allow downloading it)")
    download(meta["url"], archive, sha256=CHECKSUMS.get(name), progress=progress)
    unpack(archive, meta["download_name"], folder, progress=progress)
    if missing := missing_raw(meta, folder):
        raise DatasetUnavailable(f"{name}: {archive} does not hold {_list(missing)}; move it away")
    return folder


def _list(paths: list[str]) -> str:
    return ", ".join(paths[:4]) + (f" and {len(paths) - 4} more files" if len(paths) > 4 else "")


def _read(
    name: str, meta: dict[str, str], root: Path, folder: Path, progress: bool
) -> tuple[Data, dict[str, Tensor], str | None]:
    """OGB's class, made safe; the last entry names a raw file with more rows than it should have."""
    processed = folder / "processed" / "geometric_data_processed.pt"
    was_there = processed.exists()
    try:
        surplus = None if was_there else check_counts(meta, folder)
        with _ogb_without_prompts(meta, progress):
            dataset = _dataset_class()(name=name, root=str(root))
            data, split = dataset[0], dataset.get_idx_split()
    except DataError:
        raise
    except Exception as error:  # whatever pandas, numpy, zip, pickle and torch raise on broken files and full disks
        cause = error if isinstance(error, PermissionError) else disk_error(error)
        if cause is not None or isinstance(error, _NotWritten):
            reason = cause.strerror if cause is not None else error
            raise DatasetUnavailable(f"{name}: cannot write its processed copy to {processed} ({reason})") from error
        raise _unreadable(name, folder, processed, was_there, error) from error
    split = {part: next(iter(nodes.values())) if isinstance(nodes, dict) else nodes for part, nodes in split.items()}
    # OGB's tensors share memory that pandas marked read-only.
    return data, {part: torch.as_tensor(nodes).long().clone() for part, nodes in split.items()}, surplus


def _unreadable(name: str, folder: Path, processed: Path, was_there: bool, error: Exception) -> DatasetUnavailable:
    what, way_out = f"the files in {folder}", f"move {folder} away and run again"
    if was_there:
        way_out = f"move {processed.parent} away (it is made again) and, if that does not help, {folder}"
    return DatasetUnavailable(f"{name}: {what} cannot be read ({error_summary(error)}); {way_out}")


@contextlib.contextmanager
def _ogb_without_prompts(meta: dict[str, str], progress: bool) -> Iterator[None]:
    """OGB and PyG without prompts, without unsafe reads, and with their reports on standard error or nowhere."""
    module = sys.modules["ogb.nodeproppred.dataset_pyg"]
    # OGB asks whether to delete the folder when its release note is missing: no.
    module.input = lambda *_: "n"  # type: ignore[attr-defined]
    # PyG reads pre_transform.pt with weights_only=False; this variable overrules it, the other would undo it.
    settings = {"TORCH_FORCE_WEIGHTS_ONLY_LOAD": "1", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": None}
    before = {key: os.environ.get(key) for key in settings}
    out = sys.stderr if progress else io.StringIO()
    try:
        _set_environment(settings)
        with (
            allowed(safe_classes(binary=meta["binary"] == "True")),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(out),
            warnings.catch_warnings(),
        ):
            warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
            warnings.filterwarnings("ignore", message="You are using `torch.load`", category=FutureWarning)
            yield
    finally:
        _set_environment(before)
        del module.input


def _set_environment(values: dict[str, str | None]) -> None:
    for key, value in values.items():
        if value is None:
            os.environ.pop(key, None)
        else:
            os.environ[key] = value


def _check(dataset: OGBDataset) -> None:
    """Edges, labels and splits against each other; one line on the first contradiction."""
    name, y = dataset.name, dataset.y
    if y.dim() != 2 or y.size(1) != dataset.num_tasks:
        raise DataError(f"{name}: labels must be [nodes, {dataset.num_tasks}]; got {list(y.shape)}")
    known = y[~torch.isnan(y)] if y.is_floating_point() else y
    if known.numel() and not (int(known.min()) >= 0 and int(known.max()) < dataset.num_classes):
        raise DataError(
            f"{name}: labels must lie in 0 .. {dataset.num_classes - 1}; got {int(known.min())} .. {int(known.max())} "
            f"in {dataset.folder / 'raw'}"
        )
    seen = torch.zeros(y.size(0), dtype=torch.bool)
    for part in _PARTS:
        nodes = dataset.split[part]
        if nodes.numel() == 0:
            raise DataError(f"{name}: the {part} split is empty")
        if int(nodes.min()) < 0 or int(nodes.max()) >= y.size(0):
            raise DataError(f"{name}: the {part} split must name nodes 0 .. {y.size(0) - 1}; got {int(nodes.max())}")
        if bool(seen[nodes].any()) or nodes.unique().numel() != nodes.numel():
            raise DataError(f"{name}: the {part} split names nodes twice, or nodes of another part")
        seen[nodes] = True
        if y.is_floating_point() and bool(torch.isnan(y[nodes]).all(dim=1).any()):
            raise DataError(f"{name}: the {part} split names nodes without a label")
    _check_rows(dataset)
    for kind, edge_index, sizes in _edges(dataset):
        if edge_index.numel() and (int(edge_index.min()) < 0 or bool((edge_index.amax(dim=1) >= sizes).any())):
            raise DataError(f"{name}: {kind} names nodes beyond the {sizes.tolist()} that there are")


def _check_rows(dataset: OGBDataset) -> None:
    """One row per node and edge, also in processed copies that were made of shorter files."""
    data, kind = dataset.data, dataset.node_type
    nodes = int(data.num_nodes if kind is None else data.num_nodes_dict[kind])
    x, edge_attr = (data.get("x"), data.get("edge_attr")) if kind is None else (data.x_dict[kind], None)
    rows = {"labels": dataset.y, "node features": x}
    for what, values in rows.items():
        if values is not None and values.size(0) != nodes:
            raise DataError(f"{dataset.name}: there are {nodes} nodes and {values.size(0)} rows of {what}")
    if edge_attr is not None and edge_attr.size(0) != data.edge_index.size(1):
        edges = data.edge_index.size(1)
        raise DataError(f"{dataset.name}: there are {edges} edges and {edge_attr.size(0)} rows of edge features")
    for what, edge_index, stated in _stated_edges(dataset):
        if edge_index.size(1) != stated:
            raise DataError(
                f"{dataset.name}: {what} has {edge_index.size(1)} edges, and its num-edge-list says {stated}; move "
                f"{dataset.folder} away to load it again"
            )


def _stated_edges(dataset: OGBDataset) -> Iterator[tuple[str, Tensor, int]]:
    """Every set of edges with the number that the raw files state."""
    data, raw, meta = dataset.data, dataset.folder / "raw", _master()[dataset.name]
    factor = 2 if meta["add_inverse_edge"] == "True" else 1
    if meta["binary"] == "True":
        return
    if dataset.node_type is None:
        yield "edge_index", data.edge_index, factor * stated_count(raw / "num-edge-list.csv.gz")
        return
    for triplet, edge_index in data.edge_index_dict.items():
        path = raw / "relations" / "___".join(triplet) / "num-edge-list.csv.gz"
        yield f"edge_index of {triplet}", edge_index, factor * stated_count(path)


def _edges(dataset: OGBDataset) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Every set of edges, with the numbers of its source and target nodes."""
    data = dataset.data
    if dataset.node_type is None:
        yield "edge_index", data.edge_index, torch.tensor([data.num_nodes, data.num_nodes])
        return
    counts = data.num_nodes_dict
    for triplet, edge_index in data.edge_index_dict.items():
        yield f"edge_index of {triplet}", edge_index, torch.tensor([int(counts[triplet[0]]), int(counts[triplet[2]])])


def import_ogb() -> Any:
    """``ogb.nodeproppred``, imported without the thread that asks PyPI for a newer version."""
    if importlib.util.find_spec("ogb") is None:
        raise DatasetUnavailable("OGB's data sets need one more package: pip install 'lcat-gnn[ogb]'")
    missing = object()
    before = sys.modules.get("outdated", missing)
    sys.modules["outdated"] = None  # type: ignore[assignment]  # ogb does without it
    try:
        import ogb.nodeproppred
    finally:
        if before is missing:
            del sys.modules["outdated"]
        else:
            sys.modules["outdated"] = before  # type: ignore[assignment]
    return ogb.nodeproppred


def _master() -> dict[str, dict[str, str]]:
    """OGB's own table: for each name what OGB knows about the data set."""
    path = Path(import_ogb().__file__).parent / "master.csv"
    with path.open(newline="") as file:
        header, *rows = csv.reader(file)
    return {name: {row[0]: row[number] for row in rows} for number, name in enumerate(header) if number > 0}


class _NotWritten(Exception):
    """The processed copy was begun and could not be written to its end."""


def _dataset_class() -> Any:
    """OGB's class without its download, which would delete the folder first, and with one change of what it writes.

    The processed copy gets its name when it is complete, so that a killed run leaves none that cannot be read.
    """

    class SafeDataset(import_ogb().PygNodePropPredDataset):  # type: ignore[misc]
        _suffix = ""

        @property
        def processed_file_names(self) -> str:
            return f"{super().processed_file_names}{self._suffix}"

        def _download(self) -> None:
            pass

        def process(self) -> None:
            final, self._suffix = self.processed_paths[0], ".part"
            part = Path(self.processed_paths[0])
            part.unlink(missing_ok=True)
            try:
                super().process()
            except Exception as error:
                if part.exists():  # torch writes it itself, and its errors do not have the system's reason
                    part.unlink()
                    free = shutil.disk_usage(part.parent).free / 1e6
                    raise _NotWritten(f"torch.save stopped in the middle; {free:,.1f} MB are free there") from error
                raise
            part.replace(final)
            self._suffix = ""

    return SafeDataset
