"""What a study runs: data sets x layers x seeds x splits x noise x settings, each cell with all of it written out."""

from __future__ import annotations

import itertools
import os
from collections.abc import Hashable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator
from typing_extensions import Unpack

from lcat._measures import TaskName, check_margin, default_metric, find_measure, measures_of
from lcat._numbers import as_plain, is_bool
from lcat._seed_list import parse_seeds
from lcat._text import hint
from lcat.data import METRIC_NAMES
from lcat.study.analysis.objectives import OBJECTIVES
from lcat.study.models.defaults import DEMO_DATASETS, DEMO_LAYERS, own_defaults
from lcat.study.models.fields import Finite, Number, Whole
from lcat.study.models.hyper import HyperParameters, Overrides, number_type
from lcat.study.models.layers import LAYERS, THEORY_LAYERS, layer_spec
from lcat.study.models.one_line import Record
from lcat.study.models.own_hyper import own_arguments, own_names, own_settings_that_matter, with_own_values
from lcat.study.models.own_model import (
    ModelRef,
    OwnModel,
    OwnModels,
    find_model,
    is_model_text,
    model_name,
    registered_names,
)
from lcat.study.models.own_registration import check_free
from lcat.study.models.own_settings import OwnNames, names_of_plan
from lcat.study.models.recipes import RecipeName, recipe_hyper_parameters
from lcat.study.plan.batching import Batching
from lcat.study.plan.cell import Cell, SplitChoice
from lcat.study.plan.errors import PlanError, find_problems
from lcat.study.plan.keywords import PlanKeywords
from lcat.study.plan.own_data import is_own_file
from lcat.study.plan.published import as_in_plan
from lcat.study.plan.settings import (
    Budget,
    NoisePlan,
    Published,
    RunSettings,
    SearchPlan,
    check_grid,
    check_metric_name,
    one_or_several,
)
from lcat.study.plan.sources import all_csbm_options, check_name
from lcat.study.plan.splits import SplitRule
from lcat.study.statistics.equivalence import MARGIN
from lcat.train import orthogonal_optimizer_names

__all__ = ["PlanError", "StudyPlan", "check_hyper", "demo_plan", "make_plan"]

_LINKS_OF_NODES = ("link-prediction", "node-classification")
#: More cells than this are a slip of the keyboard.
_MAX_CELLS = 1_000_000
#: Points of a search that are looked at for one that fits.
_MAX_POINTS = 20_000


