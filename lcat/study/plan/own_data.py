"""Own data sets of a plan: files, and functions in Python files."""

from __future__ import annotations

import hashlib
import inspect
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lcat._measures import TaskName
from lcat._text import counted
from lcat.data import DataError, GraphDataset, UnknownDataset, read_file, read_links
from lcat.data.datasets.steps import with_both_directions, with_scaled_features
from lcat.data.datasets.tables import edges_file_of
from lcat.study.models.own_source import NoSuchModel, attribute_of, import_source, source_of
from lcat.study.plan.as_task import AnyDataset, made_for

__all__ = ["OwnData", "is_own_file", "own_data", "short_name"]

_SUFFIXES = (".pt", ".npz", ".csv")
#: What can be written behind a name, and what it does.
_OPTIONS: dict[str, Callable[[Any], Any]] = {
    "undirected": with_both_directions,
    "scaled": with_scaled_features,
}


@dataclass(frozen=True)
class OwnData:
    """An own data set of a plan.

    Attributes:
        name: as plans have it.
        path: of its file, as it is written.
        function: in a Python file; empty for other files.
        options: ``"undirected"``, ``"scaled"``.
    """

    name: str
    path: str
    function: str = ""
    options: tuple[str, ...] = ()

    def load(self, base: Path, metric: str | None = None, seed: int = 0, task: TaskName | None = None) -> AnyDataset:
        """The data set.

        Args:
            base: folder that relative paths start from.
            metric: before what the file names.
            seed: for a function that takes one.
            task: before what the file names.

        Raises:
            lcat.data.DataError: if it cannot be read, or its function fails.
        """
        if self.function:
            dataset = self._call(base, metric, seed, task)
        elif task == "link-prediction":
            dataset = read_links(base / self.path, metric)
        else:
            dataset = read_file(base / self.path, metric, task)
        for option in self.options:
            if isinstance(dataset, GraphDataset):
                graphs = counted(dataset.num_items, "graph")
                raise DataError(f"{self.name}: {option} is for one graph; got {graphs}: leave it out")
            dataset = _OPTIONS[option](dataset)
        return dataset

    def takes_seed(self, base: Path) -> bool:
        """Whether every seed has a graph of its own.

        Raises:
            lcat.data.DataError: if its function does not exist, or its file cannot be imported.
        """
        return bool(self.function) and "seed" in inspect.signature(self._find(base)).parameters

    def check(self, base: Path) -> None:
        """Make sure that its file exists.

        Raises:
            lcat.data.UnknownDataset: names the file.
        """
        if not (base / self.path).is_file():
            kinds = "a .pt, .npz or .csv file, or a function in a Python file, as in data.py:make_data"
            raise UnknownDataset(f"there is no file {base / self.path}; an own data set is {kinds}")

    def files(self, base: Path) -> list[Path]:
        """The files that it is read from."""
        path = base / self.path
        return [path, edges_file_of(path)] if path.suffix == ".csv" else [path]

    def source(self, base: Path) -> tuple[str, str]:
        """A hash of its files, and the text of its Python file if it has one."""
        if self.function:
            source = source_of(self._find(base))
            return source.hash, source.text
        state = hashlib.sha256()
        for path in self.files(base):
            state.update(hashlib.sha256(path.read_bytes()).digest())
        return state.hexdigest()[:16], ""

    def _find(self, base: Path) -> Callable[..., Any]:
        try:
            function = attribute_of(import_source(self.path, base), self.function, self.path)
        except NoSuchModel as error:
            raise DataError(str(error)) from None
        except (Exception, SystemExit) as error:  # a script that is no module
            raise DataError(f"{self.path} cannot be imported: {_where(error)}") from error
        if not callable(function) or hasattr(function, "edge_index"):  # graphs of PyG can be called, too
            raise DataError(
                f"{self.name}: expected a function that returns the data, got a {type(function).__name__}: write "
                f"def {self.function}(): return ..."
            )
        parameters = inspect.signature(function).parameters.values()
        needed = [one.name for one in parameters if one.default is one.empty and one.kind < 2 and one.name != "seed"]
        if needed:
            raise DataError(
                f"{self.name}: expected a function without arguments, or with seed alone, got one that needs "
                f"{', '.join(needed)}: give them defaults"
            )
        return function  # type: ignore[no-any-return]

    def _call(self, base: Path, metric: str | None, seed: int, task: TaskName | None) -> AnyDataset:
        function = self._find(base)
        try:
            value = function(seed=seed) if self.takes_seed(base) else function()
        except (Exception, SystemExit) as error:
            raise DataError(f"{self.name} failed: {_where(error)}") from error
        dataset = made_for(value, self.function, metric, task)
        line = f"made by {self.function}" + (" for every seed" if self.takes_seed(base) else "")
        return replace(dataset, steps=(line, *dataset.steps))


def _where(error: BaseException) -> str:
    """An error of a user's function in one line, with the line of the file that it comes from."""
    frames = traceback.extract_tb(error.__traceback__)
    line = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {' '.join(str(error).split())}{line}"


def own_data(name: str) -> OwnData | None:
    """What a name of a plan says of an own data set, ``None`` for the name of another kind.

    Raises:
        lcat.data.UnknownDataset: for an option that does not exist.

    Example:
        >>> from lcat.study.plan.own_data import own_data
        >>> own_data("mine/nodes.csv,undirected")
        OwnData(name='mine/nodes.csv,undirected', path='mine/nodes.csv', function='', options=('undirected',))
        >>> own_data("data.py:make").function, own_data("cora")
        ('make', None)
    """
    if name.startswith("csbm:"):
        return None
    text = name
    options: list[str] = []
    while text.rpartition(",")[2].strip() in _OPTIONS and "," in text:
        text, _, option = text.rpartition(",")
        options.insert(0, option.strip())
    path, colon, function = text.rpartition(":")
    if colon and path.endswith(".py") and "," not in function:
        return OwnData(name, path, function, tuple(options))
    if text.endswith(_SUFFIXES):
        return OwnData(name, text, "", tuple(options))
    head, comma, option = text.rpartition(",")
    if comma and (head.endswith(_SUFFIXES) or ".py:" in head):
        raise UnknownDataset(f"data set {name!r}: {option.strip()!r} is no option; write any of {', '.join(_OPTIONS)}")
    return None


def is_own_file(name: str) -> bool:
    """The name is that of a file with your own data set, or of a function in one."""
    try:
        return own_data(name) is not None
    except UnknownDataset:
        return True


def short_name(name: str) -> str:
    """What files of splits call a data set: the name of its file without folders and ending, or of its function.

    Example:
        >>> from lcat.study.plan.own_data import short_name
        >>> short_name("data/mine.npz"), short_name("data.py:make"), short_name("cora")
        ('mine', 'make', 'cora')
    """
    own = own_data(name)
    if own is None:
        return name
    return own.function or Path(own.path).stem
