"""What lies in the folder of an OGB data set: which files belong there, and which of them can be trusted."""

from __future__ import annotations

import gzip
import json
import pickle
import re
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch_geometric.data import Data
from torch_geometric.data.data import DataEdgeAttr, DataTensorAttr
from torch_geometric.data.storage import GlobalStorage

from lcat.data.datasets.items import DataError
from lcat.data.datasets.load import DatasetUnavailable

__all__ = [
    "MARKER",
    "check_counts",
    "check_processed",
    "check_release",
    "error_summary",
    "generated_marker",
    "missing_raw",
    "safe_classes",
    "stated_count",
]

#: File that says of a folder that its data are generated.
MARKER = "GENERATED_STAND_IN.json"

_MAG_RELATIONS = (
    "author___affiliated_with___institution",
    "author___writes___paper",
    "paper___cites___paper",
    "paper___has_topic___field_of_study",
)


def raw_files(meta: dict[str, str]) -> list[str]:
    """The files of a data set, relative to its folder, as its archive unpacks; ``meta`` is a row of OGB's table."""
    split = f"split/{meta['split']}"
    if meta["binary"] == "True":
        return ["raw/data.npz", "raw/node-label.npz", f"{split}/split_dict.pt"]
    if meta["is hetero"] == "True":
        names = ["raw/num-node-dict", "raw/triplet-type-list", "raw/nodetype-has-label", f"{split}/nodetype-has-split"]
        names += [
            f"raw/relations/{relation}/{file}" for relation in _MAG_RELATIONS for file in ("edge", "num-edge-list")
        ]
        names += ["raw/node-feat/paper/node-feat", "raw/node-label/paper/node-label"]
        names += [f"{split}/paper/{part}" for part in ("train", "valid", "test")]
    else:
        names = [f"raw/{name}" for name in ("edge", "num-node-list", "num-edge-list", "node-label")]
        names += ["raw/node-feat"] * (meta["has_node_attr"] == "True")
        names += ["raw/edge-feat"] * (meta["has_edge_attr"] == "True")
        names += [f"raw/{name}" for name in meta["additional node files"].split(",") if name != "None"]
        names += [f"{split}/{part}" for part in ("train", "valid", "test")]
    return [f"{name}.csv.gz" for name in names]


def missing_raw(meta: dict[str, str], folder: Path) -> list[str]:
    """The files of :func:`raw_files` that are not there."""
    return [name for name in raw_files(meta) if not any((folder / other).exists() for other in _same(name))]


def _same(name: str) -> list[str]:
    """Under which names a file may be there."""
    if name.endswith("node_species.csv.gz"):
        return [name, name.replace("node_species", "species")]  # OGB renames it when it reads it
    if name.endswith("split_dict.pt"):
        return [name, name.replace("split_dict.pt", "train.csv.gz")]
    return [name]


def check_release(name: str, version: int, folder: Path) -> None:
    """A folder with the files of another release is refused; one without a release note is used, with a warning.

    Raises:
        DatasetUnavailable: one line with both releases.
    """
    if (folder / f"RELEASE_v{version}.txt").exists():
        return
    others = sorted(path.name for path in folder.glob("RELEASE_v*.txt"))
    if others:
        raise DatasetUnavailable(
            f"{name}: {folder} holds {', '.join(others)} and OGB's current release is v{version}; move the folder away "
            f"to download that, or make an empty file RELEASE_v{version}.txt in it to use it as it is"
        )
    warnings.warn(
        f"{name}: {folder} has no file RELEASE_v{version}.txt, so its release is not known; it is used as it is",
        stacklevel=3,
    )


def check_processed(folder: Path) -> None:
    """OGB's processed copy, before anything reads it: whole, and made without a ``pre_transform``.

    Raises:
        DatasetUnavailable: one line on which file is wrong, and which to move away.
    """
    processed = folder / "processed"
    again = f"move {processed} away and run again (it is made again)"
    graph = processed / "geometric_data_processed.pt"
    if graph.exists():
        try:
            with zipfile.ZipFile(graph) as file:
                # torch.load does not look at the checksums that torch.save writes.
                if (broken := file.testzip()) is not None:
                    raise zipfile.BadZipFile(f"the checksum of {broken} does not fit")
        except (zipfile.BadZipFile, OSError, EOFError) as error:
            raise DatasetUnavailable(f"{graph} is damaged ({error_summary(error)}); {again}") from error
    for what in ("pre_transform", "pre_filter"):
        path = processed / f"{what}.pt"
        if not path.exists():
            continue
        try:
            value = torch.load(path, weights_only=True)
        except (pickle.UnpicklingError, RuntimeError, OSError, EOFError, ValueError) as error:
            raise DatasetUnavailable(
                f"{path} cannot be read as a plain value ({error_summary(error)}); {again}"
            ) from error
        if value != "None":
            raise DatasetUnavailable(f"{processed} was made with {what} {value!r}, another data set; {again}")


