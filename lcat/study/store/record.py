"""What a study holds, as a report reads it: plan, cells, results and failures, from a folder or from memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from lcat.study._folder import as_folder
from lcat.study.plan.cell import Cell
from lcat.study.plan.plan import StudyPlan
from lcat.study.statistics import alpha_of_look
from lcat.study.store.frame import history_frame, lambda_frame, results_frame
from lcat.study.store.kept_files import kept_name
from lcat.study.store.metrics_frame import classes_frame, metrics_frame
from lcat.study.store.predictions import prediction_frame
from lcat.study.store.result import CellResult
from lcat.study.store.store import Store

if TYPE_CHECKING:
    from typing import Self

__all__ = ["StudyRecord"]


class StudyRecord:
    """What a study holds.

    Made by :meth:`load` or :meth:`in_memory`. A record of a folder keeps nothing itself: every method reads
    ``DIR/study.sqlite`` when it is called, also while the study runs in another process.

    Args:
        source: folder of the study, or an open store in memory.
    """

    def __init__(self, source: str | Path | Store) -> None:
        self._memory = source if isinstance(source, Store) else None
        self._named = None if isinstance(source, Store) else as_folder(source)
        self._absolute = None if self._named is None else self._named.absolute()

    @property
    def folder(self) -> Path | None:
        """The folder of the study, as it was named as long as that leads to it; ``None`` for a study in memory."""
        if self._named is None or self._named.absolute() == self._absolute:
            return self._named
        return self._absolute  # the process has changed its working directory

    def __getstate__(self) -> dict[str, Any]:
        if self._memory is not None:
            raise TypeError(
                "expected a study in a folder, got one in memory, which cannot be copied, pickled or sent to another "
                "process: make it with a folder, or pass its results()"
            )
        return {**self.__dict__, "_named": self._absolute}

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """The study in a folder.

        Raises:
            lcat.study.StoreError: if there is none, or it cannot be read.
        """
        record = cls(folder)
        with record._reading():
            return record

    @classmethod
    def in_memory(cls, plan: StudyPlan, results: Iterable[CellResult] = ()) -> Self:
        """A study without a folder, with these results.

        Args:
            plan: the study.
            results: of cells of the plan, or of others, which are added to it.
        """
        if not isinstance(plan, StudyPlan):
            raise TypeError(f"expected 'plan' of type StudyPlan, got {type(plan).__name__}: make_plan makes one")
        results = list(results)
        for result in results:
            if not isinstance(result, CellResult):
                raise TypeError(f"expected results of type CellResult, got {type(result).__name__}")
        store = Store(None, write=True)
        store.put("plan", plan.model_dump(mode="json"))
        planned = []
        with suppress(ValueError):  # the file of an own model may be gone
            planned = plan.cells()
        store.add_cells([*(result.cell for result in results), *planned])
        store.finish_many(results)
        return cls(store)

    @contextmanager
    def _reading(self) -> Iterator[Store]:
        if self._memory is not None:
            yield self._memory
        else:
            with Store(self.folder) as store:
                yield store

    @property
    def plan(self) -> StudyPlan:
        """What was planned."""
        with self._reading() as store:
            return store.plan()

    def cells(self) -> list[Cell]:
        """All cells, finished or not, in the order of the plan; with a search, those that it has come to."""
        with self._reading() as store:
            return store.cells()

    def cell_results(self, *, history: bool = False, keys: Iterable[str] | None = None) -> list[CellResult]:
        """Results of the cells that have one, in the order of the plan.

        Args:
            history: with the curves of every epoch.
            keys: of the cells wanted; all by default.
        """
        with self._reading() as store:
            return list(store.results(history=history, keys=keys))

    def results(self) -> pd.DataFrame:
        """One row per cell with a result; :data:`lcat.study.COLUMNS` says what the columns are."""
        return results_frame(self.cell_results())

    def histories(self, keys: Iterable[str] | None = None) -> pd.DataFrame:
        """One row per finished cell and epoch.

        Args:
            keys: of the cells wanted; all by default.

        Returns:
            ``key``, ``epoch`` (from 0), ``lr``, ``loss`` (training loss with dropout, before the step), ``train``,
            ``validation``, ``test`` (the metric after the step), ``validation_loss``, and for the layers of the model
            that have lambdas ``lambda1.1``, ``lambda2.1``, ``lambda1.2``, ... (after the step; missing elsewhere).
            The values before the first step are in :meth:`lambdas`.
        """
        return history_frame(self.cell_results(history=True, keys=keys))

    def lambdas(self, keys: Iterable[str] | None = None) -> pd.DataFrame:
        """One row per finished cell and layer of its model whose lambdas are learned.

        Args:
            keys: of the cells wanted; all by default.

        Returns:
            ``key``, ``dataset``, ``layer``, ``seed``, ``depth`` (number of the layer in the model, from 1), ``name``
            (of the module), ``lambda1_start``, ``lambda2_start`` (before the first step), ``lambda1``, ``lambda2`` (at
            the epoch that validates best).
        """
        return lambda_frame(self.cell_results(history=True, keys=keys))

    def metrics(self, keys: Iterable[str] | None = None) -> pd.DataFrame:
        """One row per finished cell, part and metric, at the epoch that validates best.

        Args:
            keys: of the cells wanted; all by default.

        Returns:
            ``key``, ``dataset``, ``layer``, ``seed``, ``repeat``, ``fold``, ``inner_fold``, ``part`` (validation or
            test), ``metric``, ``value`` (missing where the metric is undefined), ``undefined`` (why).
        """
        return metrics_frame(self.cell_results(keys=keys))

    def classes(self, keys: Iterable[str] | None = None) -> pd.DataFrame:
        """One row per finished cell of a classification and class of its test items.

        Args:
            keys: of the cells wanted; all by default.

        Returns:
            ``key``, ``dataset``, ``layer``, ``seed``, ``repeat``, ``fold``, ``inner_fold``, ``class``, ``precision``
            (missing if it is never predicted), ``recall`` (missing if no test item is of it), ``f1``, ``items`` (test
            items of it).
        """
        return classes_frame(self.cell_results(keys=keys))

    def trials(self) -> pd.DataFrame:
        """One row per trial of a search.

        Returns:
            ``unit``, ``number``, ``dataset``, ``layer``, ``test_set``, ``validation`` (mean over its cells, missing
            unless all of them are done), ``params.*``.
        """
        with self._reading() as store:
            validation = {result.cell.key: result.fit.val for result in store.results() if result.fit is not None}
            trials = store.trials()
        rows = []
        for trial in trials:
            values = [validation[key] for key in trial.keys if key in validation]
            row = {name: getattr(trial, name) for name in ("unit", "number", "dataset", "layer", "test_set")}
            row["validation"] = sum(values) / len(values) if values and len(values) == len(trial.keys) else None
            rows.append({**row, **{f"params.{name}": value for name, value in trial.params.items()}})
        columns = ["unit", "number", "dataset", "layer", "test_set", "validation"]
        return pd.DataFrame(rows, columns=None if rows else columns)

    def predictions(self, key: str) -> pd.DataFrame:
        """What the model of a cell says of every item, if the study has kept it (``keep = ["predictions"]``).

        Items are all nodes or all graphs, also those without a label. On links they are the pairs that are measured,
        with a link and without one.

        Args:
            key: of the cell, as in :meth:`results`.

        Returns:
            ``node`` or ``graph`` (its number), or ``node.0`` and ``node.1`` of a pair; ``part`` (``train``,
            ``validation``, ``test`` or empty); ``label`` (``label.*`` of several; 1 and 0 for pairs with a link and
            without); ``prediction`` (the class with the largest output, for classes alone); ``output.*`` (logits of
            classes or labels, values in the units of the targets, or the score of a pair).

        Raises:
            ValueError: if they were not kept, or cannot be read.
        """
        if not isinstance(key, str):
            raise TypeError(f"expected 'key' as a string of the column key of results(), got {type(key).__name__}")
        with self._reading() as store:
            status = store.statuses().get(key)
        if (
            self.folder is None
            or status != "done"
            or not (path := self.folder / kept_name("predictions", key)).is_file()
        ):
            way_out = (
                "it has no such cell (keys are in the column key of results())"
                if status is None
                else "studies keep those of cells that run with --keep predictions (keep= in Python)"
            )
            raise ValueError(f"the study has not kept predictions of the cell {key}: {way_out}")
        return prediction_frame(path)

    def failures(self) -> pd.DataFrame:
        """One row per failed cell: ``key``, ``cell`` in words, ``error`` (its first line), ``traceback``."""
        rows = [
            (result.cell.key, str(result.cell), result.error_line, result.error)
            for result in self.cell_results()
            if not result.ok
        ]
        return pd.DataFrame(rows, columns=["key", "cell", "error", "traceback"])

    def models(self) -> pd.DataFrame:
        """One row per own model.

        Returns:
            ``layer``, ``name`` (text in the plan), ``hash`` (of the files that it is made of), ``file``, ``source``
            (the text of the main file when its first cell ran).
        """
        with self._reading() as store:
            rows = [asdict(model) for model in store.models()]
        return pd.DataFrame(rows, columns=["layer", "name", "hash", "file", "source"])

    def datasets(self) -> pd.DataFrame:
        """One row per data set with a result.

        Returns:
            ``dataset``; ``steps`` (what was done to what was read); ``nodes``, ``edges``, ``self_loops``, ``repeated``
            (edges that are listed once more), ``directed``, as in the first result; and of own ones ``graph`` (hash of
            features, edges and labels; of the graph of seed 0, if each seed has its own), ``hash`` (of its files),
            ``files``, ``source`` (the text of a Python file).
        """
        columns = ["dataset", "steps", "nodes", "edges", "self_loops", "repeated", "directed"]
        own = ["graph", "hash", "files", "source"]
        with self._reading() as store:
            known = store.datasets()
            facts: dict[str, dict[str, Any]] = {}
            for result in store.results():
                if result.graph:
                    facts.setdefault(result.cell.dataset, result.graph)
        rows = [
            {"dataset": name, **{key: values.get(key) for key in columns[1:]}, **known.get(name, {})}
            for name, values in facts.items()
        ]
        return pd.DataFrame(rows, columns=[*columns, *own])

    def looks(self) -> int:
        """How often the results have been looked at by :func:`lcat.study.run_until_decided`."""
        return len(self._looks().get("seeds", ()))

    def alpha(self) -> float:
        """Level of the verdicts of a report: 0.05, or that of the last look."""
        looks = self.looks()
        return alpha_of_look(looks, float(self._looks()["alpha"])) if looks else 0.05

    def _looks(self) -> dict[str, Any]:
        with self._reading() as store:
            return dict(store.get("looks") or {})

    def versions(self) -> list[dict[str, str]]:
        """Versions and machines that the results were made with, each once."""
        with self._reading() as store:
            return store.versions()
