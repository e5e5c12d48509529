"""A plan with more data sets, layers or seeds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lcat._numbers import as_int
from lcat._seed_list import parse_seeds
from lcat._text import counted
from lcat.study.plan.errors import PlanError
from lcat.study.plan.plan import StudyPlan, make_plan

__all__ = ["extended_plan"]


def extended_plan(
    plan: StudyPlan,
    *,
    datasets: Sequence[str] = (),
    layers: Sequence[str] = (),
    seeds: str | int | Sequence[int] = (),
    run: Mapping[str, Any] | None = None,
) -> StudyPlan:
    """The plan with more to run; all cells that it had stay in it, so a study in a folder goes on with it.

    Args:
        plan: that of a study.
        datasets, layers: to add; names that the plan has already change nothing.
        seeds: to add: numbers, text such as ``"5-9"``, or how many there shall be in all.
        run: replaces settings of how to run.

    Raises:
        PlanError: if nothing is added, or the new plan cannot be run.

    Example:
        >>> from lcat.study import extended_plan, make_plan
        >>> plan = make_plan(datasets=["cora"], layers=["gcn"], seeds=3)
        >>> more = extended_plan(plan, layers=["gat"], seeds="3-4")
        >>> more.layers, more.seeds
        (('gcn', 'gat'), (0, 1, 2, 3, 4))
    """
    if not isinstance(plan, StudyPlan):
        raise TypeError(
            f"expected 'plan' of type StudyPlan, got {type(plan).__name__}: Study.load(folder).plan is that of a study"
        )
    values = plan.model_dump(mode="json", exclude={"budget"})  # a budget was that of an earlier call
    values["run"].update(run or {})
    parsed = parse_seeds(seeds) if isinstance(seeds, str) else _read_seeds(seeds)
    before = {name: len(values[name]) for name in ("datasets", "layers", "seeds")}
    for name, more in (("datasets", datasets), ("layers", layers), ("seeds", parsed)):
        values[name] = list(dict.fromkeys([*values[name], *([more] if isinstance(more, str) else more)]))
    if all(len(values[name]) == count for name, count in before.items()):
        have = f"data sets {', '.join(plan.datasets)}; layers {', '.join(plan.layers)}; "
        have += counted(len(plan.seeds), "seed")
        raise PlanError(f"expected a data set, a layer or a seed that the study does not have; it has {have}")
    return make_plan(**values)


def _read_seeds(seeds: Any) -> Sequence[int]:
    """The first ``seeds`` numbers, or the numbers themselves."""
    count = as_int(seeds)
    if count is not None:
        return range(count)
    if isinstance(seeds, Iterable):
        return list(seeds)
    raise PlanError(f"seeds: expected whole numbers, how many there shall be, or text such as '0-9'; got {seeds!r}")
