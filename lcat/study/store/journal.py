"""What happened in a study, one JSON object per line: for people who ask later, and for tests that count."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import IO

from lcat._json import strict_json
from lcat.study._folder import OutputError, check_file

__all__ = ["JOURNAL_NAME", "Journal"]

#: Name of the file in the folder of a study.
JOURNAL_NAME = "study.log"


class Journal:
    """Appends to ``DIR/study.log``.

    Events are ``begin``, ``submit`` (a cell is handed to the engine), ``done``, ``failed`` (its result is in the
    store), ``note`` (a worker died, ...) and ``end``. Results are in the store alone; the journal may lack the last
    lines before a crash.

    Args:
        folder: of the study; ``None`` keeps no journal.

    Raises:
        lcat.study.OutputError: if the file cannot be written.
    """

    def __init__(self, folder: Path | None) -> None:
        self.path = (folder or Path()) / JOURNAL_NAME
        self._file: IO[str] | None = None
        if folder is not None:
            check_file(self.path)
            try:
                self._file = self.path.open("a", encoding="utf-8", buffering=1)
            except OSError as error:
                raise self._failure(error) from error

    def write(self, event: str, **facts: object) -> None:
        """Append one line.

        Raises:
            lcat.study.OutputError: if it cannot be written.
        """
        if self._file is None:
            return
        line = {"time": datetime.now(timezone.utc).isoformat(timespec="milliseconds"), "event": event, **facts}
        try:
            self._file.write(strict_json(line) + "\n")
        except OSError as error:
            raise self._failure(error) from error

    def _failure(self, error: OSError) -> OutputError:
        return OutputError(f"cannot write {self.path}: {error.strerror or error}")

    def close(self) -> None:
        """Close the file; what a full disk did not take is dropped."""
        if self._file is None:
            return
        try:
            self._file.close()
        except OSError:
            # The buffer holds a line that could not be written, which `write` has told already.
            self._file = self.path.open("r", encoding="utf-8")
            self._file.close()
