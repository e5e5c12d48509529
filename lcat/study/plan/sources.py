"""From the name of a data set in a plan to the graph of one seed."""

from __future__ import annotations

import copy
import hashlib
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data

from lcat._measures import TaskName
from lcat._text import hint
from lcat.data import (
    DataError,
    LinkDataset,
    NodeDataset,
    Split,
    SplitError,
    UnknownDataset,
    csbm,
    default_root,
    load,
    load_tu,
    missing_files,
    noisy_edges,
    noisy_features,
    splits_from_masks,
)
from lcat.data.datasets.facts import graph_facts
from lcat.data.datasets.load import find_spec
from lcat.study.plan.as_task import AnyDataset, as_task
from lcat.study.plan.cell import Cell, SplitChoice, digest
from lcat.study.plan.own_data import is_own_file, own_data
from lcat.study.plan.splits import SplitFolder, make_split

__all__ = ["Sources", "all_csbm_options", "check_name", "parse_csbm"]

_HERE = Path()
_REGIMES = ("easy", "hard")
_CSBM_KEYS: dict[str, type[int] | type[float]] = {
    "n": int,
    "q": float,
    "p": float,
    "sigma": float,
    "distance": float,
    "d": int,
}


@dataclass
class Sources:
    """Data sets by name, loaded when first used; only the last one is kept in memory.

    Args:
        root: data folder for public data sets, ``None`` for the default one.
        own: your own data sets by name; they have priority over all other names.
        metric: of a plan, for :meth:`prepare` and for files without another metric; cells have their own.
        splits: where splits are kept; ``None`` keeps none.
        base: folder that relative paths of files start from.
        task: of a plan, for :meth:`prepare`; cells have their own.
    """

    root: Path | None = None
    own: Mapping[str, AnyDataset] = field(default_factory=dict)
    metric: str | None = None
    splits: SplitFolder | None = None
    base: Path = Path()
    task: TaskName | None = None
    _last: tuple[tuple[str | None, ...], AnyDataset] | None = None
    _fingerprint: tuple[AnyDataset, str] | None = None
    _facts: tuple[AnyDataset, dict[str, Any]] | None = None
    _on_device: tuple[AnyDataset, torch.device, Data] | None = None

    def load(self, name: str, seed: int, task: TaskName | None = None, metric: str | None = None) -> AnyDataset:
        """The data set for one seed; a ``csbm:`` name draws another graph for every seed.

        Args:
            name: of the data set.
            seed: of a generated graph.
            task: what is predicted; ``None`` for that of the data set.
            metric: that decides; ``None`` for that of the data set.

        Raises:
            lcat.data.DataError: if it is not available or cannot be used; one line that says what to do.
        """
        own = self.own.get(name)
        if own is not None and task in (None, own.task) and metric in (None, own.metric):
            return own
        wanted = (name, str(seed) if self.is_drawn(name) else None, task, metric)
        if self._last is None or self._last[0] != wanted:
            self._last = None  # let go of the old graph before the new one is read
            dataset = own if own is not None else self._read(name, seed, task, metric)
            self._last = (wanted, as_task(dataset, task, metric))
        return self._last[1]

    def _read(self, name: str, seed: int, task: TaskName | None, metric: str | None) -> AnyDataset:
        if name.startswith("csbm:"):
            return _draw(name, seed)
        if name.startswith("tu:"):
            return load_tu(name, self.root or default_root(), task=task)
        own = own_data(name)
        return load(name, self.root) if own is None else own.load(self.base, metric or self.metric, seed, task)

    def is_drawn(self, name: str) -> bool:
        """Whether every seed has a graph of its own.

        Raises:
            lcat.data.DataError: if the function of an own data set does not exist.
        """
        if name in self.own:
            return False
        own = own_data(name)
        return name.startswith("csbm:") if own is None else own.takes_seed(self.base)

    def of(self, cell: Cell) -> AnyDataset:
        """The data set of a cell, before any noise."""
        return self.load(cell.dataset, cell.seed, cell.task, cell.metric)

    def prepared(self, cell: Cell) -> tuple[AnyDataset, Split]:
        """The graph and the split of a cell.

        Raises:
            lcat.data.DataError: if they are not available.
        """
        dataset = self.of(cell)
        if self.splits is None:
            split = make_split(cell.split, dataset, cell.seed, self.base)
        else:
            graph = self.fingerprint(dataset)
            if not self.is_drawn(cell.dataset):
                self.splits.check_graph(cell.dataset, graph, dataset.metric)
            split = self.splits.get(cell.split, dataset, cell.seed, graph, cell.dataset)
        noise = {"edges": noisy_edges, "features": noisy_features}.get(cell.noise.kind)
        if noise is not None:
            if not isinstance(dataset, NodeDataset):
                raise DataError(f"noise is for tasks on nodes; got {dataset.task}: leave it out")
            if dataset.is_inductive:  # what is added depends on the whole graph
                raise DataError(
                    f"noise is for graphs that training sees whole; {dataset.name} is inductive: leave it out"
                )
            # The masks belong to the nodes, which noise leaves alone.
            dataset = replace(dataset, data=noise(dataset.data, cell.noise.level, cell.seed))
        return dataset, split

    def fingerprint(self, dataset: AnyDataset) -> str:
        """16 hexadecimal digits of features, edges (with their weights and features) and labels."""
        if self._fingerprint is None or self._fingerprint[0] is not dataset:
            self._fingerprint = (dataset, _hash(*dataset.tensors()))
        return self._fingerprint[1]

    def facts(self, cell: Cell) -> dict[str, Any]:
        """Facts about the graph of a cell, before any noise; see :func:`lcat.data.datasets.facts.graph_facts`."""
        dataset = self.of(cell)
        if self._facts is None or self._facts[0] is not dataset:
            self._facts = (dataset, graph_facts(dataset))
        return self._facts[1]

    def record(self, name: str) -> dict[str, Any]:
        """What identifies an own data set: hashes of its graph (that of seed 0) and of its files, and its source."""
        own = None if name in self.own else own_data(name)
        file_hash, text = ("", "") if own is None else own.source(self.base)
        files = [] if own is None else [str(path) for path in own.files(self.base)]
        dataset = self._planned(name)
        return {
            "graph": self.fingerprint(dataset),
            "metric": dataset.metric,
            "hash": file_hash,
            "files": files,
            "source": text,
        }

    def test_set(self, cell: Cell, split: Split) -> str:
        """16 hexadecimal digits of the graph, before any noise, with its test nodes."""
        return digest([self.fingerprint(self.of(cell)), _hash(split.test)])

    def on_device(self, dataset: NodeDataset | LinkDataset, device: torch.device) -> Data:
        """The graph on a device; the last one is kept there for the next cell."""
        if device.type == "cpu":
            return dataset.data
        if self._on_device is None or self._on_device[0] is not dataset or self._on_device[1] != device:
            self._on_device = None
            # A copy of the record: PyG moves a Data in place.
            self._on_device = (dataset, device, copy.copy(dataset.data).to(device))
        return self._on_device[2]

    def prepare(
        self, names: tuple[str, ...], choices: Callable[[str], Sequence[SplitChoice]] = lambda _: [SplitChoice()]
    ) -> list[str]:
        """Make sure that every data set and its first split are available before the first one is trained on.

        Files that are missing are downloaded now, so that a study does not fail hours later.

        Args:
            names: of the data sets.
            choices: the splits of each, the data set's own by default.

        Returns:
            What the owners of own data sets should know of them, see :meth:`lcat.data.NodeDataset.remarks`.

        Raises:
            lcat.data.DataError: for the first that is not available, or does not take the split, task or metric.
        """
        remarks: list[str] = []
        for name in names:
            check_name(name, tuple(self.own), self.base)
            first = choices(name)[0]
            private = name in self.own or is_own_file(name) or name.startswith(("csbm:", "tu:"))
            # The own splits of public data sets fit them; reading a large one to see that takes its time.
            other = self.task is not None or self.metric is not None
            if private or other or first.rule != "own" or missing_files(name, self.root or default_root()):
                try:
                    make_split(first, self._planned(name), 0, self.base)
                except SplitError as error:
                    raise DataError(f"{name}: {error}") from None
            if name in self.own or is_own_file(name):
                remarks += [f"{name}: {text}" for text in self._planned(name).remarks()]
        return remarks

    def _planned(self, name: str) -> AnyDataset:
        return self.load(name, 0, self.task, self.metric)


