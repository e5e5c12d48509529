"""Everything that a report is made of, gathered once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from lcat.study.analysis.choose import available_objectives, choose
from lcat.study.analysis.compare import Comparison, compare, robustness
from lcat.study.analysis.objectives import OBJECTIVES
from lcat.study.analysis.regret import regret
from lcat.study.analysis.selection import choose_models, finished, without_noise
from lcat.study.plan.plan import StudyPlan
from lcat.study.store.frame import lambda_frame, results_frame
from lcat.study.store.result import CellResult

if TYPE_CHECKING:
    from lcat.study.study import Study

__all__ = ["CURVES", "Material"]

#: Curves of so many runs of a layer on a data set are read and drawn; the tables hold all runs.
CURVES = 5


@dataclass(frozen=True)
class Material:
    """A study as its report sees it.

    Attributes:
        plan: what was planned.
        frame: of :func:`lcat.study.results_frame`, all cells with a result.
        chosen: rows of ``frame`` without noise whose settings validate best.
        lambdas: of :func:`lcat.study.lambda_frame` for the rows of ``chosen``, at the best epoch.
        runs: results with curves, :data:`CURVES` runs a layer and data set at most.
        planned: number of cells planned.
        failures: failed results, with tracebacks.
        versions: of packages and machines, each once.
        objectives: what the choice weighs.
        unmeasured: what it was asked to weigh, and no candidate has a value for.
    """

    plan: StudyPlan
    frame: pd.DataFrame
    chosen: pd.DataFrame
    lambdas: pd.DataFrame
    runs: tuple[CellResult, ...]
    planned: int
    failures: tuple[CellResult, ...]
    versions: tuple[dict[str, str], ...]
    comparison: Comparison
    regret: pd.DataFrame
    robustness: pd.DataFrame
    choice: pd.DataFrame
    overall_choice: pd.DataFrame
    objectives: tuple[str, ...]
    unmeasured: tuple[str, ...]

    @classmethod
    def of_study(
        cls, study: Study, results: Sequence[CellResult] | None = None, frame: pd.DataFrame | None = None
    ) -> Material:
        """From the store of a study alone; ``results`` and their ``frame``, if there already, save time."""
        results = study.cell_results() if results is None else results
        planned = max(len(study.cells()), len(results))
        return cls._build(
            study.plan,
            results,
            frame,
            lambda keys: study.cell_results(history=True, keys=keys),
            planned,
        )

    @classmethod
    def of_results(cls, plan: StudyPlan, results: Sequence[CellResult], frame: pd.DataFrame | None = None) -> Material:
        """From results in memory, and their ``frame`` if it is there already."""

        def with_curves(keys: Iterable[str]) -> list[CellResult]:
            wanted = set(keys)
            return [result for result in results if result.cell.key in wanted]

        return cls._build(plan, results, frame, with_curves, max(len(plan.cells()), len(results)))

    @classmethod
    def _build(
        cls,
        plan: StudyPlan,
        results: Sequence[CellResult],
        frame: pd.DataFrame | None,
        with_curves: Callable[[Iterable[str]], Sequence[CellResult]],
        planned: int,
    ) -> Material:
        frame = results_frame(results) if frame is None else frame
        chosen = choose_models(finished(without_noise(frame)))
        kept = set(chosen["key"])
        shown = chosen.groupby(["dataset", "layer"], sort=False).head(CURVES)["key"]
        weights = dict(getattr(plan, "objectives", {}) or {})
        asked = [name for name, weight in weights.items() if weight > 0] or [
            name
            for name in OBJECTIVES
            if name != "robustness-slope"  # robustness, said once more
        ]
        measured = available_objectives(frame)
        objectives = [name for name in measured if name in asked]
        named = {name: weight for name, weight in weights.items() if name in objectives}
        overall = pd.DataFrame()
        if objectives and frame.loc[frame["status"] == "done", "dataset"].nunique() > 1:
            try:
                overall = choose(frame, objectives, named, over_datasets=True)
            except ValueError:  # no layer finished everywhere: nothing to choose among
                overall = pd.DataFrame()
        versions: dict[str, dict[str, str]] = {}
        for result in results:
            versions.setdefault(repr(sorted(result.versions.items())), result.versions)
        return cls(
            plan=plan,
            frame=frame,
            chosen=chosen,
            lambdas=lambda_frame(result for result in results if result.cell.key in kept),
            runs=tuple(with_curves(shown)),
            planned=planned,
            failures=tuple(result for result in results if not result.ok),
            versions=tuple(facts for facts in versions.values() if facts),
            comparison=compare(frame),
            regret=regret(frame),
            robustness=robustness(frame),
            choice=choose(frame, objectives, named) if objectives and len(chosen) else pd.DataFrame(),
            overall_choice=overall,
            objectives=tuple(objectives),
            unmeasured=tuple(name for name in weights if name in asked and name not in measured),
        )

    @property
    def datasets(self) -> list[str]:
        """In the order of the plan, those with results."""
        there = list(dict.fromkeys(self.frame["dataset"]))
        return sorted(there, key=lambda name: self._place(name, there))

    def _place(self, name: str, there: list[str]) -> int:
        planned = list(self.plan.datasets)
        return planned.index(name) if name in planned else len(planned) + there.index(name)

    @property
    def facts(self) -> dict[str, Any]:
        """Counts for the head of the report."""
        status = self.frame["status"]
        return {
            "planned": self.planned,
            "done": int((status == "done").sum()),
            "failed": int((status == "failed").sum()),
            "datasets": self.datasets,
            "layers": list(dict.fromkeys(self.comparison.summary["layer"])) if len(self.frame) else [],
            "seeds": sorted({int(seed) for seed in self.frame["seed"]}),
            "seconds": float(self.frame["seconds"].sum()),
        }
