"""Loaders of mini-batches around seed nodes, reproducible and resumable."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Literal, get_args

import torch
import torch_geometric.typing
from torch.utils.data import DataLoader, Dataset
from torch_geometric.loader import NodeLoader
from torch_geometric.sampler import BaseSampler, NeighborSampler

from lcat._numbers import read_bool
from lcat.data.loading._grouped import with_grouped_edges
from lcat.data.loading._inputs import checked_options, checked_seeds, refuse_compressed_rows
from lcat.data.loading._matrices import with_edge_index, with_matrices
from lcat.data.loading.batches import SeedBatch, SeedBatches, one_epoch
from lcat.data.loading.sampler import TorchNeighborSampler

__all__ = ["NodeBatchLoader", "neighbor_loader"]

Backend = Literal["auto", "torch", "pyg"]


class NodeBatchLoader(NodeLoader):
    """PyG's ``NodeLoader`` whose batches are a function of ``seed``, the epoch and the batch's number alone.

    Neither the number of workers nor how they are started changes a batch, and an epoch may start at any batch, as a
    resumed training needs. Every ``for`` loop over it is one epoch; the first is epoch 0.

    Args:
        data: what the batches are cut from: ``Data``, ``HeteroData`` or (feature store, graph store).
        node_sampler: a :class:`TorchNeighborSampler`, or any of PyG's that draws from torch's generator.
        input_nodes: the seed nodes: numbers, a mask, ``None`` for all; for typed nodes a type for all of its nodes, or
            ``(type, numbers or mask)``.
        batch_size: seed nodes per batch, those of all processes together.
        shuffle, drop_last, seed, rank, world_size: see :class:`SeedBatches`.
        group_edges: edges of a batch are a ``torch_geometric.EdgeIndex`` that holds them grouped by target and by
            source, also after ``batch.to(device)``: layers sort nothing then. With ``num_workers`` the workers group
            them if they also gather the features (``filter_per_worker=True``). Matrices ``adj_t`` stay what they are.
        **kwargs: of ``NodeLoader`` and ``DataLoader``, such as ``num_workers``, ``transform``, ``pin_memory``.

    Raises:
        TypeError: for the arguments of ``DataLoader`` that say otherwise which batch comes when, and for unknown ones.
        ValueError: for seed nodes that the graph does not have, and for features in a CSR matrix.

    Example:
        >>> import torch
        >>> from lcat.data import NodeBatchLoader, TorchNeighborSampler, csbm
        >>> data = csbm(n=100, seed=0)
        >>> loader = NodeBatchLoader(
        ...     data, TorchNeighborSampler(data, [5]), batch_size=40, shuffle=True, seed=1
        ... )
        >>> [batch.batch_size for batch in loader]
        [40, 40, 20]
        >>> again = [batch.n_id for batch in loader.epoch(0)]
        >>> all(torch.equal(one.n_id, two) for one, two in zip(loader.epoch(0), again))
        True
    """

    def __init__(
        self,
        data: Any,
        node_sampler: BaseSampler,
        input_nodes: Any = None,
        *,
        batch_size: int = 1,
        shuffle: bool = False,
        drop_last: bool = False,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        group_edges: bool = False,
        **kwargs: Any,
    ) -> None:
        kwargs = checked_options(type(self).__name__, kwargs, NodeLoader, DataLoader)
        input_nodes = checked_seeds(data, input_nodes)
        refuse_compressed_rows(data)
        data, layouts = with_edge_index(data)
        if layouts:
            kwargs["transform"] = partial(_with_matrices, layouts, kwargs.get("transform"))
        if read_bool("group_edges", group_edges):
            kwargs["transform"] = partial(_with_groups, kwargs.get("transform"))
        # Its own generator: DataLoader would draw from the caller's at the start of every epoch.
        kwargs["generator"] = torch.Generator()
        super().__init__(data, node_sampler, input_nodes, batch_sampler=_NoBatches(), **kwargs)
        count = self.input_data.node.numel()
        self.batches = SeedBatches(
            count, batch_size, shuffle=shuffle, drop_last=drop_last, seed=seed, rank=rank, world_size=world_size
        )
        # DataLoader forbids to set these once it is made, and NodeLoader fixes the first and needs to know the second
        # before it has counted the seed nodes. Nothing has been read from them yet.
        object.__setattr__(self, "dataset", _Positions(count))
        object.__setattr__(self, "batch_sampler", self.batches)

    def __getstate__(self) -> dict[str, Any]:
        # Spawned workers get the loader for its collate_fn; a generator does not travel, and they need none.
        return {**self.__dict__, "generator": None, "_iterator": None}

    def epoch(self, epoch: int, batch: int = 0) -> Iterator[Any]:
        """One epoch, from its batch number ``batch`` on."""
        return one_epoch(self, self.batches, epoch, batch)

    def signature(self) -> dict[str, int | bool | str]:
        """What the batches follow from, in plain values, the same in all processes; checkpoints keep it."""
        signature: dict[str, int | bool | str] = {
            **self.batches.signature(),
            "sampler": type(self.node_sampler).__name__,
        }
        for name in ("num_neighbors", "replace", "disjoint"):
            value = getattr(self.node_sampler, name, None)
            if value is not None:
                signature[name] = str(value)
        return signature

    def collate_fn(self, index: Any) -> Any:
        """The sample of one batch."""
        if not isinstance(index, SeedBatch):
            return super().collate_fn(index)
        seeds = self.input_data[index.positions]
        if isinstance(self.node_sampler, TorchNeighborSampler):
            out = self.node_sampler.sample_from_nodes(seeds, seed=index.seed)
        else:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(index.seed)
                out = self.node_sampler.sample_from_nodes(seeds)
        return self.filter_fn(out) if self.filter_per_worker else out


def _with_matrices(layouts: Any, transform: Callable[[Any], Any] | None, batch: Any) -> Any:
    batch = with_matrices(batch, layouts)
    return batch if transform is None else transform(batch)


def _with_groups(transform: Callable[[Any], Any] | None, batch: Any) -> Any:
    return with_grouped_edges(batch if transform is None else transform(batch))


class _Positions(Dataset):
    """A dataset that hands a batch of positions on as it is."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, position: int) -> int:
        return position

    def __getitems__(self, batch: SeedBatch) -> SeedBatch:
        return batch


