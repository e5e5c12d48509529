"""Everything that decides a result on one of OGB's data sets, with the public protocols as defaults."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from lcat.ogb.model import LAYERS
from lcat.train import SCHEDULES, optimizer_names

__all__ = ["PROTOCOLS", "Settings", "SettingsError", "default_settings"]


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


def _option(default: Any, text: str, choices: tuple[Any, ...] | None = None) -> Any:
    """A field with what the command line says about it."""
    kind = {"default_factory": lambda: default} if isinstance(default, list) else {"default": default}
    return field(**kind, metadata={"help": text, "choices": choices})


@dataclass(frozen=True)
class Settings:
    """Settings of a run; each is an option of the command of the same name.

    Two runs with equal settings, seeds and versions on one CPU give equal numbers.

    Raises:
        SettingsError: on the first that cannot be used.
    """

    dataset: str
    layer: str = _option("gat", "layer", tuple(LAYERS))
    num_layers: int = _option(3, "number of layers")
    hidden_channels: int = _option(256, "width of a hidden layer, all heads together")
    heads: int = _option(8, "attention heads of hidden layers")
    out_heads: int = _option(1, "attention heads of the last layer, averaged")
    norm: str = _option("layer", "normalization of hidden layers", ("none", "layer", "batch"))
    residual: str = _option(
        "identity",
        "residual connection; identity is used where the widths agree",
        ("none", "identity", "linear"),
    )
    activation: str = _option("relu", "activation", ("relu", "elu"))
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
    schedule: str = _option("constant", "learning-rate schedule", tuple(SCHEDULES))
    warmup: int = _option(0, "epochs of linear warm-up")
    clip_norm: float | None = _option(None, "largest norm of the gradient")
    epochs: int = _option(100, "epochs")
    eval_every: int = _option(1, "epochs from one evaluation to the next")
    patience: int | None = _option(None, "stop when an evaluation comes at least this many epochs after the best one")
    batching: str = _option("full", "what a step sees, the whole graph, sampled neighborhoods or random walks",
                            ("full", "neighbor", "walk"))  # fmt: skip
    batch_size: int = _option(1024, "training nodes of a step (neighbor), or roots (walk)")
    num_neighbors: int = _option(10, "neighbors drawn per node and hop (neighbor); -1 takes all")
    walk_length: int = _option(3, "steps of a walk")
    num_steps: int = _option(30, "batches per epoch (walk)")
    accumulate: int = _option(1, "batches per step")
    inference: str = _option(
        "whole", "how the whole graph is evaluated, at once or layer by layer in blocks", ("whole", "layerwise")
    )
    recompute: bool = _option(
        False, "less memory: convolutions, except for matrix products, are computed again in the backward pass"
    )
    compile: bool = _option(False, "torch.compile the model")
    precision: str = _option("float32", "precision of a step; bf16 is torch's autocast", ("float32", "bf16"))

    def __post_init__(self) -> None:
        for spec in fields(self):
            choices, value = spec.metadata.get("choices"), getattr(self, spec.name)
            if choices is not None and value not in choices:
                raise SettingsError(spec.name, f"must be one of {', '.join(choices)}; got {value!r}")
        for spec in fields(self):
            value = getattr(self, spec.name)
            self._need(spec.name, not isinstance(value, float) or math.isfinite(value), "a finite number")
        whole = (
            "num_layers",
            "hidden_channels",
            "heads",
            "out_heads",
            "epochs",
            "eval_every",
            "batch_size",
            "walk_length",
            "num_steps",
            "accumulate",
        )
        for name in whole:
            self._need(name, getattr(self, name) >= 1, "1 or more")
        for name in ("dropout", "attention_dropout", "input_dropout"):
            self._need(name, 0 <= getattr(self, name) < 1, "in [0, 1)")
        for name in ("noise", "weight_decay", "warmup"):
            self._need(name, getattr(self, name) >= 0, "0 or more")
        for name in ("lr", "scalar_lr"):
            self._need(name, getattr(self, name) > 0, "positive")
        self._need("label_rate", 0 < self.label_rate < 1, "between 0 and 1")
        self._need("num_neighbors", self.num_neighbors == -1 or self.num_neighbors >= 1, "1 or more, or -1 for all")
        self._need("patience", self.patience is None or self.patience >= 1, "1 or more")
        self._need("clip_norm", self.clip_norm is None or self.clip_norm > 0, "positive")
        self._need("warmup", self.warmup < self.epochs, f"less than epochs ({self.epochs})")
        self._need("optimizer", self.optimizer in optimizer_names(), f"one of {', '.join(optimizer_names())}")
        attention = self.layer != "gcn"
        self._need(
            "hidden_channels",
            not attention or self.hidden_channels % self.heads == 0,
            f"a multiple of heads ({self.heads})",
        )

    def _need(self, name: str, met: bool, accepted: str) -> None:
        if not met:
            raise SettingsError(name, f"must be {accepted}; got {getattr(self, name)!r}")

    def to_dict(self) -> dict[str, Any]:
        """Plain values by name."""
        return asdict(self)


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


def default_settings(dataset: str, **changes: Any) -> Settings:
    """The public protocol of a data set, with changes.

    Args:
        dataset: OGB's name.
        **changes: settings by name; ``None`` keeps the default.

    Raises:
        SettingsError: for a name without a protocol, and as :class:`Settings`.

    Example:
        >>> from lcat.ogb import default_settings
        >>> settings = default_settings("ogbn-arxiv", layer="lcat", heads=1)
        >>> settings.num_layers, settings.batching, settings.layer
        (3, 'walk', 'lcat')
    """
    if dataset not in PROTOCOLS:
        raise SettingsError("dataset", f"must be one of {', '.join(PROTOCOLS)}; got {dataset!r}")
    changes = {name: value for name, value in changes.items() if value is not None}
    return Settings(dataset=dataset, **{**PROTOCOLS[dataset], **changes})
