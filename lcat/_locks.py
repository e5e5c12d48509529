"""Locks of the operating system on open files, which end with the process that holds them."""

from __future__ import annotations

import errno
import sys
from typing import IO, Any, Literal

__all__ = ["lock_file"]

# The answers that mean that somebody else holds the lock; all others mean that the file system has no locks.
_BUSY = {errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES, getattr(errno, "EDEADLOCK", errno.EAGAIN)}


def lock_file(file: IO[Any]) -> Literal["locked", "busy", "no locks"]:
    """Try to lock an open file, without waiting; closing it unlocks it.

    Args:
        file: open for writing.

    Returns:
        ``"busy"`` if somebody else holds the lock, and ``"no locks"`` where the system or the file system of the file
        has none (some Lustre, NFS and FUSE mounts).

    Example:
        >>> import tempfile
        >>> from lcat._locks import lock_file
        >>> with tempfile.NamedTemporaryFile() as file, open(file.name, "ab") as same:
        ...     lock_file(file), lock_file(same)
        ('locked', 'busy')
    """
    try:
        _lock(file)
    except OSError as error:
        return "busy" if error.errno in _BUSY else "no locks"
    return "locked"


if sys.platform == "win32":
    import msvcrt

    def _lock(file: IO[Any]) -> None:
        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)

else:
    try:
        import fcntl
    except ImportError:  # a system without them

        def _lock(file: IO[Any]) -> None:
            raise OSError(errno.ENOSYS, f"no locks for {file}")

    else:

        def _lock(file: IO[Any]) -> None:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
