"""What loaders are given: seed nodes and options, checked when a loader is made."""

from __future__ import annotations

import inspect
import multiprocessing
from collections.abc import Mapping
from multiprocessing.context import BaseContext
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data, GraphStore, HeteroData

from lcat._numbers import as_float, as_int, read_bool, refuse_bytes
from lcat._text import hint
from lcat.data.storage.csc import CSCGraph
from lcat.data.storage.feature_store import FileGraphStore

__all__ = ["check_callable", "checked_options", "checked_seeds", "refuse_compressed_rows"]

# Of PyG's and torch's loaders, what says otherwise which batch comes when, or asks for another kind of sampling.
_DECIDED = ("dataset", "collate_fn", "sampler", "batch_sampler", "generator")
_OTHER_SAMPLING = {
    "time_attr": "there is no temporal sampling",
    "temporal_strategy": "there is no temporal sampling",
    "weight_attr": "there is no weighted sampling",
    "subgraph_type": "batches hold the edges that were sampled",
    "directed": "batches hold the edges that were sampled",
    "is_sorted": "edges may come in any order",
    "neighbor_sampler": "NodeBatchLoader takes a sampler",
}


def checked_options(loader: str, options: Mapping[str, Any], *classes: type) -> dict[str, Any]:
    """The options of a loader, those that it does not have refused with the reason.

    Args:
        loader: its name.
        options: the further arguments that it was given.
        classes: whose arguments it hands on.

    Raises:
        TypeError: for the first that is none of theirs, or that the loader decides itself.
    """
    known = {name for cls in classes for name in inspect.signature(cls).parameters} - {"kwargs", "data"}
    for name in options:
        if options[name] is None and name in (*_DECIDED, *_OTHER_SAMPLING):
            continue
        if name in _DECIDED:
            raise TypeError(f"{loader} takes no {name!r}: its batches follow from 'seed' and 'shuffle'")
        if name in _OTHER_SAMPLING:
            raise TypeError(f"{loader} has no {name!r}, unlike PyG's NodeLoader: {_OTHER_SAMPLING[name]}; leave it out")
        if name in ("transform", "transform_sampler_output"):
            check_callable(name, options[name])
        if name not in known:
            raise TypeError(f"{loader} has no {name!r}{hint(name, known)}")
    _check_workers(options)
    return {name: value for name, value in options.items() if name not in (*_DECIDED, *_OTHER_SAMPLING)}


def _check_workers(options: Mapping[str, Any]) -> None:
    """Refuse numbers for the processes of a ``DataLoader`` that are none, and options that need processes."""
    ranges = {
        "num_workers": ("a whole number, 0 or more", as_int, 0),
        "prefetch_factor": ("a whole number, 1 or more", as_int, 1),
        "timeout": ("a number of seconds, 0 or more", as_float, 0),
    }
    for name, (words, convert, low) in ranges.items():
        if name not in options or (name == "prefetch_factor" and options[name] is None):
            continue
        number = convert(options[name])
        if number is None or not number >= low:
            raise ValueError(f"{name} must be {words}; got {options[name]!r}")
    for name in ("pin_memory", "persistent_workers", "filter_per_worker"):
        if options.get(name) is not None:
            read_bool(name, options[name])
    context = options.get("multiprocessing_context")
    methods = multiprocessing.get_all_start_methods()
    if not (context is None or isinstance(context, BaseContext) or (isinstance(context, str) and context in methods)):
        raise ValueError(
            f"multiprocessing_context must be one of {', '.join(methods)}, or made by multiprocessing.get_context; "
            f"got {context!r}"
        )
    if not options.get("num_workers"):
        for name in ("prefetch_factor", "timeout", "persistent_workers", "multiprocessing_context"):
            if options.get(name) not in (None, False, 0):
                raise ValueError(
                    f"{name} needs processes that load batches: set num_workers=1 or more, or leave it out"
                )


def check_callable(name: str, value: Any) -> None:
    """Refuse an option that is called with every batch and cannot be.

    Raises:
        TypeError: it is neither ``None`` nor a function.
    """
    if isinstance(value, type):
        raise TypeError(
            f"{name} must be a function of a batch, or None; got the class {value.__name__}: pass an object of it, "
            f"{value.__name__}(...)"
        )
    if value is not None and not callable(value):
        raise TypeError(f"{name} must be a function of a batch, or None; got {value!r}")


_COMPRESSED = (torch.sparse_csr, torch.sparse_csc, torch.sparse_bsr, torch.sparse_bsc)


