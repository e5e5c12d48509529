"""``lcat study report DIR``: the report again, from the store alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

try:
    import typer
except ModuleNotFoundError:
    typer = None  # type: ignore[assignment]

from lcat.cli.stop import stop

__all__ = ["report", "written_line"]


def report(
    folder: Annotated[Path, typer.Argument(help="Folder of a study.", metavar="DIR")],
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for the report; DIR by default.", metavar="DIR")
    ] = None,
) -> None:
    """Write the report, tables and figures of a study in DIR again, from its store alone."""
    from rich.console import Console
    from rich.text import Text

    from lcat.study import OutputError, Store, StoreError, Study, write_study

    try:
        study = Study.load(folder)
        with Store(folder) as store:
            empty = not store.statuses()
        if empty:
            stop(f"no cell of the study in {folder} has a result yet; run it first", 1)
        written = write_study(study, out or folder)
    except StoreError as error:
        stop(str(error), 2)
    except OutputError as error:
        stop(f"--out: {error}", 2)
    Console().print(Text(written_line(written, out or folder)), soft_wrap=True)


def written_line(written: Sequence[Path], folder: Path) -> str:
    """Which files are new; those under ``tables`` are counted."""
    top = [path.name for path in written if path.parent == folder]
    tables = len(written) - len(top)
    return f"Written to {folder}: {', '.join(top)}" + (f", and tables/ with {tables} files" if tables else "")
