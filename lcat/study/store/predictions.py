"""What the model of a cell says of every node, as a file and as a frame."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

__all__ = ["PARTS", "prediction_bytes", "prediction_frame"]

#: Numbers of the parts in files, and their names in frames.
PARTS = ("", "train", "validation", "test")


def prediction_bytes(outputs: Tensor, y: Tensor, masks: tuple[Tensor, Tensor, Tensor]) -> bytes:
    """The content of a file with predictions.

    Args:
        outputs: ``[N, C]`` of the model.
        y: labels ``[N]`` or ``[N, T]``.
        masks: train, validation and test, ``[N]``.
    """
    part = sum(number * mask.cpu().to(dtype=y.cpu().long().dtype) for number, mask in enumerate(masks, start=1))
    arrays: dict[str, Any] = {
        "outputs": outputs.detach().float().cpu().numpy(),
        "y": y.cpu().numpy(),
        "part": np.asarray(part, dtype=np.int8),
    }
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    return content.getvalue()


def prediction_frame(path: Path) -> pd.DataFrame:
    """The frame of a file; see :meth:`lcat.study.Study.predictions`.

    Raises:
        ValueError: if it cannot be read.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            outputs, y, part = arrays["outputs"], arrays["y"], arrays["part"]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} cannot be read as predictions ({' '.join(str(error).split())})") from error
    columns: dict[str, Any] = {"node": np.arange(len(outputs)), "part": np.array(PARTS)[part]}
    if y.ndim == 1:
        columns["label"] = y
    else:
        columns |= {f"label.{number}": y[:, number] for number in range(y.shape[1])}
    if y.ndim == 1 and np.issubdtype(y.dtype, np.integer) and outputs.shape[1] > 1:
        columns["prediction"] = outputs.argmax(axis=1)
    columns |= {f"output.{number}": outputs[:, number] for number in range(outputs.shape[1])}
    return pd.DataFrame(columns)
