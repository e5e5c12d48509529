"""The settings of one cell of a study."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal, get_args

from pydantic import (
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    create_model,
    field_validator,
    model_serializer,
    model_validator,
)

from lcat._numbers import is_bool
from lcat._text import hint
from lcat.study.models.fields import Number, Whole, YesOrNo
from lcat.study.models.messages import plain_message
from lcat.study.models.one_line import Record
from lcat.study.models.own_settings import as_pairs, plan_names
from lcat.train import SCHEDULES, FitConfig, optimizer_names
from lcat.train.schedules import check_schedule

__all__ = [
    "MODEL_SETTINGS",
    "RECIPE_SETTINGS",
    "HyperParameters",
    "Norm",
    "Overrides",
    "check_setting",
    "number_type",
    "setting_names",
]


#: What normalizes features between the layers of a model.
Norm = Literal["none", "batch", "layer", "pair"]
Residual = Literal["none", "identity", "linear"]
Jumping = Literal["none", "cat", "max", "lstm"]
Activation = Literal["relu", "elu", "gelu", "leaky-relu"]
ClassWeights = Literal["none", "balanced"]
Pooling = Literal["mean", "add", "max"]
#: Settings of the model; the others are of its training.
MODEL_SETTINGS = (
    "hidden_channels",
    "heads",
    "num_layers",
    "dropout",
    "input_dropout",
    "normalize_features",
    "attention_dropout",
    "norm",
    "lambda1_init",
    "lambda2_init",
    "activation",
    "residual",
    "linear_in",
    "linear_out",
    "norm_first",
    "jk",
    "bias",
    "self_loops",
    "separate_self",
    "edge_dropout",
)
#: Settings of the model that a plain one, as in :mod:`lcat.nn.models`, does not have, and their values there.
RECIPE_SETTINGS = {
    "activation": None,
    "residual": "none",
    "linear_in": False,
    "linear_out": False,
    "norm_first": False,
    "jk": "none",
    "bias": True,
    "self_loops": True,
    "separate_self": False,
    "edge_dropout": 0.0,
}
# Settings that the first stores did not have. Where they have their defaults, keys of cells are those of before.
_LATER = (
    "own",
    *RECIPE_SETTINGS,
    "normalize_features",
    "label_smoothing",
    "class_weights",
    "ema",
    "pooling",
    "batch_size",
)


class HyperParameters(Record):
    """Everything that a cell needs beside its data set, layer and seed; checked when made.

    Attributes:
        hidden_channels: width of a hidden layer, all heads together; a multiple of ``heads`` for attention layers.
        heads: attention heads.
        num_layers: number of layers.
        dropout: on the features between layers, and on the attention unless ``attention_dropout`` is given.
        input_dropout: on the features of the data set.
        normalize_features: divide the features of each node by their sum, where that is above 1, before all else, as
            PyG's ``NormalizeFeatures`` does. Some data sets come so already, see :func:`lcat.data.dataset_table`.
        attention_dropout: on the attention coefficients; ``None`` takes ``dropout``.
        norm: ``"none"``, ``"batch"``, ``"layer"`` or ``"pair"``, between layers.
        lambda1_init, lambda2_init: where L-CAT's learned scalars start.
        orthogonal_lr: learning rate of the weights that an orthogonal optimizer (``pogo``, ...) keeps orthonormal;
            ``None`` takes ten times ``lr``, which is that of all others.
        orthogonal_include: which weights those are: patterns such as ``"*.convs.1.lin.weight"``, separated by spaces;
            ``None`` leaves it to :func:`lcat.optim.orthogonal_groups`.
        optimizer, lr, weight_decay, scalar_lr, schedule, warmup, epochs, patience, clip_norm: see
            :class:`lcat.train.FitConfig`; without patience (``None``) no training stops early.
        activation: ``"relu"``, ``"elu"``, ``"gelu"`` or ``"leaky-relu"``; ``None`` takes ``elu`` for attention layers
            and ``relu`` for GCN.
        residual: what is added to the output of each layer: ``"none"``, its input (``"identity"``, where sizes agree)
            or a ``"linear"`` map of it.
        linear_in, linear_out: a linear map before the first layer, after the last one.
        norm_first: norm before each layer instead of after it.
        jk: jumping knowledge, ``"none"``, ``"cat"``, ``"max"`` or ``"lstm"``; needs ``linear_out``.
        bias: of the layers.
        self_loops: the layers add self-loops.
        separate_self: attention layers put a node's own features beside those of its neighbors (GAT-sep).
        edge_dropout: probability of leaving out an edge in training.
        label_smoothing: of the training loss, from 0 to 1.
        class_weights: of the training loss: ``"none"``, or ``"balanced"``, where all classes count the same.
        ema: decay of an exponential moving average of the weights, which is then what is measured; ``None`` for none.
        pooling: what tasks on graphs make of the nodes of each: their ``"mean"``, ``"add"`` (sum) or ``"max"``.
        batch_size: graphs per step, in tasks on graphs; nodes per step where a plan has ``batching``.
        own: settings that an own model has alone, as pairs of name and value; a dictionary is taken, too.

    Raises:
        ValueError: one line that names each setting, its value and what is allowed.

    Example:
        >>> from lcat.study import HyperParameters
        >>> HyperParameters(hidden_channels=16, lr=0.01).fit_config().lr
        0.01
    """

    model_config = ConfigDict(allow_inf_nan=False)

    hidden_channels: Whole = Field(64, ge=1)
    heads: Whole = Field(8, ge=1)
    num_layers: Whole = Field(2, ge=1)
    dropout: Number = Field(0.5, ge=0, lt=1)
    input_dropout: Number = Field(0.0, ge=0, lt=1)
    normalize_features: YesOrNo = False
    attention_dropout: Number | None = Field(default=None, ge=0, lt=1)
    norm: Norm = "none"
    # The start of the lambdas was chosen on validation nodes of four data sets, see the results page; 0.5 is published.
    lambda1_init: Number = Field(0.9, gt=0.0025, lt=1)
    lambda2_init: Number = Field(0.1, gt=0.0025, lt=1)
    optimizer: str = "adam"
    lr: Number = Field(0.01, gt=0)
    weight_decay: Number = Field(5e-4, ge=0)
    scalar_lr: Number = Field(1.0, gt=0)
    orthogonal_lr: Number | None = Field(default=None, gt=0)
    orthogonal_include: str | None = Field(default=None, min_length=1)
    schedule: str = "constant"
    warmup: Whole = Field(0, ge=0)
    epochs: Whole = Field(200, ge=1)
    patience: Whole | None = Field(default=100, ge=1)
    clip_norm: Number | None = Field(default=None, gt=0)
    activation: Activation | None = None
    residual: Residual = "none"
    linear_in: YesOrNo = False
    linear_out: YesOrNo = False
    norm_first: YesOrNo = False
    jk: Jumping = "none"
    bias: YesOrNo = True
    self_loops: YesOrNo = True
    separate_self: YesOrNo = False
    edge_dropout: Number = Field(0.0, ge=0, lt=1)
    label_smoothing: Number = Field(0.0, ge=0, lt=1)
    class_weights: ClassWeights = "none"
    ema: Number | None = Field(default=None, gt=0, lt=1)
    pooling: Pooling = "mean"
    batch_size: Whole = Field(128, ge=1)
    own: tuple[tuple[str, Any], ...] = ()

    @field_validator("own", mode="before")
    @classmethod
    def _own_pairs(cls, values: Any) -> Any:
        return as_pairs(values)

    @field_validator("optimizer", "schedule")
    @classmethod
    def _known(cls, value: str, info: ValidationInfo) -> str:
        known = optimizer_names() if info.field_name == "optimizer" else list(SCHEDULES)
        if value not in known:
            raise ValueError(f"must be one of {', '.join(known)}{hint(value, known)}")
        return value

    @field_validator("patience", mode="before")
    @classmethod
    def _patience_above_zero(cls, value: Any) -> Any:
        if not is_bool(value) and value in (0, "0"):
            raise ValueError(f'must be at least 1, or "none" (None in Python) to never stop early; got {value}')
        return value

    def identity(self) -> dict[str, Any]:
        """The settings that keys of cells depend on: all, without those of later versions that have their defaults."""
        values = self.model_dump()
        for name in _LATER:
            if values[name] == HyperParameters.model_fields[name].default:
                del values[name]
        return values

    @property
    def is_recipe(self) -> bool:
        """Whether the model is more than layers with a norm and dropout between them."""
        return self.norm == "pair" or any(getattr(self, name) != plain for name, plain in RECIPE_SETTINGS.items())

    def fit_config(self) -> FitConfig:
        """The part that :func:`lcat.train.fit` takes."""
        options: dict[str, Any] = {}
        if self.orthogonal_lr is not None:
            options["orthogonal_lr"] = self.orthogonal_lr
        if self.orthogonal_include is not None:
            options["include"] = self.orthogonal_include.split()
        return FitConfig(
            epochs=self.epochs,
            patience=self.patience,
            optimizer=self.optimizer,
            lr=self.lr,
            weight_decay=self.weight_decay,
            scalar_lr=self.scalar_lr,
            schedule=check_schedule(self.schedule),
            warmup=self.warmup,
            clip_norm=self.clip_norm,
            optimizer_options=options,
        )


def setting_names() -> list[str]:
    """The settings that a plan may name for the layers of lcat."""
    return [name for name in HyperParameters.model_fields if name != "own"]


def number_type(name: str) -> type[int] | type[float] | None:
    """``int`` or ``float`` for a setting that takes numbers, ``None`` for others.

    Settings of own models are looked up while a plan is checked; elsewhere they are numbers of any kind.
    """
    if name not in setting_names():
        settings = plan_names().settings.get(name, ())
        kinds = {one.kind for one in settings} - {None}
        return int if kinds == {int} else None if kinds & {bool, str} else float
    annotation = HyperParameters.model_fields[name].annotation
    kinds = {getattr(part, "__origin__", part) for part in get_args(annotation) or (annotation,)}
    return int if int in kinds else float if float in kinds else None


def _may_be_none(name: str) -> bool:
    return type(None) in get_args(HyperParameters.model_fields[name].annotation)


if TYPE_CHECKING:
    _Fields = Record
else:  # one field per setting, whose values the settings themselves check
    _Fields = create_model("_Fields", __base__=Record, **dict.fromkeys(setting_names(), (Any, None)))


class Overrides(_Fields):
    """Settings that replace the defaults of every data set and layer; others leave a default as it is.

    ``"none"`` stands for no value where a setting may have none, as in ``patience="none"``; so does ``None`` when it is
    given.

    Attributes: those of :class:`HyperParameters`; settings of own models are in ``own``, where a plan that has such
    models puts them.

    Example:
        >>> from lcat.study import HyperParameters, Overrides
        >>> Overrides(epochs=5, patience="none").applied_to(
        ...     HyperParameters(hidden_channels=16)
        ... ).epochs
        5
    """

    own: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _own_apart(cls, values: Any) -> Any:
        names = plan_names()
        if not isinstance(values, dict) or not (names.settings or names.takes_any):
            return values
        own = {name: value for name, value in values.items() if name not in cls.model_fields}
        for name in own:
            if name not in names:
                raise ValueError(_unknown(name))
        rest = {name: value for name, value in values.items() if name not in own}
        both = {**dict(as_pairs(rest.pop("own", {}))), **own}
        return {**rest, **({"own": both} if both else {})}

    @field_validator("own")
    @classmethod
    def _own_checked(cls, own: dict[str, Any]) -> dict[str, Any]:
        return {name: _check_own(name, value) for name, value in own.items()}

    @field_validator("*")
    @classmethod
    def _checked(cls, value: Any, info: ValidationInfo) -> Any:
        name = str(info.field_name)
        if name == "own":
            return value
        if (value is None or value == "none") and _may_be_none(name):
            return "none"
        return None if value is None else _check_value(name, value)

    @model_serializer
    def specified(self) -> dict[str, Any]:
        """The settings that have a value, by name."""
        return {name: value for name, value in self if value is not None and (name != "own" or value)}

    def by_name(self) -> dict[str, Any]:
        """The same, with the settings of own models among the others and ``None`` for no value."""
        values = self.specified()
        own = values.pop("own", {})
        return {
            **{name: None if value == "none" and _may_be_none(name) else value for name, value in values.items()},
            **own,
        }

    def applied_to(self, hyper: HyperParameters) -> HyperParameters:
        """``hyper`` with every setting that is given here replaced."""
        changes = {name: value for name, value in self.by_name().items() if name not in self.own}
        return HyperParameters(**{**hyper.model_dump(), **changes})


def check_setting(name: str, *value: Any) -> Any:
    """A value of one setting, checked and converted; without a value, only the name is checked.

    ``"none"`` stands for ``None`` where a setting may be that, as files of plans and options cannot say it otherwise.

    Raises:
        ValueError: one line that names the setting, the value and what is allowed.

    Example:
        >>> from lcat.study.models.hyper import check_setting
        >>> check_setting("lr", 1), check_setting("clip_norm", "none")
        (1.0, None)
    """
    if name not in setting_names():
        if name not in plan_names():
            raise ValueError(_unknown(name))
        return _check_own(name, value[0]) if value else None
    if not value or (_may_be_none(name) and value[0] == "none"):
        return None
    try:
        return _check_value(name, value[0])
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def _unknown(name: str) -> str:
    own = plan_names()
    known = [*setting_names(), *own.settings]
    return f"there is no setting {name!r}{hint(name, known)}; settings are {', '.join(setting_names())}{own}"


def _check_own(name: str, value: Any) -> Any:
    try:
        return plan_names().checked(name, value)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def _check_value(name: str, value: Any) -> Any:
    own = plan_names()
    if name in own.settings:  # of a name that lcat knows for something else, perhaps
        with suppress(ValidationError):
            return getattr(HyperParameters.model_validate({name: value}), name)
        return own.checked(name, value)
    try:
        return getattr(HyperParameters.model_validate({name: value}), name)
    except ValidationError as error:
        message = plain_message(error.errors()[0])
        raise ValueError(message if "got " in message else f"{message}; got {value!r}") from None
