"""Settings of a cell of an own model: what it shares with the layers of lcat, and what it has alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lcat.study.models.hyper import MODEL_SETTINGS, HyperParameters, check_setting
from lcat.study.models.own_model import OwnModel
from lcat.study.models.own_settings import OwnNames, OwnSetting, settable

__all__ = ["own_arguments", "own_base", "own_names", "own_settings_that_matter", "with_own_values"]


def own_names(models: Sequence[OwnModel]) -> OwnNames:
    """The settings that these models bring along."""
    settings: dict[str, tuple[OwnSetting, ...]] = {}
    for model in models:
        for name, setting in model.settings.items():
            if name not in HyperParameters.model_fields or not _is_shared(setting):
                settings[name] = (*settings.get(name, ()), setting)
    names = tuple(model.name for model in models)
    return OwnNames(settings, any(model.takes_any for model in models), names)


def own_base(model: OwnModel, training: HyperParameters) -> HyperParameters:
    """The settings that an own model has where a plan says nothing.

    Its own come from its signature. Those that lcat knows by the same name, such as ``dropout``, are kept under that
    name if lcat takes the value; settings without a default have the one of the data set then.

    Args:
        model: the model.
        training: the settings of the data set; those of the training are taken from it.
    """
    shared = {name: getattr(training, name) for name in HyperParameters.model_fields if name not in MODEL_SETTINGS}
    shared.pop("own")
    own: dict[str, Any] = {}
    for name, setting in model.settings.items():
        if _is_shared(setting) and name in MODEL_SETTINGS:
            shared[name] = getattr(training, name) if setting.required else setting.default
        elif name not in HyperParameters.model_fields and not setting.required:
            try:
                own[name] = settable(setting.default)
            except ValueError:  # such as a function: left to the signature
                continue
        elif name in MODEL_SETTINGS and not setting.required:
            own[name] = settable(setting.default)
    return HyperParameters(**shared, own=own)


def _is_shared(setting: OwnSetting) -> bool:
    """Lcat has a setting of this name that takes its default."""
    if setting.name not in HyperParameters.model_fields or setting.name == "own":
        return False
    if setting.required or (setting.default is None and _takes_none(setting.name)):
        return True
    try:
        check_setting(setting.name, setting.default)
    except ValueError:
        return False
    return setting.kind is not bool


def _takes_none(name: str) -> bool:
    return HyperParameters.model_fields[name].default is None


def own_settings_that_matter(model: OwnModel, point: Mapping[str, Any]) -> dict[str, Any]:
    """What of a point of a grid or search changes the model: settings of the training, and its own."""
    return {
        name: value
        for name, value in point.items()
        if name in model.settings
        or (name in HyperParameters.model_fields and name not in MODEL_SETTINGS)
        or (model.takes_any and model.build is not None)
    }


def with_own_values(model: OwnModel, base: HyperParameters, values: Mapping[str, Any]) -> HyperParameters:
    """``base`` with values of a plan.

    Args:
        model: the model.
        base: of :func:`own_base`.
        values: by name, those of other layers among them.

    Raises:
        ValueError: if the model does not take a value.
    """
    shared, own = base.model_dump(), dict(base.own)
    for name, value in values.items():
        setting = model.settings.get(name)
        is_field = name in HyperParameters.model_fields
        if is_field and (name not in MODEL_SETTINGS or (setting is not None and _is_shared(setting))):
            try:
                shared[name] = None if value is None else check_setting(name, value)
            except ValueError as error:
                raise ValueError(f"{error} (for {model.name})") from None
        elif setting is not None:
            try:
                own[name] = setting.checked(value)
            except ValueError as error:
                raise ValueError(f"{name} of {model.name} {error}") from None
        elif model.takes_any and model.build is not None:
            own[name] = settable(value)
    return HyperParameters(**{**shared, "own": own})


def own_arguments(model: OwnModel, hyper: HyperParameters) -> dict[str, Any]:
    """What the model is made with."""
    shared = {
        name: getattr(hyper, name)
        for name, setting in model.settings.items()
        if name in HyperParameters.model_fields and _is_shared(setting)
    }
    return {**shared, **{name: list(value) if isinstance(value, tuple) else value for name, value in hyper.own}}
