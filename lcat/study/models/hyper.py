"""The settings of one cell of a study."""

from __future__ import annotations

from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from lcat._text import hint
from lcat.train import SCHEDULES, FitConfig, optimizer_names

__all__ = ["HyperParameters", "Overrides", "check_setting"]


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("optimizer", "schedule", check_fields=False)
    @classmethod
    def _known(cls, value: str | None, info: ValidationInfo) -> str | None:
        known = optimizer_names() if info.field_name == "optimizer" else list(SCHEDULES)
        if value is not None and value not in known:
            raise ValueError(f"must be one of {', '.join(known)}{hint(value, known)}")
        return value


class HyperParameters(_Settings):
    """Everything that a cell needs beside its data set, layer and seed; checked when made.

    Attributes:
        hidden_channels: width of a hidden layer, all heads together; a multiple of ``heads`` for attention layers.
        heads: attention heads.
        num_layers: number of layers.
        dropout: on the features between layers, and on the attention unless ``attention_dropout`` is given.
        input_dropout: on the features of the data set.
        attention_dropout: on the attention coefficients; ``None`` takes ``dropout``.
        norm: ``"none"``, ``"batch"`` or ``"layer"``, between layers.
        lambda1_init, lambda2_init: where L-CAT's learned scalars start.
        orthogonal_lr: learning rate of the weights that an orthogonal optimizer (``pogo``, ...) keeps orthonormal;
            ``None`` takes ten times ``lr``, which is that of all others.
        orthogonal_include: which weights those are: patterns such as ``"*.convs.1.lin.weight"``, separated by spaces;
            ``None`` leaves it to :func:`lcat.optim.orthogonal_groups`.
        optimizer, lr, weight_decay, scalar_lr, schedule, warmup, epochs, patience, clip_norm: see
            :class:`lcat.train.FitConfig`; patience 0 means no early stopping.

    Example:
        >>> from lcat.study import HyperParameters
        >>> HyperParameters(hidden_channels=16, lr=0.01).fit_config().lr
        0.01
    """

    hidden_channels: int = Field(64, ge=1)
    heads: int = Field(8, ge=1)
    num_layers: int = Field(2, ge=1)
    dropout: float = Field(0.5, ge=0, lt=1)
    input_dropout: float = Field(0.0, ge=0, lt=1)
    attention_dropout: float | None = Field(default=None, ge=0, lt=1)
    norm: Literal["none", "batch", "layer"] = "none"
    lambda1_init: float = Field(0.5, gt=0.0025, lt=1)
    lambda2_init: float = Field(0.5, gt=0.0025, lt=1)
    optimizer: str = "adam"
    lr: float = Field(0.01, gt=0)
    weight_decay: float = Field(5e-4, ge=0)
    scalar_lr: float = Field(1.0, gt=0)
    orthogonal_lr: float | None = Field(default=None, gt=0)
    orthogonal_include: str | None = Field(default=None, min_length=1)
    schedule: str = "constant"
    warmup: int = Field(0, ge=0)
    epochs: int = Field(200, ge=1)
    patience: int = Field(100, ge=0)
    clip_norm: float | None = Field(default=None, gt=0)

    def identity(self) -> dict[str, Any]:
        """What keys depend on: all settings, but those that came later only where they are given."""
        values = self.model_dump()
        for name in ("orthogonal_lr", "orthogonal_include"):
            if values[name] is None:
                del values[name]
        return values

    def fit_config(self) -> FitConfig:
        """The part that :func:`lcat.train.fit` takes."""
        options: dict[str, Any] = {}
        if self.orthogonal_lr is not None:
            options["orthogonal_lr"] = self.orthogonal_lr
        if self.orthogonal_include is not None:
            options["include"] = self.orthogonal_include.split()
        return FitConfig(
            epochs=self.epochs,
            patience=self.patience or None,
            optimizer=self.optimizer,
            lr=self.lr,
            weight_decay=self.weight_decay,
            scalar_lr=self.scalar_lr,
            schedule=self.schedule,
            warmup=self.warmup,
            clip_norm=self.clip_norm,
            optimizer_options=options,
        )


class Overrides(_Settings):
    """Settings that replace the defaults of every data set and layer; ``None`` leaves a default as it is.

    Attributes: those of :class:`HyperParameters`.

    Example:
        >>> from lcat.study import HyperParameters, Overrides
        >>> Overrides(epochs=5).applied_to(HyperParameters(hidden_channels=16)).epochs
        5
    """

    hidden_channels: int | None = Field(default=None, ge=1)
    heads: int | None = Field(default=None, ge=1)
    num_layers: int | None = Field(default=None, ge=1)
    dropout: float | None = Field(default=None, ge=0, lt=1)
    input_dropout: float | None = Field(default=None, ge=0, lt=1)
    attention_dropout: float | None = Field(default=None, ge=0, lt=1)
    norm: Literal["none", "batch", "layer"] | None = None
    lambda1_init: float | None = Field(default=None, gt=0.0025, lt=1)
    lambda2_init: float | None = Field(default=None, gt=0.0025, lt=1)
    optimizer: str | None = None
    lr: float | None = Field(default=None, gt=0)
    weight_decay: float | None = Field(default=None, ge=0)
    scalar_lr: float | None = Field(default=None, gt=0)
    orthogonal_lr: float | None = Field(default=None, gt=0)
    orthogonal_include: str | None = Field(default=None, min_length=1)
    schedule: str | None = None
    warmup: int | None = Field(default=None, ge=0)
    epochs: int | None = Field(default=None, ge=1)
    patience: int | None = Field(default=None, ge=0)
    clip_norm: float | None = Field(default=None, gt=0)

    def applied_to(self, hyper: HyperParameters) -> HyperParameters:
        """``hyper`` with every setting that is not ``None`` here replaced."""
        return HyperParameters(**{**hyper.model_dump(), **self.model_dump(exclude_none=True)})


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
    known = list(HyperParameters.model_fields)
    if name not in known:
        raise ValueError(f"there is no setting {name!r}{hint(name, known)}; settings are {', '.join(known)}")
    if not value:
        return None
    optional = type(None) in get_args(HyperParameters.model_fields[name].annotation)
    if optional and value[0] == "none":
        return None
    try:
        return getattr(HyperParameters(**{name: value[0]}), name)
    except ValidationError as error:
        message = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise ValueError(f"{name}: {message}; got {value[0]!r}") from None
