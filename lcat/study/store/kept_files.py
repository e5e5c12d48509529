"""Names of the files that cells leave in the folder of a study on request."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import get_args

from lcat.study.plan.settings import KeepName

__all__ = ["KEEP_NAMES", "is_kept_name", "kept_name"]

#: What can be kept of a cell, and the folders for it.
KEEP_NAMES: tuple[KeepName, ...] = get_args(KeepName)
_SUFFIXES: dict[KeepName, str] = {"models": ".pt", "predictions": ".npz"}
_FILE = re.compile(r"[0-9a-f]{16}(\.pt|\.npz)")


def kept_name(kind: KeepName, key: str) -> PurePosixPath:
    """The path of a file of a cell in the folder of its study.

    Example:
        >>> from lcat.study.store.kept_files import kept_name
        >>> str(kept_name("models", "0123456789abcdef"))
        'models/0123456789abcdef.pt'
    """
    return PurePosixPath(kind, f"{key}{_SUFFIXES[kind]}")


def is_kept_name(name: str) -> bool:
    """Whether a file of that name in such a folder is one of a cell."""
    return _FILE.fullmatch(name) is not None
