"""Files that are complete or do not exist: at any moment, and after any failure, the old content or the new."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["as_path", "disk_error", "move_file", "replace_file", "reserve", "scratch_folder", "shorten_file_name"]

#: Bytes of a name that leave room for what is put before and behind it: systems allow 255.
_LONGEST_NAME = 120

# What systems answer that have no operation to flush a folder, or allow it to nobody who can only write there.
_NO_FLUSH_OF_FOLDERS = {errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES, errno.EPERM}

# What systems answer that cannot reserve room; there a file gets it when it is written to.
_NO_RESERVING = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENODEV}
# What systems answer when nothing can be written, whoever asks.
_OF_THE_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO}


def as_path(name: str, value: Any) -> Path:
    """A path as users pass it.

    Args:
        name: of the argument, for the message.
        value: a string or a path.

    Raises:
        TypeError: it is neither.
        ValueError: it is an empty string, which would be the current folder, or has a zero byte, which no name has.

    Example:
        >>> from lcat._files import as_path
        >>> as_path("folder", "runs").name
        'runs'
        >>> as_path("folder", 3)
        Traceback (most recent call last):
        TypeError: expected a path as 'folder', got int: pass a string or a pathlib.Path
    """
    if isinstance(value, (str, os.PathLike)):
        path = os.fspath(value)
        if path == "":
            raise ValueError(f"expected a path as {name!r}, got an empty string; '.' is the current folder")
        if isinstance(path, str):
            if "\0" in path:
                raise ValueError(f"expected a path as {name!r}, got {path!r}: no file name can hold a zero byte")
            return Path(path)
    got = (
        "None" if value is None else f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__
    )
    raise TypeError(f"expected a path as {name!r}, got {got}: pass a string or a pathlib.Path")


def shorten_file_name(name: str) -> str:
    """A name of a file that every system takes for its length: a long one is cut, and ends in a hash of the whole.

    Example:
        >>> from lcat._files import shorten_file_name
        >>> shorten_file_name("cora"), len(shorten_file_name("x" * 300))
        ('cora', 120)
    """
    encoded = name.encode(errors="replace")
    if len(encoded) <= _LONGEST_NAME:
        return name
    digest = hashlib.sha256(encoded).hexdigest()[:8]
    return f"{encoded[: _LONGEST_NAME - 9].decode(errors='ignore')}-{digest}"


def replace_file(path: str | Path, write: Callable[[IO[bytes]], Any]) -> None:
    """Write ``path`` so that it has, at any moment and after any failure, its old content or all of the new.

    ``write`` gets a new file beside ``path``. That file is flushed to the disk and then takes the name; the folder is
    flushed last. A full disk, a kill or a power cut leaves the old file as it was. What a killed writer left beside it
    is used again by the next one.

    Args:
        path: the file; its folder must exist. The new one has the permissions of a file that the process opens. Of a
            symbolic link, the file that it names is replaced.
        write: called with a binary file, open for writing; it may seek.

    Raises:
        OSError: the file cannot be written, also where ``write`` made another error of that (:func:`disk_error`).
            Callers turn it into an error of their own, with the path in it.
        BaseException: whatever else ``write`` raises. In both cases the old file is unchanged, and nothing is left
            beside it.

    Complexity:
        One write of the content, two flushes to the disk.

    Example:
        >>> from lcat._files import replace_file
        >>> replace_file("numbers.txt", lambda file: file.write(b"1 2 3"))
        >>> open("numbers.txt").read()
        '1 2 3'
    """
    path = Path(os.path.realpath(path))
    temporary, file = _new_file(path)
    # Locked until it has its name: else another writer could take it over before.
    lock = None if fcntl is None else os.dup(file.fileno())
    try:
        with file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        move_file(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        cause = disk_error(error) if isinstance(error, Exception) else None
        if cause is None:
            raise
        if cause.filename is None:  # a write to an open file does not say which
            cause.filename = str(path)
        if cause is error:
            raise
        raise cause from None
    finally:
        if lock is not None:
            os.close(lock)


def reserve(path: Path, size: int) -> None:
    """Make a new file of zeros, with room on the disk for all of it, which is then mapped and written to.

    A mapped file with holes ends the process (SIGBUS) when a hole is written to and the disk is full.

    Args:
        path: the file; one that exists is replaced.
        size: in bytes.

    Raises:
        OSError: there is no room, with the path in the message.

    Example:
        >>> from pathlib import Path
        >>> from lcat._files import reserve
        >>> reserve(Path("rows.bin"), 800)
        >>> Path("rows.bin").stat().st_size
        800
    """
    with path.open("wb") as file:
        try:
            if size > 0 and hasattr(os, "posix_fallocate"):
                try:
                    os.posix_fallocate(file.fileno(), 0, size)
                except OSError as error:
                    if error.errno not in _NO_RESERVING:
                        raise
            file.truncate(size)
        except OSError as error:
            error.filename = str(path)
            raise


def disk_error(error: BaseException) -> OSError | None:
    """The system's own error of a full or read-only disk behind ``error``; ``None`` if there is none.

    ``torch.save`` to a full disk raises a ``RuntimeError`` about positions, and the system's error is only its context.

    Args:
        error: what somebody caught.

    Example:
        >>> import errno
        >>> from lcat._files import disk_error
        >>> try:
        ...     try:
        ...         raise OSError(errno.ENOSPC, "No space left on device")
        ...     finally:
        ...         raise RuntimeError("unexpected pos 704 vs 598")
        ... except RuntimeError as caught:
        ...     print(disk_error(caught))
        [Errno 28] No space left on device
    """
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, OSError) and link.errno in _OF_THE_DISK:
            return link
        link = link.__cause__ or link.__context__
    return None


@contextlib.contextmanager
def scratch_folder(path: str | Path) -> Iterator[Path]:
    """A new and empty folder beside ``path``, which is gone afterwards; so is what a killed process left there.

    Args:
        path: what is to be made in it and moved out of it; the folder that holds it must exist.

    Example:
        >>> from pathlib import Path
        >>> from lcat._files import scratch_folder
        >>> with scratch_folder("results") as folder:
        ...     _ = (folder / "part.txt").write_text("1 2 3")
        >>> folder.exists()
        False
    """
    folder, lock = _new_folder(Path(os.path.realpath(path)))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def _new_file(path: Path) -> tuple[Path, IO[bytes]]:
    """An empty file beside ``path``, open for writing, that no other process writes to."""
    usual = _usual_name(path)
    try:
        file: IO[bytes] = usual.open("xb")
        if _lock(file.fileno(), usual) is not False:
            return usual, file
        file.close()
    except FileExistsError:
        with contextlib.suppress(OSError):
            file = usual.open("r+b")
            if _lock(file.fileno(), usual):  # of a killed writer: those that live have the lock
                file.truncate(0)
                return usual, file
            file.close()
    temporary = _random_name(path)
    return temporary, temporary.open("xb")


def _new_folder(path: Path) -> tuple[Path, int | None]:
    """An empty folder beside ``path`` that no other process writes to, and the descriptor that keeps it locked."""
    usual, is_new = _usual_name(path), True
    try:
        usual.mkdir()
    except FileExistsError:
        is_new = False
    if fcntl is not None:
        with contextlib.suppress(OSError):
            descriptor = os.open(usual, os.O_RDONLY | os.O_CLOEXEC)
            locked = _lock(descriptor, usual)
            if locked or (is_new and locked is None):
                for left in usual.iterdir():
                    shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()
                return usual, descriptor
            os.close(descriptor)
    elif is_new:
        return usual, None
    folder = _random_name(path)
    folder.mkdir()
    return folder, None


def _usual_name(path: Path) -> Path:
    """The name of what becomes ``path``: the same in every attempt, so that at most one is left by killed writers."""
    # Short, as `path` may be as long as allowed.
    return path.with_name(f".writing-{hashlib.blake2b(os.fsencode(path.name), digest_size=6).hexdigest()}")


def _random_name(path: Path) -> Path:
    """A name for a second writer at the same time, and for file systems without locks."""
    return path.with_name(f".writing-{os.urandom(6).hex()}")


def _lock(descriptor: int, path: Path) -> bool | None:
    """Lock a file or folder until it is closed; false if somebody else has it, ``None`` where there are no locks."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Between opening and locking another writer may have given the file its final name.
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except (BlockingIOError, FileNotFoundError):
        return False
    except OSError:
        return None


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
