"""The parts of a plan beside data sets, layers and seeds: noise, search, budget, objectives, and how to run."""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator

from lcat._environment import device_problem
from lcat._measures import find_measure
from lcat._numbers import as_plain
from lcat.study.models.fields import Finite, Number, Whole, YesOrNo
from lcat.study.models.hyper import check_setting, number_type
from lcat.study.models.one_line import Record
from lcat.study.plan.cell import Noise, NoiseKind
from lcat.study.plan.errors import describe_errors

__all__ = [
    "Budget",
    "EngineName",
    "KeepName",
    "NoisePlan",
    "Published",
    "Range",
    "RunSettings",
    "SamplerName",
    "SearchPlan",
    "check_grid",
    "check_metric_name",
    "one_or_several",
]

#: What runs the cells of a study.
EngineName = Literal["inline", "processes", "ray"]
#: What a cell can leave beside its result.
KeepName = Literal["models", "predictions"]
#: What chooses the points of a search.
SamplerName = Literal["tpe", "random"]


def check_metric_name(metric: str | None) -> str | None:
    """The metric itself.

    Raises:
        ValueError: if there is none of this name; the key stands before the message.
    """
    if metric is not None:
        try:
            find_measure(metric)
        except ValueError as error:
            raise ValueError(str(error).removeprefix("metric ")) from None
    return metric


def one_or_several(values: Any) -> Any:
    """A single text or number as the only entry of a list; everything else as it is."""
    values = as_plain(values)
    return (values,) if isinstance(values, (str, int, float)) else values


class _Part(Record):
    model_config = ConfigDict(allow_inf_nan=False)


class NoisePlan(_Part):
    """Levels of noise to run beside the graph as it is, see :mod:`lcat.data.datasets.noise`.

    Attributes:
        edges: shares of new random edges.
        features: standard deviations of noise on the features, relative to that of the features.

    Example:
        >>> from lcat.study import NoisePlan
        >>> [str(noise) for noise in NoisePlan(edges=[0.1, 0.5]).noises()]
        ['no noise', 'noise on edges 0.1', 'noise on edges 0.5']
    """

    edges: tuple[Number, ...] = ()
    features: tuple[Number, ...] = ()

    @field_validator("edges", "features", mode="before")
    @classmethod
    def _one_or_several(cls, levels: Any) -> Any:
        return one_or_several(levels)

    @field_validator("edges", "features")
    @classmethod
    def _levels(cls, levels: tuple[float, ...]) -> tuple[float, ...]:
        for level in levels:
            if not (level >= 0 and math.isfinite(level)):
                raise ValueError(f"a level of noise must be 0 or more; got {level}")
        return tuple(sorted({float(level) for level in levels}))

    def noises(self) -> list[Noise]:
        """No noise first, then every level above 0."""
        levels: dict[NoiseKind, tuple[float, ...]] = {"edges": self.edges, "features": self.features}
        return [Noise(), *(Noise(kind=kind, level=level) for kind in levels for level in levels[kind] if level)]


class Range(_Part):
    """Numbers from ``low`` to ``high``, both included, that a search may try.

    Attributes:
        low, high: the ends.
        log: try powers evenly, for values over several magnitudes.
        step: only ``low``, ``low + step``, ...; not together with ``log``.
    """

    low: Number
    high: Number
    log: YesOrNo = False
    step: Number | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _ordered(self) -> Range:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"low must be below high; got low {self.low:g} and high {self.high:g}")
        if self.log and self.low <= 0:
            raise ValueError(f"log = true needs a positive low; got low {self.low:g}")
        if self.log and self.step is not None:
            raise ValueError(f"log and step exclude each other; got step {self.step:g}")
        return self


class SearchPlan(_Part):
    """A search for the settings of each layer on each data set, by validation alone; run by Optuna.

    Attributes:
        space: for each setting a list of values, as in a grid, or a :class:`Range`.
        trials: settings to try for each layer and test set.
        sampler: ``"tpe"`` (tree-structured Parzen estimator) or ``"random"``.
        seed: of the sampler.

    Example:
        >>> from lcat.study import SearchPlan
        >>> space = {
        ...     "lr": {"low": 1e-4, "high": 0.1, "log": True},
        ...     "hidden_channels": [16, 64],
        ... }
        >>> SearchPlan(space=space, trials=20).sampler
        'tpe'
    """

    space: dict[str, Range | tuple[Any, ...]] = Field(min_length=1)
    trials: Whole = Field(default=20, ge=1, le=100_000)
    sampler: SamplerName = "tpe"
    seed: Whole = Field(default=0, ge=0, lt=2**32)

    def values(self, name: str) -> tuple[Any, ...]:
        """The values of one setting; of a range of fractions its ends, of one of whole numbers all."""
        values = self.space[name]
        if not isinstance(values, Range):
            return values
        if number_type(name) is not int:
            return (values.low, values.high)
        return tuple(range(int(values.low), int(values.high) + 1, 1 if values.log else int(values.step or 1)))

    @field_validator("space", mode="before")
    @classmethod
    def _lists_or_ranges(cls, space: Any) -> Any:
        if not isinstance(space, dict):
            return space
        made = {}
        for name, values in space.items():
            check_setting(name)
            if not isinstance(values, (dict, list, tuple, Range)):
                raise ValueError(f"{name}: write a list of values, or low and high (and log or step); got {values!r}")
            try:
                made[name] = Range.model_validate(values) if isinstance(values, dict) else values
            except ValidationError as error:
                raise ValueError(f"{name}: {describe_errors(error, Range)}") from None
        return made

    @field_validator("space")
    @classmethod
    def _values_fit(cls, space: dict[str, Range | tuple[Any, ...]]) -> dict[str, Range | tuple[Any, ...]]:
        checked: dict[str, Range | tuple[Any, ...]] = {}
        for name, values in space.items():
            if isinstance(values, Range):
                kind = number_type(name)
                if kind is None:
                    raise ValueError(f"{name} takes a list of values, as it is no number; got low and high")
                if kind is int and any(end != int(end) for end in (values.low, values.high, values.step or 1)):
                    raise ValueError(f"{name} takes whole numbers; got low {values.low:g}, high {values.high:g}")
            elif not values:
                raise ValueError(f"{name}: the list of values is empty")
            ends: tuple[Any, ...] = (values.low, values.high) if isinstance(values, Range) else values
            converted = tuple(check_setting(name, value) for value in ends)
            checked[name] = values if isinstance(values, Range) else converted
        return checked


