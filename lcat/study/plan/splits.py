"""Rules of splits in words, the splits they stand for, and the folder that keeps them.

==================  ====================================================================================
``own``             the data set's own split of the cell's seed
``file:PATH``       fixed ``.npz`` files of node numbers (``train``, ``valid``, ``test``); ``{dataset}`` in the path
                    stands for the name of the data set, ``{fold}`` for 0, 1, 2, ... as far as there are files
``kfold:K``         ``K`` random folds: one tests, the next validates, the others train
``stratified:K``    the same with the classes distributed evenly
``repeated:KxR``    stratified, with ``R`` shuffles
``nested:KxJ``      ``K`` stratified outer folds that test; the rest is cut into ``J`` inner folds that validate
==================  ====================================================================================
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from torch import Tensor

from lcat._measures import MEASURES
from lcat._text import hint
from lcat.data import DataError, NodeDataset, Split, SplitError, fold_split, load_split_file, nested_split
from lcat.study._folder import OutputError, check_file, write_file
from lcat.study.plan.as_task import AnyDataset
from lcat.study.plan.cell import SplitChoice, digest
from lcat.study.plan.own_data import short_name

__all__ = ["SPLITS_NAME", "SplitFolder", "SplitKind", "SplitRule", "make_split", "split_hash"]

_HERE = Path()
#: Name of the folder with splits in the folder of a study.
SPLITS_NAME = "splits"

#: What a rule does, see the table above.
SplitKind = Literal["own", "file", "kfold", "stratified", "repeated", "nested"]
_KINDS: dict[SplitKind, str] = {
    "own": "own",
    "file": "file:PATH",
    "kfold": "kfold:5",
    "stratified": "stratified:5",
    "repeated": "repeated:5x3",
    "nested": "nested:5x3",
}
#: More folds than this in one rule are a slip of the keyboard.
_MAX_FOLDS = 1000
#: Content of a file ``.graph``: the hash, and the metric, which earlier versions did not keep.
_GRAPH_FILE = re.compile(rf"([0-9a-f]{{16}})(?: ({'|'.join(MEASURES)}|hits@[0-9]+))?\s*".encode())


@dataclass(frozen=True)
class SplitRule:
    """A rule that was understood.

    Attributes:
        kind: ``"own"``, ``"file"``, ``"kfold"``, ``"stratified"``, ``"repeated"`` or ``"nested"``.
        folds: number of (outer) folds.
        times: number of repetitions or of inner folds.
        path: of the file, with its placeholders.
    """

    kind: SplitKind
    folds: int = 0
    times: int = 0
    path: str = ""

    @classmethod
    def parse(cls, text: str) -> SplitRule:
        """The rule that ``text`` stands for.

        Raises:
            SplitError: with the rules that there are.

        Example:
            >>> from lcat.study.plan.splits import SplitRule
            >>> SplitRule.parse("nested:5x3")
            SplitRule(kind='nested', folds=5, times=3, path='')
        """
        kind, colon, rest = text.partition(":")
        usage = f"write one of {', '.join(_KINDS.values())}"
        if kind not in _KINDS:
            meant = hint(kind, _KINDS, show=lambda name: next(text for known, text in _KINDS.items() if known == name))
            raise SplitError(f"there is no split rule {text!r}{meant}; {usage}")
        if kind == "own" and not colon:
            return cls("own")
        if kind == "file" and rest:
            return cls("file", path=rest)
        shape = re.fullmatch(r"(\d+)x(\d+)" if kind in ("repeated", "nested") else r"(\d+)()", rest)
        if kind in ("own", "file") or shape is None:
            raise SplitError(f"the split rule {text!r} cannot be read; {usage}")
        folds, times = int(shape[1]), int(shape[2] or 0)
        min_folds = 2 if kind == "nested" else 3
        if not min_folds <= folds <= _MAX_FOLDS:
            raise SplitError(f"the split rule {text!r} must have {min_folds} to {_MAX_FOLDS} folds; got {folds}")
        if kind == "nested" and not 2 <= times <= _MAX_FOLDS:
            raise SplitError(f"the split rule {text!r} must have 2 to {_MAX_FOLDS} inner folds; got {times}")
        if kind == "repeated" and not 1 <= times <= _MAX_FOLDS:
            raise SplitError(f"the split rule {text!r} must have 1 to {_MAX_FOLDS} repetitions; got {times}")
        return cls(kind, folds, times)

    def choices(self, text: str, seed: int, dataset: str, base: Path = _HERE) -> list[SplitChoice]:
        """Every split of the rule for one data set.

        Args:
            text: the rule as it was written; it is kept in the choices.
            seed: of the shuffles.
            dataset: name of the data set.
            base: folder that relative paths start from.

        Raises:
            SplitError: if there is no file.
        """
        if self.kind == "own":
            return [SplitChoice()]
        if self.kind == "file":
            if "{fold}" not in self.path:
                _existing(base, self.path, dataset, None)
                return [SplitChoice(rule=text)]
            _existing(base, self.path, dataset, 0)
            count = next(i for i in range(1, _MAX_FOLDS + 1) if not (base / _fill(self.path, dataset, i)).is_file())
            return [SplitChoice(rule=text, fold=fold) for fold in range(count)]
        if self.kind == "nested":
            pairs = [(fold, inner) for fold in range(self.folds) for inner in range(self.times)]
            return [SplitChoice(rule=text, seed=seed, fold=fold, inner_fold=inner) for fold, inner in pairs]
        if self.kind == "repeated":
            pairs = [(repeat, fold) for repeat in range(self.times) for fold in range(self.folds)]
            return [SplitChoice(rule=text, seed=seed, repeat=repeat, fold=fold) for repeat, fold in pairs]
        return [SplitChoice(rule=text, seed=seed, fold=fold) for fold in range(self.folds)]


def make_split(choice: SplitChoice, dataset: AnyDataset, seed: int, base: Path = _HERE) -> Split:
    """The split that a cell asks for.

    Args:
        choice: which one.
        dataset: labels, and its own splits.
        seed: of the cell; it matters for the rule ``own`` alone.
        base: folder that relative paths start from.

    Raises:
        SplitError, lcat.data.DataError: if the split is not available or does not fit.
    """
    rule = SplitRule.parse(choice.rule)
    if rule.kind == "own":
        return dataset.split(seed)
    if rule.kind == "file":
        return dataset.checked(load_split_file(base / _fill(rule.path, dataset.name, choice.fold), dataset.num_items))
    if isinstance(dataset, NodeDataset) and dataset.is_inductive:
        raise SplitError(
            f"{choice.rule} would train on nodes that appear later, as the split of {dataset.name} is inductive; take "
            "split = 'own'"
        )
    if rule.kind == "stratified" and not dataset.is_stratified:
        raise SplitError(
            f"{choice.rule} distributes classes evenly, and {dataset.task} has none; take split = 'kfold:{rule.folds}'"
        )
    y, fold = dataset.classes, choice.fold or 0
    if rule.kind == "nested":
        return nested_split(y, rule.folds, fold, rule.times, choice.inner_fold or 0, choice.seed)
    stratified = rule.kind != "kfold"
    return fold_split(y, rule.folds, fold, choice.seed, repeat=choice.repeat or 0, stratified=stratified)


class SplitFolder:
    """Splits as files, named by the hash of what they belong to; made once, then read.

    Generated folds are read back from their file, so that a study keeps its folds even if a later version of the
    library would draw others. Of splits that come with a data set or from a file, the file here is the record: if the
    split has changed since, the cell fails and says so. Files are those that ``file:PATH`` takes.

    Args:
        folder: made when the first split is kept.
        base: folder that relative paths of rules start from.
    """

    def __init__(self, folder: Path, base: Path = _HERE) -> None:
        self.folder, self.base = folder, base

    def get(self, choice: SplitChoice, dataset: AnyDataset, seed: int, graph: str, name: str) -> Split:
        """The split of a cell, from its file if there is one.

        Args:
            choice: which one.
            dataset: labels, and its own splits.
            seed: of the cell.
            graph: hash of the graph.
            name: of the data set in the plan. Two data sets of one graph share generated folds, but no splits of their
                own or from files.

        Raises:
            SplitError: if it is not the split that the study began with.
            lcat.study.OutputError: if it cannot be written.
        """
        kind = SplitRule.parse(choice.rule).kind
        generated = kind not in ("own", "file")
        parts = [graph, choice.model_dump(), seed if kind == "own" else None]
        path = self.folder / f"{digest(parts)}.npz"
        # Earlier versions left the name out in all files; those that are there stay good.
        if not generated and not path.is_file():
            path = self.folder / f"{digest([*parts, name])}.npz"
        if path.is_file():
            try:
                stored = load_split_file(path, dataset.num_items)
            except SplitError as error:
                raise SplitError(
                    f"{error}; move it away, and the study makes this split of {dataset.name} ({choice}) again"
                ) from error
            if generated:
                return stored
            if split_hash(make_split(choice, dataset, seed, self.base)) != split_hash(stored):
                raise SplitError(
                    f"the split of {dataset.name} ({choice}, seed {seed}) has changed since the study began; the old "
                    f'one is {path}: put it back (split = "file:{path}"), or begin another study'
                )
            return stored
        split = make_split(choice, dataset, seed, self.base)
        masks = {"train": split.train, "valid": split.val, "test": split.test}
        content = io.BytesIO()
        arrays: dict[str, Any] = {part: mask.nonzero().view(-1).numpy() for part, mask in masks.items()}
        np.savez_compressed(content, **arrays)
        write_file(path, content.getvalue())
        return split

    def forget_graph(self, name: str) -> None:
        """Forget the graph of a data set that no result is of."""
        (self.folder / f"{digest(name)}.graph").unlink(missing_ok=True)

    def check_graph(self, name: str, graph: str, metric: str) -> None:
        """Remember the graph and the metric of a data set when it is first seen; after that they must be the same.

        Args:
            name: of the data set.
            graph: its hash.
            metric: that it is judged by.

        Raises:
            lcat.data.DataError: if one of them is another one, or the file that remembers them is damaged.
            lcat.study.OutputError: if they cannot be written or read.
        """
        path = self.folder / f"{digest(name)}.graph"
        check_file(path)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            write_file(path, f"{graph} {metric}".encode())
            return
        except OSError as error:
            raise OutputError(f"cannot read {path}: {error.strerror or error}") from error
        whole = _GRAPH_FILE.fullmatch(content)
        if whole is None:
            raise DataError(
                f"{path} is damaged: expected the hash of the graph of {name} and its metric, got "
                f"{_start(content)}; if the files of the data set are those that the study began with, move it away, "
                "and the study writes it again"
            )
        old_graph, old_metric = whole[1].decode(), (whole[2] or b"").decode()
        if old_graph != graph:
            raise DataError(
                f"the data set {name} has changed since the study began (features, edges or labels), and old and new "
                "results do not compare; put the old files back, or begin another study with --out"
            )
        if old_metric not in ("", metric):
            raise DataError(
                f"the metric of the data set {name} has changed since the study began, from {old_metric} to {metric}, "
                "and old and new results do not compare; put the old metric back, or begin another study with --out"
            )


def _start(content: bytes) -> str:
    return ascii(content[:40].decode("ascii", "replace")) + (" ..." if len(content) > 40 else "")


def split_hash(split: Split) -> str:
    """16 hexadecimal digits of the three masks."""
    return digest([_bits(mask) for mask in (split.train, split.val, split.test)])


def _bits(mask: Tensor) -> str:
    return f"{mask.numel()}:{np.packbits(mask.cpu().numpy()).tobytes().hex()}"


def _fill(path: str, dataset: str, fold: int | None) -> str:
    return path.replace("{dataset}", short_name(dataset)).replace("{fold}", "" if fold is None else str(fold))


def _existing(base: Path, path: str, dataset: str, fold: int | None) -> None:
    full = base / _fill(path, dataset, fold)
    if not full.is_file():
        raise SplitError(f"the split file {full} of {dataset} does not exist")
