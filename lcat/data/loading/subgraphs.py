"""Mini-batches of nodes with all edges between them: random walks (GraphSAINT) and parts (Cluster-GCN)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.utils.data import DataLoader, RandomSampler
from torch_geometric.data import Data
from torch_geometric.loader import ClusterData

from lcat._numbers import as_int
from lcat._pyg_datasets import one_graph_of
from lcat._seeds import derive_seed
from lcat.data.loading._inputs import check_callable, checked_options, refuse_compressed_rows
from lcat.data.loading._partition import partition
from lcat.data.loading.batches import SeedBatch, SeedBatches, one_epoch
from lcat.data.storage.csc import CSCGraph

__all__ = ["SeededLoader", "SubgraphLoader", "partition_loader", "partition_nodes", "random_walk_loader"]

Method = Literal["auto", "metis", "grown", "random"]


class SubgraphLoader(DataLoader):
    """Batches that are induced subgraphs of one graph, a function of ``seed``, the epoch and the batch's number.

    A batch has the rows of all node and edge attributes, ``n_id`` and ``e_id``; nodes are in rising order, edges sorted
    by target. Every ``for`` loop over it is one epoch, and :meth:`epoch` starts at any.

    Args:
        data: a ``Data`` on the CPU.
        choose: from a :class:`SeedBatch` to the nodes of the batch, in any order, perhaps repeated.
        batches: which batches there are.
        transform: applied to every batch.
        **kwargs: of ``DataLoader``, such as ``num_workers``.

    Raises:
        TypeError: ``choose`` cannot be called, or ``batches`` are no SeedBatches; ``choose`` returned no tensor.
        ValueError: ``choose`` returned other numbers than those of nodes, or features are in a CSR matrix.

    Example:
        >>> from lcat.data import SeedBatches, SubgraphLoader, csbm
        >>> data = csbm(n=100, seed=0)
        >>> halves = SubgraphLoader(
        ...     data, lambda batch: batch.positions, SeedBatches(100, 50, shuffle=True)
        ... )
        >>> [batch.num_nodes for batch in halves]
        [50, 50]
    """

    def __init__(
        self,
        data: Data,
        choose: Callable[[SeedBatch], Tensor],
        batches: SeedBatches,
        transform: Callable[[Data], Any] | None = None,
        **kwargs: Any,
    ) -> None:
        check_callable("transform", transform)
        if not callable(choose):
            raise TypeError(f"choose must be a function of a SeedBatch that returns its nodes; got {choose!r}")
        if not isinstance(batches, SeedBatches):
            raise TypeError(
                f"batches must be lcat.data.SeedBatches(count, batch_size), which say which batches there are; got "
                f"{type(batches).__name__}"
            )
        self.data = data
        self.choose = choose
        self.batches = batches
        self.transform = transform
        kwargs = checked_options(type(self).__name__, kwargs, DataLoader)
        for name in ("batch_size", "shuffle", "drop_last"):
            if name in kwargs:
                raise TypeError(f"{type(self).__name__} takes no {name!r}: its batches are those of 'batches'")
        refuse_compressed_rows(data)
        self._graph = CSCGraph.from_edges(_edges_of(data), data.num_nodes)
        # Its own generator: DataLoader would draw from the caller's at the start of every epoch.
        own: dict[str, Any] = {"batch_sampler": batches, "collate_fn": self._collate, "generator": torch.Generator()}
        dataset: Any = _Batches()
        super().__init__(dataset, **own, **kwargs)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "generator": None, "_iterator": None}

    def epoch(self, epoch: int, batch: int = 0) -> Iterator[Any]:
        """One epoch, from its batch number ``batch`` on."""
        return one_epoch(self, self.batches, epoch, batch)

    def signature(self) -> dict[str, int | bool | str]:
        """What the batches follow from, in plain values, the same in all processes; checkpoints keep it."""
        return {**self.batches.signature(), "nodes": self._graph.num_targets}

    def _collate(self, batch: SeedBatch) -> Any:
        subgraph = self.cut(_nodes(self.choose(batch), self._graph.num_targets))
        return subgraph if self.transform is None else self.transform(subgraph)

    def cut(self, nodes: Tensor) -> Data:
        """The subgraph of ``nodes`` (rising, each once)."""
        graph, count = self._graph, nodes.numel()
        begin = graph.indptr[nodes]
        degree = graph.indptr[nodes + 1] - begin
        owner = torch.arange(count).repeat_interleave(degree)
        first = degree.cumsum(0) - degree
        slot = begin[owner] + torch.arange(owner.numel()) - first[owner]
        numbers = torch.full((graph.num_sources,), -1)
        numbers[nodes] = torch.arange(count)
        source = numbers[graph.indices[slot].long()]
        inside = source >= 0
        slot = slot[inside]
        edge = slot if graph.edge_ids is None else graph.edge_ids[slot]
        values: dict[str, Any] = {}
        for key, value in self.data:
            if key in ("edge_index", "num_nodes"):
                continue
            if isinstance(value, Tensor) and self.data.is_node_attr(key):
                value = value.index_select(0, nodes) if value.is_sparse else value[nodes]
            elif isinstance(value, Tensor) and self.data.is_edge_attr(key):
                value = value[edge]
            values[key] = value
        edge_index = torch.stack([source[inside], owner[inside]])
        return Data(**values, edge_index=edge_index, num_nodes=count, n_id=nodes, e_id=edge)


def _nodes(returned: Any, num_nodes: int) -> Tensor:
    """The nodes that ``choose`` returned for a batch, rising, each once."""
    if not isinstance(returned, Tensor):
        raise TypeError(
            f"choose must return a tensor with the numbers of nodes, got {type(returned).__name__}: use torch.as_tensor"
        )
    if returned.dtype == torch.bool or returned.is_floating_point() or returned.is_complex():
        way_out = ": make numbers of a mask with .nonzero().view(-1)" if returned.dtype == torch.bool else ""
        raise ValueError(f"choose must return the numbers of nodes as integers, got {returned.dtype}{way_out}")
    nodes: Tensor = torch.unique(returned).long()
    if nodes.numel() and not (int(nodes[0]) >= 0 and int(nodes[-1]) < num_nodes):
        raise ValueError(
            f"choose must return nodes in 0 .. {num_nodes - 1}, got {int(nodes[0])} .. {int(nodes[-1])}: positions of "
            "a SeedBatch are places in the list of seeds, and are nodes only where all nodes are seeds in order"
        )
    return nodes


def _edges_of(data: Any) -> Tensor:
    if not isinstance(data, Data) or not isinstance(data.edge_index, Tensor):
        got = type(data).__name__ if not isinstance(data, Data) else "a Data without it"
        raise ValueError(f"subgraphs are cut from a Data with 'edge_index', got {got}{one_graph_of(data)}")
    if "adj_t" in data:
        raise ValueError(
            "subgraphs are cut from 'edge_index', and 'adj_t' would stay that of the whole graph: remove it, or pass "
            "transform=T.ToSparseTensor() to the loader"
        )
    return data.edge_index


class _Batches:
    """A dataset that hands a batch on as it is."""

    def __len__(self) -> int:
        return 0

    def __getitem__(self, item: Any) -> Any:
        return item

    def __getitems__(self, batch: SeedBatch) -> SeedBatch:
        return batch


class _WalkBatches(SeedBatches):
    """A number of steps per epoch, each with its own seed; processes do not share a batch."""

    def __init__(self, num_steps: int, roots: int, walk_length: int, *, seed: int, rank: int, world_size: int) -> None:
        super().__init__(num_steps, 1, seed=seed, rank=rank, world_size=world_size)
        self.roots, self.walk_length = roots, walk_length

    def signature(self) -> dict[str, int | bool | str]:
        return {**super().signature(), "batch_size": self.roots, "walk_length": self.walk_length}

    def epoch(self, epoch: int, batch: int = 0) -> Iterator[SeedBatch]:
        for number in range(batch, len(self)):
            seed = derive_seed(self.seed, "walks", epoch, number, self.rank)
            yield SeedBatch(torch.empty(0, dtype=torch.int64), seed)


class _Walks:
    """The nodes that random walks from uniform roots pass."""

    def __init__(self, data: Data, roots: int, walk_length: int) -> None:
        self.out_edges = CSCGraph.from_edges(_edges_of(data).flip(0), data.num_nodes)
        self.roots, self.walk_length = roots, walk_length

    def __call__(self, batch: SeedBatch) -> Tensor:
        generator = torch.Generator().manual_seed(batch.seed)
        graph = self.out_edges
        node = torch.randint(graph.num_targets, (self.roots,), generator=generator)
        passed = [node]
        for _ in range(self.walk_length):
            begin = graph.indptr[node]
            degree = graph.indptr[node + 1] - begin
            step = (torch.rand(node.shape, dtype=torch.float64, generator=generator) * degree).long()
            moving = degree > 0  # where there is no way on, a walk stays
            node = node.clone()
            node[moving] = graph.indices[(begin + step)[moving]].long()
            passed.append(node)
        return torch.cat(passed)


def random_walk_loader(
    data: Data,
    batch_size: int,
    walk_length: int,
    num_steps: int,
    *,
    seed: int = 0,
    rank: int = 0,
    world_size: int = 1,
    transform: Callable[[Data], Any] | None = None,
    **kwargs: Any,
) -> SubgraphLoader:
    """Subgraphs of the nodes that random walks pass, as PyG's ``GraphSAINTRandomWalkSampler`` draws them.

    ("GraphSAINT: Graph Sampling Based Inductive Learning Method", https://arxiv.org/abs/1907.04931.) Roots are uniform,
    with replacement; a walk follows edges from source to target, each with equal probability, and stays where there is
    none. The weights by which the paper corrects for how often a node is drawn are not computed.

    Args:
        data: a ``Data`` on the CPU.
        batch_size: roots per batch, those of all processes together: each process walks from its share, and trains on
            its own subgraph.
        walk_length: steps of a walk, 0 or more.
        num_steps: batches per epoch.
        seed: batches are a function of it, the epoch and the batch's number.
        rank, world_size: which of how many processes this is.
        transform: applied to every batch.
        **kwargs: of ``DataLoader``, such as ``num_workers``.

    Raises:
        ValueError: for a number below its bound.

    Complexity:
        O(batch_size walk_length) for the walks, and the in-edges of the nodes passed.

    Example:
        >>> from lcat.data import csbm, random_walk_loader
        >>> data = csbm(n=200, seed=0)
        >>> loader = random_walk_loader(data, batch_size=20, walk_length=2, num_steps=5)
        >>> len([batch.num_nodes for batch in loader])
        5
    """
    for name, value, low in (
        ("batch_size", batch_size, 1),
        ("walk_length", walk_length, 0),
        ("num_steps", num_steps, 1),
        ("rank", rank, 0),
        ("world_size", world_size, 1),
    ):
        if (number := as_int(value)) is None or number < low:
            raise ValueError(f"{name} must be a whole number, {low} or more; got {value!r}")
    _edges_of(data)
    if data.num_nodes == 0:
        raise ValueError("random walks need a graph with at least one node; got 0 nodes")
    share = batch_size // world_size + (rank < batch_size % world_size)
    batches = _WalkBatches(num_steps, batch_size, walk_length, seed=seed, rank=rank, world_size=world_size)
    return SubgraphLoader(data, _Walks(data, share, walk_length), batches, transform, **kwargs)


class _Parts:
    """The nodes of the parts of a batch."""

    def __init__(self, part: Tensor, count: int) -> None:
        self.order = torch.argsort(part, stable=True)
        self.pointer = torch.zeros(count + 1, dtype=torch.int64)
        self.pointer[1:] = torch.bincount(part, minlength=count).cumsum(0)

    def __call__(self, batch: SeedBatch) -> Tensor:
        rows = [self.order[self.pointer[number] : self.pointer[number + 1]] for number in batch.positions.tolist()]
        return torch.cat(rows) if rows else self.order[:0]


def partition_loader(
    data: Data,
    num_parts: int,
    parts_per_batch: int = 1,
    *,
    method: Method = "auto",
    part: Tensor | None = None,
    shuffle: bool = True,
    seed: int = 0,
    rank: int = 0,
    world_size: int = 1,
    transform: Callable[[Data], Any] | None = None,
    **kwargs: Any,
) -> SubgraphLoader:
    """Subgraphs of a few parts of a partition at a time, with the edges between them, as PyG's ``ClusterLoader``.

    ("Cluster-GCN: An Efficient Algorithm for Training Deep and Large Graph Convolutional Networks",
    https://arxiv.org/abs/1905.07953.)

    Args:
        data: a ``Data`` on the CPU.
        num_parts: number of parts.
        parts_per_batch: parts per batch, those of all processes together.
        method: see :func:`partition_nodes`.
        part: ``[N]`` int64: a partition that is known already.
        shuffle, seed, rank, world_size: see :class:`SeedBatches`.
        transform: applied to every batch.
        **kwargs: of ``DataLoader``, such as ``num_workers``.

    Example:
        >>> from lcat.data import csbm, partition_loader
        >>> data = csbm(n=200, seed=0)
        >>> sum(
        ...     batch.num_nodes
        ...     for batch in partition_loader(data, num_parts=10, parts_per_batch=3)
        ... )
        200
    """
    if "batch_size" in kwargs:
        raise TypeError("partition_loader counts a batch in parts: pass parts_per_batch instead of batch_size")
    _edges_of(data)
    if part is None:
        part = partition_nodes(data, num_parts, method=method, seed=seed)
    if not isinstance(part, Tensor) or part.is_floating_point() or part.dtype == torch.bool:
        got = f"a tensor {part.dtype}" if isinstance(part, Tensor) else type(part).__name__
        raise TypeError(
            f"part must be a tensor of whole numbers, one per node, such as partition_nodes makes; got {got}"
        )
    if part.shape != (data.num_nodes,) or (part.numel() and not 0 <= int(part.min()) <= int(part.max()) < num_parts):
        raise ValueError(f"part must have a number in 0 .. {num_parts - 1} for each of {data.num_nodes} nodes")
    batches = SeedBatches(
        num_parts, parts_per_batch, shuffle=shuffle, seed=seed, rank=rank, world_size=world_size
    )  # fmt: skip
    return SubgraphLoader(data, _Parts(part, num_parts), batches, transform, **kwargs)


def partition_nodes(data: Data, num_parts: int, *, method: Method = "auto", seed: int = 0) -> Tensor:
    """A partition of the nodes, ``[N]`` part numbers.

    Args:
        data: the graph.
        num_parts: number of parts, 1 or more.
        method: ``"metis"`` through PyG's ``ClusterData`` (needs pyg-lib or torch-sparse); ``"grown"``: regions grown
            around random centers, then packed into parts of about equal size, which cuts more edges than METIS and far
            fewer than ``"random"``; ``"auto"``: METIS where its library is, else grown.
        seed: of the last two.

    Raises:
        ValueError: for another method or a number of parts below 1.
        ImportError: ``"metis"`` without its library.

    Example:
        >>> from lcat.data import csbm, partition_nodes
        >>> partition_nodes(csbm(n=200, seed=0), 4, method="grown").bincount().numel()
        4
    """
    if method not in get_args(Method):
        raise ValueError(f"method must be one of {', '.join(get_args(Method))}; got {method!r}")
    if (count := as_int(num_parts)) is None or count < 1:
        raise ValueError(f"num_parts must be a whole number, 1 or more; got {num_parts!r}")
    if not isinstance(data, Data) or method != "random":
        _edges_of(data)  # refuses what is no graph
    if method == "random":
        generator = torch.Generator().manual_seed(derive_seed(seed, "parts"))
        return torch.randperm(data.num_nodes, generator=generator) % num_parts
    if method != "grown":
        try:
            return _metis_parts(data, num_parts)
        except ImportError:
            if method == "metis":
                raise ImportError("method='metis' needs pyg-lib or torch-sparse; method='grown' does without") from None
    return partition(CSCGraph.from_edges(_edges_of(data), data.num_nodes), num_parts, derive_seed(seed, "parts"))


def _metis_parts(data: Data, num_parts: int) -> Tensor:
    clusters = ClusterData(Data(edge_index=data.edge_index, num_nodes=data.num_nodes), num_parts, log=False)
    sizes = clusters.partition.partptr.diff()
    part = torch.empty(data.num_nodes, dtype=torch.int64)
    part[clusters.partition.node_perm] = torch.arange(num_parts).repeat_interleave(sizes)
    return part


class SeededLoader:
    """Any other loader, such as PyG's own, with epochs that repeat and resume, for :func:`lcat.train.fit_minibatch`.

    The loader draws from torch's generator, which is set from ``(seed, epoch)`` while it works and put back for
    the training. An epoch that starts in the middle draws the batches before and drops them. A loader that shuffles
    with workers gives other batches for another number of workers.

    Args:
        loader: iterated once per epoch; it has a length.
        seed: any whole number.

    Example:
        >>> from torch_geometric.loader import RandomNodeLoader
        >>> from lcat.data import SeededLoader, csbm
        >>> loader = SeededLoader(
        ...     RandomNodeLoader(csbm(n=100, seed=0), num_parts=4, shuffle=True), seed=1
        ... )
        >>> (
        ...     [batch.num_nodes for batch in loader.epoch(0)],
        ...     [batch.num_nodes for batch in loader.epoch(0, 3)],
        ... )
        ([25, 25, 25, 25], [25])
    """

    def __init__(self, loader: Any, seed: int = 0) -> None:
        if not hasattr(loader, "__len__") or not hasattr(loader, "__iter__") or isinstance(loader, type):
            raise TypeError(
                f"expected a loader with a length, such as one of PyG or a list of Data, got {type(loader).__name__}"
            )
        if (number := as_int(seed)) is None:
            raise ValueError(f"seed must be a whole number; got {seed!r}")
        if len(loader) == 0:
            raise ValueError(f"expected a loader with at least one batch, got an empty {type(loader).__name__}")
        seed = number
        self.loader = loader
        self.seed = seed

    def __len__(self) -> int:
        return len(self.loader)

    def signature(self) -> dict[str, int | bool | str]:
        """What is known of what the batches follow from, in plain values; checkpoints keep it."""
        signature: dict[str, int | bool | str] = {"loader": type(self.loader).__name__, "seed": self.seed}
        if isinstance(self.loader, DataLoader):
            signature["shuffle"] = isinstance(self.loader.sampler, RandomSampler)
        for name in ("batch_size", "drop_last", "num_parts", "num_steps", "walk_length"):
            value = getattr(self.loader, name, None)
            if isinstance(value, (bool, int)):
                signature[name] = value
        return signature

    def epoch(self, epoch: int, batch: int = 0) -> Iterator[Any]:
        """One epoch, from its batch number ``batch`` on."""
        state = torch.Generator().manual_seed(derive_seed(self.seed, "epoch", epoch)).get_state()
        batches = None
        for number in range(len(self.loader)):
            with torch.random.fork_rng(devices=[]):
                torch.set_rng_state(state)
                batches = iter(self.loader) if batches is None else batches
                drawn = next(batches)
                state = torch.get_rng_state()
            if number >= batch:
                yield drawn
