"""One driver per study: a lock that the system takes back when its holder ends, however it ends."""

from __future__ import annotations

import io
import json
import os
import socket
from datetime import datetime, timezone
from pathlib import Path

from lcat._locks import lock_file
from lcat.study._folder import OutputError, check_file

__all__ = ["LOCK_NAME", "StudyBusy", "StudyLock"]

#: Name of the file in the folder of a study; that it exists means nothing.
LOCK_NAME = "study.lock"


class StudyBusy(OSError):
    """Another process runs the study; the message says which."""


class StudyLock:
    """Held while a study runs.

    It is an advisory lock of the operating system on ``DIR/study.lock``. After a crash or ``kill -9`` it is free at
    once, and nobody has to remove the file. The file says who holds the lock, for the message.

    Args:
        folder: of the study.

    Attributes:
        has_locks: ``False`` if the file system of the folder has no locks. The study runs all the same, and nothing
            keeps a second process from running it, too.

    Raises:
        StudyBusy: when entered while another process, or another lock of this one, holds it.
        OutputError: when entered and the file cannot be written.

    Example:
        >>> import tempfile
        >>> from lcat.study.store.lock import StudyBusy, StudyLock
        >>> with tempfile.TemporaryDirectory() as folder, StudyLock(folder):
        ...     try:
        ...         StudyLock(folder).__enter__()
        ...     except StudyBusy:
        ...         print("busy")
        busy
    """

    def __init__(self, folder: str | Path) -> None:
        self.path = Path(folder) / LOCK_NAME
        self.has_locks = True
        self._file: io.FileIO | None = None

    def __enter__(self) -> StudyLock:
        check_file(self.path)
        try:
            # Without a buffer, which a full disk would keep from closing.
            file = self.path.open("a+b", buffering=0)
        except OSError as error:
            raise self._failure(error) from error
        answer = lock_file(file)
        self.has_locks = answer != "no locks"
        if answer == "busy":
            file.seek(1)
            holder = _holder(file.read())
            file.close()
            raise StudyBusy(f"{self.path.parent} is being run by {holder}; wait for it, or choose another folder")
        facts = {"pid": os.getpid(), "host": socket.gethostname(), "since": datetime.now(timezone.utc).isoformat()}
        try:
            file.truncate(0)
            # The first byte is the one that Windows locks; others may read what follows.
            file.write(b" " + json.dumps(facts).encode())
        except OSError as error:
            file.close()
            raise self._failure(error) from error
        self._file = file
        return self

    def __exit__(self, *exception: object) -> None:
        if self._file is not None:
            self._file.close()  # which unlocks
            self._file = None

    def _failure(self, error: OSError) -> OutputError:
        return OutputError(f"cannot write {self.path}: {error.strerror or error}")


def _holder(content: bytes) -> str:
    try:
        facts = json.loads(content)
        return f"process {facts['pid']} on {facts['host']} since {facts['since'][:19]} UTC"
    except (ValueError, KeyError, TypeError):
        return "another process"