class Budget(_Part):
    """Where a study stops even if cells are left; raise it and run again to go on.

    Attributes:
        cells: finished cells in the study.
        seconds: wall-clock time of one call; cells that run then are finished.
        trials: trials of all searches of the study together.
    """

    cells: Whole | None = Field(default=None, ge=1)
    seconds: Number | None = Field(default=None, gt=0)
    trials: Whole | None = Field(default=None, ge=1)


class Published(_Part):
    """A published value that the report prints beside that of the study.

    Attributes:
        dataset: name of the data set in the plan.
        layer: name of the layer, as cells have it.
        metric: that it is of; ``None`` for that of the data set. The report leaves out values of another metric than
            that of the study.
        mean: of the test metric: shares in percent, as papers print them, all others in their own unit. Without
            ``metric`` it is a share.
        std: standard deviation over runs; ``None`` if it is not said.
        runs: their number; ``None`` if it is not said.

    Example:
        >>> from lcat.study import Published
        >>> Published(dataset="photo", layer="gcn", mean=96.10, std=0.46, runs=3).mean
        96.1
    """

    dataset: str
    layer: str
    metric: str | None = None
    mean: Finite
    std: Finite | None = Field(default=None, ge=0)
    runs: Whole | None = Field(default=None, ge=1)

    @field_validator("metric")
    @classmethod
    def _metric_known(cls, metric: str | None) -> str | None:
        return check_metric_name(metric)

    @field_validator("mean")
    @classmethod
    def _in_the_unit_of_the_metric(cls, mean: float, info: ValidationInfo) -> float:
        if "metric" not in info.data:  # it is wrong itself
            return mean
        metric = info.data["metric"]
        measure = find_measure(metric or "accuracy")
        factor = 100 if measure.is_share else 1
        note = "" if metric else '; of a metric that is no share, name it, as in metric = "mae"'
        for bad, words, end in (
            (mean > measure.high * factor, "most", measure.high),
            (mean < measure.low * factor, "least", measure.low),
        ):
            if bad:
                unit = "in percent" if measure.is_share else f"as {metric} is"
                raise ValueError(f"must be at {words} {end * factor:g}; got {mean:g} ({unit}{note})")
        is_new = (info.context or {}).get("files", True)  # and not read back from a store
        if measure.is_share and 0 < mean <= 1 and is_new:
            raise ValueError(f"must be in percent, as papers print shares, such as {100 * mean:g}; got {mean:g}{note}")
        return mean


class RunSettings(_Part):
    """How to run, which changes no result.

    Attributes:
        engine: ``"inline"``, ``"processes"`` or ``"ray"``.
        workers: cells at a time; by default one per GPU, or as many as the cores serve with ``threads`` each.
        threads: threads of torch for each cell; the numbers of a cell can depend on it, so it does not change with
            the number of workers.
        device: ``"cpu"``, ``"cuda"`` (the GPUs are distributed over the workers) or a device such as ``"cuda:1"``.
        retries: how often a cell runs again whose worker died.
        address: of a Ray cluster, such as ``"auto"`` or ``"ray://host:10001"``; ``None`` starts a local one.
        data: folder with the files of public data sets.
        base: folder that relative paths of data sets and splits start from: that of the plan, if it comes from a file;
            the current one by default.
        keep: what cells leave in the folder of the study beside their results: ``"models"`` (trained weights),
            ``"predictions"`` (outputs for every node, graph or pair).
    """

    engine: EngineName = "processes"
    workers: Whole | None = Field(default=None, ge=1, le=4096)
    threads: Whole = Field(default=1, ge=1, le=4096)
    device: str = "cpu"
    retries: Whole = Field(default=2, ge=0)
    address: str | None = None
    data: str | None = None
    base: str = ""
    keep: tuple[KeepName, ...] = ()

    @field_validator("keep", mode="before")
    @classmethod
    def _one_or_several(cls, names: Any) -> Any:
        return one_or_several(names)

    @field_validator("device")
    @classmethod
    def _device_known(cls, device: str) -> str:
        problem = device_problem(device)
        if problem:
            raise ValueError(problem)
        return device

    @field_validator("data")
    @classmethod
    def _data_named(cls, data: str | None) -> str | None:
        if data is not None and not data.strip():
            raise ValueError("expected a path, got an empty text; . is the current folder")
        return data


def check_grid(grid: dict[str, tuple[Any, ...]]) -> dict[str, tuple[Any, ...]]:
    """The grid itself with checked values, each setting's converted to its type.

    Raises:
        ValueError: on a setting that does not exist, an empty list, or a value that is not allowed.
    """
    checked = {}
    for name, values in grid.items():
        if not values:
            raise ValueError(f"{name}: the list of values is empty")
        converted = tuple(check_setting(name, value) for value in values)
        checked[name] = tuple(dict.fromkeys(converted))
        if len(checked[name]) < len({(isinstance(value, bool), value) for value in converted}):
            raise ValueError(f"{name}: true and 1 are one value here, and false and 0; write text instead")
    return checked
