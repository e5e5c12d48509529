"""Everything that a report is made of, gathered once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from lcat.study.analysis.choose import available_objectives, choose
from lcat.study.analysis.compare import Comparison, compare, robustness
from lcat.study.analysis.direction import metrics_by_dataset
from lcat.study.analysis.objectives import OBJECTIVES
from lcat.study.analysis.regret import regret
from lcat.study.analysis.selection import Selection
from lcat.study.models.own_model import model_name
from lcat.study.plan.plan import StudyPlan
from lcat.study.report.unit import Unit, unit_of
from lcat.study.store.frame import lambda_frame, results_frame
from lcat.study.store.metrics_frame import classes_frame, metrics_frame
from lcat.study.store.record import StudyRecord
from lcat.study.store.result import CellResult

__all__ = ["CURVES", "ReportData"]

#: Curves of so many runs of a layer on a data set are read and drawn; the tables hold all runs.
CURVES = 5


@dataclass(frozen=True)
class ReportData:
    """A study as its report sees it.

    Attributes:
        plan: what was planned.
        selection: all cells with a result, and which of them count.
        lambdas: one row per layer of a model that learned lambdas, of the chosen cells, at the best epoch.
        runs: results with curves, at most :data:`CURVES` runs per layer and data set.
        planned: number of cells planned.
        failures: failed results, with tracebacks.
        versions: of packages and machines, each once.
        comparison, regret, robustness, choice, overall_choice: the statistics.
        graphs: facts about the graphs, one row per data set that recorded them.
        metrics, classes: all metrics, and figures per class, of the chosen cells.
        reference: layer that every other one is compared with; ``None`` for all pairs.
        margin: largest difference of test metrics that does not matter.
        is_margin_named: by the plan or the caller; otherwise it is the default.
        looks: how often results were looked at to decide whether to go on.
        alpha: level of the verdicts, after so many looks.
        objectives: what the choice weighs.
        unmeasured: what it was asked to weigh, and no candidate has a value for.
    """

    plan: StudyPlan
    selection: Selection
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
    graphs: pd.DataFrame
    metrics: pd.DataFrame
    classes: pd.DataFrame
    reference: str | None
    margin: float
    is_margin_named: bool
    looks: int
    alpha: float
    objectives: tuple[str, ...]
    unmeasured: tuple[str, ...]

    @classmethod
    def of(
        cls,
        record: StudyRecord,
        results: Sequence[CellResult] | None = None,
        *,
        reference: str | None = None,
        margin: float | None = None,
    ) -> ReportData:
        """From a study.

        Args:
            record: the study; curves are read for the runs that the page draws.
            results: of all its cells, to save time where they have been read already.
            reference: a layer that every other one is compared with, instead of all pairs.
            margin: largest difference of test metrics that does not matter; that of the plan by default.

        Raises:
            ValueError: for a reference that did not run, or a margin that is not above 0.
        """
        results = record.cell_results() if results is None else results
        plan = record.plan
        is_named = margin is not None or plan.margin is not None
        margin = plan.margin_or_default if margin is None else margin
        looks = record.looks()
        alpha = record.alpha()
        selection = Selection(results_frame(results))
        selected = selection.selected
        keys = set(selected["key"])
        shown = selected.groupby(["dataset", "layer"], sort=False).head(CURVES)["key"]
        asked = [name for name, weight in plan.objectives.items() if weight > 0] or [
            name
            for name in OBJECTIVES
            if name != "robustness-slope"  # robustness, said once more
        ]
        measured = available_objectives(selection)
        objectives = [name for name in measured if name in asked]
        weights = {name: weight for name, weight in plan.objectives.items() if name in objectives}
        return cls(
            plan=plan,
            selection=selection,
            lambdas=lambda_frame(result for result in results if result.cell.key in keys),
            runs=tuple(record.cell_results(history=True, keys=shown)),
            planned=len(record.cells()),
            failures=tuple(result for result in results if not result.ok),
            versions=tuple(facts for facts in record.versions() if facts),
            comparison=compare(selection, reference=reference, margin=margin, alpha=alpha),
            regret=regret(selection, margin=margin, alpha=alpha),
            robustness=robustness(selection),
            choice=choose(selection, objectives, weights) if objectives and len(selected) else pd.DataFrame(),
            overall_choice=_overall_choice(selection, objectives, weights),
            graphs=_graphs(results),
            metrics=metrics_frame(result for result in results if result.cell.key in keys),
            classes=classes_frame(result for result in results if result.cell.key in keys),
            reference=reference,
            margin=margin,
            is_margin_named=is_named,
            looks=looks,
            alpha=alpha,
            objectives=tuple(objectives),
            unmeasured=tuple(name for name in plan.objectives if name in asked and name not in measured),
        )

    @property
    def unit(self) -> Unit:
        """Of all values of metrics: per cent if all of them are shares."""
        return unit_of(metrics_by_dataset(self.selection.frame).values())

    @property
    def datasets(self) -> list[str]:
        """In the order of the plan, those with results."""
        with_results = list(dict.fromkeys(self.selection.frame["dataset"]))
        planned = [name for name in self.plan.datasets if name in with_results]
        return [*planned, *(name for name in with_results if name not in planned)]

    @property
    def layers(self) -> list[str]:
        """In the order of the plan, those with results."""
        with_results = list(dict.fromkeys(self.selection.frame["layer"]))
        planned = [name for name in map(model_name, self.plan.layers) if name in with_results]
        return [*planned, *(name for name in with_results if name not in planned)]

    @property
    def varied(self) -> list[str]:
        """Columns of the settings that differ between the cells of some layer on one data set."""
        frame = self.selection.frame
        hyper = [name for name in frame.columns if name.startswith("hyper.")]
        groups = frame[hyper].astype(str).groupby([frame["dataset"], frame["layer"]])
        return [name for name in hyper if (groups[name].nunique() > 1).any()]

    @property
    def settings_in_words(self) -> dict[str, str]:
        """By ``model``, the settings that were varied; empty if none were."""
        if not self.varied:
            return {}
        rows = self.selection.frame.drop_duplicates("model")
        return {
            row["model"]: ", ".join(f"{name.removeprefix('hyper.')} {_short(row[name])}" for name in self.varied)
            for _, row in rows.iterrows()
        }

    @property
    def facts(self) -> dict[str, Any]:
        """Counts for the head of the report."""
        frame = self.selection.frame
        return {
            "planned": self.planned,
            "done": int((frame["status"] == "done").sum()),
            "failed": int((frame["status"] == "failed").sum()),
            "datasets": self.datasets,
            "layers": list(dict.fromkeys(self.comparison.summary["layer"])) if len(frame) else [],
            "seeds": sorted({int(seed) for seed in frame["seed"]}),
            "seconds": float(frame["seconds"].sum()),
        }


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _graphs(results: Sequence[CellResult]) -> pd.DataFrame:
    """One row per data set, the mean over its distinct graphs; results of earlier versions of lcat have no facts."""
    rows = [{"dataset": result.cell.dataset, **result.graph} for result in results if "nodes" in result.graph]
    columns = ["dataset", "graphs", "nodes", "edges", "features", "classes", "labeled", "directed", "homophily"]
    columns += ["self_loops", "repeated", "steps"]  # which results of earlier versions do not have
    if not rows:
        return pd.DataFrame(columns=columns)
    frame = pd.DataFrame(rows).reindex(columns=[name for name in columns if name != "graphs"]).drop_duplicates()
    groups = frame.groupby("dataset", sort=False)
    means = groups[["nodes", "edges", "features", "classes", "labeled", "homophily", "self_loops", "repeated"]].mean()
    directed = groups["directed"].agg(lambda values: "yes" if values.all() else "some" if values.any() else "no")
    steps = groups["steps"].agg(lambda texts: texts.iloc[0] or None)
    return means.assign(graphs=groups.size(), directed=directed, steps=steps).reset_index()[columns]


def _overall_choice(selection: Selection, objectives: list[str], weights: dict[str, float]) -> pd.DataFrame:
    """One layer for all data sets; empty with fewer than two of them."""
    if not objectives or selection.finished["dataset"].nunique() < 2:
        return pd.DataFrame()
    try:
        return choose(selection, objectives, weights, over_datasets=True)
    except ValueError:  # no layer finished everywhere: nothing to choose among
        return pd.DataFrame()
