"""The columns that a frame of results must have, so that a wrong frame is refused in words and not by pandas."""

from __future__ import annotations

import pandas as pd

from lcat._measures import MEASURES
from lcat._text import counted, hint

__all__ = ["check_results"]

_NUMBERS = (
    "noise_level",
    "train",
    "validation",
    "test",
    "seconds",
    "peak_memory",
    "parameters",
    "train_nodes",
    "test_nodes",
)
_NAMES = (
    "dataset",
    "layer",
    "model",
    "seed",
    "repeat",
    "fold",
    "split_hash",
    "test_set",
    "noise",
    "status",
    "metric",
)
# What distinguishes cells; frames of other sources may lack the last three.
_IDENTITY = (
    "dataset",
    "layer",
    "model",
    "seed",
    "repeat",
    "fold",
    "noise",
    "noise_level",
    "test_set",
    "split_hash",
    "split",
    "inner_fold",
    "config",
)
_STATUSES = ("done", "failed")
#: Wrong values that a message names.
_NAMED = 3


def check_results(frame: object) -> pd.DataFrame:
    """``frame`` itself, if it is a frame of results.

    Raises:
        TypeError: if it is no frame.
        ValueError: names the columns that are missing or hold something else.

    Example:
        >>> import pandas as pd
        >>> from lcat.study.analysis.columns import check_results
        >>> check_results(pd.DataFrame({"layer": ["gcn"]}))  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ValueError: expected a frame of Study.results(), with one row per cell; columns are missing: ...
    """
    if not isinstance(frame, pd.DataFrame):
        way_out = ": pass its .results()" if hasattr(frame, "results") else ""
        raise TypeError(f"expected a frame of Study.results(), got {type(frame).__name__}{way_out}")
    missing = [name for name in (*_NAMES, *_NUMBERS) if name not in frame.columns]
    if missing:
        others = [str(name) for name in frame.columns if name not in (*_NAMES, *_NUMBERS)]
        names = ", ".join(name + hint(name, others) for name in missing)
        raise ValueError(
            f"expected a frame of Study.results(), with one row per cell; columns are missing: {names}; got "
            f"{', '.join(map(str, frame.columns)) or 'no columns'}"
        )
    twice = frame.columns[frame.columns.duplicated()]
    if len(twice):
        raise ValueError(
            f"expected every column once; got these more often: {', '.join(map(str, dict.fromkeys(twice)))}"
        )
    for name in _NUMBERS:
        if len(frame) and not pd.api.types.is_numeric_dtype(frame[name]):
            raise ValueError(
                f"column {name!r} must hold numbers, got {frame[name].dtype}; convert it with "
                f'frame["{name}"].astype(float)'
            )
    _check_values(frame)
    return frame


def _check_one_each(done: pd.DataFrame, name: str) -> None:
    """Values of different metrics or tasks on one data set are no rivals."""
    for dataset, group in done.groupby("dataset", sort=False):
        values = group[name].dropna().unique()  # frames of older versions name no task
        if len(values) > 1:
            raise ValueError(
                f"every data set must have one {name}, as its runs are compared; {dataset} has "
                f"{' and '.join(map(str, values))}: keep the rows of one, frame[frame['{name}'] == {str(values[0])!r}]"
            )


def _check_values(frame: pd.DataFrame) -> None:
    wrong = frame.loc[~frame["status"].isin(_STATUSES), "status"].drop_duplicates()
    if len(wrong):
        names = ", ".join(map(repr, wrong.head(_NAMED)))
        raise ValueError(f"column 'status' must hold {' or '.join(map(repr, _STATUSES))}, got {names}")
    for name in ("dataset", "layer", "model"):
        if frame[name].isna().any():
            rows = counted(int(frame[name].isna().sum()), "row")
            raise ValueError(f"column {name!r} must have a value in every row; it is missing in {rows}")
    done = frame["status"] == "done"
    for name in ("validation", "test"):
        count = int(frame.loc[done, name].isna().sum())
        if count:
            raise ValueError(
                f"column {name!r} must be a number in every row with status 'done'; "
                f"it is none in {count} of {counted(int(done.sum()), 'row')}"
            )
    for name in ("metric", "task"):
        if name in frame.columns:
            _check_one_each(frame[done], name)
    for metric, group in frame[done].groupby("metric"):
        measure = MEASURES.get(str(metric))
        if measure is None:
            continue
        values = group[["validation", "test"]].to_numpy(dtype=float)
        if len(values) and (values.max() > measure.high + 1e-6 or values.min() < measure.low - 1e-6):
            percent = ": divide per cent by 100" if measure.is_share and values.min() >= measure.low else ""
            limits = f"{measure.low:g} .. {measure.high:g}"
            raise ValueError(
                f"columns 'validation' and 'test' hold {metric}, which lies in {limits}; got {values.min():g} .. "
                f"{values.max():g}{percent}"
            )
    identity = [name for name in _IDENTITY if name in frame.columns]
    repeated = int(frame.duplicated(identity).sum())
    if repeated:
        raise ValueError(
            f"every cell must have one row, as its run would count twice; got {counted(repeated, 'row')} with the "
            f"{', '.join(identity)} of another: drop them with frame.drop_duplicates('key')"
        )
