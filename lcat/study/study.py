"""A study and what it can be asked: compare, choose, regret, report."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from lcat._measures import find_measure
from lcat._text import counted, hint
from lcat.study._folder import prepare_folder
from lcat.study.analysis.choose import choose
from lcat.study.analysis.compare import Comparison, compare, robustness
from lcat.study.analysis.objectives import Objective
from lcat.study.analysis.regret import regret
from lcat.study.export import ExportName, export_study
from lcat.study.plan.plan import StudyPlan
from lcat.study.report import write_study
from lcat.study.statistics.intervals import IntervalMethod
from lcat.study.store.kept_files import kept_name
from lcat.study.store.record import StudyRecord
from lcat.study.store.result import CellResult
from lcat.study.store.store import Store, StoreError

__all__ = ["Study"]


class Study(StudyRecord):
    """A study in a folder, or in memory.

    Made by :meth:`create` or :meth:`load`; :func:`lcat.study.run_study` returns one. Everything is read from
    ``DIR/study.sqlite`` when it is asked for, also while the study runs in another process.

    Attributes:
        folder: of the study; ``None`` for one in memory.

    Example:
        >>> import tempfile
        >>> from lcat.study import Study, make_plan
        >>> plan = make_plan(
        ...     datasets=["csbm:easy,n=100"],
        ...     layers=["gcn", "gat"],
        ...     seeds=[0],
        ...     overrides={"epochs": 9},
        ... )
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     study = Study.create(plan, folder)
        ...     [str(cell) for cell in Study.load(folder).cells()], len(study.results())
        (['gcn on csbm:easy,n=100, seed 0', 'gat on csbm:easy,n=100, seed 0'], 0)
    """

    @classmethod
    def create(cls, plan: StudyPlan, folder: str | Path) -> Study:
        """Write the plan and its cells to a new study; an equal one that is already in the folder stays as it is.

        Raises:
            StoreError: if the folder holds another study.
            lcat.study.OutputError: if the folder cannot be written.
        """
        if not isinstance(plan, StudyPlan):
            raise TypeError(f"expected 'plan' of type StudyPlan, got {type(plan).__name__}: make_plan makes one")
        folder = prepare_folder(folder)
        with Store(folder, write=True) as store:
            if store.get("plan") is not None and store.plan() != plan:
                raise StoreError(f"{folder} holds another study; choose another folder")
            store.put("plan", plan.model_dump(mode="json"))
            store.add_cells(plan.cells())
        return cls(folder)

    def __repr__(self) -> str:
        where = "in memory" if self.folder is None else repr(str(self.folder))
        try:
            with self._reading() as store:
                statuses, cells = list(store.statuses().values()), store.cell_count()
        except StoreError:
            return f"Study({where}: cannot be read)"
        failed = statuses.count("failed")
        return f"Study({where}: {counted(cells, 'cell')}, {len(statuses)} with a result" + (
            f", {failed} failed)" if failed else ")"
        )

    def compare(
        self,
        *,
        reference: str | None = None,
        level: float = 0.95,
        alpha: float = 0.05,
        interval: IntervalMethod = "t",
        margin: float | None = None,
    ) -> Comparison:
        """Means, intervals, paired tests and ranks; see :func:`lcat.study.compare`.

        The margin is that of the plan by default.
        """
        margin = self.plan.margin_or_default if margin is None else margin
        return compare(self.results(), reference=reference, level=level, alpha=alpha, interval=interval, margin=margin)

    def robustness(self, *, level: float = 0.95) -> pd.DataFrame:
        """The metric under noise; see :func:`lcat.study.robustness`."""
        return robustness(self.results(), level=level)

    def choose(
        self,
        objectives: Sequence[str | Objective] = ("accuracy",),
        weights: Mapping[str, float] | None = None,
        p: float = 2.0,
        *,
        over_datasets: bool = False,
    ) -> pd.DataFrame:
        """A choice by COPA, without the test metric; see :func:`lcat.study.choose`."""
        return choose(self.results(), objectives, weights, p, over_datasets=over_datasets)

    def regret(
        self,
        *,
        questions: Mapping[str, tuple[str, Sequence[str]]] | None = None,
        level: float = 0.95,
        margin: float | None = None,
        alpha: float = 0.05,
    ) -> pd.DataFrame:
        """What always taking L-CAT costs; see :func:`lcat.study.regret`.

        The margin is that of the plan by default.
        """
        margin = self.plan.margin_or_default if margin is None else margin
        return regret(self.results(), questions=questions, level=level, margin=margin, alpha=alpha)

    def report(
        self, folder: str | Path | None = None, *, reference: str | None = None, margin: float | None = None
    ) -> list[Path]:
        """Write ``report.html``, tables and figures; see :func:`lcat.study.write_study`.

        Args:
            folder: that of the study by default; a study in memory needs one.
            reference: a layer that every other one is tested against; all pairs of layers by default.
            margin: the largest difference of test metrics that does not matter, that of the plan by default; 0.01 is
                one percentage point.

        Returns:
            The paths written.

        Raises:
            lcat.study.OutputError: if the folder cannot be written.
            ValueError: without a folder, for a study in memory.
        """
        return write_study(self, folder, reference=reference, margin=margin)

    def best_result(self, dataset: str, layer: str) -> CellResult:
        """The cell of a layer on a data set that validates best, on the graph without noise.

        Raises:
            ValueError: if no such cell has finished, or the study has no such layer or data set.
        """
        results = [
            result
            for result in self.cell_results()
            if (result.cell.dataset, result.cell.layer) == (dataset, layer)
            and result.fit is not None
            and result.cell.noise.kind == "none"
        ]
        if not results:
            for name, known in ((dataset, self.plan.datasets), (layer, self.plan.layers)):
                if name not in known:
                    raise ValueError(
                        f"expected one of {', '.join(known)}, got {name!r}{hint(name, known)}: the study has no other"
                    )
            raise ValueError(
                f"no cell of {layer} on {dataset} has finished: run the study on, or see Study.failures() for errors"
            )
        sign = find_measure(results[0].metric).sign
        return max(results, key=lambda result: sign * result.fit.val if result.fit is not None else 0.0)

    def best_model(self, dataset: str, layer: str) -> Path:
        """The file with the model of :meth:`best_result`, for :func:`lcat.study.load_model`.

        Raises:
            ValueError: if the study has not kept models.
        """
        key = self.best_result(dataset, layer).cell.key
        if self.folder is None or not (path := self.folder / kept_name("models", key)).is_file():
            raise ValueError(
                f"the study has not kept the model of {layer} on {dataset}: studies keep those of cells that run with "
                "--keep models (keep= in Python); lcat study model (train_best_model in Python) trains it once more"
            )
        return path

    def export(self, to: ExportName, out: str | Path | None = None) -> list[Path]:
        """Write the study for another tool; see :func:`lcat.study.export_study`.

        Args:
            to: ``"parquet"``, ``"mlflow"``, ``"tensorboard"`` or ``"optuna"``.
            out: folder for it; ``export/NAME`` in that of the study by default.

        Returns:
            The paths written.

        Raises:
            ExportError: if a package is missing, or there is nothing to export.
        """
        return export_study(self, to, out)

    def _repr_html_(self) -> str:
        """What a notebook shows: what the study holds, and the scores so far."""
        try:
            results = self.results()
        except StoreError as error:
            return f"<p>{html.escape(str(error))}</p>"
        summary = f"<p>{html.escape(repr(self))}</p>"
        return summary if results.empty else summary + compare(results)._repr_html_()
