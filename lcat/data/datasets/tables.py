"""Own data sets from two tables, of nodes and of edges: pandas frames or CSV files."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch_geometric.data import Data

from lcat._files import as_path
from lcat._measures import TaskName
from lcat._numbers import read_bool
from lcat._text import counted, hint
from lcat.data.datasets.columns import Columns, columns_of_csv, columns_of_frame, is_missing, number_columns
from lcat.data.datasets.convert import from_data, links_of_values
from lcat.data.datasets.items import DataError
from lcat.data.datasets.link_dataset import LinkDataset
from lcat.data.datasets.node_dataset import NodeDataset
from lcat.data.datasets.split_columns import masks_of, split_columns
from lcat.data.datasets.steps import with_both_directions, with_scaled_features, with_steps

__all__ = [
    "NAMES_OF_IDS",
    "NAMES_OF_LABELS",
    "check_one_label",
    "edges_file_of",
    "from_csv",
    "from_frames",
    "label_names",
    "links_of_csv",
    "links_of_frames",
]

#: Names that columns have where none is named.
NAMES_OF_IDS = ("id", "node", "node_id")
NAMES_OF_LABELS = ("label", "y", "class", "target")
#: What the names of several columns with labels begin with.
_LABEL_PREFIX = "label."
_ENDS = (("source", "target"), ("src", "dst"), ("from", "to"))
_WEIGHTS = ("weight", "edge_weight")
#: Labels that a message lists.
_LISTED = 8
_UNKNOWN = ": leave the cell empty where the label is unknown"


@dataclass(frozen=True)
class _Names:
    """Columns by what they mean, as the caller names them; ``None`` for the usual names."""

    node_id: str | None
    labels: tuple[str, ...] | None
    ends: tuple[str | None, str | None]
    drop: tuple[str, ...]


def from_frames(
    nodes: Any,
    edges: Any,
    *,
    label: str | Sequence[str] | None = None,
    node_id: str | None = None,
    source: str | None = None,
    target: str | None = None,
    drop: Sequence[str] = (),
    undirected: bool = False,
    scale: bool = False,
    name: str = "own",
    metric: str = "",
    task: TaskName | None = None,
) -> NodeDataset:
    """A data set from two pandas frames, one row per node and one row per edge.

    **Nodes.** A column with the label (``label``, ``y``, ``class`` or ``target``), empty for nodes without one. Words
    and numbers other than ``0 .. C - 1`` are numbered in their order. Several labels per node are several columns,
    which ``label`` lists or whose names begin with ``label.``: 0 and 1, or the targets of a regression; an empty cell
    is an unknown one. A column ``id`` (``node``, ``node_id``) names the
    nodes; without it the index of the frame does, as after filtering or ``set_index``. A table without an index has
    the names 0, 1, 2, ... A column ``split`` with ``train``, ``val`` and ``test`` (or empty)
    is their split, and so are columns ``train_mask``, ``val_mask`` and ``test_mask`` of 0 and 1 (or ``train_mask.0``,
    ``train_mask.1``, ... of several splits). All other columns are features, and must hold numbers.

    **Edges.** Two columns with names of nodes (``source`` and ``target``, ``src`` and ``dst``, or ``from`` and
    ``to``). A column ``weight`` weighs messages; all other columns are features of edges.

    Args:
        nodes, edges: the frames.
        label, node_id, source, target: columns with other names; several as ``label=["height", "weight"]``.
        drop: columns to leave out.
        undirected: every edge is meant in both directions. Reverses that are missing are added, and repetitions are
            left out.
        scale: features get mean 0 and standard deviation 1, over all nodes.
        name: how tables call the data set.
        metric: as for :class:`NodeDataset`.
        task: by default regression if labels are numbers that are not whole, else classification; of several labels
            ``"node-multilabel"`` if all of them are 0 or 1, else regression.

    Raises:
        DataError: names the table, the row and the column, what was expected, and what it got.

    Example:
        >>> from lcat.data import from_frames
        >>> nodes = {
        ...     "id": ["ann", "bob", "cy"],
        ...     "age": [31, 25, 47],
        ...     "label": ["a", "b", "a"],
        ... }
        >>> edges = {"source": ["ann", "bob"], "target": ["bob", "cy"]}
        >>> data = from_frames(nodes, edges, undirected=True).data
        >>> data.y.tolist(), data.edge_index.tolist()
        ([0, 1, 0], [[0, 1, 1, 2], [1, 0, 2, 1]])
    """
    tables = (columns_of_frame(nodes, "the frame of nodes"), columns_of_frame(edges, "the frame of edges"))
    names = _Names(node_id, label_names(label), (source, target), _several(drop))
    return _dataset(tables, names, undirected=undirected, scale=scale, name=name, metric=metric, task=task)


def from_csv(
    nodes: str | Path,
    edges: str | Path | None = None,
    *,
    label: str | Sequence[str] | None = None,
    node_id: str | None = None,
    source: str | None = None,
    target: str | None = None,
    drop: Sequence[str] = (),
    undirected: bool = False,
    scale: bool = False,
    name: str | None = None,
    metric: str = "",
    task: TaskName | None = None,
) -> NodeDataset:
    r"""A data set from two CSV files whose first lines name their columns; see :func:`from_frames` for these.

    Args:
        nodes: one line per node.
        edges: one line per edge; by default the file beside ``nodes`` that is called the same, with ``edges`` for
            ``nodes``.
        label, node_id, source, target, drop, undirected, scale, metric, task: as for :func:`from_frames`.
        name: how tables call the data set; that of the file of nodes by default.

    Raises:
        DataError: names the file, the line and the column, what was expected, and what it got.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from lcat.data import from_csv
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     nodes, edges = Path(folder, "nodes.csv"), Path(folder, "edges.csv")
        ...     _ = nodes.write_text("id,age,label\nann,31,a\nbob,25,b\n")
        ...     _ = edges.write_text("source,target\nann,bob\n")
        ...     from_csv(nodes, undirected=True).data.num_edges
        2
    """
    path = as_path("nodes", nodes)
    edges_path = edges_file_of(path) if edges is None else as_path("edges", edges)
    tables = (columns_of_csv(path), columns_of_csv(edges_path))
    names = _Names(node_id, label_names(label), (source, target), _several(drop))
    called = path.stem if name is None else name
    return _dataset(tables, names, undirected=undirected, scale=scale, name=called, metric=metric, task=task)


def links_of_frames(nodes: Any, edges: Any, name: str, metric: str = "") -> LinkDataset:
    """The links of two frames, see :func:`from_frames`; columns with labels and splits are not used, and not needed.

    Args:
        nodes, edges: the frames, with the usual names of columns.
        name: how tables call the data set.
        metric: as for :class:`LinkDataset`.

    Raises:
        DataError: as for :func:`from_frames`.
    """
    return _links(
        (columns_of_frame(nodes, "the frame of nodes"), columns_of_frame(edges, "the frame of edges")), name, metric
    )


def links_of_csv(nodes: Path, metric: str = "") -> LinkDataset:
    """The links of two CSV files, see :func:`from_csv` and :func:`links_of_frames`.

    Args:
        nodes: the file of nodes.
        metric: as for :class:`LinkDataset`.

    Raises:
        DataError: as for :func:`from_csv`.
    """
    return _links((columns_of_csv(nodes), columns_of_csv(edges_file_of(nodes))), nodes.stem, metric)


def edges_file_of(nodes: Path) -> Path:
    """The file of edges that belongs to a file of nodes.

    Raises:
        DataError: if the name of the file says nothing of it.
    """
    if "nodes" not in nodes.name:
        raise DataError(
            f"{nodes}: expected a file of nodes with 'nodes' in its name, as in nodes.csv, whose edges are in a file "
            "with 'edges' instead; from_csv takes any two files"
        )
    return nodes.with_name("edges".join(nodes.name.rsplit("nodes", 1)))


def label_names(label: str | Sequence[str] | None) -> tuple[str, ...] | None:
    """The names of labels as a caller writes them: one, several, or ``None`` for the usual names.

    Raises:
        DataError: for an empty list, or one that names a column twice.
    """
    if label is None:
        return None
    names = (label,) if isinstance(label, str) or not isinstance(label, Iterable) else tuple(label)
    if not names:
        raise DataError("expected the name of a column as label=, or several of them, got an empty list")
    for name in names:
        if names.count(name) > 1:
            raise DataError(f"expected different names of columns as label=, got {name!r} twice")
    return names


def _several(names: Sequence[str]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)


def _dataset(
    tables: tuple[Columns, Columns],
    names: _Names,
    *,
    undirected: bool,
    scale: bool,
    name: str,
    metric: str,
    task: TaskName | None,
) -> NodeDataset:
    undirected, scale = read_bool("undirected", undirected), read_bool("scale", scale)
    nodes, edges = tables
    for column in names.drop:
        if column not in nodes.values and column not in edges.values:
            known = [*nodes.values, *edges.values]
            raise DataError(
                f"there is no column {column!r} to drop{hint(column, known)}; columns are {', '.join(known)}"
            )
    labels = _label_columns(nodes, names)
    y, of_labels, task = _labels(nodes, labels, task)
    data, split, steps = _graph(tables, names, labels, of_labels)
    data.y = torch.from_numpy(y)
    for key, mask in masks_of(nodes, split).items():
        data[key] = torch.from_numpy(mask)
    dataset = with_steps(from_data(data, name, metric, task), *steps)
    dataset = with_both_directions(dataset) if undirected else dataset
    return with_scaled_features(dataset) if scale else dataset


def _links(tables: tuple[Columns, Columns], name: str, metric: str) -> LinkDataset:
    names = _Names(None, None, (None, None), ())
    labels = _usual_labels(tables[0], names)
    data, split, steps = _graph(tables, names, labels, ())
    unused = [*labels, *split]
    if unused:
        steps.append(f"not used: {', '.join(unused)}")
    return replace(links_of_values(data.to_dict(), name, metric), steps=tuple(steps))


def _graph(
    tables: tuple[Columns, Columns], names: _Names, labels: Sequence[str], of_labels: Sequence[str]
) -> tuple[Data, list[str], list[str]]:
    """Features and edges of the tables, the columns with splits, and lines on what was done, those on labels too."""
    nodes, edges = tables
    by_index = names.node_id is not None and names.node_id == nodes.index_name and names.node_id not in nodes.values
    id_column = None if by_index else _column(nodes, names.node_id, NAMES_OF_IDS)
    numbers = _numbered(nodes, id_column)
    split = [one for one in split_columns(nodes, names.drop) if one not in (id_column, *labels)]
    features = [one for one in nodes.values if one not in (id_column, *split, *labels, *names.drop)]
    if not features:
        raise DataError(
            f"{nodes.name}: expected a column of numbers, which are features, got {', '.join(nodes.values)}"
        )
    way_out = ": write words as numbers, fill empty cells, or leave the column out (drop=)"
    data = Data(x=torch.from_numpy(number_columns(nodes, features, way_out)))
    steps = [f"features: {', '.join(features)}" if len(features) <= _LISTED else counted(len(features), "feature")]
    if id_column is None and nodes.index is not None:
        steps.insert(0, f"nodes named by the index{f' {nodes.index_name}' if nodes.index_name else ''} of the frame")
    steps.extend(of_labels)
    data.edge_index = torch.from_numpy(_edges(edges, names, numbers, nodes.name, _way_out_of(nodes, id_column)))
    ends = _end_columns(edges, names)
    weight = _column(edges, None, tuple(one for one in _WEIGHTS if one not in names.drop))
    if weight is not None:
        data.edge_weight = torch.from_numpy(edges.numbers(weight).astype(np.float32))
    others = [one for one in edges.values if one not in (*ends, weight, *names.drop)]
    if others:
        data.edge_attr = torch.from_numpy(number_columns(edges, others, way_out))
        steps.append(f"features of edges: {', '.join(others)}")
    return data, split, steps


def _column(table: Columns, named: str | None, usual: Sequence[str]) -> str | None:
    """The column that the caller names, or the first one with a usual name.

    Raises:
        DataError: if there is none of the name.
    """
    if named is not None:
        if named not in table.values:
            raise DataError(
                f"{table.name}: there is no column {named!r}{hint(named, table.values)}; columns are "
                f"{', '.join(table.values)}"
            )
        return named
    return next((column for one in usual for column in table.values if column.lower() == one), None)


def _numbered(nodes: Columns, column: str | None) -> dict[Any, int]:
    """Numbers of the nodes by their names."""
    if column is None and nodes.index is not None:
        return _numbered_by_index(nodes, nodes.index)
    if column is None:
        return {_key(number): number for number in range(nodes.size)}
    numbers: dict[Any, int] = {}
    for row, value in enumerate(nodes.values[column]):
        key = _key(value)
        if key == "":
            raise nodes.problem(row, column, "the name of a node")
        if key in numbers:
            raise nodes.problem(row, column, "a name that no other node has")
        numbers[key] = row
    return numbers


def _numbered_by_index(nodes: Columns, index: np.ndarray) -> dict[Any, int]:
    numbers: dict[Any, int] = {}
    for row, value in enumerate(index):
        key = _key(value)
        if key == "" or key in numbers:
            expected = "a name that no other node has" if key else "the name of a node"
            raise DataError(
                f"{nodes.name}, row {row}, index: expected {expected}, got {key or 'nothing'}{_way_out_of(nodes, None)}"
            )
        numbers[key] = row
    return numbers


def _way_out_of(nodes: Columns, column: str | None) -> str:
    """What to do where names of nodes are not those of the edges."""
    if column is not None:
        return ""
    if nodes.index is not None:
        return (
            ": without a column id the index of the frame names the nodes; add such a column, or take "
            "nodes.reset_index(drop=True) for the names 0, 1, 2, ..."
        )
    return f": without a column id the names of the nodes are 0 to {nodes.size - 1}; add such a column"


def _key(value: Any) -> str:
    """What identifies a node in both tables: 3, 3.0 (of a column with gaps) and "3" are one name."""
    if is_missing(value):
        return ""
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        value = int(value)
    return str(value).strip()


def _end_columns(edges: Columns, names: _Names) -> tuple[str, str]:
    lower = {column.lower(): column for column in edges.values}
    usual = next(((lower[a], lower[b]) for a, b in _ENDS if a in lower and b in lower), (None, None))
    first, second = (_column(edges, named, ()) or one for named, one in zip(names.ends, usual, strict=True))
    if first is None or second is None:
        raise DataError(
            f"{edges.name}: expected columns source and target with names of nodes, or as source= and target= say, got "
            f"{', '.join(edges.values)}"
        )
    return first, second


def _edges(edges: Columns, names: _Names, numbers: dict[Any, int], nodes_name: str, way_out: str) -> np.ndarray:
    rows = []
    for column in _end_columns(edges, names):
        values = edges.values[column]
        try:
            rows.append(np.fromiter((numbers[_key(value)] for value in values), dtype=np.int64, count=edges.size))
        except KeyError:
            row = next(row for row, value in enumerate(values) if _key(value) not in numbers)
            raise edges.problem(row, column, f"the name of a node in {nodes_name}", way_out) from None
    return np.stack(rows)


def _label_columns(nodes: Columns, names: _Names) -> list[str]:
    """The columns with labels.

    Raises:
        DataError: if there is none.
    """
    if names.labels is not None:
        return [column for named in names.labels if (column := _column(nodes, named, ())) is not None]
    columns = _usual_labels(nodes, names)
    if not columns:
        raise DataError(
            f"{nodes.name}: expected a column with labels, called {', '.join(NAMES_OF_LABELS)} or as label= says "
            f"(several: {_LABEL_PREFIX}NAME), got {', '.join(nodes.values)}"
        )
    if not all(one.lower().startswith(_LABEL_PREFIX) for one in columns):
        check_one_label(nodes.name, columns)
    return columns


def _usual_labels(nodes: Columns, names: _Names) -> list[str]:
    """The columns whose names say that they are labels; those of several labels come last."""
    several = [one for one in nodes.values if one.lower().startswith(_LABEL_PREFIX)]
    columns = [one for one in nodes.values if one.lower() in NAMES_OF_LABELS]
    return [one for one in (*columns, *several) if one not in names.drop]


def check_one_label(name: str, columns: Sequence[str]) -> None:
    """Of several columns or attributes that read like the label, the others would be features that say it.

    Args:
        name: of the table or the graph.
        columns: names that read so.

    Raises:
        DataError: with the ways out.
    """
    if len(columns) > 1:
        first, *others = columns
        raise DataError(
            f"{name}: expected labels once, got {', '.join(columns)}: name them, as in label={first!r}; then the "
            f"others are features, or left out with drop={others!r}"
        )


def _labels(
    nodes: Columns, columns: Sequence[str], task: TaskName | None
) -> tuple[np.ndarray, list[str], TaskName | None]:
    """Labels as numbers, what was done to them, and the task where they say it."""
    if len(columns) > 1:
        return _several_labels(nodes, columns, task)
    y, steps = _one_label(nodes, columns[0], task)
    return y, steps, "node-regression" if task is None and y.dtype == np.float32 else task


def _several_labels(
    nodes: Columns, columns: Sequence[str], task: TaskName | None
) -> tuple[np.ndarray, list[str], TaskName]:
    """Labels ``[N, T]``, nan where unknown."""
    if task == "node-classification":
        raise DataError(
            f"{nodes.name}: expected one column of classes, got {', '.join(columns)}: several labels are of the task "
            "node-multilabel (0 and 1) or node-regression (numbers)"
        )
    y = np.stack([nodes.numbers(column, way_out=_UNKNOWN, with_gaps=True) for column in columns], axis=1)
    unknown = np.isnan(y)
    if task is None:
        task = "node-multilabel" if np.isin(y[~unknown], (0, 1)).all() else "node-regression"
    steps = [f"labels: {', '.join(columns)}" if len(columns) <= _LISTED else counted(len(columns), "label")]
    without = int(unknown.all(axis=1).sum())
    if without:
        steps.append(f"{counted(without, 'node')} without a label")
    single = int(unknown.sum()) - without * len(columns)
    if single:
        steps.append(f"{counted(single, 'single label')} unknown")
    return y.astype(np.float32), steps, task


def _whole(value: Any) -> int:
    """A whole number with all its digits: float64 has 16 of them."""
    try:
        return int(value) if isinstance(value, str) else operator.index(value)
    except (ValueError, TypeError):
        return int(float(value))


def _one_label(nodes: Columns, column: str, task: TaskName | None) -> tuple[np.ndarray, list[str]]:
    """Labels ``[N]`` as numbers, and what was done to them."""
    missing = nodes.missing(column)
    values = [value for value, gone in zip(nodes.values[column], missing, strict=True) if not gone]
    steps = [f"{counted(int(missing.sum()), 'node')} without a label"] if missing.any() else []
    if not values:
        raise DataError(f"{nodes.name}, column {column}: expected labels, got none")
    try:
        numbers = np.array([float(value) for value in values])
    except (ValueError, TypeError):
        numbers = None
    are_classes = numbers is None or (np.array_equal(numbers, np.round(numbers)) and np.isfinite(numbers).all())
    if task == "node-regression" or not are_classes:
        y = nodes.numbers(column, way_out=_UNKNOWN, with_gaps=True)  # names the first that is none
        return np.where(missing, np.nan, y).astype(np.float32), steps
    for row in np.flatnonzero(~missing):
        if str(nodes.values[column][row]).strip().lower() == "nan":  # as other programs write a gap
            raise nodes.problem(int(row), column, "a label", _UNKNOWN)
    keys: list[Any] = (
        [str(value).strip() for value in values] if numbers is None else [_whole(value) for value in values]
    )
    if numbers is not None and -1 in keys:
        keys = [key for key in keys if key != -1]
        unlabeled = np.flatnonzero(~missing)[numbers == -1]
        missing[unlabeled] = True
        steps = [f"{counted(int(missing.sum()), 'node')} without a label"]
    classes = sorted(set(keys))
    labels = np.full(nodes.size, -1, dtype=np.int64)
    order = {key: number for number, key in enumerate(classes)}
    labels[~missing] = [order[key] for key in keys]
    if classes != list(range(len(classes))):
        listed = ", ".join(f"{key} is {number}" for number, key in enumerate(classes[:_LISTED]))
        steps.append(f"classes numbered: {listed}{', ...' if len(classes) > _LISTED else ''}")
    return labels, steps
