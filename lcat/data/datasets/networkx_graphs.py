"""Own data sets from NetworkX graphs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lcat._measures import TaskName
from lcat._text import counted
from lcat.data.datasets.columns import NO_NUMBERS, is_missing
from lcat.data.datasets.items import DataError
from lcat.data.datasets.link_dataset import LinkDataset
from lcat.data.datasets.node_dataset import NodeDataset
from lcat.data.datasets.steps import with_steps
from lcat.data.datasets.tables import (
    NAMES_OF_IDS,
    NAMES_OF_LABELS,
    check_one_label,
    from_frames,
    label_names,
    links_of_frames,
)

__all__ = ["from_networkx", "is_networkx", "links_of_networkx"]

_FROM, _TO = "source", "target"
_LISTS = (list, tuple, np.ndarray)


def is_networkx(value: Any) -> bool:
    """Whether it is a graph of NetworkX; does not import it."""
    return any(cls.__module__.partition(".")[0] == "networkx" for cls in type(value).__mro__)


def from_networkx(
    graph: Any,
    *,
    label: str | Sequence[str] | None = None,
    drop: Sequence[str] = (),
    scale: bool = False,
    name: str = "own",
    metric: str = "",
    task: TaskName | None = None,
) -> NodeDataset:
    """A data set from a NetworkX graph, whose nodes and edges carry numbers as attributes.

    The attribute ``label`` (``y``, ``class`` or ``target``) of a node is its label, missing for nodes without one; a
    list of numbers is several labels;
    ``split`` may be ``train``, ``val`` or ``test``, or ``train_mask``, ``val_mask`` and ``test_mask`` are 0 or 1.
    ``id`` (``node``, ``node_id``) is not used, because nodes of a graph have names. All other attributes of nodes are
    features, numbers or lists of numbers. ``weight`` of an edge weighs messages; its other attributes are features of
    edges. Nodes are numbered in the order of the graph. An undirected graph has every edge in both directions, a
    directed one as it is.

    Args:
        graph: ``networkx.Graph``, ``DiGraph``, ``MultiGraph`` or ``MultiDiGraph``.
        label: attribute with another name; several as ``label=["height", "weight"]``.
        drop: attributes to leave out.
        scale: features get mean 0 and standard deviation 1, over all nodes.
        name: how tables call the data set.
        metric, task: as for :func:`from_frames`.

    Raises:
        DataError: names the node or the edge, what was expected, and what it got.

    Example:
        >>> import networkx
        >>> from lcat.data import from_networkx
        >>> graph = networkx.karate_club_graph()
        >>> networkx.set_node_attributes(graph, dict(graph.degree), "degree")
        >>> own = from_networkx(graph, label="club", name="karate")
        >>> own.data.num_edges, own.steps[0]
        (156, 'features: degree')
    """
    drop = (drop,) if isinstance(drop, str) else tuple(drop)
    rows = _nodes_of(graph, name)
    attributes = list(dict.fromkeys(key for _, values in rows for key in values))
    named = label_names(label)
    if named is None:
        named = tuple(key for key in attributes if str(key).lower() in NAMES_OF_LABELS and key not in drop)
        check_one_label(name, named)
    missing = [key for key in named if key not in attributes]
    if missing or not named:
        what = "label, or another one as label= says" if not named else " and ".join(map(repr, missing))
        known = ", ".join(map(str, attributes)) or "none"
        raise DataError(f"{name}: expected nodes with the attribute {what}; attributes are {known}")
    labels = {column: values for key in named for column, values in _label_columns(rows, key, name).items()}
    nodes, edges, steps = _tables(graph, rows, named, drop, name)
    own = from_frames(
        {**nodes, **labels}, edges,
        label=[*map(str, labels)], source=_FROM, target=_TO, scale=scale, name=name, metric=metric, task=task,
    )  # fmt: skip
    return with_steps(own, *steps)


def links_of_networkx(graph: Any, name: str, metric: str = "") -> LinkDataset:
    """The links of a NetworkX graph, see :func:`from_networkx`; labels and splits are not used, and not needed.

    Args:
        graph: a graph of NetworkX.
        name: how tables call the data set.
        metric: as for :class:`LinkDataset`.

    Raises:
        DataError: as for :func:`from_networkx`.
    """
    rows = _nodes_of(graph, name)
    attributes = dict.fromkeys(key for _, values in rows for key in values)
    labels = tuple(key for key in attributes if str(key).lower() in NAMES_OF_LABELS)
    nodes, edges, steps = _tables(graph, rows, labels, (), name)
    if labels:
        steps.append(f"not used: {', '.join(map(str, labels))}")
    return with_steps(links_of_frames(nodes, edges, name, metric), *steps)


def _nodes_of(graph: Any, name: str) -> list[tuple[Any, dict[str, Any]]]:
    """The nodes and their attributes.

    Raises:
        DataError: if it is no graph of NetworkX, or has none.
    """
    if not is_networkx(graph):
        raise DataError(f"{name}: expected a NetworkX graph, got {type(graph).__name__}")
    rows = [(node, dict(values)) for node, values in graph.nodes(data=True)]
    if not rows:
        raise DataError(f"{name}: expected a graph with nodes, got none")
    return rows


def _tables(
    graph: Any, rows: Sequence[tuple[Any, dict[str, Any]]], labels: Sequence[str], drop: Sequence[str], name: str
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], list[str]]:
    """Attributes of nodes but for labels, attributes of edges with their ends, and what was done."""
    attributes = dict.fromkeys(key for _, values in rows for key in values)
    number = {node: position for position, (node, _) in enumerate(rows)}
    # A graph has names of nodes itself; in a table, these columns would be names.
    ids = [key for key in attributes if str(key).lower() in NAMES_OF_IDS and key not in (*drop, *labels)]
    nodes = _columns(rows, drop=(*drop, *labels, *ids), optional=("split",), kind="node", name=name)
    if not set(nodes) - {"split"}:
        raise DataError(
            f"{name}: expected nodes with numbers as attributes, which are the features, got none: set some, as in "
            "networkx.set_node_attributes(graph, dict(graph.degree), 'degree')"
        )
    ends = [((source, target), dict(values)) for source, target, values in graph.edges(data=True)]
    if not ends:
        raise DataError(f"{name}: expected a graph with edges, got none")
    values = _columns(ends, drop=drop, optional=(), kind="edge", name=name)
    edges = {
        _FROM: np.array([number[source] for (source, _), _ in ends], dtype=np.int64),
        _TO: np.array([number[target] for (_, target), _ in ends], dtype=np.int64),
    }
    loops = edges[_FROM] == edges[_TO]
    if not graph.is_directed():
        order = np.concatenate([np.arange(len(ends)), np.flatnonzero(~loops)])
        edges = {
            _FROM: np.concatenate([edges[_FROM], edges[_TO][~loops]]),
            _TO: np.concatenate([edges[_TO], edges[_FROM][~loops]]),
        }
        values = {key: column[order] for key, column in values.items()}
    steps = ["edges as they are, as the graph is directed" if graph.is_directed() else "every edge in both directions"]
    if ids:
        steps.append(f"not used: {', '.join(map(str, ids))}, as the graph has names of nodes itself")
    return nodes, {**edges, **{_free(key): column for key, column in values.items()}}, steps


def _label_columns(rows: Sequence[tuple[Any, dict[str, Any]]], key: str, name: str) -> dict[str, np.ndarray]:
    """An attribute with labels as a column, or as one per number where it holds lists of numbers; with gaps.

    Raises:
        DataError: names the first node with a list of another length.
    """
    values = [_plain(attributes.get(key)) for _, attributes in rows]
    size = next((len(value) for value in values if isinstance(value, _LISTS)), 0)
    if not size:
        column = np.empty(len(values), dtype=object)
        column[:] = values
        return {key: column}
    table = np.full((len(values), size), None, dtype=object)
    for (node, _), value, row in zip(rows, values, table, strict=True):
        if isinstance(value, _LISTS) and len(value) == size:
            row[:] = value
        elif isinstance(value, _LISTS) or not is_missing(value):
            raise DataError(
                f"{name}: expected {counted(size, 'number')} as attribute {key!r} of node {node!r}, got {value!r}"
            )
    return {f"{key}.{number}": table[:, number] for number in range(size)}


def _free(key: str) -> str:
    """The name of an attribute of edges beside the columns with their ends."""
    return f"{key} " if key in (_FROM, _TO) else key


def _columns(
    rows: Sequence[tuple[Any, dict[str, Any]]], *, drop: Sequence[str], optional: Sequence[str], kind: str, name: str
) -> dict[str, np.ndarray]:
    """Attributes by name; lists of numbers become several columns.

    Raises:
        DataError: names the first node or edge that lacks one, or has something else than a number.
    """
    names = [key for key in dict.fromkeys(key for _, values in rows for key in values) if key not in drop]
    columns: dict[str, np.ndarray] = {}
    for key in names:
        values = [attributes.get(key) for _, attributes in rows]
        if key in optional:
            columns[key] = np.array([_plain(value) for value in values], dtype=object)
            continue
        arrays: list[np.ndarray] = []
        for (one, attributes), value in zip(rows, values, strict=True):
            array = _numbers(value) if key in attributes else None
            size = arrays[0].size if arrays else 1
            if array is None or (arrays and array.size != size):
                expected = "a number" if size == 1 else counted(size, "number")
                got = repr(value) if key in attributes else "nothing"
                raise DataError(
                    f"{name}: expected {expected} as attribute {key!r} of {kind} {one!r}, got {got}: set it, or leave "
                    f"the attribute out with drop=[{key!r}]"
                )
            arrays.append(array)
        table = np.stack(arrays)
        if table.shape[1] == 1:
            columns[key] = table[:, 0]
        else:
            columns |= {f"{key}.{number}": table[:, number] for number in range(table.shape[1])}
    return columns


def _numbers(value: Any) -> np.ndarray | None:
    """A number or a list of numbers as an array, ``None`` for anything else."""
    try:
        if np.asarray(value).dtype.kind in NO_NUMBERS:
            return None
        array = np.atleast_1d(np.asarray(value, dtype=np.float64))
    except (TypeError, ValueError):
        return None
    return array if array.ndim == 1 and array.size and np.isfinite(array).all() else None


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
