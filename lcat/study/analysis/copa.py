r"""COPA: one choice from objectives that cannot be compared as they are.

Seconds, bytes and shares have no common scale, and any fixed rescaling would decide the choice. COPA (Javaloy, Vergari
and Valera, "COPA: Comparing the incomparable in multi-objective model evaluation", arXiv 2503.14321) replaces each
objective by its cumulative distribution among the candidates, estimated by relative ranks,

.. math:: u_k(i) = \hat F_k(y_{ik}) = \frac{\#\{j : y_{jk} \le y_{ik}\}}{N}

and takes the candidate with the least weighted p-norm

.. math:: \lVert \omega \odot u(i) \rVert_p = \left(\sum_k (\omega_k u_k(i))^p\right)^{1/p}, \qquad
          \lVert \omega \odot u(i) \rVert_\infty = \max_k \omega_k u_k(i) .

:math:`\omega` says how much each objective matters; :math:`p = 1` is the average rank, which lets a good objective make
up for a bad one, :math:`p = \infty` the worst rank, which does not.

Choices of this implementation that the abstract of the paper leaves open: the weights stand inside the power, so that
they still matter at :math:`p = \infty`; tied candidates all get the highest of their ranks, as the empirical
distribution function has it; ranks are divided by N; a missing value ranks behind all others; ties in the norm go to
the lower weighted mean rank, then to the lower mean rank, then to the first candidate.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["CopaChoice", "copa", "pareto_front", "relative_ranks"]

#: Candidates compared with all others at once in :func:`pareto_front`; bounds its memory.
_BLOCK = 256


@dataclass(frozen=True)
class CopaChoice:
    """Result of :func:`copa` for N candidates and K objectives.

    Attributes:
        best: index of the chosen candidate.
        order: all candidates from best to worst, ``[N]``.
        ranks: relative ranks u in (0, 1], ``[N, K]``; the smaller the better.
        scores: weighted p-norms of the ranks, ``[N]``.
        pareto: no other candidate is at least as good in all objectives and better in one, ``[N]``.
    """

    best: int
    order: NDArray[np.int64]
    ranks: NDArray[np.float64]
    scores: NDArray[np.float64]
    pareto: NDArray[np.bool_]


def relative_ranks(values: ArrayLike) -> NDArray[np.float64]:
    """Share of the candidates whose value is not higher: the empirical distribution function at each candidate.

    Args:
        values: one number per candidate, ``[N]``, lower is better; ``nan`` ranks behind all others.

    Returns:
        Numbers in (0, 1], ``[N]``. Any strictly increasing function of the values gives the same.

    Example:
        >>> from lcat.study.analysis.copa import relative_ranks
        >>> relative_ranks([3.0, 1.0, 1.0, 20.0]).tolist()
        [0.75, 0.5, 0.5, 1.0]
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"values must be a vector of at least one candidate; got shape {array.shape}")
    # searchsorted puts nan last, behind infinity, and finds it equal to itself.
    return np.searchsorted(np.sort(array), array, side="right") / array.size


def pareto_front(values: ArrayLike) -> NDArray[np.bool_]:
    """Which candidates are not dominated: none other is as good in every objective and better in one.

    Args:
        values: candidates by objectives, ``[N, K]``, lower is better; ``nan`` counts as worst.

    Returns:
        ``[N]``; equal candidates are on the front together.

    Complexity:
        N² K.

    Example:
        >>> from lcat.study.analysis.copa import pareto_front
        >>> pareto_front([[1, 5], [2, 2], [5, 1], [3, 3]]).tolist()
        [True, True, True, False]
    """
    table = _table(values)
    # Ranks keep every comparison and make nan comparable.
    ranked = np.column_stack([relative_ranks(column) for column in table.T])
    front = np.empty(len(ranked), dtype=bool)
    for start in range(0, len(ranked), _BLOCK):
        block = ranked[start : start + _BLOCK, None, :]
        no_worse = np.all(ranked[None, :, :] <= block, axis=2)
        better = np.any(ranked[None, :, :] < block, axis=2)
        front[start : start + _BLOCK] = ~np.any(no_worse & better, axis=1)
    return front


def copa(values: ArrayLike, weights: Sequence[float] | None = None, p: float = 2.0) -> CopaChoice:
    """Choose among candidates by the weighted p-norm of their relative ranks; see the head of this module.

    Args:
        values: candidates by objectives, ``[N, K]``, lower is better (negate what should be high).
        weights: one per objective, at least 0 and not all 0; only their proportions count. Equal by default.
        p: order of the norm, in [1, ``math.inf``].

    Returns:
        The choice, which lies on the Pareto front, and all that led to it.

    Raises:
        ValueError: for an empty table, weights that do not fit, or ``p`` below 1.

    Complexity:
        N² K for the front, N K log N for the rest.

    Example:
        Three models by error and seconds. The second is good at both:

        >>> from lcat.study.analysis.copa import copa
        >>> table = [[0.10, 900.0], [0.11, 30.0], [0.20, 10.0]]
        >>> copa(table).best, copa(table, weights=[0.9, 0.1], p=1).best
        (1, 0)
    """
    table = _table(values)
    omega = _weights(weights, table.shape[1])
    if not p >= 1:
        raise ValueError(f"p must be at least 1 (math.inf for the worst rank); got {p}")
    ranked = np.column_stack([relative_ranks(column) for column in table.T])
    front = pareto_front(table)
    scores = _norm(ranked * omega, p)
    # A weight of 0 and p = inf leave ties that the lower ranks of the others decide. The first of the front is taken,
    # so that rounding can never pick a dominated candidate.
    keys = (ranked.sum(axis=1), (ranked * omega).sum(axis=1), ~front, np.round(scores, 12))
    order = np.lexsort(keys)
    best = next(index for index in order if front[index])
    order = np.concatenate([[best], order[order != best]])
    return CopaChoice(int(best), order, ranked, scores, front)


def _norm(terms: NDArray[np.float64], p: float) -> NDArray[np.float64]:
    """p-norm of every row, scaled so that a large p neither under- nor overflows."""
    norm: NDArray[np.float64] = terms.max(axis=1)
    if not math.isinf(p):
        norm = norm * ((terms / norm[:, None]) ** p).sum(axis=1) ** (1 / p)
    return norm


def _table(values: ArrayLike) -> NDArray[np.float64]:
    table = np.asarray(values, dtype=np.float64)
    if table.ndim != 2 or 0 in table.shape:
        raise ValueError(f"values must be a table of candidates x objectives; got shape {table.shape}")
    return table


def _weights(weights: Sequence[float] | None, count: int) -> NDArray[np.float64]:
    omega = np.ones(count) if weights is None else np.asarray(weights, dtype=np.float64)
    if omega.shape != (count,):
        raise ValueError(f"weights must have one number for each of {count} objectives; got {omega.size}")
    if not (np.isfinite(omega).all() and (omega >= 0).all() and omega.any()):
        raise ValueError(f"weights must be finite, at least 0 and not all 0; got {omega.tolist()}")
    shares: NDArray[np.float64] = omega / omega.sum()
    return shares
