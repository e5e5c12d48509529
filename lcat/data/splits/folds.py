"""Cross-validation folds over the labeled nodes: plain, stratified, and nested.

Fold ``f`` of ``K`` holds the test nodes, fold ``f + 1`` (after the last comes the first) validates, the others train:
over all folds every labeled node is tested once. With nested folds the nodes outside the test fold are cut again, and
an inner fold validates.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lcat._numbers import as_bool, as_int
from lcat._seeds import derive_seed
from lcat.data.splits.splits import Split, SplitError

__all__ = ["fold_numbers", "fold_split", "nested_split"]


def fold_numbers(y: Tensor, folds: int, seed: int = 0, *, stratified: bool = True) -> Tensor:
    """The fold of every labeled node, drawn at random.

    Sizes of two folds differ by at most one; stratified, so do their numbers of nodes of each class.

    Args:
        y: ``[N]`` integer labels, negative for unlabeled.
        folds: number of folds, at least 2 and at most the number of labeled nodes.
        seed: the only source of randomness.
        stratified: distribute each class evenly.

    Returns:
        ``[N]`` int64 in ``0 .. folds - 1``, -1 for unlabeled nodes. Cost O(N log N).

    Raises:
        SplitError: on labels or a number of folds that cannot be used.

    Example:
        >>> import torch
        >>> from lcat.data import fold_numbers
        >>> numbers = fold_numbers(torch.tensor([0] * 6 + [1] * 3), 3)
        >>> numbers[:6].bincount().tolist(), numbers[6:].bincount().tolist()
        ([2, 2, 2], [1, 1, 1])
    """
    if not isinstance(y, Tensor):
        raise SplitError(f"y must be a tensor of labels; got {type(y).__name__}: convert it with torch.as_tensor")
    if as_int(folds) is None:
        raise SplitError(f"folds must be a whole number; got {folds!r}")
    if y.dim() != 1 or y.is_floating_point() or y.is_complex() or y.dtype == torch.bool:
        raise SplitError(f"y must be a vector of integer labels; got dtype {y.dtype} and shape {list(y.shape)}")
    evenly = as_bool(stratified)
    if evenly is None:
        raise SplitError(f"stratified must be True or False; got {stratified!r}")
    labels = y.cpu()
    nodes = (labels >= 0).nonzero().view(-1)
    if not 2 <= folds <= nodes.numel():
        raise SplitError(f"folds must lie in 2 .. {nodes.numel()}, the number of labeled nodes; got {folds}")
    generator = torch.Generator().manual_seed(derive_seed(seed, "folds"))
    nodes = nodes[torch.randperm(nodes.numel(), generator=generator)]
    if evenly:
        # Classes one after the other, shuffled inside: dealing them out in turn keeps classes and totals even.
        nodes = nodes[labels[nodes].sort(stable=True).indices]
    numbers = torch.full_like(labels, -1, dtype=torch.int64)
    numbers[nodes] = torch.arange(nodes.numel()) % folds
    return numbers


def fold_split(y: Tensor, folds: int, fold: int, seed: int = 0, *, repeat: int = 0, stratified: bool = True) -> Split:
    """The split that tests on one fold and validates on the next.

    Args:
        y: ``[N]`` integer labels, negative for unlabeled.
        folds: number of folds, at least 3.
        fold: which one holds the test nodes, ``0 .. folds - 1``.
        seed: of the shuffle.
        repeat: another shuffle for every number.
        stratified: see :func:`fold_numbers`.

    Raises:
        SplitError: on numbers that do not fit.

    Example:
        >>> import torch
        >>> from lcat.data import fold_split
        >>> fold_split(torch.arange(100) % 2, folds=5, fold=0).sizes
        (60, 20, 20)
    """
    if (count := as_int(folds)) is None or count < 3:
        raise SplitError(
            f"folds must be at least 3, for test, validation and training, and a whole number; got {folds!r}"
        )
    _check_number("fold", fold, folds)
    numbers = fold_numbers(y, folds, derive_seed(seed, "folds", repeat), stratified=stratified)
    test, val = numbers == fold, numbers == (fold + 1) % folds
    return Split((numbers >= 0) & ~test & ~val, val, test)


def nested_split(
    y: Tensor, folds: int, fold: int, inner_folds: int, inner_fold: int, seed: int = 0, *, repeat: int = 0
) -> Split:
    """The split that tests on an outer fold and validates on an inner fold of the other nodes, both stratified.

    The inner folds of one outer fold share its test nodes, and none of them holds one: a configuration chosen by its
    validation over the inner folds has not seen them.

    Args:
        y: ``[N]`` integer labels, negative for unlabeled.
        folds: number of outer folds, at least 2.
        fold: which one holds the test nodes.
        inner_folds: number of inner folds, at least 2.
        inner_fold: which one validates.
        seed: of the shuffles.
        repeat: other shuffles for every number.

    Raises:
        SplitError: on numbers that do not fit.

    Example:
        >>> import torch
        >>> from lcat.data import nested_split
        >>> y = torch.arange(90) % 2
        >>> one, two = (
        ...     nested_split(y, folds=3, fold=0, inner_folds=2, inner_fold=i)
        ...     for i in (0, 1)
        ... )
        >>> one.sizes, torch.equal(one.test, two.test), torch.equal(one.val, two.train)
        ((30, 30, 30), True, True)
    """
    _check_number("fold", fold, folds)
    _check_number("inner_fold", inner_fold, inner_folds)
    test = fold_numbers(y, folds, derive_seed(seed, "folds", repeat)) == fold
    rest = y.cpu().clone()
    rest[test] = -1
    inner = fold_numbers(rest, inner_folds, derive_seed(seed, "inner folds", repeat, fold))
    val = inner == inner_fold
    return Split((inner >= 0) & ~val, val, test)


def _check_number(name: str, value: int, count: int) -> None:
    if as_int(value) is None or as_int(count) is None:
        raise SplitError(f"{name} and the number of folds must be whole numbers; got {value!r} and {count!r}")
    if not 0 <= value < count:
        raise SplitError(f"{name} must lie in 0 .. {count - 1}; got {value}")
