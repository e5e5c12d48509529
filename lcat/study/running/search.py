"""Search for settings by validation, with Optuna: one search for each data set, layer and test set.

Cells are pooled into one search only if they share their test nodes, so that no search sees a node's label in a cell's
validation that another of its cells tests on. With nested folds that is one search per outer fold, over its inner
folds; with random splits by seed, one per seed.

Every search tries one point at a time, on all its cells at once, and different searches run side by side. What it tries
next depends on the points before alone, never on the order in which cells come in: all engines, and a study that was
killed and went on, try the same points.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lcat._measures import sign_of
from lcat._seeds import derive_seed
from lcat._text import counted
from lcat.study.models.hyper import HyperParameters
from lcat.study.plan.cell import Cell, SplitChoice, digest
from lcat.study.plan.plan import StudyPlan, check_hyper
from lcat.study.plan.settings import Range, SearchPlan
from lcat.study.plan.sources import Sources
from lcat.study.running.engines.base import EngineError
from lcat.study.running.estimate import Kind, kind_of
from lcat.study.running.schedule import Schedule, is_settled
from lcat.study.store.result import CellResult
from lcat.study.store.store import Store, Trial

__all__ = ["SearchSchedule"]

#: Random points before the first estimate, however many follow: a longer search begins as a shorter one does.
_STARTUP = 5


class SearchSchedule(Schedule):
    """Hands out the cells of the trials, then those of the best point under noise.

    Args:
        plan: with a search.
        store: keeps trials before their cells run.
        sources: of data sets, to see which cells share their test nodes.
        retry_failed: run failed cells again; else a trial with one has failed.

    Raises:
        EngineError: if Optuna is missing.
        lcat.data.DataError: if a data set or split cannot be had.
    """

    def __init__(self, plan: StudyPlan, store: Store, sources: Sources, *, retry_failed: bool = False) -> None:
        assert plan.search is not None
        self._plan, self._store, self._retry_failed = plan, store, retry_failed
        self._results: dict[str, float | None] = {
            result.cell.key: _validation(result)
            for result in store.results()
            if is_settled(result.status, retry_failed)
        }
        self._units = list(_units(plan, sources))
        self._unit_of: dict[str, _Unit] = {}
        old: dict[str, list[Trial]] = {}
        for trial in store.trials():
            old.setdefault(trial.unit, []).append(trial)
        self._trials = sum(map(len, old.values()))
        self._resume(old)

    def next(self) -> Cell | None:
        """A cell of the search that has handed out fewest; a new trial where one is over."""
        for unit in sorted(self._units, key=lambda unit: unit.handed_out):
            self._refill(unit)
            if unit.queue:
                unit.handed_out += 1
                return unit.queue.popleft()
        return None

    def tell(self, result: CellResult) -> None:
        """Note the validation of a cell; the search hears of it when its trial is complete."""
        key = result.cell.key
        self._results[key] = _validation(result)
        self._unit_of[key].waiting.discard(key)

    def left(self) -> Counter[Kind]:
        """Cells of the trials under way, and for trials to come as many like them."""
        kinds: Counter[Kind] = Counter()
        for unit in self._units:
            kinds.update(map(kind_of, unit.queue))
            hyper = unit.last or self._base(unit)
            more = max(0, unit.search_plan.trials - unit.optuna.num_completed - (unit.current is not None))
            ahead = more * len(unit.members) + (0 if unit.final else self._noisy * len(unit.members))
            if ahead:
                kinds[(unit.dataset, unit.layer, hyper)] += ahead
        return kinds

    @property
    def total(self) -> int:
        """As if no two trials were alike."""
        return sum(len(unit.members) * (unit.search_plan.trials + self._noisy) for unit in self._units)

    @property
    def spent(self) -> str:
        """The budget of trials, where it ended a search."""
        limit = self._plan.budget.trials
        if (
            limit is not None
            and self._trials >= limit
            and any(unit.optuna.num_completed < unit.search_plan.trials for unit in self._units)
        ):
            return f"budget.trials = {limit} is used up"
        return ""

    @property
    def remarks(self) -> list[str]:
        """Searches that are over and had no point whose settings fit together: they leave nothing in any table."""
        return [
            f"no result for {unit.layer} on {unit.dataset}: the settings do not fit together in any of the "
            f"{counted(unit.search_plan.trials, 'point')} that its search tried (hidden_channels must be a multiple "
            "of heads, ...); try more trials, or another space"
            for unit in self._units
            if unit.last is None and unit.optuna.num_completed >= unit.search_plan.trials
        ]

    @property
    def _noisy(self) -> int:
        return len(self._plan.noise.noises()) - 1

    def _refill(self, unit: _Unit) -> None:
        """Go on as far as results allow: until cells are queued, are under way, or the search is over."""
        while not unit.queue and not unit.waiting:
            if unit.current is not None:
                unit.optuna.tell([self._results[key] for key in unit.current.keys])
                unit.current = None
            if unit.optuna.num_completed >= unit.search_plan.trials:
                if unit.final:
                    return
                unit.final = True
                self._queue(unit, self._final_cells(unit))
                self._store.add_cells(unit.queue)
                continue
            if self._plan.budget.trials is not None and self._trials >= self._plan.budget.trials:
                return
            point = unit.optuna.ask(None)
            hyper = self._hyper(unit, point)
            cells = [] if hyper is None else unit.cells(hyper)
            keys = [cell.key for cell in cells]
            trial = Trial(unit.name, unit.optuna.num_completed, unit.dataset, unit.layer, unit.test_set, point, keys)
            self._store.add_trial(trial, cells)
            self._trials += 1
            self._begin(unit, trial, cells)

    def _resume(self, old: dict[str, list[Trial]]) -> None:
        """Tell each search of its trials that are over, and take up the one that was cut off."""
        planned = {cell.key: cell for cell in self._store.cells()} if old else {}
        for unit in self._units:
            trials = old.get(unit.name, [])
            for trial in trials:
                unit.optuna.ask(trial.params)
                cells = [planned[key] for key in trial.keys]
                if trial is trials[-1] and not all(key in self._results for key in trial.keys):
                    self._begin(unit, trial, cells)
                    continue
                # What came after this trial was chosen with what was known of it then. Failed cells that run again
                # now stay, and change nothing of the search.
                unit.optuna.tell([self._results.get(key) for key in trial.keys])
                unit.last = cells[0].hyper if cells else unit.last
                self._queue(unit, cells)

    def _begin(self, unit: _Unit, trial: Trial, cells: list[Cell]) -> None:
        unit.current = trial
        unit.last = cells[0].hyper if cells else unit.last
        self._queue(unit, cells)

    def _queue(self, unit: _Unit, cells: Iterable[Cell]) -> None:
        for cell in cells:
            self._unit_of[cell.key] = unit
            if cell.key not in self._results:
                unit.queue.append(cell)
                unit.waiting.add(cell.key)

    def _final_cells(self, unit: _Unit) -> list[Cell]:
        """The best point under every noise."""
        best = unit.optuna.best()
        hyper = None if best is None else self._hyper(unit, best)
        if hyper is None:
            return []
        noises = self._plan.noise.noises()[1:]
        return [cell.model_copy(update={"noise": noise}) for noise in noises for cell in unit.cells(hyper)]

    def _base(self, unit: _Unit) -> HyperParameters:
        return self._plan.hyper(unit.dataset, unit.layer)

    def _hyper(self, unit: _Unit, point: dict[str, Any]) -> HyperParameters | None:
        """The settings of a point, ``None`` if they do not fit together."""
        try:
            hyper = self._plan.hyper(unit.dataset, unit.layer, point)
            check_hyper(unit.dataset, unit.layer, hyper)
        except ValueError:
            return None
        return hyper


def _validation(result: CellResult) -> float | None:
    """What a search maximizes: the validation metric, negated where lower is better; ``None`` of a failed cell."""
    return None if result.fit is None else sign_of(result.metric) * result.fit.val


@dataclass
class _Unit:
    """One search, and where it stands."""

    dataset: str
    layer: str
    test_set: str
    members: list[tuple[SplitChoice, int]]
    study_plan: StudyPlan
    search_plan: SearchPlan
    optuna: _Optuna
    queue: deque[Cell] = field(default_factory=deque)
    waiting: set[str] = field(default_factory=set)
    current: Trial | None = None
    last: HyperParameters | None = None
    final: bool = False
    handed_out: int = 0

    @property
    def name(self) -> str:
        return digest([self.dataset, self.layer, self.test_set])

    def cells(self, hyper: HyperParameters) -> list[Cell]:
        return [
            self.study_plan.cell(self.dataset, self.layer, seed=seed, hyper=hyper, split=choice)
            for choice, seed in self.members
        ]


def _units(plan: StudyPlan, sources: Sources) -> Iterable[_Unit]:
    search = plan.search
    assert search is not None
    layers: dict[str, list[str]] = {}
    for dataset, layer in plan.pairs():
        layers.setdefault(dataset, []).append(layer)
    for dataset, names in layers.items():
        groups: dict[str, list[tuple[SplitChoice, int]]] = {}
        for seed in plan.seeds:
            for choice in plan.choices(dataset):
                # Splits depend on neither layer nor settings.
                cell = plan.cell(dataset, names[0], seed=seed, hyper=HyperParameters(), split=choice)
                _, split = sources.prepared(cell)
                groups.setdefault(sources.test_set(cell, split), []).append((choice, seed))
        for test_set, members in groups.items():
            for layer in names:
                space = plan.settings_that_matter(layer, search.space)
                kinds = {name: plan.number_type(layer, name) for name in space}
                name = digest([dataset, layer, test_set])
                yield _Unit(dataset, layer, test_set, members, plan, search, _Optuna(search, space, kinds, name))


class _Optuna:
    """A study of Optuna that is asked and told point by point."""

    def __init__(self, plan: SearchPlan, space: dict[str, Any], kinds: Mapping[str, type | None], name: str) -> None:
        try:
            import optuna
        except ModuleNotFoundError:
            raise EngineError("a search needs Optuna: pip install 'lcat-gnn[search]'") from None
        self._optuna, self._plan, self._kinds, self._name = optuna, plan, kinds, name
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._space = {key: self._distribution(key, values) for key, values in space.items()}
        self._study = optuna.create_study(direction="maximize", sampler=self._sampler(0))
        self._open: Any = None
        self.num_completed = 0

    def ask(self, point: dict[str, Any] | None) -> dict[str, Any]:
        """The next point, or the one that is handed over."""
        if point is not None:
            self._study.enqueue_trial(point)
        # A fresh sampler per trial: what it draws does not depend on whether the study was interrupted.
        self._study.sampler = self._sampler(self.num_completed)
        self._open = self._study.ask(self._space)
        return dict(self._open.params)

    def tell(self, values: list[float | None]) -> None:
        """The validation of the open trial's cells; none, or one that failed, makes it a failed trial."""
        whole = [value for value in values if value is not None]
        if whole and len(whole) == len(values):
            self._study.tell(self._open, sum(whole) / len(whole))
        else:
            self._study.tell(self._open, state=self._optuna.trial.TrialState.FAIL)
        self.num_completed += 1

    def best(self) -> dict[str, Any] | None:
        """The point that validates best, ``None`` if all trials failed."""
        complete = self._study.get_trials(states=(self._optuna.trial.TrialState.COMPLETE,))
        # Of equal ones the first: this does not hang on how Optuna breaks ties.
        return dict(max(complete, key=lambda trial: (trial.value, -trial.number)).params) if complete else None

    def _sampler(self, number: int) -> Any:
        seed = derive_seed(self._plan.seed, "search", self._name, number) % 2**32
        if self._plan.sampler == "random":
            return self._optuna.samplers.RandomSampler(seed=seed)
        return self._optuna.samplers.TPESampler(seed=seed, n_startup_trials=_STARTUP)

    def _distribution(self, name: str, values: Range | tuple[Any, ...]) -> Any:
        kinds = self._optuna.distributions
        if not isinstance(values, Range):
            return kinds.CategoricalDistribution(values)
        if self._kinds[name] is int:
            return kinds.IntDistribution(int(values.low), int(values.high), log=values.log, step=int(values.step or 1))
        return kinds.FloatDistribution(values.low, values.high, log=values.log, step=values.step)