class _NoBatches:
    """Keeps the place of the batch sampler while NodeLoader is made."""

    def __iter__(self) -> Iterator[SeedBatch]:
        return iter(())

    def __len__(self) -> int:
        return 0


def neighbor_loader(
    data: Any,
    num_neighbors: Sequence[int] | Mapping[Any, Sequence[int]],
    input_nodes: Any = None,
    batch_size: int = 1024,
    *,
    shuffle: bool = False,
    replace: bool = False,
    disjoint: bool = False,
    drop_last: bool = False,
    seed: int = 0,
    rank: int = 0,
    world_size: int = 1,
    backend: Backend = "auto",
    group_edges: bool = False,
    transform: Callable[[Any], Any] | None = None,
    **kwargs: Any,
) -> NodeBatchLoader:
    """Mini-batches of sampled neighborhoods, as PyG's ``NeighborLoader`` makes them, with or without its libraries.

    Seeds come first among the nodes of a batch (``batch.batch_size`` of them); ``batch.n_id`` and ``batch.e_id`` are
    the numbers that nodes and edges have in ``data``; edges are sorted by target.

    Args:
        data: ``Data``, ``HeteroData``, or (feature store, graph store) such as :func:`lcat.data.open_stores` opens.
        num_neighbors: in-edges to draw in each hop, -1 for all; see :class:`TorchNeighborSampler`.
        input_nodes: the seed nodes: numbers, a mask, ``None`` for all; for typed nodes a type for all of its nodes, or
            ``(type, numbers or mask)``.
        batch_size: seed nodes per batch, those of all processes together.
        shuffle: a new order in every epoch.
        replace: draw neighbors with replacement.
        disjoint: one tree per seed.
        drop_last: leave out a last batch that is smaller.
        seed: batches are a function of it, the epoch and the batch's number.
        rank, world_size: which of how many processes this is.
        backend: ``"pyg"`` samples with PyG's ``NeighborSampler`` (on pyg-lib or torch-sparse), ``"torch"`` with
            :class:`TorchNeighborSampler`, ``"auto"`` with the first if one of these libraries is installed. The two
            agree in distribution, not draw by draw.
        group_edges: hand the edges of a batch out as an ``EdgeIndex`` with its groups; see :class:`NodeBatchLoader`.
        transform: applied to every batch.
        **kwargs: of ``DataLoader``, such as ``num_workers`` or ``pin_memory``.

    Raises:
        ImportError: ``backend="pyg"`` without either library.
        TypeError, ValueError: for what cannot be sampled from, see :class:`TorchNeighborSampler`, and for seed nodes
            that are neither whole numbers nor a mask of the graph's size.

    Example:
        >>> from lcat.data import csbm, neighbor_loader
        >>> data = csbm(n=100, seed=0)
        >>> loader = neighbor_loader(
        ...     data, [10, 5], data.train_mask, batch_size=32, shuffle=True
        ... )
        >>> for batch in loader:
        ...     logits_of = batch.x[: batch.batch_size], batch.edge_index
    """
    if backend not in get_args(Backend):
        raise ValueError(f"backend must be one of {', '.join(get_args(Backend))}; got {backend!r}")
    replace, disjoint = read_bool("replace", replace), read_bool("disjoint", disjoint)
    native = torch_geometric.typing.WITH_PYG_LIB or torch_geometric.typing.WITH_TORCH_SPARSE
    if backend == "pyg" and not native:
        raise ImportError("backend='pyg' needs pyg-lib or torch-sparse; backend='torch' does without")
    sampler: BaseSampler
    if backend == "torch" or not native:
        sampler = TorchNeighborSampler(data, num_neighbors, replace=replace, disjoint=disjoint)
    else:
        sampler = NeighborSampler(data, num_neighbors, replace=replace, disjoint=disjoint)
    return NodeBatchLoader(
        data, sampler, input_nodes, batch_size=batch_size, shuffle=shuffle, drop_last=drop_last, seed=seed, rank=rank,
        world_size=world_size, group_edges=group_edges, transform=transform, **kwargs,
    )  # fmt: skip
