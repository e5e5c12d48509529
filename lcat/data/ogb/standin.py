"""Small generated graphs under the names and in the files of OGB's data sets, for tests and offline trials.

A stand-in has the official name, layout, classes, tasks and split rule, and none of the official data. Its folder holds
a marker file, and everything that shows a figure of it says that it is generated.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lcat._files import as_path, scratch_folder
from lcat._numbers import as_int
from lcat._seeds import derive_seed
from lcat._version import __version__
from lcat.data.datasets.items import DataError
from lcat.data.ogb.files import MARKER

__all__ = ["STANDINS", "Communities", "communities", "write_standin"]

_NOTE = "Generated stand-in for tests and trials: not OGB's data, and no figure made with it says anything about OGB's."


@dataclass(frozen=True)
class Communities:
    """A graph of communities: who belongs where shows in the features a little, and in the neighbors more.

    Attributes:
        y: int64 ``[N]``, the community of each node.
        edges: int64 ``[2, E]``, no loops, no two between the same nodes; sorted by source.
        x: float32 ``[N, F]``.
    """

    y: np.ndarray
    edges: np.ndarray
    x: np.ndarray


def communities(
    nodes: int, edges: int, classes: int, features: int, *, inside: float = 0.6, noise: float = 1.5, seed: int = 0
) -> Communities:
    """Draw a graph of communities with skewed degrees.

    A node's features are its community's mean, a Gaussian vector of length about one, and Gaussian noise. The ends of
    an edge share their community with probability ``inside``, or by chance.

    Args:
        nodes: number of nodes, N.
        edges: number of edges, E; in a graph that is almost complete there may be fewer.
        classes: number of communities.
        features: features of a node, F.
        inside: share of the edges drawn inside a community.
        noise: length of the noise against that of a community's mean.
        seed: the only source of randomness.

    Example:
        >>> from lcat.data.ogb.standin import communities
        >>> graph = communities(100, 500, classes=4, features=8)
        >>> (
        ...     graph.x.shape,
        ...     bool((graph.y[graph.edges[0]] == graph.y[graph.edges[1]]).mean() > 0.7),
        ... )
        ((100, 8), True)
    """
    draw = np.random.default_rng(derive_seed(seed, "communities of a stand-in"))
    y = draw.permutation(np.arange(nodes) % classes)
    by_class = np.argsort(y, kind="stable")
    start = np.searchsorted(y[by_class], np.arange(classes))
    size = np.bincount(y, minlength=classes)
    drawn = edges + edges // 4
    source = (draw.random(drawn) ** 1.5 * nodes).astype(np.int64)  # some nodes have far more edges than others
    own = y[source]
    near = by_class[start[own] + (draw.random(drawn) * size[own]).astype(np.int64)]
    target = np.where(draw.random(drawn) < inside, near, draw.integers(nodes, size=drawn))
    pairs = np.unique(np.minimum(source, target) * nodes + np.maximum(source, target))
    pairs = pairs[pairs % (nodes + 1) != 0]  # a node and itself
    pairs = draw.permutation(pairs)[:edges]
    ends = np.stack([pairs // nodes, pairs % nodes])
    ends = np.where(draw.random(pairs.size) < 0.5, ends, ends[::-1])  # who cites whom
    ends = ends[:, np.argsort(ends[0] * nodes + ends[1], kind="stable")]
    means = draw.normal(size=(classes, features)) / features**0.5
    x = means[y] + noise * draw.normal(size=(nodes, features)) / features**0.5
    return Communities(y.astype(np.int64), ends, x.astype(np.float32))


def write_standin(name: str, root: str | Path, *, nodes: int | None = None, seed: int = 0) -> Path:
    """Write a stand-in for one of OGB's data sets, as its archive would unpack.

    Args:
        name: one of :data:`STANDINS`.
        root: the folder of OGB's data sets; the stand-in becomes ``root/ogbn_arxiv`` and so on.
        nodes: number of nodes (of papers, in ogbn-mag); by default a few hundred.
        seed: the only source of randomness.

    Returns:
        The folder written.

    Raises:
        DataError: for another name, too few nodes, or where a folder of this name exists: nothing is overwritten.

    Example:
        >>> import tempfile
        >>> from lcat.data import write_standin
        >>> with tempfile.TemporaryDirectory() as root:
        ...     sorted(path.name for path in write_standin("ogbn-products", root).iterdir())
        ['GENERATED_STAND_IN.json', 'RELEASE_v1.txt', 'mapping', 'raw', 'split']
    """
    if not isinstance(name, str) or name not in STANDINS:
        raise DataError(f"there is a stand-in for {', '.join(STANDINS)}; got {name!r}")
    default, version, write = STANDINS[name]
    count = default if nodes is None else as_int(nodes)
    if count is None or count < 200:
        raise DataError(
            f"a stand-in needs a whole number of nodes, at least 200 for its classes and splits; got {nodes!r}"
        )
    nodes = count
    folder = as_path("root", root) / name.replace("-", "_")
    if folder.parent.exists() and not folder.parent.is_dir():
        raise DataError(f"expected a folder as 'root', got the file {folder.parent}: name a folder, existing or new")
    if folder.exists():
        raise DataError(f"{folder} exists already; a stand-in never overwrites, so name another folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with scratch_folder(folder) as made:
        inner = made / folder.name
        inner.mkdir()
        values = {"dataset": name, "note": _NOTE, "nodes": nodes, "seed": seed, "lcat": __version__}
        (inner / MARKER).write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
        (inner / f"RELEASE_v{version}.txt").write_text(f"# {_NOTE}\n", encoding="utf-8")
        (inner / "mapping").mkdir()
        (inner / "mapping" / "README.md").write_text(_NOTE + "\n", encoding="utf-8")
        write(inner, nodes, seed)
        inner.rename(folder)  # complete or not at all
    return folder


def _generator(seed: int) -> np.random.Generator:
    """Draws everything but the communities."""
    return np.random.default_rng(derive_seed(seed, "rest of a stand-in"))


def _arxiv(folder: Path, nodes: int, seed: int) -> None:
    graph = communities(nodes, 7 * nodes, classes=8, features=128, seed=seed)
    year = _generator(seed).choice(np.arange(2013, 2021), size=nodes)
    _csv_graph(folder, graph, _by_year(year), "time")
    _csv(folder / "raw/node_year", year[:, None])


def _products(folder: Path, nodes: int, seed: int) -> None:
    graph = communities(nodes, 12 * nodes, classes=8, features=100, seed=seed)
    order = _generator(seed).permutation(nodes)  # the official split is by sales, and smallest first
    bounds = [nodes * 3 // 10, nodes * 4 // 10]
    split = dict(zip(_PARTS, (np.sort(part) for part in np.split(order, bounds)), strict=True))
    _csv_graph(folder, graph, split, "sales_ranking")


def _proteins(folder: Path, nodes: int, seed: int) -> None:
    """No node features; eight features per edge; 112 yes-or-no tasks; the split follows the species."""
    draw = _generator(seed)
    graph = communities(nodes, 12 * nodes, classes=8, features=8, seed=seed)
    source, target = graph.edges
    features = 0.3 * draw.random((source.size, 8))
    same = graph.y[source] == graph.y[target]  # evidence for an edge is of the kind of its community
    features[same, graph.y[source][same]] += 0.6
    answers = draw.random((8, 112)) < 0.5
    flips = draw.random((nodes, 112)) < 0.1
    labels = (answers[graph.y] ^ flips).astype(np.int64)
    taxa = np.array([3702, 4932, 6239, 7227, 7955, 9606, 10090, 511145])
    species = draw.permutation(np.arange(nodes) % len(taxa))
    split = {"train": species < 5, "valid": species == 5, "test": species > 5}
    _csv_graph(folder, graph, {part: np.flatnonzero(mask) for part, mask in split.items()}, "species", labels, False)
    _csv(folder / "raw/edge-feat", features.round(3))
    _csv(folder / "raw/node_species", taxa[species][:, None])


def _mag(folder: Path, nodes: int, seed: int) -> None:
    """Papers with features and labels, and authors, institutions and fields of study without."""
    draw = _generator(seed)
    graph = communities(nodes, 8 * nodes, classes=8, features=128, seed=seed)
    year = draw.choice(np.arange(2013, 2020), size=nodes)
    counts = {"author": nodes // 2, "field_of_study": 20, "institution": 10, "paper": nodes}
    relations = {
        ("author", "affiliated_with", "institution"): nodes // 2,
        ("author", "writes", "paper"): 2 * nodes,
        ("paper", "cites", "paper"): graph.edges.shape[1],
        ("paper", "has_topic", "field_of_study"): 2 * nodes,
    }
    raw, split = folder / "raw", folder / "split/time"
    _table(raw / "num-node-dict", {kind: [count] for kind, count in counts.items()})
    _csv(raw / "triplet-type-list", np.array(list(relations)))
    _table(raw / "nodetype-has-label", {kind: [kind == "paper"] for kind in counts})
    for number, (triplet, edges) in enumerate(relations.items()):
        folder_of_edges = raw / "relations" / "___".join(triplet)
        ends = [draw.integers(counts[kind], size=edges) for kind in (triplet[0], triplet[2])]
        _csv(folder_of_edges / "edge", graph.edges.T if triplet[1] == "cites" else np.stack(ends, axis=1))
        _csv(folder_of_edges / "num-edge-list", np.array([[edges]]))
        _csv(folder_of_edges / "edge_reltype", np.full((edges, 1), number))
    _csv(raw / "node-feat/paper/node-feat", graph.x.round(5))
    _csv(raw / "node-feat/paper/node_year", year[:, None])
    _csv(raw / "node-label/paper/node-label", graph.y[:, None])
    _table(split / "nodetype-has-split", {kind: [kind == "paper"] for kind in counts})
    for part, papers in _by_year(year).items():
        _csv(split / "paper" / part, papers[:, None])


def _papers100m(folder: Path, nodes: int, seed: int) -> None:
    """The binary layout, by OGB's own ``DatasetSaver``; most papers have no label, as in the official data."""
    from lcat.data.ogb.load import import_ogb

    import_ogb()
    import torch
    from ogb.io import DatasetSaver

    draw = _generator(seed)
    graph = communities(nodes, 10 * nodes, classes=8, features=128, seed=seed)
    year = draw.choice(np.arange(2013, 2021), size=nodes)
    labels = graph.y[:, None].astype(np.float32)
    labels[draw.random(nodes) < 0.3] = np.nan
    known = ~np.isnan(labels[:, 0])
    split = {part: torch.from_numpy(papers[known[papers]]) for part, papers in _by_year(year).items()}
    values = {"edge_index": graph.edges, "num_nodes": nodes, "node_feat": graph.x, "node_year": year[:, None]}
    with tempfile.TemporaryDirectory() as temporary, contextlib.redirect_stdout(io.StringIO()):
        with contextlib.redirect_stderr(io.StringIO()):
            saver = DatasetSaver("ogbn-papers100M", False, version=1, root=str(Path(temporary) / "submission"))
            saver.save_graph_list([values])
            saver.save_target_labels(labels)
            saver.save_split(split, "time")
        for part in ("raw", "split"):
            shutil.move(Path(saver.dataset_dir) / part, folder / part)


