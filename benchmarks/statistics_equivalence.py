"""How often studies call layers equivalent that differ by the margin, and what looking again and again claims.

    python benchmarks/statistics_equivalence.py --out benchmarks/results/statistics_equivalence.json

Simulated studies, judged as ``lcat.study.compare`` judges them:

- ``equivalent``: two layers whose true difference is exactly the margin: the share of studies that call them equivalent
  should be 5 % at most;
- ``different``: two layers without any difference: the share that calls one better should be 5 % at most;
- ``held``: the 95 % interval of the difference holds the truth in 94 to 96 % of studies;
- ``looks``: studies that go on until something is decided, at most six looks: the share that ever claims a difference
  where there is none, or equivalence at the margin, with the level of each look and (``naive``) with 5 % at each.

What makes a score: ``seeds`` vary by 0.8 points, and scores are multiples of one over the number of test nodes.
``overlap``: the scores of the folds of a study have the correlation that the correction of Nadeau and Bengio assumes,
one over the number of folds, because they share training nodes. ``nodes``: folds of a learner that is right or wrong on
each of 1,000 nodes by itself, so that folds are independent and the correction is too careful.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parent))
import _measure

from lcat.study.statistics import alpha_of_look, corrected_t_test, equivalence_test, verdict

MARGIN = 0.01
TRUTH = 0.8
SPREAD = 0.008
LOOKS = (3, 5, 8, 13, 21, 34)


def seeds(
    generator: np.random.Generator, shape: tuple[int, ...], shift: float, nodes: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scores of two layers whose means differ by ``shift``."""
    both = (TRUTH + shift + generator.normal(0, SPREAD, shape), TRUTH + generator.normal(0, SPREAD, shape))
    return tuple(np.round(scores * nodes) / nodes for scores in both)  # type: ignore[return-value]


def overlap(
    generator: np.random.Generator, studies: int, number: int, shift: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scores of two learners on the folds of one graph, with a part that all folds share."""
    both = []
    for mean in (TRUTH + shift, TRUTH):
        shared, own = generator.normal(0, SPREAD, (studies, 1)), generator.normal(0, SPREAD, (studies, number))
        both.append(mean + np.sqrt(1 / number) * shared + np.sqrt(1 - 1 / number) * own)
    return both[0], both[1]


def folds(
    generator: np.random.Generator, studies: int, number: int, shift: float, nodes: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scores of two learners on the folds of one graph, each right on a node with its own luck."""
    both = []
    for share in (TRUTH + shift, TRUTH):
        right = generator.random((studies, nodes)) < share
        both.append(right[:, : nodes // number * number].reshape(studies, number, -1).mean(axis=-1))
    return both[0], both[1]


def judge(first: NDArray[np.float64], second: NDArray[np.float64], *, ratio: float, step: float) -> str:
    """The verdict of one study."""
    test = corrected_t_test(first, second, test_train_ratio=ratio, resolution=step)
    same = equivalence_test(first, second, margin=MARGIN, test_train_ratio=ratio, resolution=step)
    return verdict(test.difference, test.p_value, same.p_value)


def holds(first: NDArray[np.float64], second: NDArray[np.float64], *, ratio: float, step: float, truth: float) -> bool:
    """Whether the interval of one study holds the true difference."""
    test = corrected_t_test(first, second, test_train_ratio=ratio, resolution=step)
    return bool(test.low - 1e-12 <= truth <= test.high + 1e-12)


def one_look(studies: int) -> list[dict[str, Any]]:
    """False claims, and coverage, of studies that are looked at once."""
    rows = []
    designs = [("seeds", runs, 1000) for runs in (3, 5, 10)] + [
        (kind, runs, 1000) for kind in ("overlap", "nodes") for runs in (5, 10)
    ]
    for number, (kind, runs, nodes) in enumerate(designs):
        generator = np.random.default_rng(number)
        ratio = 0.0 if kind == "seeds" else 1 / (runs - 1)
        step = {"seeds": 1 / nodes, "overlap": 0.0, "nodes": runs / nodes}[kind]

        def draw(
            shift: float, generator: Any = generator, kind: str = kind, runs: int = runs, nodes: int = nodes
        ) -> Any:
            if kind == "seeds":
                return zip(*seeds(generator, (studies, runs), shift, nodes), strict=True)
            if kind == "overlap":
                return zip(*overlap(generator, studies, runs, shift), strict=True)
            return zip(*folds(generator, studies, runs, shift, nodes), strict=True)

        null = [judge(a, b, ratio=ratio, step=step) for a, b in draw(0.0)]
        edge = [judge(a, b, ratio=ratio, step=step) for a, b in draw(MARGIN)]
        held = [holds(a, b, ratio=ratio, step=step, truth=MARGIN) for a, b in draw(MARGIN)]
        rows.append({
            "kind": kind, "runs": runs, "test_nodes": nodes if kind == "seeds" else nodes // runs,
            "different": float(np.mean([word in ("better", "worse") for word in null])),
            "equivalent": float(np.mean([word == "equivalent" for word in edge])),
            "decided_at_zero": float(np.mean([word == "equivalent" for word in null])),
            "held": float(np.mean(held)),
        })  # fmt: skip
    return rows


def many_looks(studies: int) -> list[dict[str, Any]]:
    """False claims of studies that go on until something is decided."""
    rows = []
    for number, (shift, wrong) in enumerate(((0.0, ("better", "worse")), (MARGIN, ("equivalent",)))):
        generator = np.random.default_rng(100 + number)
        first, second = seeds(generator, (studies, LOOKS[-1]), shift, 1000)
        row: dict[str, Any] = {"difference": shift, "false": "/".join(wrong), "looks": list(LOOKS)}
        for name in ("corrected", "naive"):
            claims = 0
            for a, b in zip(first, second, strict=True):
                for look, runs in enumerate(LOOKS, start=1):
                    alpha = alpha_of_look(look) if name == "corrected" else 0.05
                    test = corrected_t_test(a[:runs], b[:runs], test_train_ratio=0, resolution=1e-3)
                    same = equivalence_test(
                        a[:runs], b[:runs], margin=MARGIN, test_train_ratio=0, resolution=1e-3, alpha=alpha
                    )
                    word = verdict(test.difference, test.p_value, same.p_value, alpha=alpha)
                    if word != "undecided":
                        claims += word in wrong
                        break
            row[name] = claims / studies
        rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=4000)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    report: dict[str, Any] = {
        "machine": _measure.machine(),
        "command": " ".join(sys.argv),
        "studies": arguments.studies,
        "margin": MARGIN,
        "one_look": one_look(arguments.studies),
        "many_looks": many_looks(arguments.studies),
    }
    print(f"{'scores':<8}{'runs':>5}{'different':>11}{'equivalent':>12}{'held':>7}{'equivalent at zero':>20}")
    for row in report["one_look"]:
        shares = [f"{100 * row[name]:.1f}" for name in ("different", "equivalent", "held", "decided_at_zero")]
        print(f"{row['kind']:<8}{row['runs']:>5}{shares[0]:>11}{shares[1]:>12}{shares[2]:>7}{shares[3]:>20}")
    for row in report["many_looks"]:
        print(
            f"difference {row['difference']:g}, {row['false']} claimed at some look: {100 * row['corrected']:.1f} % "
            f"(5 % at each look: {100 * row['naive']:.1f} %)"
        )
    if arguments.out is not None:
        _measure.write_results(arguments.out, report)


if __name__ == "__main__":
    main()
