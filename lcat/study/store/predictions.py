"""What the model of a cell says of every node, graph or pair of nodes, as a file and as a frame."""

from __future__ import annotations

import io
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

__all__ = ["PARTS", "prediction_bytes", "prediction_frame"]

#: Numbers of the parts in files, and their names in frames.
PARTS = ("", "train", "validation", "test")
_OF_ZIP = (zipfile.BadZipFile, zlib.error, NotImplementedError)


def prediction_bytes(item: str, outputs: Tensor, y: Tensor, part: Tensor, pairs: Tensor | None = None) -> bytes:
    """The content of a file with predictions.

    Args:
        item: what the rows are: ``"node"``, ``"graph"`` or ``"pair"``.
        outputs: ``[n, C]`` of the model.
        y: labels ``[n]`` or ``[n, T]``.
        part: ``[n]``, numbers of :data:`PARTS`.
        pairs: ``[2, n]``, the nodes of pairs.
    """
    arrays: dict[str, Any] = {
        "item": np.asarray(item),
        "outputs": outputs.detach().float().cpu().numpy(),
        "y": y.cpu().numpy(),
        "part": part.cpu().numpy().astype(np.int8),
    }
    if pairs is not None:
        arrays["pairs"] = pairs.cpu().numpy()
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    return content.getvalue()


def prediction_frame(path: Path) -> pd.DataFrame:
    """The frame of a file; see :meth:`lcat.study.Study.predictions`.

    Raises:
        ValueError: if it cannot be read.
    """
    try:
        # Opened here, as NumPy leaves a file open that it cannot read.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            item = str(arrays["item"]) if "item" in arrays.files else "node"  # earlier versions had nodes alone
            pairs = arrays["pairs"] if item == "pair" else None
            outputs, y, part = arrays["outputs"], arrays["y"], arrays["part"]
    except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, *_OF_ZIP) as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"{path} cannot be read as predictions ({reason}); put a copy of the file back if you have one"
        ) from error
    columns: dict[str, Any] = {}
    if pairs is None:
        columns[item] = np.arange(len(outputs))
    else:
        columns |= {f"node.{end}": pairs[end] for end in (0, 1)}
    columns["part"] = np.array(PARTS)[part]
    if y.ndim == 1:
        columns["label"] = y
    else:
        columns |= {f"label.{number}": y[:, number] for number in range(y.shape[1])}
    if y.ndim == 1 and np.issubdtype(y.dtype, np.integer) and outputs.shape[1] > 1:
        columns["prediction"] = outputs.argmax(axis=1)
    columns |= {f"output.{number}": outputs[:, number] for number in range(outputs.shape[1])}
    return pd.DataFrame(columns)
