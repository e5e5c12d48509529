"""The contextual stochastic block model: graphs on which it is known which layer must win.

Two classes of nodes, a random graph with edge probability ``p`` inside a class and ``q`` across, and Gaussian
features whose two means lie ``distance`` apart:

    y_i in {0, 1}, half of each;   edge {i, j} with probability p if y_i = y_j, else q
    x_i = (2 y_i - 1) mu (1, ..., 1) + sigma N(0, I_d);   distance = 2 mu sqrt(d)

How far the means lie apart (against sigma) says what attention can read from a node alone; how far q lies
from p says what averaging over neighbors can do. The two regimes below are those of Fountoulakis, Levi,
Yang, Baranwal, Jagannath, "Graph Attention Retrospective" (JMLR 2023), and of Javaloy, Sanchez-Martin, Levi,
Valera, "Learnable Graph Convolutional Attention Networks" (ICLR 2023).
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.utils import add_self_loops

from lcat._numbers import as_float, as_int, as_plain, read_bool
from lcat._seeds import Purpose, derive_seed
from lcat.data.splits.splits import SplitError, random_split

__all__ = ["REGIMES", "csbm", "csbm_distance"]

Regime = Literal["easy", "hard"]
REGIMES: tuple[Regime, ...] = get_args(Regime)

# Pairs of nodes are numbered, and these numbers pass through float64, which is exact up to 2^53.
_MOST_NODES = 2**26


def csbm_distance(regime: Regime, n: int = 1000, sigma: float = 0.1) -> float:
    """Distance between the two feature means in a named regime.

    ``easy``: ``10 sigma sqrt(2 ln n)``, the classes separate without the graph, and attention can tell
    neighbors of the own class from others. ``hard``: ``sigma``, a linear classifier of single nodes is
    right in about 69 % of cases, and attention on single nodes sees mostly noise.

    Args:
        regime: ``"easy"`` or ``"hard"``.
        n: number of nodes.
        sigma: standard deviation of the noise in each feature.

    Raises:
        ValueError: for another regime.

    Example:
        >>> from lcat.data import csbm_distance
        >>> round(csbm_distance("easy"), 3), csbm_distance("hard")
        (3.717, 0.1)
    """
    if not isinstance(regime, str) or regime not in REGIMES:
        raise ValueError(f"regime must be one of {', '.join(REGIMES)}; got {regime!r}. Give distance= for any other")
    sigma = _real("sigma", sigma)
    if (count := as_int(n)) is None or count < 1:
        raise ValueError(f"n must be a whole number of nodes, at least 1; got {n!r}")
    if regime == "easy":
        return 10 * sigma * math.sqrt(2 * math.log(count))
    return sigma


def csbm(
    n: int = 1000,
    *,
    q: float = 0.1,
    p: float = 0.5,
    regime: Regime | None = None,
    distance: float | None = None,
    mu: float | None = None,
    sigma: float = 0.1,
    d: int | None = None,
    self_loops: bool = False,
    fractions: Sequence[float] = (0.6, 0.2, 0.2),
    seed: int = 0,
) -> Data:
    """One graph of the contextual stochastic block model.

    Give at most one of ``regime``, ``distance`` and ``mu``; with none of them the regime is ``"easy"``.

    Args:
        n: number of nodes, half of each class (class 0 has one more when ``n`` is odd); at least 4, and enough for a
            node in every part of the split: 5 with the default fractions.
        q: probability of an edge between two nodes of different classes, in [0, 1].
        p: probability of an edge between two nodes of one class, in [0, 1].
        regime: ``"easy"`` or ``"hard"``, see :func:`csbm_distance`.
        distance: Euclidean distance between the two means.
        mu: the means are ``+mu`` and ``-mu`` in every coordinate; ``distance = 2 mu sqrt(d)``.
        sigma: standard deviation of the noise in each feature, positive.
        d: number of features; ``ceil(n / ln(n)^2)`` by default (21 for 1000 nodes).
        self_loops: add ``(i, i)`` for every node. Off by default, as the layers add their own.
        fractions: shares of train, validation and test nodes, stratified by class.
        seed: the only source of randomness; the global generator is not touched.

    Returns:
        ``torch_geometric.data.Data`` with ``x`` (float32 ``[n, d]``), ``y`` (int64 ``[n]``), ``edge_index``
        (int64 ``[2, E]``, both directions of every edge, sorted) and ``train_mask``, ``val_mask``,
        ``test_mask`` (bool ``[n]``). The order of the nodes says nothing about their class.

    Raises:
        ValueError: names the argument, what it got and what it takes.

    Cost is O(E + n d): the edges are drawn by skipping from one to the next, never n^2 coins.

    Example:
        >>> from lcat.data import csbm
        >>> data = csbm(n=1000, q=0.1, regime="hard", seed=0)
        >>> data.num_nodes, data.num_features, data.is_undirected()
        (1000, 21, True)
    """
    n, d = as_plain(n), as_plain(d)
    p, q, sigma = (_real(name, value) for name, value in (("p", p), ("q", q), ("sigma", sigma)))
    distance, mu = (
        None if value is None else _real(name, value) for name, value in (("distance", distance), ("mu", mu))
    )
    _check(n=n, p=p, q=q, sigma=sigma, d=d)
    gaps = {"regime": regime, "distance": distance, "mu": mu}
    named = [name for name, value in gaps.items() if value is not None]
    if len(named) > 1:
        raise ValueError(f"give at most one of regime, distance and mu; got {' and '.join(named)}")
    dim = d if d is not None else math.ceil(n / math.log(n) ** 2)
    if mu is None:
        gap = distance if distance is not None else csbm_distance("easy" if regime is None else regime, n, sigma)
        mu = gap / (2 * math.sqrt(dim))
    if not (math.isfinite(mu) and mu >= 0):
        raise ValueError(f"{named[0]} must be a finite number >= 0; got {gaps[named[0]]}")
    if mu + 10 * sigma > torch.finfo(torch.float32).max:
        raise ValueError(f"features must fit into float32; got means at {mu:.3g} and sigma = {sigma:.3g}: lower them")
    _check_size(n=n, p=p, q=q, dim=dim)

    y = (torch.arange(n) >= (n + 1) // 2).long()[torch.randperm(n, generator=_generator(seed, "labels of csbm"))]
    x = mu * (2 * y - 1).view(-1, 1) + sigma * torch.randn(n, dim, generator=_generator(seed, "features of csbm"))
    edge_index = _draw_edges(y, p, q, _generator(seed, "edges of csbm"))
    if read_bool("self_loops", self_loops):
        edge_index, _ = add_self_loops(edge_index, num_nodes=n)
    try:
        split = random_split(y, fractions, seed)
    except SplitError as error:
        raise ValueError(f"a graph with n = {n} cannot be split with fractions {fractions}: {error}") from None
    return Data(x=x, y=y, edge_index=edge_index, train_mask=split.train, val_mask=split.val, test_mask=split.test)


def _generator(seed: int, purpose: Purpose) -> torch.Generator:
    return torch.Generator().manual_seed(derive_seed(seed, purpose))


def _real(name: str, value: object) -> float:
    number = as_float(value)
    if number is None:
        raise ValueError(f"{name} must be a number; got {value!r}")
    return number


def _check(*, n: int, p: float, q: float, sigma: float, d: int | None) -> None:
    if isinstance(n, bool) or not isinstance(n, int) or n < 4:
        raise ValueError(f"n must be a whole number of nodes, at least 4; got {n!r}")
    if n > _MOST_NODES:
        raise ValueError(f"n must be at most {_MOST_NODES} nodes; got {n}")
    for name, value in (("p", p), ("q", q)):
        if not 0 <= value <= 1:
            raise ValueError(f"{name} is a probability and must lie in [0, 1]; got {value}")
    if not (math.isfinite(sigma) and sigma > 0):
        raise ValueError(f"sigma must be a positive number; got {sigma}")
    if d is not None and (isinstance(d, bool) or not isinstance(d, int) or d < 1):
        raise ValueError(f"d must be a whole number of features, at least 1, or None; got {d!r}")
    if d is not None and d > _MOST_NODES:
        raise ValueError(f"d must be at most {_MOST_NODES} features; got {d}")


def _check_size(*, n: int, p: float, q: float, dim: int) -> None:
    """A graph that does not fit into memory is refused; drawing it would take minutes and then end the process."""
    edges = n * n / 2 * (p + q)
    # Edges and their order are held three times while they are sorted, features twice.
    wanted = 48 * edges + 8 * n * dim
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else math.inf
    if wanted > memory:
        raise ValueError(
            f"n = {n} nodes with p = {p:g}, q = {q:g} and {dim} features are about {edges:.3g} edges: drawing them "
            f"takes {wanted / 2**30:.3g} GiB, and this machine has {memory / 2**30:.3g}; lower n, p and q, or d"
        )


def _draw_edges(y: Tensor, p: float, q: float, generator: torch.Generator) -> Tensor:
    """Both directions of all edges, ``[2, E]``, sorted by source and then target."""
    zeros, ones = (y == 0).nonzero().view(-1), (y == 1).nonzero().view(-1)
    halves = []
    for nodes in (zeros, ones):
        row, col = _triangle(_bernoulli_successes(nodes.numel() * (nodes.numel() - 1) // 2, p, generator))
        halves.append(torch.stack([nodes[row], nodes[col]]))
    cross = _bernoulli_successes(zeros.numel() * ones.numel(), q, generator)
    halves.append(torch.stack([zeros[cross // ones.numel()], ones[cross % ones.numel()]]))
    half = torch.cat(halves, dim=1)
    both = torch.cat([half, half.flip(0)], dim=1)
    return both[:, (both[0] * y.numel() + both[1]).argsort()]


def _bernoulli_successes(trials: int, probability: float, generator: torch.Generator) -> Tensor:
    """Which of ``trials`` independent coins show heads, in order, in time proportional to the heads."""
    if trials == 0 or probability <= 0:
        return torch.empty(0, dtype=torch.long)
    if probability >= 1:
        return torch.arange(trials)
    pieces, last = [], -1
    while last < trials:
        expected = (trials - last) * probability
        draws = int(expected + 6 * math.sqrt(expected) + 16)
        u = torch.rand(draws, dtype=torch.float64, generator=generator)
        # The gap to the next head is geometric; log1p(-u) is finite as torch.rand never returns 1. A gap
        # beyond the end is cut there, so that a tiny probability cannot overflow an integer.
        gaps = (torch.log1p(-u) / math.log1p(-probability)).floor().clamp(max=float(trials)).long() + 1
        positions = last + gaps.cumsum(0)
        pieces.append(positions)
        last = int(positions[-1])
    heads = torch.cat(pieces)
    return heads[heads < trials]


def _triangle(index: Tensor) -> tuple[Tensor, Tensor]:
    """The pair (row, col) with col < row at each position of a strict lower triangle read row by row."""
    row = ((1 + (1 + 8 * index.double()).sqrt()) / 2).floor().long()
    # The square root may be off by one in its last bit; one step either way mends it.
    row = row - (row * (row - 1) // 2 > index).long()
    row = row + ((row + 1) * row // 2 <= index).long()
    return row, index - row * (row - 1) // 2
