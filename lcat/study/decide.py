"""Run a study until its questions are decided: look at the results, add seeds, look again."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd
from typing_extensions import Unpack

from lcat._files import as_path
from lcat._measures import metrics_with_unit
from lcat._numbers import as_int
from lcat.study.analysis.selection import Selection
from lcat.study.driver import Outcome, Status, run_study
from lcat.study.plan.as_task import AnyDataset
from lcat.study.plan.errors import PlanError
from lcat.study.plan.keywords import RunKeywords
from lcat.study.plan.plan import StudyPlan
from lcat.study.plan.splits import SplitRule
from lcat.study.statistics import alpha_of_look
from lcat.study.store.store import STORE_NAME, Store
from lcat.study.study import Study

__all__ = ["Decision", "Look", "run_until_decided"]

#: With so many seeds a study is looked at for the first time.
_FEWEST = 3


@dataclass(frozen=True)
class Look:
    """One look at the results.

    Attributes:
        number: of the look, from 1.
        seeds: number of seeds that had run.
        alpha: level of the tests of this look.
        undecided: what is open, in words.
        proposed: number of seeds of the next look.
    """

    number: int
    seeds: int
    alpha: float
    undecided: tuple[str, ...]
    proposed: int


@dataclass(frozen=True)
class Decision:
    """How a call of :func:`run_until_decided` ended.

    Attributes:
        outcome: of the last run.
        looks: all looks of this call.
        reason: ``"decided"``; ``"budget"`` or ``"looks"``, which are used up; ``"hopeless"`` if no number of seeds
            would decide what is open, or nothing is known of a layer, as all its cells on a data set failed.
    """

    outcome: Outcome
    looks: tuple[Look, ...]
    reason: Literal["decided", "budget", "looks", "hopeless"]


def run_until_decided(
    plan: StudyPlan,
    folder: str | Path,
    *,
    max_looks: int = 6,
    alpha: float = 0.05,
    own: Mapping[str, AnyDataset] | None = None,
    retry_failed: bool = False,
    on_status: Callable[[Status], None] | None = None,
    on_look: Callable[[Look], None] | None = None,
    **run: Unpack[RunKeywords],
) -> Decision:
    r"""Run ``plan``, and add seeds until every question has a verdict other than "undecided".

    The questions are those of :func:`lcat.study.regret` (is always taking L-CAT as good as cross-validation?) if L-CAT
    and at least two candidates are in the plan, otherwise every pair of layers. After each look the number of seeds
    grows to what would decide with a probability of 80 % if the results go on as they began, but at most twofold. It
    ends when no verdict of a look is "undecided".

    Who looks again and again, and stops at the first p-value below alpha, finds differences where there are none. So
    look k tests at :math:`\alpha / (k (k + 1))`. The sum over all looks is :math:`\alpha`, so a false claim is made
    with a probability of alpha at most, however many looks there are. The looks are kept in the folder: calling again
    goes on counting, and the report uses the level of the last look.

    Args:
        plan: what to run; its seeds are those of the first look (at least three).
        folder: of the study, made if necessary.
        max_looks: in this call.
        alpha: probability of a false claim for each question.
        own: your own data sets, see :func:`lcat.study.run_study`.
        retry_failed: run failed cells again.
        on_status: see :func:`lcat.study.run_study`.
        on_look: called after each look.
        **run: see :func:`lcat.study.run_study`.

    Returns:
        How it ended. The budget of the plan holds for all runs together.

    Raises:
        PlanError: if more seeds bring no more samples, as with k-fold cross-validation (another seed says nothing of
            other test nodes), if there is a search or nothing to compare, or if the plan has no margin and a metric in
            the unit of the targets, for which there is no default.
        ValueError: for a number of looks below 1, or alpha out of range.

    Example:
        >>> import tempfile
        >>> from lcat.study import make_plan, run_until_decided
        >>> settings = {"overrides": {"epochs": 30}, "seeds": 3}
        >>> plan = make_plan(
        ...     datasets=["csbm:easy,q=0.5,n=100"], layers=["gcn", "gat"], **settings
        ... )
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     decision = run_until_decided(plan, folder, engine="inline")
        >>> decision.reason
        'decided'
    """
    if not isinstance(plan, StudyPlan):
        raise TypeError(f"expected 'plan' of type StudyPlan, got {type(plan).__name__}: make_plan makes one")
    count = as_int(max_looks)
    if count is None or count < 1:
        raise ValueError(f"max_looks must be a whole number of at least 1; got {max_looks!r}")
    alpha_of_look(1, alpha)
    folder = as_path("folder", folder)
    _check_plan(plan)
    looks: list[Look] = []
    started = time.monotonic()
    plan = _grown(plan, max(len(plan.seeds), _FEWEST), _seeds_of(folder))
    while True:
        outcome = run_study(
            _within(plan, time.monotonic() - started),
            folder, own=own, retry_failed=retry_failed, on_status=on_status, **run,
        )  # fmt: skip
        if outcome.reason == "budget":
            return Decision(outcome, tuple(looks), "budget")
        _check_margin(plan, outcome.study.results()["metric"])
        look = _look(outcome.study, folder, plan, alpha)
        looks.append(look)
        if on_look is not None:
            on_look(look)
        if not look.undecided:
            return Decision(outcome, tuple(looks), "decided")
        if look.proposed <= look.seeds:
            return Decision(outcome, tuple(looks), "hopeless")
        if len(looks) >= count:
            return Decision(outcome, tuple(looks), "looks")
        plan = _grown(plan, look.proposed, ())


def _check_plan(plan: StudyPlan) -> None:
    kind = SplitRule.parse(plan.split).kind
    if kind not in ("own", "file"):
        raise PlanError(
            f"split: another seed on the folds of {plan.split} brings no other test nodes, so it decides nothing; take "
            "split = 'own', or more repetitions (split = 'repeated:5x10') in a study that runs once"
        )
    if plan.search is not None:
        raise PlanError("search: a search has its own seeds; run it, and then the best settings until they are decided")
    if plan.metric is not None:
        _check_margin(plan, [plan.metric])
    if len(plan.layers) < 2:
        raise PlanError(f"layers: there is nothing to compare; got {', '.join(plan.layers)} alone")


def _check_margin(plan: StudyPlan, metrics: Iterable[str]) -> None:
    """Refuse to decide by a margin that nobody named, where it cannot be guessed.

    Raises:
        PlanError: with the metrics.
    """
    units = metrics_with_unit(metrics)
    if plan.margin is None and units:
        raise PlanError(
            f"margin: expected the largest difference that does not matter, in the unit of the targets, got none: for "
            f"{' and '.join(units)} it cannot be guessed; name it (margin = 0.5, --margin 0.5), and the study goes on"
        )


def _seeds_of(folder: str | Path) -> tuple[int, ...]:
    """The seeds of the study that is in the folder already, which may be more than those of the plan."""
    if not (Path(folder) / STORE_NAME).is_file():
        return ()
    with Store(Path(folder)) as store:
        return store.plan().seeds if store.has_plan() else ()


def _grown(plan: StudyPlan, count: int, others: tuple[int, ...]) -> StudyPlan:
    """The plan with so many seeds: its own, those of ``others`` if they go on from there, and the next numbers."""
    seeds = list(plan.seeds)
    if others[: len(seeds)] == plan.seeds:
        seeds = list(others)
    following = max(seeds) + 1
    while len(seeds) < count:
        seeds.append(following)
        following += 1
    return plan.model_copy(update={"seeds": tuple(seeds)})


def _within(plan: StudyPlan, seconds: float) -> StudyPlan:
    """The plan with what is left of its seconds; its budget of cells counts all cells of the study in any case."""
    budget = plan.budget
    if budget.seconds is None:
        return plan
    left = max(budget.seconds - seconds, 1e-9)  # a budget is above 0
    return plan.model_copy(update={"budget": budget.model_copy(update={"seconds": left})})


def _look(study: Study, folder: Path, plan: StudyPlan, alpha: float) -> Look:
    """Look at the results, and keep in the store that it was done, before anything is said of them."""
    seeds = len(plan.seeds)
    with Store(folder, write=True) as store:
        past = list((store.get("looks") or {}).get("seeds", ()))
        if not past or past[-1] != seeds:  # the same results again are the same look
            past.append(seeds)
        store.put("looks", {"seeds": past, "alpha": alpha})
        store.put("plan", plan.model_dump(mode="json"))  # with the whole budget, and not what was left of it
    number = len(past)
    level, following = alpha_of_look(number, alpha), alpha_of_look(number + 1, alpha)
    undecided = _undecided(study, level)
    needed = _undecided(study, following)["samples_to_decide"]
    finite = [value for value in needed if math.isfinite(value)]
    proposed = (
        seeds if len(undecided) and not finite else min(max(math.ceil(max(finite, default=0)), seeds + 1), 2 * seeds)
    )
    return Look(number, seeds, level, tuple(undecided["question"]), proposed)


def _undecided(study: Study, alpha: float) -> pd.DataFrame:
    """Open questions in words, and the number of samples that would decide each; ``inf`` if none does."""
    regrets = study.regret(alpha=alpha)
    if len(regrets):
        names = [f"always {row.always} on {row.dataset}" for row in regrets.itertuples()]
    else:
        regrets = study.compare(alpha=alpha).pairs
        names = [f"{row.first} against {row.second} on {row.dataset}" for row in regrets.itertuples()]
    table = regrets.assign(question=names)
    table = table.loc[table["verdict"] == "undecided", ["question", "samples_to_decide"]]
    without = pd.DataFrame({"question": _without_results(study), "samples_to_decide": math.inf})
    return pd.concat([table, without] if len(without) else [table]).fillna({"samples_to_decide": math.inf})


def _without_results(study: Study) -> list[str]:
    """Layers that nothing can be said of, as all their cells on a data set failed."""
    cells = Selection.of(study.results()).clean
    done = (cells["status"] == "done").groupby([cells["dataset"], cells["layer"]], sort=False).any()
    return [f"{layer} on {dataset}, where all its cells failed" for dataset, layer in done.index[~done]]