_PARTS = ("train", "valid", "test")

#: By OGB's names: number of nodes by default, release, and what writes the files.
STANDINS: dict[str, tuple[int, int, Callable[[Path, int, int], None]]] = {
    "ogbn-arxiv": (600, 1, _arxiv),
    "ogbn-products": (600, 1, _products),
    "ogbn-proteins": (600, 1, _proteins),
    "ogbn-mag": (600, 2, _mag),
    "ogbn-papers100M": (600, 1, _papers100m),
}


def _by_year(year: np.ndarray) -> dict[str, np.ndarray]:
    """Learn from the past, choose on 2018, be measured on what came after."""
    masks = {"train": year < 2018, "valid": year == 2018, "test": year > 2018}
    return {part: np.flatnonzero(mask) for part, mask in masks.items()}


def _csv_graph(
    folder: Path,
    graph: Communities,
    split: dict[str, np.ndarray],
    rule: str,
    labels: np.ndarray | None = None,
    node_features: bool = True,
) -> None:
    raw = folder / "raw"
    _csv(raw / "edge", graph.edges.T)
    _csv(raw / "num-node-list", np.array([[graph.y.size]]))
    _csv(raw / "num-edge-list", np.array([[graph.edges.shape[1]]]))
    _csv(raw / "node-label", graph.y[:, None] if labels is None else labels)
    if node_features:
        _csv(raw / "node-feat", graph.x.round(5))
    for part, nodes in split.items():
        _csv(folder / "split" / rule / part, nodes[:, None])


def _csv(path: Path, rows: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = "%s" if rows.dtype.kind in "US" else "%d" if rows.dtype.kind in "iub" else "%.6g"
    with gzip.open(path.with_name(f"{path.name}.csv.gz"), "wt", encoding="utf-8") as file:
        np.savetxt(file, rows, delimiter=",", fmt=kind)


def _table(path: Path, columns: dict[str, list[Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path.with_name(f"{path.name}.csv.gz"), "wt", encoding="utf-8") as file:
        file.write(",".join(columns) + "\n")
        file.writelines(",".join(str(value) for value in row) + "\n" for row in zip(*columns.values(), strict=True))