def refuse_compressed_rows(data: Any) -> None:
    """Refuse features of nodes in a compressed sparse matrix, of which torch takes no rows.

    Raises:
        ValueError: an attribute of nodes is one.
    """
    for store in data.node_stores if isinstance(data, (Data, HeteroData)) else ():
        for name, value in store.items():
            is_matrix = isinstance(value, Tensor) and value.layout in _COMPRESSED and "adj" not in name
            if is_matrix and value.dim() == 2 and value.shape[0] == store.num_nodes:
                raise ValueError(
                    f"batches take rows of {name!r}, which torch cannot do with a matrix in the layout {value.layout}: "
                    f"use .to_dense(), or .to_sparse_coo()"
                )


def checked_seeds(data: Any, input_nodes: Any) -> Any:
    """The seed nodes as PyG's ``NodeLoader`` takes them, checked; it would cut, round and miscount some silently.

    Raises:
        TypeError: they are no whole numbers and no mask, or ``data`` is nothing that batches are cut from.
        ValueError: a type, a mask or a number that the graph does not have.
    """
    counts = _node_counts(data)
    if counts is None:  # a store that does not tell: the sampler will say so
        return input_nodes
    kind, nodes = _split(counts, input_nodes)
    nodes = torch.arange(counts[kind]) if nodes is None else _numbers_or_mask(nodes, counts[kind], kind)
    return nodes if kind is None else (kind, nodes)


def _split(counts: Mapping[str | None, int], input_nodes: Any) -> tuple[str | None, Any]:
    """Type and nodes."""
    if None in counts:
        if isinstance(input_nodes, tuple) and len(input_nodes) == 2 and isinstance(input_nodes[0], str):
            raise ValueError(f"the nodes of this graph have no types; got the type {input_nodes[0]!r}")
        return None, input_nodes
    known = ", ".join(map(repr, counts))
    kind, nodes = input_nodes, None
    if isinstance(input_nodes, (tuple, list)) and len(input_nodes) == 2 and isinstance(input_nodes[0], str):
        kind, nodes = input_nodes
    if not isinstance(kind, str):
        raise ValueError(f"input_nodes of typed nodes is a type or (type, nodes), with one of {known}; got neither")
    if kind not in counts:
        raise ValueError(f"there are no nodes of type {kind!r}{hint(kind, map(str, counts))}; there are {known}")
    return kind, nodes


def _numbers_or_mask(input_nodes: Any, count: int, kind: str | None) -> Tensor:
    owner = "the graph has" if kind is None else f"of type {kind!r} there are"
    try:
        nodes = torch.as_tensor(input_nodes)
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(
            f"input_nodes must be whole numbers or a boolean mask; got {type(input_nodes).__name__}"
        ) from None
    if nodes.numel() == 0 and not isinstance(input_nodes, Tensor):
        nodes = nodes.long()  # an empty list is a tensor of floats
    refuse_bytes("input_nodes", nodes)
    if nodes.is_floating_point() or nodes.is_complex():
        raise TypeError(f"input_nodes must be whole numbers or a boolean mask; got {nodes.dtype}")
    if nodes.dtype == torch.bool:
        if list(nodes.shape) != [count]:
            size = nodes.numel() if nodes.dim() == 1 else list(nodes.shape)
            raise ValueError(f"input_nodes is a mask of {size} entries, and {owner} {count} nodes")
        return nodes
    if nodes.dim() != 1:
        raise ValueError(f"input_nodes must be a vector of node numbers; got {list(nodes.shape)}")
    if nodes.numel():
        low, high = (int(extreme) for extreme in torch.aminmax(nodes))
        if low < 0 or high >= count:
            raise ValueError(f"seed nodes must be numbered 0 .. {count - 1}; got {low} .. {high}")
    return nodes


def _node_counts(data: Any) -> dict[str | None, int] | None:
    """Nodes of each type, ``None`` for those without a type."""
    if isinstance(data, Data):
        return {None: int(data.num_nodes or 0)}
    if isinstance(data, HeteroData):
        return {kind: int(data[kind].num_nodes) for kind in data.node_types}
    if not (isinstance(data, tuple) and len(data) == 2 and isinstance(data[1], GraphStore)):
        way_out = ""
        if isinstance(data, CSCGraph):
            way_out = ", which has no features: put it into a FileGraphStore, or sample with TorchNeighborSampler alone"
        raise TypeError(
            f"batches are cut from a Data, a HeteroData or (feature store, graph store); got a {type(data).__name__}"
            + way_out
        )
    counts: dict[str | None, int] = {}
    for relation, sizes in _store_sizes(data[1]):
        if sizes is None or None in sizes:
            return None
        ends = (None, None) if relation is None else (relation[0], relation[2])
        counts |= {ends[0]: int(sizes[0]), ends[1]: int(sizes[1])}
    return counts or None


def _store_sizes(store: GraphStore) -> list[tuple[Any, Any]]:
    if isinstance(store, FileGraphStore):
        return [(relation, (graph.num_sources, graph.num_targets)) for relation, graph in store.graphs.items()]
    return [(attribute.edge_type, attribute.size) for attribute in store.get_all_edge_attrs()]