def _hash(*tensors: Tensor) -> str:
    state = hashlib.sha256()
    for tensor in tensors:
        state.update(str((tensor.dtype, tuple(tensor.shape))).encode())
        state.update(tensor.contiguous().numpy().data)
    return state.hexdigest()[:16]


def check_name(name: str, own: tuple[str, ...] = (), base: Path = _HERE) -> str:
    """The name as plans keep it, if it is a data set.

    Args:
        name: as it was written.
        own: names that are data sets of the caller's.
        base: folder that relative paths of files start from.

    Raises:
        lcat.data.UnknownDataset: with the closest known names, or the options of a ``csbm:`` name.
    """
    if name in own:
        return name
    own_one = own_data(name)
    if own_one is not None:
        own_one.check(base)
        return name
    if name.startswith("csbm"):
        parse_csbm(name)
        return name
    if name.startswith("tu:") and len(name) > 3:
        return name
    try:
        return find_spec(name).name
    except UnknownDataset as error:
        more = (
            "; others are csbm:easy,q=0.4 (synthetic), tu:MUTAG (graphs), or your own .pt, .npz or .csv file or "
            "data.py:make_data; one that run_study gets is named in the plan as well, as in make_plan(own=[NAME])"
        )
        raise UnknownDataset(f"{error}{more}") from None


