"""GraphLand's data sets by name, with the split in the name: ``graphland:tolokers-2,rh``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch_geometric.data import Data

from lcat._measures import TaskName
from lcat._text import hint
from lcat.data.datasets.catalog import DatasetSpec
from lcat.data.datasets.convert import dataset_of_values
from lcat.data.datasets.items import DataError
from lcat.data.datasets.node_dataset import NodeDataset
from lcat.data.datasets.steps import with_steps

__all__ = ["PREFIX", "graphland_dataset", "graphland_spec"]

PREFIX = "graphland:"
#: Metrics of the paper, by what is predicted.
_CLASSES, _BINARY, _NUMBERS = "accuracy", "average-precision", "r2"
_METRICS = {
    "hm-categories": _CLASSES,
    "pokec-regions": _CLASSES,
    "web-topics": _CLASSES,
    "tolokers-2": _BINARY,
    "city-reviews": _BINARY,
    "artnet-exp": _BINARY,
    "web-fraud": _BINARY,
    "hm-prices": _NUMBERS,
    "avazu-ctr": _NUMBERS,
    "city-roads-M": _NUMBERS,
    "city-roads-L": _NUMBERS,
    "twitch-views": _NUMBERS,
    "artnet-views": _NUMBERS,
    "web-traffic": _NUMBERS,
}
_SPLITS = {
    "rl": "GraphLand's random 10/10/80 split (RL)",
    "rh": "GraphLand's random 50/25/25 split (RH)",
    "th": "GraphLand's temporal 50/25/25 split (TH)",
    "thi": "GraphLand's temporal 50/25/25 split, inductive (THI)",
}
_TEMPORAL = ("th", "thi")
_WITHOUT_TIME = ("city-reviews", "city-roads-M", "city-roads-L", "web-traffic")


def graphland_spec(name: str) -> DatasetSpec:
    """What is known of ``graphland:NAME`` or ``graphland:NAME,SPLIT``; the split is ``rl`` by default.

    Raises:
        DataError: names the data sets and splits that there are.

    Example:
        >>> from lcat.data.datasets.graphland import graphland_spec
        >>> graphland_spec("graphland:tolokers-2,TH").split
        "GraphLand's temporal 50/25/25 split (TH)"
    """
    text, _, split = name.strip().removeprefix(PREFIX).partition(",")
    names = {one.lower(): one for one in _METRICS}
    key, split = text.strip().lower().replace("_", "-"), split.strip().lower() or "rl"
    if key not in names:
        raise DataError(f"there is no data set {name!r}{hint(key, names)}; GraphLand has {', '.join(_METRICS)}")
    if split not in _SPLITS:
        raise DataError(f"data set {name!r}: expected one of the splits {', '.join(_SPLITS)}, got {split!r}")
    title = names[key]
    if split in _TEMPORAL and title in _WITHOUT_TIME:
        raise DataError(f"data set {name!r}: it has no times, so no temporal split; take rl or rh")
    return DatasetSpec(
        name=f"{PREFIX}{key},{split}",
        pyg_class="GraphLandDataset",
        folder="GraphLandDataset",
        pyg_name=title,
        raw=(f"GraphLandDataset/{title}/raw/{title}",),
        metric=_METRICS[title],
        split=_SPLITS[split],
        homepage="https://zenodo.org/records/16895532",
        undirected=True,
        kwargs=(("split", split.upper()),),
    )


def graphland_dataset(spec: DatasetSpec, graphs: Sequence[Data]) -> NodeDataset:
    """The data set that PyG's class has read.

    Args:
        spec: of :func:`graphland_spec`.
        graphs: all of the class: one, or, of the inductive split, those of training, validation and test.
    """
    data, stages = _as_one(graphs)
    y = data.y
    task: TaskName = "node-regression" if spec.metric == _NUMBERS else "node-classification"
    if task == "node-classification":
        y = torch.where(y.isnan(), torch.full_like(y, -1), y).long()
    values = {key: data[key] for key in ("x", "edge_index", "train_mask", "val_mask", "test_mask")}
    dataset = dataset_of_values({**values, "y": y}, spec.name, spec.metric, task)
    dataset = replace(dataset, split_rule=spec.split, stages=stages)
    lines = ["features by PyG's defaults: numbers mapped to a normal distribution, gaps filled, categories one-hot"]
    if stages is not None:
        seen = [int((stages <= stage).sum()) for stage in range(3)]
        lines[0] += ", as learned from the training nodes"
        lines.append(f"training sees {seen[0]:,} nodes, validation {seen[1]:,}, the test all {seen[2]:,}")
    if task == "node-regression":
        lines.append("targets scaled to mean 0 and standard deviation 1 of the training nodes")
    return with_steps(dataset, *lines, "both directions of every edge added")


def _as_one(graphs: Sequence[Data]) -> tuple[Data, Tensor | None]:
    """The graph with all nodes and the masks of its parts, and where it is inductive, the stage of each node.

    Each graph of the inductive split holds the nodes of the one before, and the nodes have the numbers that they had in
    the files as ``cross_snapshot_node_id``.
    """
    if len(graphs) == 1:
        return graphs[0], None
    *_, last = graphs
    numbers = last.cross_snapshot_node_id
    data = Data(x=last.x, edge_index=last.edge_index, y=last.y)
    stages = torch.full((numbers.numel(),), len(graphs) - 1)
    for stage, (part, graph) in reversed(list(enumerate(zip(("train", "val", "test"), graphs, strict=True)))):
        nodes = torch.searchsorted(numbers, graph.cross_snapshot_node_id)
        stages[nodes] = stage
        mask = torch.zeros(numbers.numel(), dtype=torch.bool)
        mask[nodes[graph.mask]] = True
        data[f"{part}_mask"] = mask
    return data, stages
