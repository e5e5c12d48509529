"""The figures a model is judged by, as plain functions on logits and labels."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lcat._names import MetricName
from lcat._text import hint
from lcat.train._checks import kind_of

__all__ = ["METRICS", "accuracy", "metric_by_name", "roc_auc"]


def accuracy(logits: Tensor, y: Tensor) -> float:
    """Share of rows whose largest logit is at the label.

    Args:
        logits: ``[N, C]`` floats.
        y: ``[N]`` integer labels in ``0 .. C - 1``.

    Returns:
        A number in [0, 1].

    Raises:
        ValueError: without any row, where a share has no meaning; for logits or labels of another shape, nan among
            them, and labels that are no class, such as the -1 of unlabeled nodes.

    Example:
        >>> import torch
        >>> from lcat.train import accuracy
        >>> accuracy(torch.tensor([[2.0, 1.0], [0.0, 3.0]]), torch.tensor([0, 0]))
        0.5
    """
    _check_rows(logits, y)
    _check_labels(y, logits.size(1))
    return _accuracy(logits, y)


def roc_auc(logits: Tensor, y: Tensor) -> float:
    """Area under the ROC curve of two-class logits, the score of a node being ``logit_1 - logit_0``.

    It is the probability that a random node of class 1 scores above a random node of class 0, ties counting
    one half, computed from ranks in O(N log N):

        AUC = (sum of the ranks of class 1 - n_1 (n_1 + 1) / 2) / (n_1 n_0)

    Args:
        logits: ``[N, 2]`` floats.
        y: ``[N]`` labels, 0 or 1, both present.

    Returns:
        A number in [0, 1]; 0.5 is chance.

    Raises:
        ValueError: if the logits do not have two columns, only one class is present, or there are other labels.

    Example:
        >>> import torch
        >>> from lcat.train import roc_auc
        >>> roc_auc(
        ...     torch.tensor([[0.0, 0.1], [0.0, 0.4], [0.0, 0.35], [0.0, 0.8]]),
        ...     torch.tensor([0, 0, 1, 1]),
        ... )
        0.75
    """
    _check_rows(logits, y)
    if logits.dim() != 2 or logits.size(-1) != 2:
        raise ValueError(f"roc_auc needs logits of shape [N, 2]; got {list(logits.shape)}")
    _check_labels(y, 2)
    positive = int((y == 1).sum())
    negative = y.numel() - positive
    if positive == 0 or negative == 0:
        raise ValueError(f"roc_auc needs nodes of both classes; got {positive} of class 1 and {negative} of class 0")
    return _roc_auc(logits, y)


#: The metrics by name.
METRICS: dict[MetricName, Callable[[Tensor, Tensor], float]] = {"accuracy": accuracy, "roc-auc": roc_auc}


def metric_by_name(name: str, *, checks: bool = True) -> Callable[[Tensor, Tensor], float]:
    """The metric function called ``name``.

    Args:
        name: one of :data:`METRICS`.
        checks: ``False`` gives the function for a loop that has measured the same labels before with checks, and has
            seen that the logits are finite.

    Raises:
        ValueError: for a name that is not in :data:`METRICS`.

    Example:
        >>> import torch
        >>> from lcat.train import metric_by_name
        >>> metric_by_name("accuracy")(
        ...     torch.tensor([[2.0, 1.0], [0.0, 1.0]]), torch.tensor([0, 0])
        ... )
        0.5
    """
    for known, measure in METRICS.items():
        if known == name:
            return measure if checks else _UNCHECKED[known]
    raise ValueError(f"metric must be one of {', '.join(METRICS)}; got {name!r}{hint(name, METRICS)}")


def _accuracy(logits: Tensor, y: Tensor) -> float:
    return int((logits.argmax(dim=-1) == y).sum()) / y.numel()


def _roc_auc(logits: Tensor, y: Tensor) -> float:
    positive = int((y == 1).sum())
    negative = y.numel() - positive
    score = (logits[:, 1] - logits[:, 0]).double()
    _, group, count = score.unique(return_inverse=True, return_counts=True)
    last = count.cumsum(0).double()
    mean_rank = last - (count.double() - 1) / 2
    rank_sum = float(mean_rank[group][y == 1].sum())
    return (rank_sum - positive * (positive + 1) / 2) / (positive * negative)


_UNCHECKED: dict[MetricName, Callable[[Tensor, Tensor], float]] = {"accuracy": _accuracy, "roc-auc": _roc_auc}


def _check_rows(logits: Tensor, y: Tensor) -> None:
    for name, value in (("logits", logits), ("y", y)):
        if not isinstance(value, Tensor):
            raise TypeError(f"expected a tensor as {name!r}, got {kind_of(value)}: convert it with torch.as_tensor")
    if y.numel() == 0:
        raise ValueError("a metric needs at least one node; got none")
    if y.dim() != 1 or logits.dim() != 2:
        raise ValueError(
            f"expected logits [nodes, classes] and labels [nodes], got {list(logits.shape)} and {list(y.shape)}"
        )
    if logits.size(0) != y.numel():
        raise ValueError(f"one label per row is needed; got {logits.size(0)} rows of logits and {y.numel()} labels")
    if not bool(torch.isfinite(logits).all()):
        raise ValueError("the logits hold nan or inf: the model has diverged, a lower learning rate may help")


def _check_labels(y: Tensor, classes: int) -> None:
    low, high = (float(extreme) for extreme in torch.aminmax(y))  # nan if there is one
    if not (low >= 0 and high < classes):
        raise ValueError(f"labels must lie in 0 .. {classes - 1}; got {low:g} .. {high:g}: leave unlabeled nodes out")
