"""Folders of data sets."""

from __future__ import annotations

from pathlib import Path

from lcat.data.datasets.items import DataError

__all__ = ["check_folder"]


def check_folder(path: Path, name: str) -> Path:
    """The path itself, if a folder is or can be there.

    Raises:
        DataError: if a file is.
    """
    if path.is_file():
        raise DataError(f"expected a folder, existing or new, as {name}, got the file {path}")
    return path
