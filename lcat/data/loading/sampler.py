"""Neighbor sampling in plain torch, behind PyG's BaseSampler."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data, GraphStore, HeteroData
from torch_geometric.sampler import BaseSampler, EdgeSamplerInput, HeteroSamplerOutput, NodeSamplerInput, SamplerOutput

from lcat._numbers import as_int, read_bool, refuse_bytes
from lcat._pyg_datasets import one_graph_of
from lcat.data.loading._numbering import TABLE_LIMIT, SortedNumbering, TableNumbering
from lcat.data.loading._pick import pick_slots
from lcat.data.storage.csc import CSCGraph
from lcat.data.storage.feature_store import FileGraphStore

__all__ = ["TorchNeighborSampler"]

# Of an ordinary graph the only node type is None and the only edge type (None, None, None).
NodeType = str | None
EdgeType = tuple[NodeType, NodeType, NodeType]
_ORDINARY: EdgeType = (None, None, None)


class TorchNeighborSampler(BaseSampler):
    """Uniform neighbor sampling in plain torch: no pyg-lib, no torch-sparse, the same options and output.

    From the seed nodes of a batch it goes against the edges: in hop ``h`` every node found in hop ``h - 1`` draws
    ``num_neighbors[h]`` of its in-edges, and their sources not seen before are the nodes of the next hop.
    ("Inductive Representation Learning on Large Graphs", https://arxiv.org/abs/1706.02216.)

    Edges come out sorted by target, hop after hop, and nodes in the order in which they were found with the seeds
    first, as :func:`torch_geometric.utils.trim_to_layer` needs them.

    Args:
        data: a ``Data``, a ``HeteroData``, a :class:`CSCGraph` (perhaps memory-mapped), or PyG's pair of a feature
            store and a graph store. Edges may be ``edge_index`` or ``adj_t``.
        num_neighbors: how many in-edges to draw in each hop, -1 for all; for a ``HeteroData`` one list for all edge
            types, or a dictionary from edge types to lists of equal length.
        replace: draw with replacement: a node with one in-edge or more gets exactly that many.
        disjoint: one tree per seed that shares no node with the others; ``batch`` of the output is the seed's number.

    Raises:
        TypeError: ``data`` is none of these.
        ValueError: an entry of ``num_neighbors`` is not a whole number of -1 or more, or an edge type has none.

    Complexity:
        O(nodes + edges of the sample) per batch. One table of ``8 N`` bytes per process up to 2^24 nodes; with more, or
        ``disjoint``, the nodes of a batch are sorted instead.

    Example:
        >>> import torch
        >>> from torch_geometric.data import Data
        >>> from torch_geometric.loader import NodeLoader
        >>> from lcat.data import TorchNeighborSampler
        >>> ring = Data(
        ...     edge_index=torch.stack([torch.arange(10), torch.arange(1, 11) % 10]),
        ...     num_nodes=10,
        ... )
        >>> sampler = TorchNeighborSampler(ring, num_neighbors=[2, 2])
        >>> batch = next(iter(NodeLoader(ring, sampler, input_nodes=torch.tensor([5]))))
        >>> batch.n_id.tolist(), batch.e_id.tolist(), batch.num_sampled_nodes
        ([5, 4, 3], [4, 3], [1, 1, 1])
    """

    def __init__(
        self,
        data: Any,
        num_neighbors: Sequence[int] | Mapping[Any, Sequence[int]],
        *,
        replace: bool = False,
        disjoint: bool = False,
    ) -> None:
        replace, disjoint = read_bool("replace", replace), read_bool("disjoint", disjoint)
        self._graphs, self._num_nodes = _read_graphs(data)
        self._fanouts = _read_fanouts(num_neighbors, list(self._graphs))
        self.num_neighbors = num_neighbors if isinstance(num_neighbors, Mapping) else [int(n) for n in num_neighbors]
        self.num_hops = len(next(iter(self._fanouts.values())))
        self.replace = replace
        self.disjoint = disjoint
        # Tables for nodes of one type that no call uses now; a call takes one and gives it back, so that threads
        # never share one and a call that fails leaves none behind.
        self._tables: dict[NodeType, list[Tensor]] = {}

    def __repr__(self) -> str:
        return f"TorchNeighborSampler({self.num_neighbors}, replace={self.replace}, disjoint={self.disjoint})"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_tables": {}}

    @property
    def is_hetero(self) -> bool:
        """True if nodes or edges have types."""
        return _ORDINARY not in self._graphs

    @property
    def edge_permutation(self) -> None:
        """``None``, as the edges of the output carry the numbers of the input already."""
        return None

    def sample_from_nodes(
        self, index: NodeSamplerInput, *, seed: int | None = None, **kwargs: Any
    ) -> SamplerOutput | HeteroSamplerOutput:
        """The sample around the nodes of one batch.

        Args:
            index: PyG's description of the seeds: ``node`` ``[B]`` and, for typed nodes, ``input_type``.
            seed: of this batch's draws; without one they come from torch's generator, which ``torch.manual_seed`` sets
                and ``DataLoader`` sets apart in every worker. (:func:`neighbor_loader` gives every batch its own.)
            **kwargs: none is known; PyG's interface has them.

        Raises:
            ValueError: for time stamps, an unknown node type, or a seed node that does not exist.
        """
        del kwargs
        if index.time is not None:
            raise ValueError("TorchNeighborSampler knows no time stamps: leave 'input_time' away, or install pyg-lib")
        node_type = index.input_type
        if node_type not in self._num_nodes:
            known = ", ".join(map(repr, self._num_nodes))
            raise ValueError(f"there are no nodes of type {node_type!r}; there are {known}")
        _check_nodes(index.node, self._num_nodes[node_type])
        sample = self._expand(index.node.long(), node_type, _generator(seed))
        return self._output(sample, (index.input_id, index.time))

    def sample_from_edges(self, index: EdgeSamplerInput, neg_sampling: Any = None, **kwargs: Any) -> Any:
        """Not offered: samples around edges are for link prediction."""
        raise NotImplementedError(
            "TorchNeighborSampler samples around nodes only: for link prediction install pyg-lib and use PyG's "
            "LinkNeighborLoader"
        )

    def _expand(self, seeds: Tensor, seed_type: NodeType, generator: torch.Generator) -> _Sample:
        sample = _Sample(self._num_nodes, list(self._graphs))
        keys = seeds + torch.arange(seeds.numel()) * self._num_nodes[seed_type] if self.disjoint else seeds
        numberings = {kind: self._numbering(kind, keys if kind == seed_type else keys[:0]) for kind in self._num_nodes}
        frontier = {kind: keys if kind == seed_type else keys[:0] for kind in self._num_nodes}
        for hop in range(self.num_hops):
            sample.add_nodes(frontier)
            # The first number of the frontier: it holds the nodes numbered last.
            base = {kind: numberings[kind].count - frontier[kind].numel() for kind in frontier}
            next_nodes: dict[NodeType, list[Tensor]] = {kind: [] for kind in frontier}
            for relation, graph in self._graphs.items():
                source_type, _, target_type = relation
                owner, position = self._draw(graph, frontier[target_type], target_type, relation, hop, generator)
                keys = graph.sources_at(position)
                if self.disjoint:
                    tree = frontier[target_type] // self._num_nodes[target_type]
                    keys += tree.index_select(0, owner) * self._num_nodes[source_type]
                numbers, new = numberings[source_type].add(keys)
                next_nodes[source_type].append(new)
                edge = graph.edge_numbers_at(position)
                sample.add_edges(relation, numbers, base[target_type] + owner, edge)
            frontier = {kind: torch.cat(parts) if parts else frontier[kind][:0] for kind, parts in next_nodes.items()}
        sample.add_nodes(frontier)
        for kind, numbering in numberings.items():
            if isinstance(numbering, TableNumbering):
                self._tables.setdefault(kind, []).append(numbering.release())
        return sample

    def _draw(
        self,
        graph: CSCGraph,
        frontier: Tensor,
        target_type: NodeType,
        relation: EdgeType,
        hop: int,
        generator: torch.Generator,
    ) -> tuple[Tensor, Tensor]:
        """Whose (in the frontier) and which (slots of the graph) in-edges this hop takes."""
        nodes = frontier % self._num_nodes[target_type] if self.disjoint and frontier.numel() else frontier
        begin = graph.indptr.index_select(0, nodes)
        degree = graph.indptr.index_select(0, nodes + 1) - begin
        owner, slot = pick_slots(degree, self._fanouts[relation][hop], self.replace, generator)
        return owner, begin.index_select(0, owner) + slot

    def _numbering(self, kind: NodeType, keys: Tensor) -> TableNumbering | SortedNumbering:
        count = self._num_nodes[kind]
        if self.disjoint or count > TABLE_LIMIT:
            return SortedNumbering(keys)
        free = self._tables.setdefault(kind, [])
        table = free.pop() if free else TableNumbering.new_table(count)
        return TableNumbering(table, keys)

    def _output(self, sample: _Sample, metadata: Any) -> SamplerOutput | HeteroSamplerOutput:
        nodes = {kind: torch.cat(parts) for kind, parts in sample.nodes.items()}
        batch = None
        if self.disjoint:
            batch = {kind: keys // max(self._num_nodes[kind], 1) for kind, keys in nodes.items()}
            nodes = {kind: keys % max(self._num_nodes[kind], 1) for kind, keys in nodes.items()}
        rows, columns, edges = (
            {relation: torch.cat([hop[part] for hop in hops]) for relation, hops in sample.edges.items()}
            for part in range(3)
        )
        edge_counts = {relation: [hop[0].numel() for hop in hops] for relation, hops in sample.edges.items()}
        node_counts = {kind: [part.numel() for part in parts] for kind, parts in sample.nodes.items()}
        if self.is_hetero:
            return HeteroSamplerOutput(
                nodes,
                rows,
                columns,
                edges,
                batch,
                node_counts,
                edge_counts,
                metadata=metadata,
            )
        return SamplerOutput(
            nodes[None], rows[_ORDINARY], columns[_ORDINARY], edges[_ORDINARY], None if batch is None else batch[None],
            node_counts[None], edge_counts[_ORDINARY], metadata=metadata,
        )  # fmt: skip


class _Sample:
    """What was found so far: nodes (keys) of every type and hop; rows, columns and edge numbers of every relation."""

    def __init__(self, num_nodes: Mapping[NodeType, int], relations: Sequence[EdgeType]) -> None:
        self.nodes: dict[NodeType, list[Tensor]] = {kind: [] for kind in num_nodes}
        self.edges: dict[EdgeType, list[tuple[Tensor, Tensor, Tensor]]] = {relation: [] for relation in relations}

    def add_nodes(self, frontier: Mapping[NodeType, Tensor]) -> None:
        for kind, keys in frontier.items():
            self.nodes[kind].append(keys)

    def add_edges(self, relation: EdgeType, row: Tensor, column: Tensor, edge: Tensor) -> None:
        self.edges[relation].append((row, column, edge))


def _read_graphs(data: Any) -> tuple[dict[EdgeType, CSCGraph], dict[NodeType, int]]:
    """The relations of any accepted input, and the number of nodes of each type."""
    if isinstance(data, CSCGraph):
        if data.num_sources != data.num_targets:
            raise ValueError(f"sampling needs one set of nodes; got {data}: use a HeteroData for two")
        return {_ORDINARY: data}, {None: data.num_targets}
    if isinstance(data, Data):
        graph = CSCGraph.from_edges(_edges_of(data, "data"), data.num_nodes)
        return {_ORDINARY: graph}, {None: graph.num_targets}
    if isinstance(data, HeteroData):
        counts = {kind: int(data[kind].num_nodes) for kind in data.node_types}
        graphs = {
            relation: CSCGraph.from_edges(
                _edges_of(data[relation], f"data[{relation}]"), (counts[relation[0]], counts[relation[2]])
            )
            for relation in data.edge_types
        }
        if not graphs:
            raise ValueError("data has no edges: sampling needs an edge_index of at least one edge type")
        return graphs, counts
    if isinstance(data, tuple) and len(data) == 2 and isinstance(data[1], GraphStore):
        return _read_store(data[1])
    raise TypeError(
        f"sampling needs a Data, a HeteroData, a CSCGraph or (feature store, graph store); got {type(data).__name__}"
        f"{one_graph_of(data)}"
    )


def _edges_of(store: Any, name: str) -> Any:
    for key in ("edge_index", "adj_t"):
        if key in store:
            return store[key]
    raise ValueError(f"{name} has neither 'edge_index' nor 'adj_t': sampling needs one of them")


def _read_store(store: GraphStore) -> tuple[dict[EdgeType, CSCGraph], dict[NodeType, int]]:
    # Of our own store the edges' own numbers are kept, which PyG's interface does not tell.
    graphs = dict(store.graphs) if isinstance(store, FileGraphStore) else _convert(store)
    if not graphs:
        raise ValueError("the graph store holds no edges: put some in")
    if None in graphs:
        return _read_graphs(graphs[None])
    counts: dict[NodeType, int] = {}
    for (source, _, target), graph in graphs.items():
        counts |= {source: graph.num_sources, target: graph.num_targets}
    return graphs, counts


def _convert(store: GraphStore) -> dict[Any, CSCGraph]:
    """The relations of any of PyG's graph stores; an ordinary graph under None."""
    sizes = {attribute.edge_type: attribute.size for attribute in store.get_all_edge_attrs()}
    if any(size is None for size in sizes.values()):
        raise ValueError("the graph store must state the number of nodes: put edges with size=(sources, targets)")
    if not sizes:
        return {}
    rows, pointers, edges = store.csc()
    if None in sizes:
        return {None: CSCGraph(pointers, rows, sizes[None][0], edges)}
    return {kind: CSCGraph(pointers[kind], rows[kind], size[0], edges[kind]) for kind, size in sizes.items()}


def _read_fanouts(
    num_neighbors: Sequence[int] | Mapping[Any, Sequence[int]], relations: list[EdgeType]
) -> dict[EdgeType, list[int]]:
    if isinstance(num_neighbors, (int, str)) or not isinstance(num_neighbors, (Mapping, Iterable)):
        raise ValueError(
            f"num_neighbors must be a list of whole numbers, one per hop, -1 for all neighbors; got {num_neighbors!r}"
        )
    if isinstance(num_neighbors, Mapping):
        missing = [relation for relation in relations if relation not in num_neighbors]
        if missing:
            raise ValueError(
                f"num_neighbors has no entry for the edge type {missing[0]}; give one for each, [0] for none"
            )
        fanouts = {relation: list(num_neighbors[relation]) for relation in relations}
    else:
        fanouts = {relation: list(num_neighbors) for relation in relations}
    for relation, counts in fanouts.items():
        numbers = [as_int(count) for count in counts]
        fanouts[relation] = [number for number in numbers if number is not None and number >= -1]
        if len(fanouts[relation]) < len(counts) or not counts:
            raise ValueError(
                f"num_neighbors must be a list of whole numbers, one per hop, -1 for all neighbors; got {counts}"
            )
    if len({len(counts) for counts in fanouts.values()}) > 1:
        raise ValueError(f"num_neighbors must have as many hops for every edge type; got {fanouts}")
    return fanouts


def _generator(seed: int | None) -> torch.Generator:
    if seed is None:
        seed = int(torch.randint(2**63 - 1, ()))
    return torch.Generator().manual_seed(seed)


def _check_nodes(nodes: Tensor, num_nodes: int) -> None:
    refuse_bytes("seed nodes", nodes)
    if nodes.numel() == 0:
        return
    low, high = (int(bound) for bound in torch.aminmax(nodes))
    if low < 0 or high >= num_nodes:
        raise ValueError(f"seed nodes must be numbered 0 .. {num_nodes - 1}; got {low} .. {high}")
