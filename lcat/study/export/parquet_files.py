"""The frames of a study as Parquet files."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow
from pyarrow import parquet

from lcat.study._folder import write_file
from lcat.study.store.columns import FRAMES
from lcat.study.store.record import StudyRecord

__all__ = ["write_parquet"]


def write_parquet(record: StudyRecord, folder: Path) -> list[Path]:
    """Write ``NAME.parquet`` for every frame of :data:`lcat.study.FRAMES`.

    Args:
        record: the study.
        folder: that exists.

    Returns:
        The files.
    """
    return [write_file(folder / f"{name}.parquet", _packed(getattr(record, name)())) for name in FRAMES]


def _packed(frame: pd.DataFrame) -> bytes:
    columns = {name: _of_one_type(frame[name]) for name in frame.columns}
    table = pyarrow.Table.from_pandas(pd.DataFrame(columns, index=frame.index), preserve_index=False)
    content = io.BytesIO()
    parquet.write_table(table, content)
    return content.getvalue()


def _of_one_type(column: pd.Series) -> pd.Series:
    """A column with values of several types, as settings of several layers may be, as text; lists as lists of text."""
    if column.dtype != object:
        return column
    kinds = {type(value) for value in column if not _is_missing(value)}
    if kinds <= {int, float} or len(kinds) <= 1:
        return column
    return column.map(lambda value: None if _is_missing(value) else str(value))


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and value != value)
