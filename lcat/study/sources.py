"""From the name of a data set in a plan to the graph of one seed."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from lcat.data import (
    DataError,
    NodeDataset,
    Split,
    UnknownDataset,
    csbm,
    default_root,
    load,
    load_file,
    missing_files,
)
from lcat.data.datasets import find_spec
from lcat.study.cell import Cell

__all__ = ["Sources", "check_name", "parse_csbm"]

_FILE_SUFFIXES = (".pt", ".npz")
_CSBM_KEYS = {"n": int, "q": float, "p": float, "sigma": float, "distance": float, "d": int}


@dataclass
class Sources:
    """Data sets by name, loaded when first used; only the last one is kept in memory.

    Args:
        root: data folder for public data sets, ``None`` for the default one.
        own: own data sets by name; they go before all other names.
        metric: metric of data sets read from a file, where the file does not say.
    """

    root: Path | None = None
    own: Mapping[str, NodeDataset] = field(default_factory=dict)
    metric: str | None = None
    _last: tuple[str, NodeDataset] | None = None
    _fingerprint: tuple[NodeDataset, str] | None = None

    def load(self, name: str, seed: int) -> NodeDataset:
        """The data set for one seed; a ``csbm:`` name draws another graph for every seed.

        Raises:
            lcat.data.DataError: if it cannot be had or used; one line that says what to do.
        """
        if name in self.own:
            return self.own[name]
        if name.startswith("csbm:"):
            return _draw(name, seed)
        if self._last is None or self._last[0] != name:
            self._last = None  # let go of the old graph before the new one is read
            loaded = load_file(name, self.metric) if name.endswith(_FILE_SUFFIXES) else load(name, self.root)
            self._last = (name, loaded)
        return self._last[1]

    def prepared(self, cell: Cell) -> tuple[NodeDataset, Split]:
        """The graph and the split of a cell.

        Raises:
            lcat.data.DataError: if they cannot be had.
        """
        dataset = self.load(cell.dataset, cell.seed)
        return dataset, dataset.split(cell.seed)

    def hashes(self, cell: Cell, split: Split) -> tuple[str, str]:
        """16 hexadecimal digits of the three masks, and of the graph (before any noise) with its test nodes."""
        dataset = self.load(cell.dataset, cell.seed)
        if self._fingerprint is None or self._fingerprint[0] is not dataset:
            self._fingerprint = (dataset, _hash(dataset.data.x, dataset.data.edge_index, dataset.data.y))
        graph = self._fingerprint[1]
        return _hash(split.train, split.val, split.test), _hash(split.test, start=graph.encode())

    def prepare(self, names: tuple[str, ...]) -> None:
        """Make sure that every data set is there before the first one is trained on.

        Files that are missing are downloaded now, so that a study does not fail hours later.

        Raises:
            lcat.data.DataError: for the first that cannot be had.
        """
        for name in names:
            check_name(name, tuple(self.own))
            if name in self.own:
                self.own[name].split(0)
            elif name.endswith(_FILE_SUFFIXES) or name.startswith("csbm:"):
                self.load(name, 0).split(0)
            elif missing_files(name, self.root or default_root()):
                self.load(name, 0)


def _hash(*tensors: Tensor, start: bytes = b"") -> str:
    state = hashlib.sha256(start)
    for tensor in tensors:
        state.update(str((tensor.dtype, tuple(tensor.shape))).encode())
        state.update(tensor.contiguous().numpy().data)
    return state.hexdigest()[:16]


def check_name(name: str, own: tuple[str, ...] = ()) -> str:
    """The name as plans keep it, if it is a data set.

    Raises:
        lcat.data.UnknownDataset: with the closest known names, or the options of a ``csbm:`` name.
    """
    if name in own:
        return name
    if name.startswith("csbm"):
        parse_csbm(name)
        return name
    if name.endswith(_FILE_SUFFIXES):
        if not Path(name).is_file():
            raise UnknownDataset(f"there is no file {name}; an own data set is a .pt or .npz file")
        return name
    try:
        return find_spec(name).name
    except UnknownDataset as error:
        more = "; own ones are csbm:easy,q=0.4 (synthetic) or a .pt or .npz file"
        raise UnknownDataset(f"{error}{more}") from None


def parse_csbm(name: str) -> dict[str, object]:
    """The arguments of :func:`lcat.data.csbm` in a name such as ``csbm:hard,q=0.3`` or ``csbm:distance=1.5,q=0.1``.

    Raises:
        lcat.data.UnknownDataset: on an option that does not exist or a value that is no number.

    Example:
        >>> from lcat.study.sources import parse_csbm
        >>> parse_csbm("csbm:hard,q=0.3")
        {'regime': 'hard', 'q': 0.3}
    """
    head, colon, tail = name.partition(":")
    usage = f"write csbm:easy or csbm:hard, with any of {', '.join(_CSBM_KEYS)} after it, as in csbm:hard,q=0.3,n=400"
    if head != "csbm" or not colon or not tail:
        raise UnknownDataset(f"data set {name!r}: {usage}")
    arguments: dict[str, object] = {}
    for part in tail.split(","):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals and key in ("easy", "hard"):
            arguments["regime"] = key
        elif equals and key in _CSBM_KEYS:
            try:
                number = _CSBM_KEYS[key](value)
            except ValueError:
                number = math.nan
            if not math.isfinite(number):
                raise UnknownDataset(f"data set {name!r}: {key} must be a number; got {value!r}")
            arguments[key] = number
        else:
            raise UnknownDataset(f"data set {name!r}: {part.strip()!r} is no option; {usage}")
    return arguments


def _draw(name: str, seed: int) -> NodeDataset:
    try:
        data = csbm(seed=seed, **parse_csbm(name))  # type: ignore[arg-type]
    except DataError:
        raise
    except ValueError as error:
        raise DataError(f"data set {name!r}: {error}") from None
    split = Split(data.train_mask, data.val_mask, data.test_mask)
    return NodeDataset(name, data, lambda _: split, "accuracy", "a new graph and stratified 60/20/20 split by seed")
