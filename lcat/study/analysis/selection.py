"""Which rows of a frame of results count: finished ones, without noise, of the settings that validate best.

Everything here is chosen by validation. No function of this module reads the column ``test``.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import pandas as pd

from lcat.study.analysis.columns import check_results
from lcat.study.analysis.direction import signs

__all__ = [
    "RUN",
    "Selection",
    "choose_models",
    "finished",
    "is_generated",
    "layers_in_order",
    "one_row_per_run",
    "unfinished",
    "without_noise",
]

#: The columns that distinguish runs of one model on one data set; inner folds of one outer fold are one run.
RUN = ("seed", "repeat", "fold")
_AVERAGED = ("train", "validation", "test", "parameters", "peak_memory", "train_nodes", "test_nodes")


class Selection:
    """A frame of results, and the parts of it that tables and statistics are made of; each is computed once.

    Args:
        frame: of :meth:`lcat.study.Study.results`.

    Raises:
        TypeError: if it is no frame.
        ValueError: if columns are missing or hold something else; it names them.

    Example:
        >>> from lcat.study import make_plan, run_study
        >>> from lcat.study.analysis.selection import Selection
        >>> settings = {"layers": ["gcn"], "seeds": [0, 1], "overrides": {"epochs": 3}}
        >>> plan = make_plan(
        ...     datasets=["csbm:easy,n=100"], grid={"lr": [0.01, 0.1]}, **settings
        ... )
        >>> selection = Selection(run_study(plan).study.results())
        >>> len(selection.frame), len(selection.selected)
        (4, 2)
    """

    def __init__(self, frame: pd.DataFrame) -> None:
        self.frame = check_results(frame)

    @classmethod
    def of(cls, frame: pd.DataFrame | Selection) -> Selection:
        """A selection from a frame; one that is made already stays as it is.

        Raises:
            TypeError: if it is no frame.
            ValueError: if columns are missing or hold something else; it names them.
        """
        return frame if isinstance(frame, Selection) else cls(frame)

    @cached_property
    def finished(self) -> pd.DataFrame:
        """Rows of finished cells, with and without noise."""
        return finished(self.frame)

    @cached_property
    def clean(self) -> pd.DataFrame:
        """Rows without noise, failed cells among them."""
        return without_noise(self.frame)

    @cached_property
    def compared(self) -> pd.DataFrame:
        """Rows of finished cells without noise."""
        return finished(self.clean)

    @cached_property
    def selected(self) -> pd.DataFrame:
        """Of :attr:`compared`, the rows whose settings validate best."""
        return choose_models(self.compared)

    @cached_property
    def runs(self) -> pd.DataFrame:
        """:attr:`selected` with one row per run."""
        return one_row_per_run(self.selected)

    @cached_property
    def unfinished(self) -> set[tuple[str, str]]:
        """Data sets and layers of which a run failed with every setting."""
        return unfinished(self.clean, self.runs)


def is_generated(dataset: str) -> bool:
    """The graph is drawn from a model, a new one for every seed: it is no data that anybody measured.

    Example:
        >>> from lcat.study.analysis.selection import is_generated
        >>> is_generated("csbm:easy,q=0.1"), is_generated("cora")
        (True, False)
    """
    return dataset.startswith("csbm:")


def layers_in_order(frame: pd.DataFrame, order: Sequence[str]) -> list[str]:
    """The layers of a frame in this order; others follow by name."""
    available = set(frame["layer"])
    return [*(name for name in order if name in available), *sorted(available - set(order))]


def finished(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of finished cells, each with a name in ``test_set``."""
    rows = frame[frame["status"] == "done"]
    # Results of before test sets were recorded: a seed is a split of its own, which never leaks.
    unnamed = rows["test_set"].isna() | (rows["test_set"] == "")
    return rows.assign(test_set=rows["test_set"].where(~unnamed, "seed " + rows["seed"].astype(str)))


def without_noise(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows without noise; on data sets that have none of these, the rows of the lowest level."""
    lowest = frame.groupby("dataset")["noise_level"].transform("min")
    return frame[frame["noise_level"] == lowest]


def choose_models(frame: pd.DataFrame, per: Sequence[str] = ("dataset", "layer")) -> pd.DataFrame:
    """The rows of the model that validates best: chosen anew for every value of ``per`` and every test set.

    A model is a layer with its settings. Its figure is the mean of ``validation`` over the rows that share a test set
    (folds inside of an outer fold, seeds on one split). Rows with other test nodes never enter, for one row's
    validation nodes may be another's test nodes. Models with failed cells are left out where others are complete.
    Equal figures go to the smaller model. Lower is better where the metric is an error.

    Args:
        frame: rows of finished cells.
        per: columns; one model is chosen for each of their values.

    Returns:
        Rows of ``frame``, in its order.

    Complexity:
        n log n in the rows.
    """
    per = [*per, "test_set"]
    # The column "test" is not handed on: what follows cannot look at it.
    known = frame[[*per, "model", "parameters"]].assign(validation=signs(frame) * frame["validation"])
    scored = known.groupby([*per, "model"], sort=False, as_index=False).agg(
        cells=("validation", "size"), validation=("validation", "mean"), parameters=("parameters", "mean")
    )
    scored = scored[scored["cells"] == scored.groupby(per)["cells"].transform("max")]
    scored = scored.sort_values(["validation", "parameters"], ascending=[False, True], kind="stable")
    best = scored.drop_duplicates(per)[[*per, "model"]]
    wanted = pd.MultiIndex.from_frame(best)
    return frame[pd.MultiIndex.from_frame(frame[[*per, "model"]]).isin(wanted)]


def one_row_per_run(frame: pd.DataFrame, per: Sequence[str] = ("dataset", "layer")) -> pd.DataFrame:
    """Inner folds of one outer fold become one row: their mean, and the sum of their seconds.

    Args:
        frame: rows of chosen models.
        per: columns that stay apart beside those of :data:`RUN`.

    Returns:
        ``per``, :data:`RUN`, the means of the metrics, ``seconds`` (summed), ``split_hash`` (of the first inner fold)
        and ``test_set``.
    """
    names = [*per, *RUN]
    if not frame.duplicated(names).any():
        return frame[[*names, "metric", *_AVERAGED, "seconds", "split_hash", "test_set"]].reset_index(drop=True)
    averages = {name: (name, "mean") for name in _AVERAGED}
    return frame.groupby(names, sort=False, dropna=False, as_index=False).agg(
        metric=("metric", "first"),
        **averages,
        seconds=("seconds", "sum"),
        split_hash=("split_hash", "first"),
        test_set=("test_set", "first"),
    )


def unfinished(frame: pd.DataFrame, runs: pd.DataFrame) -> set[tuple[str, str]]:
    """Data sets and layers of which a run failed with every setting.

    The mean of a layer over the runs that it survived says nothing beside the mean of another over all of them: what
    fails are seldom the easy ones.

    Args:
        frame: rows of cells, failed ones among them.
        runs: of :func:`one_row_per_run`, the runs that count.
    """
    names = ["dataset", "layer", *RUN]
    failed = frame.loc[frame["status"] == "failed", names].drop_duplicates()
    lost = failed[~pd.MultiIndex.from_frame(failed).isin(pd.MultiIndex.from_frame(runs[names]))]
    return set(lost[["dataset", "layer"]].itertuples(index=False, name=None))
