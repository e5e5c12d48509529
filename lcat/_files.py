"""Files that are complete or do not exist: at any moment, and after any failure, the old content or the new."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

__all__ = ["move_file", "replace_file"]

# What systems answer that have no operation to flush a folder, or allow it to nobody who can only write there.
_NO_FLUSH_OF_FOLDERS = {errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES, errno.EPERM}


def replace_file(path: str | Path, write: Callable[[IO[bytes]], Any]) -> None:
    """Write ``path`` so that it has, at any moment and after any failure, its old content or all of the new.

    ``write`` gets a new file beside ``path``. That file is flushed to the disk and then takes the name; the folder is
    flushed last. A full disk, a kill or a power cut leaves the old file as it was.

    Args:
        path: the file; its folder must exist. The new one has the permissions of a file that the process opens.
        write: called with a binary file, open for writing; it may seek.

    Raises:
        OSError: the file cannot be written. Callers turn it into an error of their own, with the path in it.
        BaseException: whatever ``write`` raises. In both cases the old file is unchanged and nothing is left beside it.

    Complexity:
        One write of the content, two flushes to the disk.

    Example:
        >>> from lcat._files import replace_file
        >>> replace_file("numbers.txt", lambda file: file.write(b"1 2 3"))
        >>> open("numbers.txt").read()
        '1 2 3'
    """
    path = Path(path)
    # Random, as processes of several machines may write to one folder; short, as `path` may be as long as allowed.
    temporary = path.with_name(f".writing-{os.urandom(6).hex()}")
    try:
        with temporary.open("xb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        move_file(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def move_file(source: str | Path, target: str | Path) -> None:
    """Give a file of the same folder its final name, which outlasts a power cut when this returns.

    Args:
        source: the file; its content must be on the disk already (``os.fsync``).
        target: the name; a file that has it is replaced.

    Raises:
        OSError: it cannot be moved.
    """
    Path(source).replace(target)
    _flush_folder(Path(target).parent)


def _flush_folder(folder: Path) -> None:
    if not hasattr(os, "O_DIRECTORY"):  # Windows
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in _NO_FLUSH_OF_FOLDERS:
            raise
