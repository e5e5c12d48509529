"""One training run of a study: everything that decides its result, and the keys it is known by."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Literal

from pydantic import Field, model_validator

from lcat._measures import TaskName, default_metric
from lcat.study.models.fields import Number, Whole
from lcat.study.models.hyper import HyperParameters
from lcat.study.models.one_line import Record
from lcat.study.plan.batching import Batching

__all__ = ["Cell", "Noise", "NoiseKind", "SplitChoice", "digest"]

NoiseKind = Literal["none", "edges", "features"]
_LATER = ("task", "metric", "batching")


class SplitChoice(Record):
    """Which split of a data set a cell trains on.

    Attributes:
        rule: ``"own"`` (the data set's own split of the cell's seed), ``"file:PATH"``, ``"kfold:5"``,
            ``"stratified:5"``, ``"repeated:5x3"`` or ``"nested:5x3"``; see :mod:`lcat.study.plan.splits`.
        seed: of the shuffles behind generated folds; 0 for the others.
        repeat: number of the repetition, ``None`` for rules without any.
        fold: number of the (outer) fold, whose nodes are the test nodes; ``None`` for rules without folds.
        inner_fold: number of the inner fold, whose nodes validate; ``None`` unless nested.
    """

    rule: str = "own"
    seed: Whole = 0
    repeat: Whole | None = None
    fold: Whole | None = None
    inner_fold: Whole | None = None

    def __str__(self) -> str:
        parts = [self.rule]
        for name in ("repeat", "fold", "inner_fold"):
            value = getattr(self, name)
            if value is not None:
                parts.append(f"{name.replace('_', ' ')} {value}")
        return ", ".join(parts)


class Noise(Record):
    """Noise on the graph of a cell, see :mod:`lcat.data.datasets.noise`.

    Attributes:
        kind: ``"none"``, ``"edges"`` (random new edges) or ``"features"`` (normal noise on the features).
        level: share of new edges, or standard deviation relative to that of the features; 0 for ``"none"``.
    """

    kind: NoiseKind = "none"
    level: Number = Field(default=0.0, ge=0)

    @model_validator(mode="after")
    def _level_fits(self) -> Noise:
        if (self.kind == "none") != (self.level == 0):
            raise ValueError(
                f"noise of level 0 is of kind 'none', any other level is not; got {self.kind} {self.level}"
            )
        return self

    def __str__(self) -> str:
        return "no noise" if self.kind == "none" else f"noise on {self.kind} {self.level:g}"


class Cell(Record):
    """One training run: everything that decides its result.

    Attributes:
        dataset: name of the data set.
        layer: name of the layer.
        seed: of the weights, the dropout masks, the noise, and the split or graph where these depend on a seed.
        hyper: all settings.
        split: which split.
        noise: on the graph.
        task: what is predicted; ``None`` for what the data set has labels for.
        metric: that decides; ``None`` for that of the data set.
        batching: of the steps; ``None`` for steps that see the whole graph.

    Example:
        >>> from lcat.study import Cell, HyperParameters, Noise
        >>> cell = Cell(dataset="cora", layer="gat", seed=3, hyper=HyperParameters())
        >>> noisy = cell.model_copy(update={"noise": Noise(kind="edges", level=0.1)})
        >>> print(noisy)
        gat on cora, seed 3, noise on edges 0.1
        >>> (
        ...     cell.key == noisy.key,
        ...     cell.config_key == cell.model_copy(update={"seed": 4}).config_key,
        ... )
        (False, True)
    """

    dataset: str
    layer: str
    seed: Whole
    hyper: HyperParameters
    split: SplitChoice = SplitChoice()
    noise: Noise = Noise()
    task: TaskName | None = None
    metric: str | None = None
    batching: Batching | None = None

    @property
    def metric_name(self) -> str:
        """The metric, as far as the cell says it; empty text if it is that of the data set."""
        return self.metric or ("" if self.task is None else default_metric(self.task))

    @property
    def key(self) -> str:
        """16 hexadecimal digits that depend on all of the above and on nothing else."""
        return digest({**self._values(), "hyper": self.hyper.identity()})

    def _values(self) -> dict[str, Any]:
        """All but the settings; without what earlier versions did not have where it has its default."""
        values = self.model_dump(exclude={"hyper"}, mode="json")
        return {name: value for name, value in values.items() if name not in _LATER or value is not None}

    @property
    def config_key(self) -> str:
        """The key of everything but the seed, the repetition and the folds. Cells that are averaged share it."""
        split = {"rule": self.split.rule, "seed": self.split.seed}
        values = {**self._values(), "hyper": self.hyper.identity(), "split": split}
        del values["seed"]
        return digest(values)

    @property
    def model_key(self) -> str:
        """The key of the layer and its settings alone, whatever data set or noise they meet."""
        return digest({"layer": self.layer, "hyper": self.hyper.identity()})

    def __str__(self) -> str:
        text = f"{self.layer} on {self.dataset}, seed {self.seed}"
        if self.task is not None:
            text += f", {self.task}"
        if self.split != SplitChoice():
            text += f", {self.split}"
        return text if self.noise.kind == "none" else f"{text}, {self.noise}"


def digest(values: Any) -> str:
    """16 hexadecimal digits of the SHA-256 of ``values`` as JSON with sorted keys."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]
