"""Train, validation and test nodes: public masks, fixed files, and seeded random stratified splits.

A split is three disjoint boolean masks over the nodes. Nodes in none of them (unlabeled ones, or the rest of
a public semi-supervised split) take part in message passing and in nothing else.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lcat._arrays import tensor_of
from lcat._device import read_device
from lcat._files import as_path
from lcat._numbers import as_float, as_int
from lcat._seeds import derive_seed
from lcat._text import counted

__all__ = ["Split", "SplitError", "check_fractions", "from_indices", "load_split_file", "random_split"]


class SplitError(ValueError):
    """A split that cannot be used: overlapping, empty, of the wrong size, or unreadable."""


@dataclass(frozen=True)
class Split:
    """Three disjoint boolean masks of shape ``[N]``; checked when made.

    Args:
        train: ``[N]`` bool, the nodes whose labels are trained on.
        val: ``[N]`` bool, the nodes that choose the epoch (and any hyper-parameter).
        test: ``[N]`` bool, the nodes that are only reported.

    Raises:
        SplitError: if a mask is not boolean, not one-dimensional, empty, of another length than the others,
            or overlaps another.

    Example:
        >>> import torch
        >>> from lcat.data import Split
        >>> part = torch.tensor([0, 0, 1, 2])
        >>> Split(part == 0, part == 1, part == 2).sizes
        (2, 1, 1)
    """

    train: Tensor
    val: Tensor
    test: Tensor

    def __post_init__(self) -> None:
        masks = {"train": self.train, "val": self.val, "test": self.test}
        for name, mask in masks.items():
            if not isinstance(mask, Tensor):
                raise SplitError(
                    f"the {name} mask must be a boolean tensor with one entry per node; got {type(mask).__name__}: "
                    "convert it with torch.as_tensor"
                )
            if mask.dtype != torch.bool or mask.dim() != 1:
                raise SplitError(
                    f"the {name} mask must be a boolean vector with one entry per node; "
                    f"got dtype {mask.dtype} and shape {list(mask.shape)}. "
                    "Node numbers become masks with lcat.data.from_indices(num_nodes, train, val, test)"
                )
            if mask.numel() != self.train.numel():
                raise SplitError(
                    f"the masks must have one length, the number of nodes; got {self.train.numel()} for train "
                    f"and {mask.numel()} for {name}"
                )
            if not bool(mask.any()):
                raise SplitError(
                    f"the {name} mask selects none of {mask.numel()} nodes, graphs or pairs; each of train, val and "
                    "test needs at least one: take larger data, or a split of your own"
                )
        for a, b in (("train", "val"), ("train", "test"), ("val", "test")):
            shared = int((masks[a] & masks[b]).sum())
            if shared:
                raise SplitError(
                    f"{a} and {b} share {counted(shared, 'node')}; they must be disjoint, or the test figure "
                    "means nothing"
                )

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Number of train, validation and test nodes."""
        return int(self.train.sum()), int(self.val.sum()), int(self.test.sum())

    @property
    def num_nodes(self) -> int:
        """Length of the masks."""
        return self.train.numel()

    def to(self, device: torch.device | str) -> Split:
        """The same split with its masks on ``device``."""
        device = read_device(device)
        return Split(self.train.to(device), self.val.to(device), self.test.to(device))


def from_indices(num_nodes: int, train: Tensor, val: Tensor, test: Tensor) -> Split:
    """A :class:`Split` from three vectors of node numbers.

    Args:
        num_nodes: length of the masks to make.
        train, val, test: integer tensors ``[*]`` with entries in ``0 .. num_nodes - 1``, without duplicates.

    Raises:
        SplitError: on numbers that are not integers, out of range, or given twice.

    Example:
        >>> import torch
        >>> from lcat.data import from_indices
        >>> from_indices(
        ...     4, torch.tensor([0, 3]), torch.tensor([1]), torch.tensor([2])
        ... ).train.tolist()
        [True, False, False, True]
    """
    if (count := as_int(num_nodes)) is None or count < 1:
        raise SplitError(f"num_nodes must be a whole number, at least 1; got {num_nodes!r}")
    num_nodes = count
    masks = []
    for name, index in (("train", train), ("val", val), ("test", test)):
        if not isinstance(index, Tensor):
            raise SplitError(
                f"the {name} nodes must be a tensor of integers; got {type(index).__name__}: convert it with "
                "torch.as_tensor"
            )
        if index.dtype not in (torch.int64, torch.int32, torch.int16, torch.int8):
            masks_have = index.dtype in (torch.bool, torch.uint8)
            way_out = ": make numbers of a mask with .nonzero().view(-1)" if masks_have else ""
            raise SplitError(f"the {name} nodes must be signed integers; got dtype {index.dtype}{way_out}")
        index = index.long().flatten()
        if index.numel() and (int(index.min()) < 0 or int(index.max()) >= num_nodes):
            raise SplitError(
                f"the {name} nodes must lie in 0 .. {num_nodes - 1}; got {int(index.min())} .. {int(index.max())}"
            )
        mask = torch.zeros(num_nodes, dtype=torch.bool)
        mask[index] = True
        if int(mask.sum()) != index.numel():
            raise SplitError(f"the {name} nodes hold {counted(index.numel() - int(mask.sum()), 'duplicate')}")
        masks.append(mask)
    return Split(*masks)


