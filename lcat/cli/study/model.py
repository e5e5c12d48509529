"""``lcat study model DIR``: the best model of a study as a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lcat._text import hint
from lcat.cli.paths import read_path
from lcat.cli.stop import stop

__all__ = ["model"]


def model(
    folder: Annotated[Path, typer.Argument(help="Folder of a study.", parser=read_path, metavar="DIR")],
    dataset: Annotated[str, typer.Option("--dataset", "-d", help="Data set of the study.", metavar="NAME")],
    layer: Annotated[str, typer.Option("--layer", "-l", help="Layer of the study.", metavar="NAME")],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", parser=read_path, help="File for it; DIR/LAYER.pt by default.", metavar="FILE"),
    ] = None,
) -> None:
    """Write the model of the cell that validates best; lcat.study.load_model(FILE) loads it.

    A model that the study has not kept (--keep models) is trained once more.
    """
    from rich.console import Console
    from rich.text import Text

    from lcat.data import DataError
    from lcat.study import OutputError, RetrainError, StoreError, Study, train_best_model

    try:
        study = Study.load(folder)
        results = study.results()
        for option, name, known in (("dataset", dataset, results["dataset"]), ("layer", layer, results["layer"])):
            names = list(dict.fromkeys(known))
            if name not in names:
                stop(f"--{option}: expected one of the study's, {', '.join(names)}; got {name!r}{hint(name, names)}", 2)
        written = train_best_model(study, dataset, layer, out or folder / f"{layer}.pt")
    except StoreError as error:
        stop(str(error), 2)
    except OutputError as error:
        stop(f"--out: {error}", 2)
    except (DataError, RetrainError, ValueError) as error:
        stop(str(error), 1)
    Console().print(Text(f"Written to {written}: lcat.study.load_model({str(written)!r}) loads it"), soft_wrap=True)
