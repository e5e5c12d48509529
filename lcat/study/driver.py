"""Run a study: hand cells to an engine, keep every result at once, and stop cleanly whatever happens."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError
from typing_extensions import Unpack

from lcat._text import counted
from lcat.data import UnknownDataset
from lcat.study._folder import prepare_folder, remove_file, write_file
from lcat.study.plan.as_task import AnyDataset, own_dataset
from lcat.study.plan.cell import Cell
from lcat.study.plan.errors import PlanError, find_problems
from lcat.study.plan.keywords import RunKeywords
from lcat.study.plan.own_data import is_own_file
from lcat.study.plan.plan import StudyPlan
from lcat.study.plan.settings import Budget, RunSettings
from lcat.study.plan.sources import Sources
from lcat.study.plan.splits import SPLITS_NAME, SplitFolder
from lcat.study.running.engines import Engine, Finished, Note, make_engine
from lcat.study.running.engines.base import Event
from lcat.study.running.estimate import Estimate, kind_of
from lcat.study.running.resume import open_study
from lcat.study.running.schedule import FixedSchedule, Schedule, is_settled
from lcat.study.store.journal import Journal
from lcat.study.store.kept_files import KEEP_NAMES, kept_name
from lcat.study.store.lock import StudyLock
from lcat.study.store.result import CellResult
from lcat.study.store.store import Store
from lcat.study.study import Study

__all__ = ["Outcome", "Status", "run_study"]

#: Seconds between two looks at the clock while cells run.
_TICK = 0.5
_NO_LOCKS = (
    "the file system of {} has no locks, so nothing keeps a second process from running this study at the same time: "
    "run it once only"
)


@dataclass(frozen=True)
class Status:
    """Where a study stands, for a progress bar.

    Attributes:
        done: cells with a result, failed ones included.
        failed: of these.
        total: cells of the study; of a search, its largest number.
        seconds_left: estimate for the rest, ``None`` before anything is known.
        event: what happened last.
    """

    done: int
    failed: int
    total: int
    seconds_left: float | None
    event: Event | None


@dataclass(frozen=True)
class Outcome:
    """How a call of :func:`run_study` ended.

    Attributes:
        study: what is in the folder, or in memory.
        ran: cells that got a result in this call.
        done, failed: cells of the study by status.
        left: cells without a result.
        reason: ``"complete"``, or ``"budget"`` with what was used up in ``detail``.
        detail: one line on it.
    """

    study: Study
    ran: int
    done: int
    failed: int
    left: int
    reason: Literal["complete", "budget"]
    detail: str = ""


def run_study(
    plan: StudyPlan,
    folder: str | Path | None = None,
    *,
    own: Mapping[str, Any] | None = None,
    resume: bool = True,
    retry_failed: bool = False,
    on_status: Callable[[Status], None] | None = None,
    **run: Unpack[RunKeywords],
) -> Outcome:
    """Run the cells of ``plan`` that have no result in ``folder`` yet, and keep each result as soon as it is known.

    Whatever ends the call, an exception, Ctrl-C, a kill or a power cut, finished cells are kept, and the same call goes
    on from there. A plan that has all cells of the one in the folder and more extends it; a different one is refused.

    Without a folder the study is kept in memory: it is for small ones, an interruption loses it, and its cells run one
    after the other in this process unless an engine is named.

    Args:
        plan: what to run.
        folder: of the study, made if necessary; ``None`` for a study in memory.
        own: your own data sets by the names in ``plan.own``: whatever :func:`lcat.data.as_dataset` takes.
        resume: ``False`` sets the study that is in the folder aside and begins anew.
        retry_failed: run failed cells again.
        on_status: called now and then, and after every cell.
        **run: replace settings of ``plan.run``, such as ``engine="inline"`` or ``workers=2``.

    Returns:
        How it ended.

    Raises:
        TypeError: if ``plan`` is no plan, or one of ``own`` no data set.
        PlanError: on settings of ``run`` that cannot be used, or another study in the folder.
        lcat.data.DataError: before the first cell, if a data set is not available.
        EngineError: if cells cannot be run this way here.
        StudyBusy: if another process runs the study.
        StoreError, OutputError: if a result cannot be written; those before it are kept.
        KeyboardInterrupt: on Ctrl-C, after the results that had come in have been kept.

    Example:
        >>> import tempfile
        >>> from lcat.study import make_plan, run_study
        >>> plan = make_plan(
        ...     datasets=["csbm:easy,n=100"],
        ...     layers=["gcn", "gat"],
        ...     seeds=2,
        ...     overrides={"epochs": 9},
        ... )
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     first = run_study(plan, folder, engine="inline")
        ...     again = run_study(plan, folder, engine="inline")
        >>> first.ran, again.ran, again.done
        (4, 0, 4)
        >>> run_study(plan).study.results()["status"].tolist()
        ['done', 'done', 'done', 'done']
    """
    if not isinstance(plan, StudyPlan):
        raise TypeError(
            f"expected 'plan' of type StudyPlan, got {type(plan).__name__}: make_plan makes one of keywords, load_plan "
            "of a file"
        )
    if not isinstance(own, (Mapping, type(None))):
        raise TypeError(f"expected 'own' as data sets by name, got {type(own).__name__}")
    for option, value in (("resume", resume), ("retry_failed", retry_failed)):
        if not isinstance(value, bool):
            raise TypeError(f"expected {option} as True or False, got {value!r}")
    if on_status is not None and not callable(on_status):
        raise TypeError(f"expected 'on_status' as a function of a Status, got {type(on_status).__name__}")
    own = {name: own_dataset(name, dataset, plan.task) for name, dataset in (own or {}).items()}
    if own and not any(name in plan.own for name in own):
        names = ", ".join(map(repr, own))
        raise PlanError(
            f"own: expected data sets that the plan names, got {names} alone: write them into the plan, as in "
            f"make_plan(datasets=[{names}], own=[{names}], ...)"
        )
    if folder is None and "engine" not in plan.run.model_fields_set:
        run = {"engine": "inline", **run}
    try:
        settings = RunSettings.model_validate({**plan.run.model_dump(), **run})
    except ValidationError as error:
        raise PlanError(problems=find_problems(error, RunSettings, ("run",))) from None
    options: dict[str, Any] = {"own": own or {}, "retry_failed": retry_failed, "on_status": on_status}
    if folder is None and settings.keep:
        raise PlanError(
            f"run.keep: {', '.join(settings.keep)} need a folder of the study, and it is in memory: name one"
        )
    if folder is None:
        store = open_study(plan, None)
        return _Driver(plan, Study(store), store, settings, **options).run()
    study = Study(prepare_folder(folder))
    with StudyLock(folder) as lock, open_study(plan, Path(folder), resume=resume) as store:
        notes = [] if lock.has_locks else [_NO_LOCKS.format(folder)]
        notes += [store.mended] if store.mended else []
        return _Driver(plan, study, store, settings, notes=notes, **options).run()


class _Driver:
    def __init__(
        self,
        plan: StudyPlan,
        study: Study,
        store: Store,
        settings: RunSettings,
        *,
        own: Mapping[str, AnyDataset],
        retry_failed: bool,
        on_status: Callable[[Status], None] | None,
        notes: Sequence[str] = (),
    ) -> None:
        self._plan, self._study, self._store, self._settings, self._own = plan, study, store, settings, own
        self._splits = study.folder / SPLITS_NAME if study.folder is not None else None
        self._statuses = store.statuses()
        self._again = {key for key, status in self._statuses.items() if not is_settled(status, retry_failed)}
        self._on_status = on_status
        root = Path(settings.data) if settings.data is not None else None
        base = Path(settings.base)
        split_folder = SplitFolder(self._splits, base) if self._splits is not None else None
        self._sources = Sources(root, self._own, plan.metric, split_folder, base, plan.task)
        self._schedule = self._make_schedule(retry_failed)
        self._running: dict[str, Cell] = {}
        self._events: deque[Event] = deque()  # not taken yet, so that Ctrl-C between two of them loses none
        self._estimate = Estimate()
        self._estimate.add_results(store.results())
        self._notes = list(notes)
        self._ran = 0
        self._start = time.monotonic()

    def run(self) -> Outcome:
        left = self._schedule.left()
        for name in self._plan.own:
            if name not in self._own and any(dataset == name for dataset, _, _ in left):
                raise UnknownDataset(f"the plan names an own data set {name!r}, and run_study got none: pass own=")
        names = tuple(dict.fromkeys(dataset for dataset, _, _ in left))
        self._notes += self._sources.prepare(names, self._plan.choices)
        self._notes += self._not_kept()
        self._keep_sources(names)
        self._tell(None)
        models = self._plan.own_models.to_send()
        engine = make_engine(
            self._settings, own=self._own, metric=self._plan.metric, splits=self._splits, models=models
        )
        engine.on_progress = self._tell
        with closing(engine), closing(Journal(self._study.folder)) as journal:
            journal.write("begin", engine=self._settings.engine, left=left.total(), done=len(self._statuses))
            self._note(self._notes, journal)
            try:
                detail = self._loop(engine, journal)
            except KeyboardInterrupt:
                # What workers have sent already is kept; the pipes hold whole results.
                self._events.extend(engine.wait(0))
                while self._events:
                    self._take(journal)
                journal.write("end", reason="interrupted")
                raise
            self._note(self._schedule.remarks, journal)
            journal.write("end", reason="budget" if detail else "complete")
        return self._outcome(detail)

    def _keep_sources(self, names: Sequence[str]) -> None:
        """Keep what identifies the own data sets, and refuse other data under a name that has results.

        Raises:
            PlanError: names the data set, what it is read from, and the ways out.
        """
        known = self._store.datasets()
        records = {name: self._sources.record(name) for name in names if name in self._own or is_own_file(name)}
        for name, record in list(records.items()):
            old = known.get(name)
            if old is None and self._store.done_on(name):
                del records[name]  # results of an earlier version of lcat, which knows the data by their splits alone
            if old is None or (old["graph"], old["metric"]) == (record["graph"], record["metric"]):
                continue
            if self._store.done_on(name):
                files = " and ".join(record["files"]) or "the data set in own="
                what = "graph" if old["graph"] != record["graph"] else "metric"
                raise PlanError(
                    f"datasets: {name} is not the data set that {self._store.path.parent} has results of: {files} has "
                    f"changed ({what} {record[what]} now, {old[what]} then; Study.load(...).datasets() has more). Put "
                    "it back to go on, give the new one its own name, choose another folder with --out, or set the "
                    "study aside with --no-resume"
                )
            if self._splits is not None:
                SplitFolder(self._splits).forget_graph(name)
        if any(known.get(name) != record for name, record in records.items()):
            self._store.put("datasets", {**known, **records})

    def _note(self, texts: Sequence[str], journal: Journal) -> None:
        for text in texts:
            journal.write("note", text=text, key=None)
            self._tell(Note(text))

    def _loop(self, engine: Engine, journal: Journal) -> str:
        """Run until nothing is left or the budget is used up; returns what was used up."""
        while True:
            spent = self._fill(engine, journal)
            if not self._running:
                return spent
            self._events.extend(engine.wait(_TICK))
            while self._events:
                self._tell(self._take(journal), engine.slots)

    def _fill(self, engine: Engine, journal: Journal) -> str:
        while len(self._running) < engine.slots:
            cells = len(self._statuses) - len(self._again) + len(self._running)
            spent = _spent(self._plan.budget, cells, time.monotonic() - self._start)
            if spent and self._schedule.left():
                return spent
            cell = self._schedule.next()
            if cell is None:
                return self._schedule.spent
            self._running[cell.key] = cell
            journal.write("submit", key=cell.key)
            engine.submit(cell)
        return ""

    def _take(self, journal: Journal) -> Event:
        """Keep what the first event says; after Ctrl-C in the middle, the same event is taken once more."""
        event = self._events[0]
        if isinstance(event, Finished):
            result = event.result
            self._write_files(result)  # before the result: a finished cell has its files
            self._store.finish(result)
            self._running.pop(result.cell.key, None)
            self._statuses[result.cell.key] = result.status
            self._again.discard(result.cell.key)
            journal.write(result.status, key=result.cell.key, worker=result.worker)
            self._ran += 1
            self._estimate.add_results([result])
            self._schedule.tell(result)
        elif isinstance(event, Note):
            journal.write("note", text=event.text, key=event.cell.key if event.cell else None)
        return self._events.popleft()

    def _write_files(self, result: CellResult) -> None:
        """Write what is kept of a cell; what an attempt left whose result never came is removed."""
        folder = self._study.folder
        if folder is not None:
            for kind in KEEP_NAMES:
                name = kept_name(kind, result.cell.key)
                content = result.files.get(str(name))
                if content is None:
                    remove_file(folder / name)
                else:
                    write_file(folder / name, content)
        result.files = {}

    def _not_kept(self) -> list[str]:
        """What is to be kept of cells that have finished already, and was not."""
        folder = self._study.folder
        if folder is None:
            return []
        remarks = []
        for kind in self._settings.keep:
            done = [key for key, status in self._statuses.items() if status == "done"]
            missing = sum(not (folder / kept_name(kind, key)).is_file() for key in done)
            if missing:
                once_more = "lcat study model trains the best one once more, and " if kind == "models" else ""
                remarks.append(
                    f"{counted(missing, 'cell')} had finished before without keeping {kind}, and finished cells are "
                    f"not run again: {once_more}--no-resume begins anew"
                )
        return remarks

    def _tell(self, event: Event | None, slots: int = 1) -> None:
        if self._on_status is not None:
            kinds = self._schedule.left() + Counter(map(kind_of, self._running.values()))
            failed = sum(status == "failed" for status in self._statuses.values())
            total = max(self._schedule.total, len(self._statuses))
            seconds = self._estimate.left(kinds, slots)
            self._on_status(Status(len(self._statuses), failed, total, seconds, event))

    def _make_schedule(self, retry_failed: bool) -> Schedule:
        if self._plan.search is None:
            return FixedSchedule(self._plan.cells(), self._statuses, retry_failed=retry_failed)
        from lcat.study.running.search import SearchSchedule

        self._sources.prepare(self._plan.datasets, self._plan.choices)
        return SearchSchedule(self._plan, self._store, self._sources, retry_failed=retry_failed)

    def _outcome(self, spent: str) -> Outcome:
        failed = sum(status == "failed" for status in self._statuses.values())
        return Outcome(
            study=self._study,
            ran=self._ran,
            done=len(self._statuses) - failed,
            failed=failed,
            left=self._schedule.left().total(),
            reason="budget" if spent else "complete",
            detail=spent,
        )


def _spent(budget: Budget, cells: int, seconds: float) -> str:
    if budget.cells is not None and cells >= budget.cells:
        return f"budget.cells = {budget.cells} (--max-cells) is used up"
    if budget.seconds is not None and seconds >= budget.seconds:
        return f"budget.seconds = {budget.seconds:g} (--max-seconds) is used up"
    return ""