def check_fractions(fractions: Any) -> None:
    """Refuse what are no three shares of the nodes.

    Raises:
        SplitError: they are not three positive numbers with sum 1.
    """
    is_row = isinstance(fractions, Sequence) or getattr(fractions, "ndim", 0) == 1  # NumPy's and tensors, too
    shares = [as_float(share) for share in fractions] if is_row else []
    if len(shares) != 3 or None in shares:
        raise SplitError(f"fractions must be three positive numbers, of train, val and test; got {fractions!r}")
    if not min(fractions) > 0 or not abs(sum(fractions) - 1) <= 1e-6:
        raise SplitError(
            f"fractions must be three positive numbers that sum to 1 (train, val, test); got {tuple(fractions)}"
        )


def random_split(y: Tensor, fractions: Sequence[float] = (0.6, 0.2, 0.2), seed: int = 0) -> Split:
    """A random split with the same share of every class in each part.

    In each class of ``n`` nodes, ``round(f_train * n)`` go to train, ``round(f_val * n)`` to validation (at
    least one to train, and one to each other part where the class is large enough), the rest to test. Nodes
    with a negative label are unlabeled and go nowhere.

    Args:
        y: ``[N]`` integer labels, negative for unlabeled.
        fractions: three positive numbers that sum to 1.
        seed: the only source of randomness; the global generator is not touched.

    Returns:
        The split. Equal arguments give equal splits. Cost O(N log N).

    Raises:
        SplitError: on fractions that are not three positive numbers with sum 1, or labels of another kind.

    Example:
        >>> import torch
        >>> from lcat.data import random_split
        >>> random_split(torch.arange(100) % 2, seed=3).sizes
        (60, 20, 20)
    """
    check_fractions(fractions)
    if not isinstance(y, Tensor):
        raise SplitError(f"y must be a tensor of labels; got {type(y).__name__}: convert it with torch.as_tensor")
    if y.dim() != 1 or y.is_floating_point() or y.is_complex() or y.dtype == torch.bool:
        raise SplitError(f"y must be a vector of integer labels; got dtype {y.dtype} and shape {list(y.shape)}")
    generator = torch.Generator().manual_seed(derive_seed(seed, "split"))
    labels = y.cpu()
    parts: list[list[Tensor]] = [[], [], []]
    for label in labels[labels >= 0].unique().tolist():
        nodes = (labels == label).nonzero().view(-1)
        nodes = nodes[torch.randperm(nodes.numel(), generator=generator)]
        n = nodes.numel()
        train = min(max(1, round(fractions[0] * n)), n)
        val = min(max(1, round(fractions[1] * n)), n - train)
        if n - train - val < 1 and n >= 3:  # a small class still reaches the test nodes
            train = max(1, train - 1)
        for part, members in zip(parts, nodes.split([train, val, n - train - val]), strict=True):
            part.append(members)
    empty = torch.empty(0, dtype=torch.long)
    return from_indices(labels.numel(), *(torch.cat(part) if part else empty for part in parts))


def load_split_file(path: str | Path, num_nodes: int) -> Split:
    """A split from an ``.npz`` file with the arrays ``train``, ``valid`` (or ``val``) and ``test`` of node numbers.

    This is the format in which "Classic GNNs are Strong Baselines" (Luo, Shi, Wu, 2024) ships the fixed
    60/20/20 splits of Amazon Computers and Photo and of Coauthor CS and Physics. Pickled arrays are refused.

    Args:
        path: the file.
        num_nodes: number of nodes of the graph that it splits.

    Raises:
        SplitError: on a file that is missing, unreadable, or does not fit the graph; the message names it.
    """
    path = as_path("path", path)
    if (count := as_int(num_nodes)) is None or count < 1:
        raise SplitError(f"num_nodes must be a whole number, at least 1; got {type(num_nodes).__name__} {num_nodes!r}")
    try:
        with path.open("rb") as file:  # which NumPy leaves open when it is damaged
            loaded = np.load(file, allow_pickle=False)
            if not isinstance(loaded, np.lib.npyio.NpzFile):
                raise SplitError(
                    f"split file {path} holds one array without a name; it needs train, valid (or val) and test"
                )
            with loaded as arrays:
                names = [("val" if name == "val" and "val" in arrays else key) for name, key in _KEYS]
                missing = [name for name in names if name not in arrays]
                if missing:
                    raise SplitError(
                        f"split file {path} holds the arrays {', '.join(arrays.files) or 'none'}; "
                        f"it needs train, valid (or val) and test, and lacks {', '.join(missing)}"
                    )
                train, val, test = (tensor_of(arrays[name]) for name in names)
    except _DAMAGE as error:
        if isinstance(error, SplitError):
            raise
        raise SplitError(f"split file {path} cannot be read: {_reason(error)}") from error
    try:
        return from_indices(num_nodes, train, val, test)
    except SplitError as error:
        raise SplitError(f"split file {path} does not fit a graph with {counted(num_nodes, 'node')}: {error}") from None


# What NumPy and the zip module raise for damaged files (one is a NotImplementedError), and torch for other types.
_DAMAGE = (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, RuntimeError, TypeError)
_KEYS = (("train", "train"), ("val", "valid"), ("test", "test"))


def _reason(error: BaseException) -> str:
    """Without NumPy's advice to allow pickles, which can run code: it takes any file that it does not know for one."""
    text = _one_line(error)
    if "Object arrays" in text:
        return "it holds an array of objects; save whole numbers, the nodes, with np.savez"
    if "pickle" in text:
        return "it is no .npz file; save one with np.savez(path, train=..., valid=..., test=...)"
    return text


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
