"""A study in a folder, as Python sees it: plan, cells, results and failures, read from the store alone."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from lcat.study._analysis import Analysis
from lcat.study._folder import prepare_folder
from lcat.study.plan.cell import Cell
from lcat.study.plan.plan import StudyPlan
from lcat.study.store.result import CellResult
from lcat.study.store.store import Store, StoreError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Study"]


class Study(Analysis):
    """A study in a folder.

    Made by :meth:`create` or :meth:`load`. Everything is read from ``DIR/study.sqlite`` when it is asked for, also
    while the study runs in another process.

    Attributes:
        folder: of the study.

    Example:
        >>> import tempfile
        >>> from lcat.study import Study, make_plan
        >>> plan = make_plan(datasets=["csbm:easy,n=100"], layers=["gcn", "gat"], seeds=[0], overrides={"epochs": 9})
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     study = Study.create(plan, folder)
        ...     [str(cell) for cell in Study.load(folder).cells()], len(study.results())
        (['gcn on csbm:easy,n=100, seed 0', 'gat on csbm:easy,n=100, seed 0'], 0)
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    @classmethod
    def create(cls, plan: StudyPlan, folder: str | Path) -> Study:
        """Write the plan and its cells to a new study; an equal one that is there already stays as it is.

        Raises:
            StoreError: if the folder holds another study.
            lcat.study.OutputError: if the folder cannot be written.
        """
        folder = prepare_folder(folder)
        with Store(folder, write=True) as store:
            found = store.get("plan")
            if found is not None and StudyPlan(**found) != plan:
                raise StoreError(f"{folder} holds another study; choose another folder")
            store.put("plan", plan.model_dump(mode="json"))
            store.add_cells(plan.cells())
        return cls(folder)

    @classmethod
    def load(cls, folder: str | Path) -> Study:
        """The study in a folder.

        Raises:
            StoreError: if there is none, or it cannot be read.
        """
        study = cls(folder)
        with Store(study.folder):
            return study

    @property
    def plan(self) -> StudyPlan:
        """What was planned."""
        with Store(self.folder) as store:
            # Files of one's own need not be there any more to read a study.
            return StudyPlan.model_validate(store.get("plan"), context={"files": False})

    def cells(self) -> list[Cell]:
        """All cells, finished or not, in the order of the plan; with a search, those that it has come to."""
        with Store(self.folder) as store:
            return store.cells()

    def cell_results(self, *, history: bool = False, keys: Iterable[str] | None = None) -> list[CellResult]:
        """Results of the cells that have one, in the order of the plan.

        Args:
            history: with the curves of every epoch.
            keys: of the cells wanted; all by default.
        """
        with Store(self.folder) as store:
            return list(store.results(history=history, keys=keys))

    def results(self) -> pd.DataFrame:
        """One row a cell with a result, see :func:`lcat.study.results_frame`."""
        from lcat.study.store.frame import results_frame

        return results_frame(self.cell_results())

    def histories(self, keys: Iterable[str] | None = None) -> pd.DataFrame:
        """One row a cell and epoch, see :func:`lcat.study.history_frame`."""
        from lcat.study.store.frame import history_frame

        return history_frame(self.cell_results(history=True, keys=keys))

    def lambdas(self, keys: Iterable[str] | None = None) -> pd.DataFrame:
        """One row a cell and layer of its model with learned lambdas, see :func:`lcat.study.lambda_frame`."""
        from lcat.study.store.frame import lambda_frame

        return lambda_frame(self.cell_results(history=True, keys=keys))

    def trials(self) -> pd.DataFrame:
        """One row a trial of a search: ``unit``, ``number``, ``dataset``, ``layer``, ``test_set``, ``validation`` (mean
        over its cells, missing unless all of them are done), ``params.*``.
        """
        import pandas as pd

        with Store(self.folder) as store:
            found = {result.cell.key: result.fit.val for result in store.results() if result.fit is not None}
            trials = store.trials()
        rows = []
        for trial in trials:
            values = [found.get(key) for key in trial.keys]
            whole = [value for value in values if value is not None]
            row = {name: getattr(trial, name) for name in ("unit", "number", "dataset", "layer", "test_set")}
            row["validation"] = sum(whole) / len(whole) if whole and len(whole) == len(values) else None
            rows.append({**row, **{f"params.{name}": value for name, value in trial.params.items()}})
        columns = ["unit", "number", "dataset", "layer", "test_set", "validation"]
        return pd.DataFrame(rows, columns=None if rows else columns)

    def failures(self) -> pd.DataFrame:
        """One row a failed cell: ``key``, ``cell`` in words, ``error`` (last line), ``traceback``."""
        import pandas as pd

        rows = [
            (result.cell.key, str(result.cell), (result.error or "").strip().splitlines()[-1], result.error)
            for result in self.cell_results()
            if not result.ok
        ]
        return pd.DataFrame(rows, columns=["key", "cell", "error", "traceback"])

    def versions(self) -> list[dict[str, str]]:
        """Versions and machines that the results were made with, each once."""
        found: dict[str, dict[str, str]] = {}
        for result in self.cell_results():
            found.setdefault(repr(sorted(result.versions.items())), result.versions)
        return list(found.values())
