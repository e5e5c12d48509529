"""``lcat study report DIR``: the report again, from the store alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lcat.cli.stop import stop
from lcat.cli.study.results import print_written

__all__ = ["report"]


def report(
    folder: Annotated[Path, typer.Argument(help="Folder of a study.", metavar="DIR")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for the report; DIR by default.", metavar="DIR")
    ] = None,
) -> None:
    """Write the report, tables and figures of the study in DIR again, from its store alone."""
    from lcat.study import OutputError, StoreError, Study, write_study

    try:
        study = Study.load(folder)
        if study.results().empty:
            stop(f"no cell of the study in {folder} has a result yet; run it first", 1)
        written = write_study(study, out or folder)
    except StoreError as error:
        stop(str(error), 2)
    except OutputError as error:
        stop(f"--out: {error}", 2)
    print_written(written, out or folder)
    raise typer.Exit(0)  # the report is written, whatever became of the output