class StudyPlan(Record):
    """A study: every chosen layer on every chosen data set with every seed, split, noise and setting.

    Attributes:
        datasets: names of public data sets, ``csbm:...``, paths of ``.pt``, ``.npz`` or ``.csv`` files, functions as in
            ``"data.py:make_data"``, or names in ``own``.
        layers: names of ``lcat.study.LAYERS``, and own models: ``"models.py:MyNet"``, ``"my_package.models:MyNet"``,
            either with a name for tables in front (``"old=before/models.py:MyNet"``), or a registered name.
        seeds: one cell each; for data sets with several splits also the number of the split. A whole number ``n``
            stands for ``0 .. n - 1``, and text for what the option ``--seeds`` makes of it, such as ``"0-9"``.
        recipe: where settings come from that nothing else says: ``"plain"``, ``"paper"`` or ``"tuned"``; see
            :func:`lcat.study.recipe_hyper_parameters`. Own models have theirs.
        split: rule of the splits, see :mod:`lcat.study.plan.splits`.
        split_seed: of the shuffles behind generated folds.
        noise: levels of noise to run as well.
        overrides: settings that replace the defaults everywhere.
        grid: lists of values of settings (or single ones); every combination runs. ``"none"`` stands for no value
            where a setting may have none, as ``clip_norm`` and ``patience``.
        search: settings to be found by validation, in place of a grid.
        task: what is predicted: ``"node-classification"``, ``"node-multilabel"``, ``"node-regression"``,
            ``"graph-classification"``, ``"graph-regression"`` or ``"link-prediction"``; what each data set has labels
            for by default.
        metric: that decides, such as ``"macro-f1"``, ``"mae"`` or ``"hits@20"``; that of each data set by default.
        batching: mini-batches of graphs, ``"neighbor"`` or ``"cluster"``, or a table of :class:`Batching`; steps see
            the whole graph by default.
        objectives: what the report weighs a model by, with its weight: ``accuracy``, ``time``, ``memory``,
            ``parameters``, ``robustness``, ``robustness-slope``.
        margin: largest difference of test metrics that does not matter, above 0, in the unit of the metric. It decides
            verdicts of the report, and no result. ``None`` stands for 0.01, which is one percentage point of a share;
            for errors in a unit of their own (``"rmse"``, ``"mae"``) name one.
        published: values of papers that the report prints beside those of the study, shares in percent; data sets and
            layers that the study does not have are left out, unless their names read like misspelt ones.
        budget: where to stop.
        run: how to run; it decides no result.
        own: names of the data sets that the caller hands to :func:`lcat.study.run_study`.

    Raises:
        ValueError: one line; from :func:`make_plan` a :class:`PlanError`, which names the keys.

    Example:
        >>> from lcat.study import make_plan
        >>> plan = make_plan(
        ...     datasets=["cora"],
        ...     layers=["gcn", "lcat"],
        ...     seeds=3,
        ...     grid={"lr": [0.01, 0.001]},
        ... )
        >>> len(plan.cells()), plan.cells()[0].hyper.hidden_channels
        (12, 16)
    """

    datasets: tuple[str, ...] = Field(min_length=1)
    layers: tuple[str, ...] = Field(min_length=1)
    seeds: tuple[Whole, ...] = Field(min_length=1)
    recipe: RecipeName = "plain"
    split: str = "own"
    split_seed: Whole = Field(default=0, ge=0, lt=2**32)
    noise: NoisePlan = NoisePlan()
    overrides: Overrides = Overrides()
    grid: dict[str, tuple[Any, ...]] = Field(default_factory=dict)
    search: SearchPlan | None = None
    task: TaskName | None = None
    metric: str | None = None
    batching: Batching | None = None
    objectives: dict[str, Number] = Field(default_factory=dict)
    margin: Finite | None = Field(default=None, gt=0)
    published: tuple[Published, ...] = ()
    budget: Budget = Budget()
    run: RunSettings = RunSettings()
    own: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _texts_are_text(cls, values: Any) -> Any:
        _refuse_surrogates(values)
        return values

    @field_validator("datasets", "layers", "own", mode="before")
    @classmethod
    def _one_or_several(cls, names: Any) -> Any:
        return one_or_several(names)

    @field_validator("grid", mode="before")
    @classmethod
    def _lists_of_values(cls, grid: Any) -> Any:
        return {name: one_or_several(values) for name, values in grid.items()} if isinstance(grid, dict) else grid

    @field_validator("own")
    @classmethod
    def _own_names_are_free(cls, own: tuple[str, ...]) -> tuple[str, ...]:
        for name in own:
            if name.startswith("csbm:"):
                raise ValueError(f"names that begin with csbm: are those of synthetic graphs; got {name!r}")
        return own

    def _context_of_copies(self) -> dict[str, Any]:
        """A plan may have been read where its files are not: whoever runs the copy looks for them."""
        return {"files": False, "models": self.layers}

    @model_validator(mode="wrap")
    @classmethod
    def _names_of_own_models(cls, values: Any, handler: Any, info: ValidationInfo) -> Any:
        """Let the parts of the plan know the settings of its own models."""
        if not isinstance(values, dict):
            return handler(values)
        if not (info.context or {}).get("files", True):
            names = OwnNames(takes_any=True)
        else:
            layers = one_or_several(values.get("layers", ()))
            texts = [text for text in layers if isinstance(text, str)] if isinstance(layers, (list, tuple)) else []
            names = own_names(_find_usable(texts, _base_in(values)))
        with names_of_plan(names):
            return handler(values)

    @field_validator("layers")
    @classmethod
    def _layers_exist(cls, layers: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        stored = (info.context or {}).get("models", ())  # registered, perhaps in another process
        for layer in layers:
            if layer not in LAYERS and layer not in stored and not is_model_text(layer):
                known = [*LAYERS, *registered_names()]
                way_out = ", or your own as in models.py:MyNet"
                raise ValueError(
                    f"there is no layer {layer!r}{hint(layer, known)}; choose from {', '.join(known)}{way_out}"
                )
        return _unique(layers)

    @field_validator("seeds", mode="before")
    @classmethod
    def _count_of_seeds(cls, seeds: Any) -> Any:
        if isinstance(seeds, str):
            return tuple(parse_seeds(seeds))
        seeds = as_plain(seeds)
        if is_bool(seeds) or not isinstance(seeds, (int, list, tuple, range)):
            raise ValueError(
                "must be a number of seeds such as 5, a list of whole numbers such as [0, 3, 5], or text such as "
                f"'0-9'; got {seeds!r}"
            )
        if isinstance(seeds, int):
            if not 1 <= seeds <= _MAX_CELLS:
                raise ValueError(f"the number of seeds must be at least 1 (or write a list of seeds); got {seeds}")
            return tuple(range(seeds))
        return tuple(seeds) if isinstance(seeds, range) else seeds

    @field_validator("seeds")
    @classmethod
    def _seeds_usable(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        for seed in seeds:
            if not 0 <= seed < 2**32:
                raise ValueError(f"a seed must lie in 0 .. 2^32 - 1; got {seed}")
        return _unique(seeds)

    @field_validator("split")
    @classmethod
    def _rule_known(cls, split: str) -> str:
        SplitRule.parse(split)
        return split

    @field_validator("grid")
    @classmethod
    def _grid_usable(cls, grid: dict[str, tuple[Any, ...]]) -> dict[str, tuple[Any, ...]]:
        return check_grid(grid)

    @field_validator("metric")
    @classmethod
    def _metric_known(cls, metric: str | None) -> str | None:
        return check_metric_name(metric)

    @field_validator("objectives")
    @classmethod
    def _objectives_known(cls, objectives: dict[str, float]) -> dict[str, float]:
        for name, weight in objectives.items():
            if name not in OBJECTIVES:
                raise ValueError(
                    f"there is no objective {name!r}{hint(name, OBJECTIVES)}; choose from {', '.join(OBJECTIVES)}"
                )
            if not 0 <= weight < float("inf"):
                raise ValueError(f"the weight of {name} must be 0 or more; got {weight}")
        if objectives and not any(objectives.values()):
            raise ValueError("at least one weight must be above 0; got all 0")
        return objectives

    @model_validator(mode="after")
    def _margin_has_the_unit_of_the_metric(self) -> StudyPlan:
        # Data sets whose own metric is no share name it in the plan for a margin beyond 1.
        check_margin(self.margin_or_default, self._known_metrics())
        return self

    @model_validator(mode="after")
    def _fits_together(self, info: ValidationInfo) -> StudyPlan:
        # A plan that is read back from a store may name files that are gone.
        fresh = (info.context or {}).get("files", True)
        known = self.own if fresh else (*self.own, *self.datasets)
        names = self._without_repeats(tuple(check_name(name, known, self._base) for name in self.datasets))
        object.__setattr__(self, "datasets", names)
        if not fresh:
            return self
        self._check_models()
        layers = [model_name(text) for text in self.layers]
        object.__setattr__(self, "published", as_in_plan(self.published, self.datasets, layers))
        overridden = set(self.overrides.by_name())
        for part, keys in (("grid", self.grid), ("search.space", self.search.space if self.search else {})):
            twice = sorted(overridden & set(keys))
            if twice:
                raise ValueError(f"{part} and overrides both set {', '.join(twice)}; leave one of them out")
        self._check_task()
        self._check_settings_of_tasks()
        if self.grid and self.search is not None:
            raise ValueError("grid and search exclude each other; put the lists of the grid into search.space")
        size = len(self.datasets) * len(self.layers) * self.cells_per_model() * len(self._points())
        if size > _MAX_CELLS:
            raise ValueError(f"the plan has {size:,} cells and more than {_MAX_CELLS:,} are refused")
        if not self.pairs():
            raise ValueError(
                f"nothing is left to run: {', '.join(self.layers)} exist on csbm: graphs only, and datasets are "
                f"{', '.join(self.datasets)}"
            )
        for dataset, layer in self.pairs():
            self.choices(dataset)  # looks for files of splits
            if self.search is not None:
                self._check_search(dataset, layer, self.search)
                continue
            for hyper in self.hypers(dataset, layer):
                self._check_hyper(dataset, layer, hyper)
        return self

    def _check_hyper(self, dataset: str, layer: str, hyper: HyperParameters) -> None:
        """The settings of a cell fit together, and an own model has a value for each of its parameters.

        Raises:
            ValueError: names the settings.
        """
        check_hyper(dataset, layer, hyper)
        model = self.own_models.get(layer)
        if model is not None:
            model.check_complete(own_arguments(model, hyper))

    def _known_metrics(self) -> list[str]:
        """The metric, as far as the plan says it: own data sets may have any."""
        if self.metric is not None or self.task is not None:
            return [self.metric or default_metric(self.task or "node-classification")]
        return (
            []
            if any(name in self.own or is_own_file(name) or name.startswith("tu:") for name in self.datasets)
            else ["accuracy"]
        )

    def _check_task(self) -> None:
        """The task, the metric, the batches and the data sets go together, as far as names say.

        Raises:
            ValueError: names both.
        """
        kinds = {name: "graph-" for name in self.datasets if name.startswith("tu:") and name not in self.own}
        kinds |= {name: "node-classification" for name in self.datasets if name.startswith("csbm:")}
        if self.task is not None and self.metric is not None and self.task not in find_measure(self.metric).tasks:
            raise ValueError(
                f"the metric of {self.task} must be one of {', '.join(measures_of(self.task))}; got {self.metric}"
            )
        for name, kind in kinds.items():
            fits = self.task is None or self.task.startswith(kind) or (self.task, kind) == _LINKS_OF_NODES
            if not fits:
                raise ValueError(f"{name} has labels for {kind.rstrip('-')} tasks; got task {self.task}")
        if self.batching is not None and self.task is not None and not self.task.startswith("node-"):
            raise ValueError(f"batching is for tasks on nodes; got task {self.task}: leave it out")
        if len(self.noise.noises()) > 1 and self.task is not None and not self.task.startswith("node-"):
            raise ValueError(f"noise is for tasks on nodes; got task {self.task}: leave it out")

    def _check_settings_of_tasks(self) -> None:
        """Settings of graphs and mini-batches need a data set that has them, as far as names say.

        Raises:
            ValueError: names the setting; all its values would give the same results.
        """
        if any(name in self.own or is_own_file(name) or name.startswith("tu:") for name in self.datasets):
            return
        if self.task is not None and self.task.startswith("graph-"):
            return
        named = {*self.overrides.by_name(), *self.grid, *(self.search.space if self.search else {})}
        own = own_names(_find_usable([*self.layers], self._base))
        for name, user in (("pooling", "tasks on graphs"), ("batch_size", "tasks on graphs, or of batching")):
            has_it = name in own.settings or (name == "batch_size" and self.batching is not None)
            if name in named and not has_it:
                raise ValueError(
                    f"{name} is a setting of {user}, and changes nothing on {', '.join(self.datasets)}: leave it out"
                )

    def _check_search(self, dataset: str, layer: str, search: SearchPlan) -> None:
        """A search leaves out the points whose settings do not fit together; it must have others.

        Raises:
            ValueError: if no point of the search fits.
        """
        space = self.settings_that_matter(layer, {name: search.values(name) for name in search.space})
        error = None
        points = itertools.product(*space.values())
        for values in itertools.islice(points, _MAX_POINTS):
            try:
                point = dict(zip(space, values, strict=True))
                self._check_hyper(dataset, layer, self.hyper(dataset, layer, point))
            except ValueError as caught:
                error = caught
            else:
                return
        if error is not None and next(points, None) is None:
            raise ValueError(f"no point of the search fits: {error}")

    @property
    def margin_or_default(self) -> float:
        """The margin, 0.01 if the plan names none."""
        return MARGIN if self.margin is None else self.margin

    @property
    def _base(self) -> Path:
        return Path(self.run.base)

    def _without_repeats(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Every data set once; files and ``csbm:`` graphs have several spellings, and the first one names them."""
        different: dict[Hashable, str] = {}
        for name in names:
            identity: Hashable = name
            if name not in self.own and is_own_file(name):
                identity = os.path.realpath(self._base / name)
            elif name not in self.own and name.startswith("csbm:"):
                identity = all_csbm_options(name)
            different.setdefault(identity, name)
        return tuple(different.values())

    def pairs(self) -> list[tuple[str, str]]:
        """Data set and layer, where the layer exists on the data set."""
        return [
            (dataset, layer)
            for dataset in self.datasets
            for layer in map(model_name, self.layers)
            if not (layer in THEORY_LAYERS and not dataset.startswith("csbm:"))
        ]

    def choices(self, dataset: str) -> list[SplitChoice]:
        """The splits of one data set."""
        return SplitRule.parse(self.split).choices(self.split, self.split_seed, dataset, self._base)

    def cells_per_model(self) -> int:
        """How many cells one model has on one data set (the first one, if that depends on files)."""
        return len(self.noise.noises()) * len(self.choices(self.datasets[0])) * len(self.seeds)

    def hypers(self, dataset: str, layer: str) -> list[HyperParameters]:
        """The settings of one layer on one data set, one for each point of the grid that differs for the layer."""
        points = [self.settings_that_matter(layer, point) for point in self._points()]
        return list(dict.fromkeys(self.hyper(dataset, layer, point) for point in points))

    def hyper(self, dataset: str, layer: str, point: Mapping[str, Any] | None = None) -> HyperParameters:
        """The settings of one layer on one data set.

        Args:
            dataset: a name of the plan.
            layer: a name of :meth:`pairs`.
            point: of the grid or search; replaces other values.
        """
        model = self.own_models.get(layer)
        if model is not None:
            values = {**self.overrides.by_name(), **(point or {})}
            return with_own_values(model, own_defaults(dataset, model), values)
        base = self.overrides.applied_to(recipe_hyper_parameters(self.recipe, dataset, layer))
        return HyperParameters(**{**base.model_dump(), **(point or {})})

    def settings_that_matter(self, layer: str, point: Mapping[str, Any]) -> dict[str, Any]:
        """What of a point of the grid or search changes a layer of :meth:`pairs`."""
        model = self.own_models.get(layer)
        if model is not None:
            return own_settings_that_matter(model, point)
        return LAYERS[layer].settings_that_matter({n: v for n, v in point.items() if n in HyperParameters.model_fields})

    def number_type(self, layer: str, name: str) -> type[int] | type[float] | None:
        """``int`` or ``float`` for a setting that takes numbers, ``None`` for others."""
        model = self.own_models.get(layer)
        with names_of_plan(own_names([] if model is None else [model])):
            return number_type(name)

    @property
    def own_models(self) -> OwnModels:
        """The own models of the plan by the names that cells have for them."""
        refs = {model_name(text): ModelRef(text) for text in self.layers if text not in LAYERS and is_model_text(text)}
        return OwnModels(refs, self._base)

    def _check_models(self) -> None:
        """Own models can be found, and have names that distinguish them.

        Raises:
            ValueError: names the model and the way out.
        """
        names = [model_name(text) for text in self.layers]
        for name, text in zip(names, self.layers, strict=True):
            if text in LAYERS:
                continue
            find_model(text, self._base)
            check_free(name)
            if names.count(name) > 1:
                both = [other for other in self.layers if model_name(other) == name]
                raise ValueError(
                    f"layers: {' and '.join(both)} would both be called {name} in tables; write another name in front, "
                    f"as in new={both[-1].rpartition('=')[2]}"
                )

    def cells(self) -> list[Cell]:
        """All cells; the layers of one seed follow each other, so that a study cut short still compares them.

        With a search there are none yet: the search decides.
        """
        return [] if self.search is not None else list(self._cells())

    def cell(self, dataset: str, layer: str, *, seed: int, hyper: HyperParameters, **where: Any) -> Cell:
        """A cell of this plan.

        Args:
            dataset, layer: names.
            seed: of the cell.
            hyper: all settings.
            **where: ``split`` and ``noise``.
        """
        # The metric of a file was that of its data set before cells had one of their own.
        of_file = is_own_file(dataset) and dataset not in self.own and self.task is None
        metric = None if of_file and self.metric in METRIC_NAMES else self.metric
        return Cell(
            dataset=dataset, layer=layer, seed=seed, hyper=hyper, task=self.task, metric=metric,
            batching=self.batching, **where,
        )  # fmt: skip

    def _cells(self) -> Iterator[Cell]:
        for dataset in self.datasets:
            layers = [layer for name, layer in self.pairs() if name == dataset]
            hypers = {layer: self.hypers(dataset, layer) for layer in layers}
            for noise, choice, seed in itertools.product(self.noise.noises(), self.choices(dataset), self.seeds):
                for number in range(max(map(len, hypers.values()), default=0)):
                    for layer in layers:
                        if number < len(hypers[layer]):
                            hyper = hypers[layer][number]
                            yield self.cell(dataset, layer, seed=seed, hyper=hyper, split=choice, noise=noise)

    def _points(self) -> list[dict[str, Any]]:
        return [dict(zip(self.grid, values, strict=True)) for values in itertools.product(*self.grid.values())]


def _base_in(values: Mapping[str, Any]) -> Path:
    run = values.get("run")
    base = run.base if isinstance(run, RunSettings) else run.get("base", "") if isinstance(run, Mapping) else ""
    return Path(base) if isinstance(base, str) else Path()


def _find_usable(texts: list[str], base: Path) -> list[OwnModel]:
    """The own models among layers, without those that do not exist: what is wrong with these is said later."""
    models = []
    for text in texts:
        if text not in LAYERS and is_model_text(text):
            with suppress(ValueError):
                models.append(find_model(text, base))
    return models


def make_plan(**settings: Unpack[PlanKeywords]) -> StudyPlan:
    """A checked :class:`StudyPlan`.

    Args:
        **settings: the attributes of :class:`StudyPlan`; parts may be dictionaries.

    Raises:
        PlanError: one line that names the setting, what it got and what is allowed.

    Example:
        >>> from lcat.study import make_plan
        >>> make_plan(
        ...     datasets=["cora"], layers=["gta"], seeds=[0]
        ... )  # doctest: +IGNORE_EXCEPTION_DETAIL
        Traceback (most recent call last):
        lcat.study.plan.plan.PlanError: layers: there is no layer 'gta' (did you mean gat?); ...
    """
    try:
        return StudyPlan.model_validate(settings)
    except ValidationError as error:
        raise PlanError(problems=find_problems(error, StudyPlan)) from None


def demo_plan(seeds: int = 3, overrides: Overrides | None = None) -> StudyPlan:
    """The study that ``lcat study`` runs without arguments: who wins and who fails in four regimes of the CSBM."""
    return StudyPlan(
        datasets=DEMO_DATASETS,
        layers=DEMO_LAYERS,
        seeds=tuple(range(seeds)),
        overrides=overrides or Overrides(),
    )


def check_hyper(dataset: str, layer: str, hyper: HyperParameters) -> None:
    """Settings that fit each on its own may not fit together.

    Raises:
        ValueError: with both of them.
    """
    if layer_spec(layer).attention and hyper.num_layers > 1 and hyper.hidden_channels % hyper.heads:
        raise ValueError(
            f"hidden_channels is the width of all heads together and must be a multiple of heads; got hidden_channels "
            f"{hyper.hidden_channels} and heads {hyper.heads} for {layer} on {dataset}"
        )
    orthogonal = hyper.optimizer in orthogonal_optimizer_names()
    if orthogonal and hyper.num_layers == 1 and hyper.orthogonal_include is None and not layer_spec(layer).own:
        raise ValueError(
            f"{hyper.optimizer} keeps hidden weights orthonormal and needs num_layers 2 or more; got num_layers 1 "
            f"for {layer} on {dataset}"
        )
    for name in ("orthogonal_lr", "orthogonal_include"):
        if getattr(hyper, name) is not None and not orthogonal:
            raise ValueError(
                f"{name} is a setting of {', '.join(orthogonal_optimizer_names())}; got optimizer {hyper.optimizer} "
                f"for {layer} on {dataset}"
            )
    if hyper.jk != "none" and not hyper.linear_out:
        raise ValueError(
            f"jk needs linear_out = true, a linear map of what it makes of all layers; got jk {hyper.jk} and "
            f"linear_out false for {layer} on {dataset}"
        )
    if hyper.linear_out and layer_spec(layer).attention and hyper.hidden_channels % hyper.heads:
        raise ValueError(
            f"hidden_channels is the width of all heads together and must be a multiple of heads; got hidden_channels "
            f"{hyper.hidden_channels} and heads {hyper.heads} for {layer} on {dataset}"
        )
    if hyper.warmup >= hyper.epochs:
        raise ValueError(f"warmup must be less than epochs; got warmup {hyper.warmup} and epochs {hyper.epochs}")


def _refuse_surrogates(values: Any, name: str = "") -> None:
    """Names of files whose bytes are no UTF-8 come as text that no file of a study can hold.

    Raises:
        ValueError: with the name.
    """
    if isinstance(values, dict):
        for key, value in values.items():
            _refuse_surrogates(value, f"{name}.{key}" if name else str(key))
    elif isinstance(values, (list, tuple)):
        for value in values:
            _refuse_surrogates(value, name)
    elif isinstance(values, str) and not values.isascii():
        try:
            values.encode()
        except UnicodeEncodeError:
            raise ValueError(f"{name}: expected text that is UTF-8, got {values!r}: rename the file") from None


def _unique(values: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(dict.fromkeys(values))
