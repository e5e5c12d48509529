"""What a study answers about two candidates: different, equivalent, or how much more it takes to know."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike

from lcat.study.statistics import (
    equivalence_test,
    posterior,
    samples_to_decide,
    smallest_difference,
    verdict,
)

__all__ = ["ANSWERS", "answer"]

#: The columns of :func:`answer`.
ANSWERS = (
    "margin",
    "p_equivalent",
    "low_equivalent",
    "high_equivalent",
    "verdict",
    "smallest_difference",
    "samples_to_decide",
    "prob_worse",
    "prob_equivalent",
    "prob_better",
)


def answer(
    first: ArrayLike,
    second: ArrayLike,
    *,
    margin: float,
    test_train_ratio: float,
    resolution: float,
    p_different: float,
    alpha: float,
    tests: int = 1,
    higher_is_better: bool = True,
) -> dict[str, Any]:
    """All about one pair, from the view of ``first``.

    Args:
        first: scores of one candidate, one per sample, ``[J]``.
        second: of the other, sample j on the same split.
        margin: the largest difference that does not matter, in the unit of the scores.
        test_train_ratio: of :func:`lcat.study.statistics.corrected_t_test`.
        resolution: of the same.
        p_different: p-value of the same test.
        alpha: level of both tests.
        tests: number of pairs that are tested together; what can be seen, and the samples that it takes, are those of
            a test at ``alpha / tests``.
        higher_is_better: direction of the scores.

    Returns:
        ``margin``; ``p_equivalent`` (two one-sided tests) with the interval of first minus second that belongs to them,
        ``low_equivalent`` to ``high_equivalent``; ``verdict`` for ``first`` ("better", "worse", "equivalent",
        "undecided"); ``smallest_difference`` (that is shown with a probability of 80 %); ``samples_to_decide``
        (``inf`` if no number is enough); ``prob_worse``, ``prob_equivalent``, ``prob_better`` (Bayesian, beyond and
        within the margin). ``nan`` and "undecided" below three samples.

    Example:
        >>> from lcat.study.analysis.answers import answer
        >>> pair = answer(
        ...     [0.90, 0.91, 0.92],
        ...     [0.80, 0.82, 0.81],
        ...     margin=0.01,
        ...     test_train_ratio=0,
        ...     resolution=0.001,
        ...     p_different=0.003,
        ...     alpha=0.05,
        ... )
        >>> pair["verdict"]
        'better'
    """
    design = {"test_train_ratio": test_train_ratio, "resolution": resolution}
    test = equivalence_test(first, second, margin=margin, alpha=alpha, **design)
    belief = posterior(first, second, margin=margin, **design)
    worse, better = (belief.worse, belief.better) if higher_is_better else (belief.better, belief.worse)
    advantage = test.difference if higher_is_better else -test.difference
    level = alpha / tests
    return {
        "margin": test.margin,
        "p_equivalent": test.p_value,
        "low_equivalent": test.low,
        "high_equivalent": test.high,
        "verdict": verdict(advantage, p_different, test.p_value, alpha=alpha),
        "smallest_difference": smallest_difference(first, second, alpha=level, **design),
        "samples_to_decide": samples_to_decide(first, second, margin=margin, alpha=level, **design),
        "prob_worse": worse,
        "prob_equivalent": belief.equivalent,
        "prob_better": better,
    }
