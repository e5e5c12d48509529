"""Everything that decides a result on one of OGB's data sets, with the public protocols as defaults."""

from __future__ import annotations

import functools
import math
import typing
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from lcat._names import LayerName, has_attention
from lcat._numbers import as_float, as_int
from lcat._text import hint
from lcat.ogb.model import Activation, Norm, Residual
from lcat.train import optimizer_names
from lcat.train.ranges import (
    NOT_NEGATIVE,
    PROPER_SHARE,
    TRAINING_RANGES,
    YES_OR_NO,
    Range,
    check_ranges,
    use_plain_numbers,
    whole,
)
from lcat.train.schedules import ScheduleName

__all__ = ["PROTOCOLS", "Settings", "SettingsError", "check_used", "choices", "default_settings", "setting_types"]


class SettingsError(ValueError):
    """A setting that cannot be used: which one, what it is, and what it takes.

    Attributes:
        setting: its name.
        message: what it must be, and what it is.
    """

    def __init__(self, setting: str, message: str) -> None:
        super().__init__(f"{setting} {message}")
        self.setting, self.message = setting, message

    def __reduce__(self) -> tuple[type[SettingsError], tuple[str, str]]:
        return type(self), (self.setting, self.message)


Batching = Literal["full", "neighbor", "walk"]
Inference = Literal["whole", "layerwise"]
Precision = Literal["float32", "bf16"]

_AT_LEAST_ONE = ("num_layers", "hidden_channels", "heads", "out_heads", "batch_size", "walk_length", "num_steps")
_RANGES = {
    **TRAINING_RANGES,
    **dict.fromkeys(_AT_LEAST_ONE, whole(1)),
    **dict.fromkeys(("dropout", "attention_dropout", "input_dropout"), PROPER_SHARE),
    "noise": NOT_NEGATIVE,
    "warmup": whole(0),
    "label_rate": Range(lambda value: 0 < (as_float(value) or 0) < 1, "between 0 and 1"),
    "num_neighbors": Range(
        lambda value: (number := as_int(value)) is not None and (number == -1 or number >= 1),
        "1 or more, or -1 for all",
    ),
}


def _option(default: Any, text: str) -> Any:
    """A field with what the command line says about it."""
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class Settings:
    """Settings of a run; each is an option of the command of the same name.

    Two runs with equal settings, seeds and versions on one CPU give equal numbers.

    Raises:
        SettingsError: on the first that cannot be used.
    """

    dataset: str
    layer: LayerName = _option("gat", "layer")
    num_layers: int = _option(3, "number of layers")
    hidden_channels: int = _option(256, "width of a hidden layer, all heads together")
    heads: int = _option(8, "attention heads of hidden layers")
    out_heads: int = _option(1, "attention heads of the last layer, averaged")
    norm: Norm = _option("layer", "normalization of hidden layers")
    residual: Residual = _option("identity", "residual connection; identity is used where the widths agree")
    activation: Activation = _option("relu", "activation")
    activation_first: bool = _option(True, "activation before the residual and the normalization; otherwise after them")
    linear_ends: bool = _option(False, "a linear map before the first layer and one after the last")
    bias: bool = _option(False, "biases in attention layers and GCN")
    dropout: float = _option(0.5, "dropout of hidden features")
    attention_dropout: float = _option(0.0, "dropout of attention coefficients")
    input_dropout: float = _option(0.0, "dropout of the features that enter the first layer")
    edge_features: bool = _option(
        True, "use edge features where the data set has them (GCN: their mean as edge weight)"
    )
    labels: bool = _option(
        False, "training labels as input features; those of the nodes that a step learns from are hidden"
    )
    label_rate: float = _option(0.5, "with --labels and full batch or walks: share of training labels that a step sees")
    noise: float = _option(0.0, "add round(p E / 2) random undirected edges")
    optimizer: str = _option("adam", "optimizer, one of lcat.train.optimizer_names()")
    lr: float = _option(0.01, "learning rate")
    weight_decay: float = _option(0.0, "weight decay")
    scalar_lr: float = _option(1.0, "learning rate of the lambdas, relative to lr")
    schedule: ScheduleName = _option("constant", "learning-rate schedule")
    warmup: int = _option(0, "epochs of linear warm-up")
    clip_norm: float | None = _option(None, "largest norm of the gradient")
    epochs: int = _option(100, "epochs")
    eval_every: int = _option(1, "epochs from one evaluation to the next")
    patience: int | None = _option(None, "stop when an evaluation comes at least this many epochs after the best one")
    batching: Batching = _option("full", "what a step sees, the whole graph, sampled neighborhoods or random walks")
    batch_size: int = _option(1024, "training nodes of a step (neighbor), or roots (walk)")
    num_neighbors: int = _option(10, "neighbors drawn per node and hop (neighbor); -1 takes all")
    walk_length: int = _option(3, "steps of a walk")
    num_steps: int = _option(30, "batches per epoch (walk)")
    accumulate: int = _option(1, "batches per step")
    inference: Inference = _option("whole", "how the whole graph is evaluated, at once or layer by layer in blocks")
    recompute: bool = _option(
        False, "less memory: convolutions, except for matrix products, are computed again in the backward pass"
    )
    compile: bool = _option(False, "torch.compile the model")
    precision: Precision = _option("float32", "precision of a step; bf16 is torch's autocast")

    def __post_init__(self) -> None:
        use_plain_numbers(self)
        self._need("dataset", self.dataset in list(PROTOCOLS), f"one of {', '.join(PROTOCOLS)}", list(PROTOCOLS))
        for name, declared in setting_types().items():
            if declared is bool:
                self._need(name, YES_OR_NO.accepts(getattr(self, name)), YES_OR_NO.words)
            accepted = choices(declared)
            if accepted is not None:
                self._need(name, getattr(self, name) in accepted, f"one of {', '.join(accepted)}", accepted)
        for spec in fields(self):
            value = getattr(self, spec.name)
            self._need(spec.name, not isinstance(value, float) or math.isfinite(value), "a finite number")
        check_ranges(vars(self), _RANGES, SettingsError)
        self._need("warmup", self.warmup < self.epochs, f"less than epochs ({self.epochs})")
        names = optimizer_names()
        self._need("optimizer", self.optimizer in names, f"one of {', '.join(names)}", names)
        divides = not has_attention(self.layer) or self.hidden_channels % self.heads == 0
        self._need("hidden_channels", divides, f"a multiple of heads ({self.heads})")

    def _need(self, name: str, met: bool, accepted: str, names: Sequence[str] = ()) -> None:
        if not met:
            value = getattr(self, name)
            raise SettingsError(name, f"must be {accepted}; got {value!r}{hint(value, names)}")

    def to_dict(self) -> dict[str, Any]:
        """Plain values by name."""
        return asdict(self)


