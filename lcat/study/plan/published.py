"""What published values belong to: data sets and layers of the plan, and a metric."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from lcat._text import hint
from lcat.data import CATALOG, UnknownDataset
from lcat.data.datasets.load import find_spec
from lcat.study.models.layers import LAYERS
from lcat.study.models.own_model import model_name
from lcat.study.plan.own_data import is_own_file
from lcat.study.plan.settings import Published

__all__ = ["as_in_plan", "metric_of_published"]


def as_in_plan(
    published: Iterable[Published], datasets: Collection[str], layers: Collection[str]
) -> tuple[Published, ...]:
    """The values with the names that the plan has for their data sets and layers.

    Those of other data sets and layers stay, because a plan may run a part of a table. Names that nothing has, and
    that read like one that something has, are taken for misspelt: nobody would see that their value is left out.

    Args:
        published: the values.
        datasets, layers: of the plan, by the names of its cells.

    Raises:
        ValueError: names the value and what was probably meant.
    """
    values = []
    for one in published:
        layer = model_name(one.layer)
        for kind, name, known in (
            ("data set", one.dataset, {*datasets, *CATALOG}),
            ("layer", layer, {*layers, *LAYERS}),
        ):
            exists = name in known or (kind == "data set" and (":" in name or is_own_file(name) or _spec_name(name)))
            meant = "" if exists else hint(name, known)
            if meant:
                raise ValueError(
                    f"published: there is no {kind} {name!r}{meant}; expected the name that the plan has for it, which "
                    f"has {', '.join(datasets if kind == 'data set' else layers)}"
                )
        dataset = one.dataset if one.dataset in datasets else _spec_name(one.dataset) or one.dataset
        values.append(one.model_copy(update={"dataset": dataset, "layer": layer}))
    return tuple(values)


def _spec_name(name: str) -> str | None:
    """The name of a public data set as plans keep it; ``None`` if there is none of this name."""
    try:
        return find_spec(name).name
    except UnknownDataset:
        return None


def metric_of_published(one: Published, own: Collection[str], measured: str) -> str:
    """The metric that it names, else that of the public data set, else that of the study.

    Args:
        one: the value.
        own: names of the caller's data sets.
        measured: metric of the study on this data set.

    Example:
        >>> from lcat.study import Published
        >>> from lcat.study.plan.published import metric_of_published
        >>> metric_of_published(
        ...     Published(dataset="minesweeper", layer="gcn", mean=97.86), (), "accuracy"
        ... )
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
