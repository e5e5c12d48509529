"""Which metric a published value is of."""

from __future__ import annotations

from collections.abc import Collection

from lcat.data import UnknownDataset
from lcat.data.datasets.load import find_spec
from lcat.study.plan.settings import Published

__all__ = ["metric_of_published"]


def metric_of_published(one: Published, own: Collection[str], measured: str) -> str:
    """The metric that it names, else that of the public data set, else that of the study.

    Args:
        one: the value.
        own: names of the caller's data sets.
        measured: metric of the study on this data set.

    Example:
        >>> from lcat.study import Published
        >>> from lcat.study.plan.published import metric_of_published
        >>> metric_of_published(Published(dataset="minesweeper", layer="gcn", mean=97.86), (), "accuracy")
        'roc-auc'
    """
    if one.metric is not None:
        return one.metric
    if one.dataset in own:
        return measured
    try:
        return find_spec(one.dataset).metric
    except UnknownDataset:
        return measured
