"""What a study runs: data sets x layers x seeds, each cell with all its settings written out."""

from __future__ import annotations

import difflib
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator

from lcat.study.cell import Cell
from lcat.study.defaults import DEMO_DATASETS, DEMO_LAYERS, default_hyper_parameters
from lcat.study.hyper import Overrides
from lcat.study.layers import LAYERS, THEORY_LAYERS
from lcat.study.sources import check_name

__all__ = ["Cell", "PlanError", "StudyPlan", "demo_plan", "make_plan"]


class PlanError(ValueError):
    """A plan that cannot be run; the message names the setting, its value and what is allowed."""


class StudyPlan(BaseModel):
    """A study: every chosen layer on every chosen data set with every seed.

    Attributes:
        datasets: names of public data sets, ``csbm:...``, paths of ``.pt`` or ``.npz`` files, or names in ``own``.
        layers: names of ``lcat.study.LAYERS``.
        seeds: one cell each; for data sets with several splits also the number of the split.
        overrides: settings that replace the defaults everywhere.
        own: names of the data sets that the caller hands to :func:`lcat.study.run`.

    Raises:
        PlanError: through :func:`make_plan`, which turns pydantic's report into one line.

    Example:
        >>> from lcat.study import make_plan
        >>> plan = make_plan(datasets=["cora"], layers=["gcn", "lcat"], seeds=range(3))
        >>> len(plan.cells()), plan.cells()[0].hyper.hidden
        (6, 16)
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    datasets: tuple[str, ...] = Field(min_length=1)
    layers: tuple[str, ...] = Field(min_length=1)
    seeds: tuple[int, ...] = Field(min_length=1)
    overrides: Overrides = Overrides()
    own: tuple[str, ...] = ()

    @field_validator("layers")
    @classmethod
    def _layers_exist(cls, layers: tuple[str, ...]) -> tuple[str, ...]:
        for layer in layers:
            if layer not in LAYERS:
                close = difflib.get_close_matches(layer.lower(), LAYERS, n=3)
                hint = f" (did you mean {' or '.join(close)}?)" if close else ""
                raise ValueError(f"there is no layer {layer!r}{hint}; choose from {', '.join(LAYERS)}")
        return _unique(layers)

    @field_validator("seeds")
    @classmethod
    def _seeds_usable(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        for seed in seeds:
            if not 0 <= seed < 2**32:
                raise ValueError(f"a seed must lie in 0 .. 2^32 - 1; got {seed}")
        return _unique(seeds)

    @model_validator(mode="after")
    def _fits_together(self, info: ValidationInfo) -> StudyPlan:
        # A plan that is read back from a store may name files that are gone.
        known = self.own if (info.context or {}).get("files", True) else (*self.own, *self.datasets)
        names = _unique(tuple(check_name(name, known) for name in self.datasets))
        object.__setattr__(self, "datasets", names)
        for cell in self.cells()[:: len(self.seeds)]:
            _check_cell(cell)
        return self

    def cells(self) -> list[Cell]:
        """All cells; the layers of one seed follow each other, so that a study cut short still compares them."""
        return [
            Cell(
                dataset=dataset,
                layer=layer,
                seed=seed,
                hyper=self.overrides.applied_to(default_hyper_parameters(dataset, layer)),
            )
            for dataset in self.datasets
            for seed in self.seeds
            for layer in self.layers
            if not (layer in THEORY_LAYERS and not dataset.startswith("csbm:"))
        ]


def make_plan(**settings: Any) -> StudyPlan:
    """A checked :class:`StudyPlan`.

    Args:
        **settings: the attributes of :class:`StudyPlan`; ``overrides`` may be a dictionary.

    Raises:
        PlanError: one line that names the setting, what it got and what is allowed.

    Example:
        >>> from lcat.study import make_plan
        >>> make_plan(datasets=["cora"], layers=["gta"], seeds=[0])  # doctest: +IGNORE_EXCEPTION_DETAIL
        Traceback (most recent call last):
        lcat.study.plan.PlanError: layers: there is no layer 'gta' (did you mean gat?); ...
    """
    try:
        return StudyPlan(**settings)
    except ValidationError as error:
        raise PlanError(explain(error)) from None


def explain(error: ValidationError) -> str:
    """Pydantic's report in one line: each setting, what is wrong with it, and what it got."""
    lines = []
    for item in error.errors():
        where = ".".join(str(part) for part in item["loc"] if not isinstance(part, int))
        message = item["msg"].removeprefix("Value error, ")
        # Our own messages say what they got; pydantic's do not.
        got = "" if item["type"] == "value_error" and "got" in message else f"; got {item['input']!r}"
        if item["type"] == "value_error" and where in ("", "layers"):
            got = ""
        lines.append(f"{where}: {message}{got}" if where else f"{message}{got}")
    return " | ".join(" ".join(line.split()) for line in lines)


def demo_plan(seeds: int = 3, overrides: Overrides | None = None) -> StudyPlan:
    """The study that ``lcat study`` runs without arguments: who wins and who fails in four regimes of the CSBM."""
    return StudyPlan(
        datasets=DEMO_DATASETS,
        layers=DEMO_LAYERS,
        seeds=tuple(range(seeds)),
        overrides=overrides or Overrides(),
    )


def _check_cell(cell: Cell) -> None:
    spec, hyper = LAYERS[cell.layer], cell.hyper
    place = f"{cell.layer} on {cell.dataset}"
    if spec.attention and hyper.depth > 1 and hyper.hidden % hyper.heads:
        raise ValueError(
            f"hidden is the width of all heads together and must be a multiple of heads; got hidden {hyper.hidden} "
            f"and heads {hyper.heads} for {place}"
        )
    if hyper.warmup >= hyper.epochs:
        raise ValueError(f"warmup must be less than epochs; got warmup {hyper.warmup} and epochs {hyper.epochs}")


def _unique(values: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(dict.fromkeys(values))
