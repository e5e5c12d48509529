"""Statistics of comparisons: plain functions on arrays, which know nothing of layers, data sets or files.

:mod:`~lcat.study.statistics.intervals` says how sure a mean is, :mod:`~lcat.study.statistics.paired` compares two
methods on the same splits, :mod:`~lcat.study.statistics.equivalence` asks whether they are equally good,
:mod:`~lcat.study.statistics.over_datasets` compares many methods over many data sets,
:mod:`~lcat.study.statistics.rank_permutations` says what their ranks do by chance.
"""

from __future__ import annotations

from lcat.study.statistics.equivalence import (
    Equivalence,
    Posterior,
    alpha_of_look,
    equivalence_test,
    posterior,
    samples_to_decide,
    smallest_difference,
    verdict,
)
from lcat.study.statistics.intervals import Interval, confidence_interval
from lcat.study.statistics.over_datasets import (
    FriedmanTest,
    average_ranks,
    critical_difference,
    fewest_datasets,
    friedman_test,
    nemenyi,
    ranks,
    tied_groups,
)
from lcat.study.statistics.paired import (
    PairedTest,
    corrected_t_test,
    fewest_wilcoxon_pairs,
    holm,
    wilcoxon_test,
)

__all__ = [
    "Equivalence",
    "FriedmanTest",
    "Interval",
    "PairedTest",
    "Posterior",
    "alpha_of_look",
    "average_ranks",
    "confidence_interval",
    "corrected_t_test",
    "critical_difference",
    "equivalence_test",
    "fewest_datasets",
    "fewest_wilcoxon_pairs",
    "friedman_test",
    "holm",
    "nemenyi",
    "posterior",
    "ranks",
    "samples_to_decide",
    "smallest_difference",
    "tied_groups",
    "verdict",
    "wilcoxon_test",
]