def parse_csbm(name: str) -> dict[str, object]:
    """The arguments of :func:`lcat.data.csbm` in a name such as ``csbm:hard,q=0.3`` or ``csbm:distance=1.5,q=0.1``.

    Raises:
        lcat.data.UnknownDataset: on an option that does not exist or comes twice, or a value that is no number.

    Example:
        >>> from lcat.study.plan.sources import parse_csbm
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
        if not equals and key in _REGIMES:
            if "regime" in arguments:
                raise UnknownDataset(f"data set {name!r}: expected one of easy and hard, got two")
            arguments["regime"] = key
        elif equals and key in _CSBM_KEYS:
            kind = _CSBM_KEYS[key]
            try:
                number = kind(value)
            except ValueError:
                number = math.nan
            if not math.isfinite(number):
                words = "whole number" if _is_number(value) else "number"
                raise UnknownDataset(f"data set {name!r}: {key} must be a {words}; got {value!r}")
            if key in arguments:
                raise UnknownDataset(f"data set {name!r}: {key} is given twice; give it once")
            arguments[key] = number
        else:
            raise UnknownDataset(
                f"data set {name!r}: {part.strip()!r} is no option{hint(key, [*_CSBM_KEYS, *_REGIMES])}; {usage}"
            )
    return arguments


def all_csbm_options(name: str) -> tuple[tuple[str, object], ...]:
    """The options of a ``csbm:`` name with the defaults of those that it leaves out: equal for the same graphs.

    Raises:
        lcat.data.UnknownDataset: as :func:`parse_csbm`.

    Example:
        >>> from lcat.study.plan.sources import all_csbm_options
        >>> all_csbm_options("csbm:n=60,easy") == all_csbm_options("csbm:easy,q=0.1,n=060")
        True
    """
    arguments = parse_csbm(name)
    defaults = inspect.signature(csbm).parameters
    options = {key: defaults[key].default for key in _CSBM_KEYS} | arguments
    if options["distance"] is None:
        options.setdefault("regime", _REGIMES[0])
    return tuple(sorted(options.items()))


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _draw(name: str, seed: int) -> NodeDataset:
    try:
        data = csbm(seed=seed, **parse_csbm(name))  # type: ignore[arg-type]
    except DataError:
        raise
    except ValueError as error:
        raise DataError(f"data set {name!r}: {error}") from None
    splits = splits_from_masks(data.train_mask, data.val_mask, data.test_mask)
    return NodeDataset(name, data, splits, "accuracy", "a new graph and stratified 60/20/20 split by seed")