def check_counts(meta: dict[str, str], folder: Path) -> str | None:
    """The rows of raw files against the numbers of nodes and edges that other files state.

    OGB takes the first so many rows of each file, and does not look whether there are fewer or more.

    Args:
        meta: a row of OGB's table.
        folder: of the data set.

    Returns:
        What is wrong with the first file that has more rows, ``None`` if there is none.

    Raises:
        DataError: for the first file with fewer rows.

    Complexity:
        Reads every file once, a small part of the time in which OGB parses them.
    """
    if meta["binary"] == "True":
        return None
    raw = folder / "raw"
    if meta["is hetero"] == "True":
        names, counts = (_csv_row(raw / "num-node-dict.csv.gz", row) for row in (0, 1))
        expected = {
            raw / "node-feat/paper/node-feat.csv.gz": int(counts[names.index("paper")]),
            raw / "node-label/paper/node-label.csv.gz": int(counts[names.index("paper")]),
        }
        for relation in sorted((raw / "relations").iterdir()):
            edges = stated_count(relation / "num-edge-list.csv.gz")
            expected |= {relation / f"{name}.csv.gz": edges for name in ("edge", "edge_reltype")}
    else:
        nodes, edges = (stated_count(raw / f"num-{kind}-list.csv.gz") for kind in ("node", "edge"))
        additional = [name for name in meta["additional node files"].split(",") if name != "None"]
        expected = {raw / f"{name}.csv.gz": nodes for name in ("node-feat", "node-label", *additional)}
        expected |= {raw / f"{name}.csv.gz": edges for name in ("edge", "edge-feat")}
    surplus = None
    for path, count in expected.items():
        if not path.exists():  # not every data set has every file
            continue
        with gzip.open(path, "rb") as file:
            rows = sum(1 for line in file if not line.isspace())
        text = f"{meta['download_name']}: {path} must have {count} rows; got {rows}: move the folder away"
        if 0 < rows < count:  # a file without any is damaged, and OGB cannot read it
            raise DataError(text)
        if rows > count and surplus is None:
            surplus = text
    return surplus


def stated_count(path: Path) -> int:
    """The number in a file such as ``num-edge-list.csv.gz``."""
    try:
        return int(_csv_row(path, 0)[0])
    except (OSError, ValueError, IndexError, EOFError, zlib.error) as error:
        raise DataError(f"expected a number in {path}, got {error_summary(error)}: move the folder away") from error


def _csv_row(path: Path, number: int) -> list[str]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return file.read().splitlines()[number].strip().split(",")


def generated_marker(folder: Path) -> dict[str, Any] | None:
    """What the marker of a generated stand-in says; ``None`` where there is none.

    Raises:
        DataError: if there is a marker that cannot be read: its data must not pass for the real ones.
    """
    path = folder / MARKER
    if not path.exists():
        return None
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(values, dict):
            raise ValueError("it must hold a table of names and values")
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(
            f"{path} cannot be read ({error_summary(error)}); it marks the folder as generated: "
            f"move {folder} away, and --stand-in makes it again"
        ) from error
    return values


def safe_classes(*, binary: bool) -> list[Any]:
    """What torch may make while it reads OGB's files: plain containers of PyG and, for binary ones, numpy's numbers."""
    classes: list[Any] = [Data, DataEdgeAttr, DataTensorAttr, GlobalStorage]
    if binary:
        core = np._core if hasattr(np, "_core") else np.core
        classes += [np.dtype, np.ndarray, core.multiarray.scalar, core.multiarray._reconstruct]
        classes += [type(np.dtype(kind)) for kind in (np.int64, np.int32, np.float64, np.float32, np.bool_)]
    return classes


def error_summary(error: BaseException) -> str:
    """What is wrong, in one line: torch wraps what it refused in advice to switch safety off."""
    refused = re.search(r"GLOBAL (\S+)", str(error))
    if refused:
        return f"it holds {refused[1]}, which is no plain value and is not run"
    if re.match("Weights only load failed|PytorchStreamReader failed", str(error)):
        return "it is no whole file of torch.save"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
