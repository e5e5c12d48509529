"""What runs of other tools are called and hold: names, settings and curves of a cell."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

from lcat._files import shorten_file_name
from lcat.study.store.result import CellResult

__all__ = ["curves_of", "final_values_of", "run_name", "settings_of"]

_UNUSUAL = re.compile(r"[^\w.=,+-]+")


def run_name(result: CellResult) -> str:
    """A name for the run of a cell that folders may have, too."""
    cell = result.cell
    what = shorten_file_name(_UNUSUAL.sub("_", f"{cell.layer}-{cell.dataset}"))
    return f"{what}-seed{cell.seed}-{cell.key[:8]}"


def settings_of(result: CellResult) -> dict[str, Any]:
    """Everything that decides the cell: data set, layer, seed, split, noise and all settings."""
    cell = result.cell
    values: dict[str, Any] = {"dataset": cell.dataset, "layer": cell.layer, "seed": cell.seed, "split": str(cell.split)}
    values["noise"] = str(cell.noise)
    values.update({name: value for name, value in cell.hyper if name != "own"})
    values.update(dict(cell.hyper.own))
    return values


def final_values_of(result: CellResult) -> dict[str, float]:
    """Figures of a finished cell at the epoch that validates best."""
    fit = result.fit
    if fit is None:
        return {}
    values = {
        "best/train": fit.train,
        "best/validation": fit.val,
        "best/test": fit.test,
        "best/epoch": fit.best_epoch,
        "seconds": result.seconds,
        "parameters": result.parameters,
    }
    return {name: float(value) for name, value in values.items() if math.isfinite(value)}


def curves_of(result: CellResult) -> Iterator[tuple[str, int, float]]:
    """Name, epoch and value of every curve, without values that are not finite."""
    if result.fit is None:
        return
    history = result.fit.history
    series = {
        "loss/train": history.loss,
        "loss/validation": history.val_loss,
        f"{result.metric}/train": history.train,
        f"{result.metric}/validation": history.val,
        f"{result.metric}/test": history.test,
        "lr": history.lr,
    }
    for number, path in enumerate(history.lambdas.values(), start=1):
        # The first pair is that before the first step.
        series[f"lambda1/layer{number}"] = [pair[0] for pair in path[1:]]
        series[f"lambda2/layer{number}"] = [pair[1] for pair in path[1:]]
    for name, values in series.items():
        for epoch, value in enumerate(values):
            if math.isfinite(value):
                yield name, epoch, float(value)
