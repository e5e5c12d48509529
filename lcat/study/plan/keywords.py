"""Types of the keywords of ``make_plan`` and ``run_study``, for type checkers: what pydantic accepts for each field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from typing_extensions import Required

from lcat._measures import MeasureName, TaskName
from lcat.study.models.hyper import Overrides
from lcat.study.models.recipes import RecipeName
from lcat.study.plan.batching import Batching, BatchingKind
from lcat.study.plan.settings import Budget, EngineName, KeepName, NoisePlan, Published, RunSettings, SearchPlan

__all__ = ["PlanKeywords", "RunKeywords"]


class PlanKeywords(TypedDict, total=False):
    """The fields of :class:`lcat.study.StudyPlan`, which describes them."""

    datasets: Required[Sequence[str]]
    layers: Required[Sequence[str]]
    seeds: Required[int | str | Sequence[int]]
    recipe: RecipeName
    split: str
    split_seed: int
    noise: NoisePlan | Mapping[str, Any]
    overrides: Overrides | Mapping[str, Any]
    grid: Mapping[str, Any]
    search: SearchPlan | Mapping[str, Any] | None
    task: TaskName | None
    metric: MeasureName | None
    batching: Batching | BatchingKind | Mapping[str, Any] | None
    objectives: Mapping[str, float]
    margin: float | None
    published: Sequence[Published | Mapping[str, Any]]
    budget: Budget | Mapping[str, Any]
    run: RunSettings | Mapping[str, Any]
    own: Sequence[str]


class RunKeywords(TypedDict, total=False):
    """The fields of :class:`lcat.study.RunSettings`, which describes them."""

    engine: EngineName
    workers: int | None
    threads: int
    device: str
    retries: int
    address: str | None
    data: str | None
    base: str
    keep: Sequence[KeepName]
