"""``lcat study report DIR``: the report again, from the store alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lcat._text import hint
from lcat.cli.paths import read_path
from lcat.cli.stop import stop
from lcat.cli.study.results import print_margin, print_written

if TYPE_CHECKING:
    from lcat.study import Study

__all__ = ["report"]


def report(
    folder: Annotated[Path, typer.Argument(help="Folder of a study.", parser=read_path, metavar="DIR")],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", parser=read_path, help="Folder for the report; DIR by default.", metavar="DIR"),
    ] = None,
    layer: Annotated[
        list[str] | None,
        typer.Option("--layer", "-l", help="Only this layer; needs --out. Repeatable.", metavar="NAME"),
    ] = None,
    dataset: Annotated[
        list[str] | None,
        typer.Option("--dataset", "-d", help="Only this data set; needs --out. Repeatable.", metavar="NAME"),
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(help="Test this layer against each other one, instead of all pairs.", metavar="NAME"),
    ] = None,
    margin: Annotated[
        float | None,
        typer.Option(
            help="Largest difference that does not matter, in the unit of the metric; that of the study by default. "
            "0.01 is one percentage point.",
            metavar="NUMBER",
        ),
    ] = None,
) -> None:
    """Write the report, tables and figures of the study in DIR again, from its store alone."""
    from lcat._measures import check_margin
    from lcat.study import OutputError, StoreError, Study, write_study

    if margin is not None and not 0 < margin < math.inf:
        stop(f"--margin: expected a number above 0, such as 0.01; got {margin:g}", 2)
    if (layer or dataset) and out is None:
        stop("--out: a report on a part of a study has a folder of its own; name one", 2)
    try:
        study = Study.load(folder)
        if layer or dataset:
            study = _part(study, layers=layer or (), datasets=dataset or ())
        results = study.results()
        if results.empty:
            stop(f"no cell of the study in {folder} has a result yet; run it first", 1)
        layers = list(dict.fromkeys(results["layer"]))
        try:
            check_margin(0.0 if margin is None else margin, map(str, results["metric"].unique()))
        except ValueError as error:
            stop(f"--{error}", 2)
        if reference is not None and reference not in layers:
            stop(
                f"--reference: expected a layer of the report, {', '.join(layers)}; got {reference!r}"
                f"{hint(reference, layers)}",
                2,
            )
        written = write_study(study, out or folder, reference=reference, margin=margin)
    except StoreError as error:
        stop(str(error), 2)
    except OutputError as error:
        stop(f"--out: {error}", 2)
    if margin is None:
        print_margin(study)
    print_written(written, out or folder)
    raise typer.Exit(0)  # the report is written, whatever became of the output


def _part(study: Study, *, layers: Sequence[str], datasets: Sequence[str]) -> Study:
    """The study with the results of these layers and data sets alone; all layers, or data sets, where none is named."""
    from lcat.study import Study
    from lcat.study.models.own_model import model_name

    plan = study.plan
    changes = {}
    own = dict(zip(map(model_name, plan.layers), plan.layers, strict=True))
    for option, names, known in (("layer", layers, tuple(own)), ("dataset", datasets, plan.datasets)):
        for name in names:
            if name not in known:
                stop(f"--{option}: expected one of the study's, {', '.join(known)}; got {name!r}{hint(name, known)}", 2)
        changes[f"{option}s"] = tuple(name for name in known if name in names) if names else known
    results = [
        result
        for result in study.cell_results(history=True)
        if result.cell.layer in changes["layers"] and result.cell.dataset in changes["datasets"]
    ]
    changes["layers"] = tuple(own[name] for name in changes["layers"])
    return Study.in_memory(plan.model_copy(update=changes), results)