@functools.cache
def setting_types() -> dict[str, Any]:
    """The types of the settings, by name."""
    return typing.get_type_hints(Settings)


def choices(hint: Any) -> tuple[str, ...] | None:
    """The strings that a setting of this type accepts, ``None`` if it is of another type.

    Example:
        >>> from lcat.ogb.settings import choices, setting_types
        >>> choices(setting_types()["batching"]), choices(setting_types()["epochs"])
        (('full', 'neighbor', 'walk'), None)
    """
    return typing.get_args(hint) if typing.get_origin(hint) is Literal else None


# The scripts of GATv2's authors (github.com/tech-srl/how_attentive_are_gats) for GAT and GATv2, which L-CAT's
# experiments name as well. docs/ogb.md says where these differ from them.
PROTOCOLS: dict[str, dict[str, Any]] = {
    "ogbn-arxiv": {
        "num_layers": 3, "hidden_channels": 256, "dropout": 0.25, "lr": 0.01, "epochs": 50,
        "batching": "walk", "batch_size": 20_000, "walk_length": 3, "num_steps": 30,
    },
    "ogbn-mag": {
        "num_layers": 2, "hidden_channels": 256, "dropout": 0.5, "lr": 0.01, "epochs": 100,
        "batching": "neighbor", "batch_size": 20_000, "num_neighbors": 10,
    },
    "ogbn-products": {
        "num_layers": 3, "hidden_channels": 128, "dropout": 0.5, "lr": 0.001, "epochs": 100, "eval_every": 10,
        "norm": "none", "residual": "linear", "activation": "elu", "activation_first": False,
        "batching": "neighbor", "batch_size": 256, "num_neighbors": 10,
    },
    "ogbn-proteins": {
        "num_layers": 6, "hidden_channels": 64, "dropout": 0.25, "input_dropout": 0.1, "lr": 0.01, "epochs": 1200,
        "eval_every": 5, "norm": "batch", "residual": "identity", "activation_first": False, "linear_ends": True,
        "optimizer": "adamw", "batching": "neighbor", "batch_size": 8662, "num_neighbors": 16,
    },
    "ogbn-papers100M": {
        "num_layers": 3, "hidden_channels": 256, "dropout": 0.25, "lr": 0.001, "epochs": 30, "eval_every": 5,
        "batching": "neighbor", "batch_size": 4096, "num_neighbors": 10,
    },
}  # fmt: skip

# Settings that only some ways of batching use.
_USED_BY = {
    "batch_size": ("neighbor", "walk"),
    "accumulate": ("neighbor", "walk"),
    "num_neighbors": ("neighbor",),
    "walk_length": ("walk",),
    "num_steps": ("walk",),
    "label_rate": ("full", "walk"),
}


def default_settings(dataset: str, **changes: Any) -> Settings:
    """The public protocol of a data set, with changes.

    Args:
        dataset: OGB's name.
        **changes: settings by name; ``None`` keeps the default.

    Raises:
        SettingsError: for a name without a protocol, for a change that batches or labels make none, and as
            :class:`Settings`. Settings of attention and of lambdas are accepted for layers without, so that the same
            changes serve all layers.

    Example:
        >>> from lcat.ogb import default_settings
        >>> settings = default_settings("ogbn-arxiv", layer="lcat", heads=1)
        >>> settings.num_layers, settings.batching, settings.layer
        (3, 'walk', 'lcat')
    """
    if dataset not in list(PROTOCOLS):  # of any type
        raise SettingsError("dataset", f"must be one of {', '.join(PROTOCOLS)}; got {dataset!r}")
    known = [spec.name for spec in fields(Settings) if spec.name != "dataset"]
    for name, value in changes.items():
        if name not in known:
            raise SettingsError(name, f"is no setting{hint(name, known)}; got {value!r}")
    changes = {name: value for name, value in changes.items() if value is not None}
    settings = Settings(dataset=dataset, **{**PROTOCOLS[dataset], **changes})
    check_used(settings, changes)
    return settings


def check_used(settings: Settings, changes: Iterable[str]) -> None:
    """Refuse settings that somebody named and that the way of batching, or a run without labels, does not use.

    Args:
        settings: of the run.
        changes: names that were given by hand.

    Raises:
        SettingsError: on the first.
    """
    named = set(changes)
    for name, ways in _USED_BY.items():
        if name in named and settings.batching not in ways:
            raise SettingsError(
                name,
                f"has no effect with batching {settings.batching!r}, only with {' or '.join(map(repr, ways))}; leave "
                "it out or change batching",
            )
    if "label_rate" in named and not settings.labels:
        raise SettingsError("label_rate", "has no effect without labels; leave it out or set labels")
