"""What the statistics of studies claim where nothing differs, and how often their intervals hold the truth.

    python benchmarks/statistics_null.py --out benchmarks/results/statistics_null.json

Studies of four layers that do not differ are made up, 2,000 for each setting, and judged as ``lcat.study.compare``
judges them: the corrected t test of one pair and, with Holm's rule, of all six; Friedman's and Nemenyi's test over data
sets; the interval of one mean and of one difference. A share of false alarms should be 5 % at most (``--level`` 0.05),
the intervals should hold the truth in 95 % at least. What makes a score:

- ``nodes``: each of m test nodes is right with probability 0.8, anew for each seed;
- ``seeds``: seeds vary by 0.8 points, rounded to the step 1/m;
- ``steps``: seeds vary by a third of the step, the hardest case: most scores are equal by chance;
- ``collapse``: one seed in ten loses 30 points; then no interval made of a few seeds can know of the seeds that failed,
  and those of a mean (not of a difference) hold the truth far less often;
- ``folds``: k-fold cross-validation on one graph of 1,000 nodes, two learners of equal worth with luck of their own.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parent))
import _measure

from lcat.study.statistics import (
    confidence_interval,
    corrected_t_test,
    friedman_test,
    holm,
    nemenyi,
)
from lcat.study.statistics.paired import FEWEST_PAIRS

LAYERS = 4
TRUTH = 0.8


def nodes(generator: np.random.Generator, shape: tuple[int, ...], count: int) -> NDArray[np.float64]:
    """Every test node by itself."""
    return generator.binomial(count, TRUTH, shape) / count


def seeds(generator: np.random.Generator, shape: tuple[int, ...], count: int) -> NDArray[np.float64]:
    """Seeds that vary by 0.8 points."""
    return np.round((TRUTH + generator.normal(0, 0.008, shape)) * count) / count


def steps(generator: np.random.Generator, shape: tuple[int, ...], count: int) -> NDArray[np.float64]:
    """Seeds that vary by a third of the step between two scores, around the middle of a step."""
    return np.round((TRUTH + (0.5 + generator.normal(0, 1 / 3, shape)) / count) * count) / count


def collapse(generator: np.random.Generator, shape: tuple[int, ...], count: int) -> NDArray[np.float64]:
    """Seeds of which one in ten fails to learn."""
    return seeds(generator, shape, count) - 0.3 * (generator.random(shape) < 0.1)


KINDS: dict[str, Callable[..., NDArray[np.float64]]] = {
    "nodes": nodes, "seeds": seeds, "steps": steps, "collapse": collapse,
}  # fmt: skip


def folds(generator: np.random.Generator, shape: tuple[int, int], count: int) -> NDArray[np.float64]:
    """``[studies, layers, folds]``: every node is right or wrong once in a study, and folds are shuffled."""
    studies, number = shape
    right = generator.random((studies, LAYERS, count)) < TRUTH
    order = generator.permuted(np.broadcast_to(np.arange(count), (studies, count)), axis=1)
    shuffled = np.take_along_axis(right, order[:, None, :], axis=2)
    return shuffled[..., : count // number * number].reshape(studies, LAYERS, number, -1).mean(axis=-1)


def judge(studies: NDArray[np.float64], ratio: float, step: float, level: float) -> dict[str, float]:
    """Shares of false alarms among ``[studies, layers, runs]``."""
    one = family = held = 0
    for scores in np.round(studies, 12):
        tests = [
            corrected_t_test(first, second, test_train_ratio=ratio, resolution=step, level=1 - level)
            for first, second in itertools.combinations(scores, 2)
        ]
        p_values = np.array([test.p_value for test in tests])
        one += int(p_values[0] <= level)
        family += int((holm(p_values) <= level).any())
        held += int(tests[0].low <= 0 <= tests[0].high)
    count = len(studies)
    return {"pair": one / count, "family": family / count, "difference_held": held / count}


def coverage(values: NDArray[np.float64], truth: float, ratio: float, step: float, level: float) -> float:
    """Share of studies, ``[studies, runs]``, whose interval holds the mean that scores have."""
    intervals = (
        confidence_interval(row, level=1 - level, test_train_ratio=ratio, resolution=step)
        for row in np.round(values, 12)
    )
    return float(np.mean([interval.low - 1e-12 <= truth <= interval.high + 1e-12 for interval in intervals]))


def within_a_data_set(studies: int, level: float) -> list[dict[str, Any]]:
    """Seeds on one split, and folds."""
    rows = []
    for number, (kind, count, runs) in enumerate(itertools.product(KINDS, (20, 100, 1000), (2, 3, 5, 10))):
        generator = np.random.default_rng(number)
        scores = KINDS[kind](generator, (studies, LAYERS, runs), count)
        truth = float(KINDS[kind](generator, (400_000,), count).mean())
        row: dict[str, Any] = {"kind": kind, "test_nodes": count, "runs": runs, "tested": runs >= FEWEST_PAIRS}
        row |= judge(scores, 0.0, 1 / count, level)
        row["mean_held"] = coverage(scores[:, 0], truth, 0.0, 1 / count, level)
        rows.append(row)
    for number, runs in enumerate((5, 10)):
        scores = folds(np.random.default_rng(100 + number), (studies, runs), 1000)
        row = {"kind": "folds", "test_nodes": 1000 // runs, "runs": runs, "tested": True}
        row |= judge(scores, 1 / (runs - 1), runs / 1000, level)
        row["mean_held"] = coverage(scores[:, 0], TRUTH, 1 / (runs - 1), runs / 1000, level)
        rows.append(row)
    return rows


def over_data_sets(studies: int, level: float) -> list[dict[str, Any]]:
    """Ranks of two to six layers on two to twenty data sets."""
    rows = []
    for number, (methods, datasets) in enumerate(itertools.product((2, 3, 4, 6), (2, 3, 4, 6, 8, 10, 16, 20))):
        generator = np.random.default_rng(1000 + number)
        scores = (TRUTH + generator.normal(0, 0.01, (studies, datasets, methods))).round(3)
        friedman = np.mean([friedman_test(table).p_value <= level for table in scores])
        pairs = np.mean([bool((nemenyi(table) <= level).any()) for table in scores])
        rows.append({"layers": methods, "datasets": datasets, "friedman": float(friedman), "nemenyi": float(pairs)})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=2000, help="of seeds and folds; a quarter of it over data sets")
    parser.add_argument("--level", type=float, default=0.05)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    level = arguments.level
    report: dict[str, Any] = {
        "machine": _measure.machine(),
        "command": " ".join(sys.argv),
        "studies": arguments.studies,
        "level": level,
        "within": within_a_data_set(arguments.studies, level),
        "over": over_data_sets(max(arguments.studies // 4, 1), level),
    }
    print(f"{'scores':<9}{'nodes':>6}{'runs':>5}{'pair':>8}{'family':>8}{'difference held':>17}{'mean held':>11}")
    for row in report["within"]:
        alarms = [f"{100 * row[name]:.1f}" if row["tested"] else "-" for name in ("pair", "family")]
        held = [f"{100 * row[name]:.1f}" for name in ("difference_held", "mean_held")]
        print(
            f"{row['kind']:<9}{row['test_nodes']:>6}{row['runs']:>5}{alarms[0]:>8}{alarms[1]:>8}{held[0]:>17}{held[1]:>11}"
        )
    print(f"\n{'layers':>6}{'data sets':>11}{'Friedman':>10}{'Nemenyi':>9}")
    for row in report["over"]:
        print(f"{row['layers']:>6}{row['datasets']:>11}{100 * row['friedman']:>10.1f}{100 * row['nemenyi']:>9.1f}")
    if arguments.out is not None:
        _measure.write_results(arguments.out, report)


if __name__ == "__main__":
    main()
