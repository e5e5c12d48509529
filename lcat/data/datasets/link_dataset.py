"""The edges of one graph as what is to be predicted: which pairs of nodes are linked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor
from torch_geometric.data import Data

from lcat._measures import TaskName, default_metric
from lcat._seeds import derive_seed
from lcat._text import counted
from lcat.data.datasets.items import DataError, check_metric, split_of
from lcat.data.datasets.node_dataset import check_graph
from lcat.data.splits.splits import Split, random_split

__all__ = ["LinkDataset", "sample_no_links"]

_FRACTIONS = (0.85, 0.05, 0.1)
_RULE = "random 85/5/10 of the linked pairs by seed"


@dataclass(frozen=True)
class LinkDataset:
    """A graph whose links are predicted, checked when made.

    An item is an unordered pair of different nodes with an edge between them, whatever its direction. Pairs are
    numbered by their smaller node and then by their larger one. Masks of splits have one entry per pair.

    Args:
        name: how tables call it.
        data: ``x``, ``edge_index`` and perhaps ``edge_weight``, ``edge_attr``; labels are not used.
        splits: from a seed to the split of that seed; random 85/5/10 by default.
        metric: ``"roc-auc"`` by default.
        split_rule: one line on what ``splits`` does, for tables.
        steps: what was done to what was read, one line each, for the record of a study.

    Attributes:
        pairs: ``[2, P]``, each linked pair once, the smaller node first.

    Raises:
        DataError: names the part that does not fit, what it is and what it should be.

    Example:
        >>> from lcat.data import LinkDataset, csbm
        >>> links = LinkDataset("links", csbm(n=100, seed=0))
        >>> (
        ...     bool((links.pairs[0] < links.pairs[1]).all()),
        ...     links.split(0).num_nodes == links.num_items,
        ... )
        (True, True)
    """

    name: str
    data: Data
    splits: Callable[[int], Split] | None = None
    metric: str = ""
    split_rule: str = ""
    task: TaskName = "link-prediction"
    steps: tuple[str, ...] = ()
    pairs: Tensor = field(init=False, repr=False)

    def __post_init__(self) -> None:
        check_graph(self.name, self.data, labels=False)
        object.__setattr__(self, "metric", self.metric or default_metric(self.task))
        check_metric(self.name, self.metric, self.task, 2)
        source, target = self.data.edge_index.long()
        num_nodes = int(self.data.x.size(0))
        codes = (source.minimum(target) * num_nodes + source.maximum(target))[source != target].unique()
        if codes.numel() < 3:
            raise DataError(f"{self.name}: expected at least three linked pairs of nodes; got {codes.numel()}")
        object.__setattr__(self, "pairs", torch.stack([codes // num_nodes, codes % num_nodes]))
        if self.splits is None:
            object.__setattr__(self, "splits", partial(_random_rule, codes.numel()))
            object.__setattr__(self, "split_rule", self.split_rule or _RULE)

    @property
    def num_items(self) -> int:
        """Number of linked pairs, for which masks of splits have an entry."""
        return int(self.pairs.size(1))

    @property
    def num_features(self) -> int:
        """Columns of ``x``."""
        return int(self.data.x.size(1))

    @property
    def num_classes(self) -> int:
        """Linked or not."""
        return 2

    @property
    def num_edge_features(self) -> int:
        """Columns of ``edge_attr``; 0 without it."""
        edge_attr = self.data.get("edge_attr")
        return 0 if edge_attr is None else int(edge_attr.size(1))

    @property
    def classes(self) -> Tensor:
        """Zeros ``[P]``, as there are no classes that folds could distribute evenly."""
        return torch.zeros(self.num_items, dtype=torch.int64)

    @property
    def is_stratified(self) -> bool:
        """Whether :attr:`classes` are classes."""
        return False

    def tensors(self) -> list[Tensor]:
        """All that decides results, for a hash."""
        keys = ("x", "edge_index", "edge_weight", "edge_attr")
        return [self.data[key] for key in keys if self.data.get(key) is not None]

    def remarks(self) -> list[str]:
        """What its owner should know of it."""
        return []

    def split(self, seed: int) -> Split:
        """The split that belongs to ``seed``, checked against the pairs.

        Raises:
            DataError: if there is none, or its masks have another length.
        """
        assert self.splits is not None
        return self.checked(split_of(self.name, self.splits, seed), f"the split of seed {seed}")

    def checked(self, split: Split, name: str = "the split") -> Split:
        """``split`` itself, if it fits the pairs.

        Raises:
            DataError: if its masks have another length.
        """
        if split.num_nodes != self.num_items:
            raise DataError(
                f"{self.name}: {name} has {counted(split.num_nodes, 'entry')} and the graph "
                f"{counted(self.num_items, 'linked pair')}; they must agree"
            )
        return split

    def visible(self, split: Split) -> Data:
        """The graph that messages pass through: without the edges of validation and test pairs, in both directions.

        Self-loops, weights and features of the edges that stay are kept.
        """
        source, target = self.data.edge_index.long()
        num_nodes = int(self.data.x.size(0))
        codes = source.minimum(target) * num_nodes + source.maximum(target)
        hidden = self.pairs[:, split.val | split.test]
        keep = ~torch.isin(codes, hidden[0] * num_nodes + hidden[1])
        graph = Data(x=self.data.x, edge_index=self.data.edge_index[:, keep].contiguous())
        for key in ("edge_weight", "edge_attr"):
            if self.data.get(key) is not None:
                graph[key] = self.data[key][keep]
        return graph


def sample_no_links(num_nodes: int, pairs: Tensor, count: int, seed: int, *purpose: int | str) -> Tensor:
    """Pairs of different nodes without an edge between them, each such pair as likely, none twice.

    Args:
        num_nodes: number of nodes.
        pairs: ``[2, P]`` all linked pairs of the graph, the smaller node first.
        count: how many; all that there are if there are fewer.
        seed: the only source of randomness.
        *purpose: distinguishes draws of one seed.

    Returns:
        ``[2, count]``, the smaller node first.

    Raises:
        DataError: if every pair is linked.

    Example:
        >>> import torch
        >>> from lcat.data.datasets.link_dataset import sample_no_links
        >>> sample_no_links(3, torch.tensor([[0, 0], [1, 2]]), 5, 0).tolist()
        [[1], [2]]
    """
    generator = torch.Generator().manual_seed(derive_seed(seed, "no links", *purpose))
    total = num_nodes * (num_nodes - 1) // 2
    linked = (pairs[0] * num_nodes + pairs[1]).sort().values
    room = total - linked.numel()
    if room <= 0:
        raise DataError("every pair of nodes is linked, so there are no pairs without a link to compare with")
    count = min(count, room)
    if 4 * count > room:
        # Drawing would rarely hit what is left: list it and choose.
        low, high = torch.triu_indices(num_nodes, num_nodes, offset=1)
        codes = (low * num_nodes + high)[~torch.isin(low * num_nodes + high, linked)]
        codes = codes[torch.randperm(codes.numel(), generator=generator)[:count]]
    else:
        codes = linked.new_empty(0)
        while codes.numel() < count:
            ends = torch.randint(num_nodes, (2, 2 * (count - codes.numel()) + 16), generator=generator)
            ends = ends[:, ends[0] != ends[1]]
            drawn = ends.amin(dim=0) * num_nodes + ends.amax(dim=0)
            position = torch.searchsorted(linked, drawn).clamp(max=linked.numel() - 1)
            pool = torch.cat([codes, drawn[linked[position] != drawn]])
            # Repeats go, in the order of drawing, so that the rest stays a uniform sample.
            values, inverse = pool.unique(return_inverse=True)
            order = torch.arange(pool.numel())
            first = torch.full_like(values, pool.numel()).scatter_reduce_(0, inverse, order, reduce="amin")
            codes = pool[first.sort().values]
        codes = codes[:count]
    return torch.stack([codes // num_nodes, codes % num_nodes])


def _random_rule(count: int, seed: int) -> Split:
    return random_split(torch.zeros(count, dtype=torch.int64), _FRACTIONS, seed)
