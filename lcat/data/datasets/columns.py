"""Columns of a table, from a CSV file or a pandas frame, that know where each of their values was written."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lcat._files import as_path
from lcat._text import counted
from lcat.data.datasets.items import DataError

__all__ = ["NO_NUMBERS", "Columns", "columns_of_csv", "columns_of_frame", "is_missing", "number_columns"]

#: Kinds of NumPy types that turn into floats without an error and are no numbers of a layer: durations, dates (as
#: nanoseconds since 1970), and complex numbers (without their imaginary parts).
NO_NUMBERS = "mMc"
#: All numbers of tables become float32.
_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Columns:
    """A table by columns.

    Attributes:
        name: of the file or frame, for messages.
        values: by name; texts of a file, values of a frame, in which ``None`` and nan are missing ones.
        size: number of rows.
        lines: of each row in the file; empty for a frame.
        index: of a frame, where it says more than the number of each row; ``None`` otherwise.
        index_name: of the index, empty if it has none.
    """

    name: str
    values: dict[str, np.ndarray]
    size: int
    lines: Sequence[int] = ()
    index: np.ndarray | None = None
    index_name: str = ""

    def problem(self, row: int, column: str, expected: str, way_out: str = "") -> DataError:
        """The error about one value: where it is, what was expected, and what it is."""
        value = self.values[column][row]
        got = "nothing" if is_missing(value) else repr(value.item() if isinstance(value, np.generic) else value)
        where = f"line {self.lines[row]}" if len(self.lines) else f"row {row}"
        return DataError(f"{self.name}, {where}, column {column}: expected {expected}, got {got}{way_out}")

    def numbers(
        self, column: str, expected: str = "a number", way_out: str = "", *, with_gaps: bool = False
    ) -> np.ndarray:
        """A column as float64.

        Args:
            column: name of it.
            expected, way_out: for the message.
            with_gaps: missing values become nan.

        Raises:
            DataError: on the first value that is no finite number, or too large for float32.
        """
        values = self.values[column]
        if values.dtype.kind in NO_NUMBERS and len(values):
            raise self.problem(0, column, expected, way_out)
        try:
            numbers = values.astype(np.float64)
        except (ValueError, TypeError):
            numbers = np.array([_number(value) for value in values], dtype=np.float64)
        unusable = ~np.isfinite(numbers)
        wrong = np.flatnonzero(unusable & ~self.missing(column) if with_gaps and unusable.any() else unusable)
        if wrong.size:
            raise self.problem(int(wrong[0]), column, expected, way_out)
        too_large = np.flatnonzero(np.abs(numbers) > _LARGEST)
        if too_large.size:
            raise self.problem(
                int(too_large[0]), column, f"{expected} of at most {_LARGEST:.2g}, as float32 has", way_out
            )
        return numbers

    def missing(self, column: str) -> np.ndarray:
        """Which values of a column are missing."""
        return np.array([is_missing(value) for value in self.values[column]], dtype=bool)


def is_missing(value: Any) -> bool:
    """An empty text, ``None``, nan or the missing value of pandas."""
    if isinstance(value, str):
        return not value.strip()
    try:
        return value is None or bool(value != value)  # nan alone differs from itself
    except TypeError:  # pandas.NA is neither equal nor different
        return True


def _number(value: Any) -> float:
    try:
        return float(value)
    except (ValueError, TypeError):
        return float("nan")


def columns_of_csv(path: str | Path) -> Columns:
    """The table in a CSV file, whose first line names the columns.

    Raises:
        DataError: one line with the file and the line that cannot be read.
    """
    path = as_path("path", path)
    if not path.is_file():
        raise DataError(f"{path} is a folder; name the file" if path.is_dir() else f"there is no file {path}")
    lines: list[int] = []
    rows: list[list[str]] = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            header = [name.strip() for name in next(reader, [])]
            _check_separator(path, header)
            first = reader.line_num + 1
            for row in reader:
                if len(row) != len(header) and any(row):
                    raise DataError(
                        f"{path}, line {first}: expected {counted(len(header), 'value')}, one per name in the first "
                        f"line, got {len(row)}"
                    )
                if any(row):  # empty lines are none
                    rows.append(row)
                    lines.append(first)
                first = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: this is no CSV ({error})") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}, line {_line_not_utf8(path)}: expected text in UTF-8, got {error.reason}") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    _check_header(str(path), header)
    if not rows:
        raise DataError(f"{path}: expected a line of names and then a line per row, got no rows")
    table = np.array(rows, dtype=object)
    return Columns(str(path), {name: table[:, i] for i, name in enumerate(header)}, len(rows), lines)


def _check_separator(path: Path, header: list[str]) -> None:
    """Other separators are refused by name: with the wrong one, a whole line would be one column."""
    if len(header) != 1:
        return
    for separator, shown in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
        if separator in header[0]:
            raise DataError(
                f"{path}, line 1: expected names separated by commas, got {shown}; read the file with "
                f"pandas.read_csv(file, sep={separator!r}) and pass the frame to from_frames"
            )


def columns_of_frame(frame: Any, name: str) -> Columns:
    """The table in a pandas frame, or in anything with named columns of equal length, such as a dictionary of lists.

    Args:
        frame: the table.
        name: how an error calls it.

    Raises:
        DataError: if it is no table.
    """
    try:
        names = [*frame.keys()]
        values = {str(key): np.asarray(frame[key]) for key in names}
    except (AttributeError, TypeError, KeyError, ValueError):
        raise DataError(f"{name}: expected a pandas frame, got {type(frame).__name__}") from None
    _check_header(name, [str(key) for key in names])
    sizes = {len(column) if column.ndim == 1 else -1 for column in values.values()}
    if len(sizes) != 1 or -1 in sizes:
        raise DataError(f"{name}: expected columns of one length, with one value per row, got others")
    size = sizes.pop()
    if not size:
        raise DataError(f"{name}: expected a row per node or edge, got no rows")
    return Columns(name, values, size, index=_index_of(frame, size), index_name=_index_name_of(frame))


def _index_of(frame: Any, size: int) -> np.ndarray | None:
    """The index of a pandas frame, if it is not 0, 1, 2, ... in this order."""
    index: Any = getattr(frame, "index", None)
    if not hasattr(index, "to_numpy"):
        return None
    values: np.ndarray = index.to_numpy()
    return None if values.dtype.kind in "iu" and np.array_equal(values, np.arange(size)) else values


def _index_name_of(frame: Any) -> str:
    name = getattr(getattr(frame, "index", None), "name", None)
    return name if isinstance(name, str) else ""


def _line_not_utf8(path: Path) -> int:
    """The first line that is no UTF-8."""
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            line.decode()
        except UnicodeDecodeError:
            return number
    return 1


def _check_header(name: str, header: list[str]) -> None:
    if not header:
        raise DataError(f"{name}: expected names of columns, got nothing")
    for number, column in enumerate(header, start=1):
        if not column:
            raise DataError(f"{name}: expected a name for column {number} of {len(header)}, got an empty one")
        if header.count(column) > 1:
            raise DataError(f"{name}: expected columns of different names, got {column!r} twice")


def number_columns(table: Columns, names: Sequence[str], way_out: str = "") -> np.ndarray:
    """Several columns of numbers as one float32 array ``[rows, columns]``.

    Raises:
        DataError: on the first value that is no number.
    """
    if not names:
        return np.empty((table.size, 0), dtype=np.float32)
    return np.stack([table.numbers(name, way_out=way_out) for name in names], axis=1).astype(np.float32)
