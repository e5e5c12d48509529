"""Training labels as input features, so that no label is both read and learned in one step."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["label_features", "shown_labels"]


def label_features(x: Tensor, y: Tensor, shown: Tensor, num_outputs: int) -> Tensor:
    """Features with the labels of some nodes beside them, zeros for all others.

    "Bag of Tricks for Node Classification with Graph Neural Networks" (https://arxiv.org/abs/2103.13355).

    Args:
        x: floats ``[N, F]``.
        y: int64 ``[N]`` classes, or floats ``[N, tasks]`` of zeros and ones, nan where unknown.
        shown: bool ``[N]``, the nodes whose labels are shown.
        num_outputs: number of classes or of tasks.

    Returns:
        Floats ``[N, F + num_outputs]``.

    Example:
        >>> import torch
        >>> from lcat.ogb.labels import label_features
        >>> label_features(
        ...     torch.ones(2, 1), torch.tensor([1, 0]), torch.tensor([True, False]), 2
        ... ).tolist()
        [[1.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    """
    labels = x.new_zeros(x.size(0), num_outputs)
    rows = shown.nonzero().view(-1)
    if y.dim() == 1:
        labels[rows] = F.one_hot(y[rows], num_outputs).to(x.dtype)
    else:
        labels[rows] = (2 * y[rows].to(x.dtype) - 1).nan_to_num(0.0)  # so that a no differs from not knowing
    return torch.cat([x, labels], dim=-1)


def shown_labels(train: Tensor, rate: float, generator: torch.Generator) -> Tensor:
    """Which training nodes show their labels in a step; the step learns from the others.

    Args:
        train: bool ``[N]``, the training nodes.
        rate: the probability of each to be shown.
        generator: the source of randomness.

    Returns:
        bool ``[N]``, a subset of ``train``. At least one training node is left to learn from, if there is any.
    """
    shown = train & (torch.rand(train.shape, generator=generator).to(train.device) < rate)
    if bool((shown == train).all()):  # also where a walk has met no training node
        shown = shown.clone()
        shown[train.nonzero()[:1]] = False
    return shown
