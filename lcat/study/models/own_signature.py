"""The signature of an own model: where the numbers of features and classes go, and which settings it has."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable
from typing import Any, Literal, Union, get_args, get_origin

from lcat.study.models.hyper import MODEL_SETTINGS
from lcat.study.models.own_settings import KINDS, OwnSetting

__all__ = ["arguments_of", "read_signature"]

#: Names of the parameter that takes the number of classes.
_CLASSES = ("num_classes", "n_classes", "num_outputs", "nclass", "n_class", "num_labels")
#: The same, unless the second parameter speaks of classes.
_OUTPUTS = ("out_channels", "out_features")
#: The same, if the second parameter is a setting or the number of features by its name.
_MAYBE_OUTPUTS = ("out_dim", "output_dim", "dim_out", "out_feats", "out_size", "output_size")
#: Names of the parameter that takes the number of features.
_FEATURES = (
    "in_channels", "in_features", "num_features", "num_node_features", "n_features", "nfeat",
    "in_dim", "input_dim", "dim_in", "in_feats", "in_size", "input_size",
)  # fmt: skip


def read_signature(build: Callable[..., Any], owner: str) -> tuple[dict[str, OwnSetting], bool]:
    """The settings of a class or function that makes a model, and whether it takes any others.

    All parameters are settings, but for those of the numbers of features and classes.

    Args:
        build: to be called as :func:`arguments_of` says.
        owner: its name, for messages.

    Raises:
        TypeError: if the numbers of features and classes have no parameters.
    """
    try:
        signature = inspect.signature(build)
    except (TypeError, ValueError):  # of compiled code
        return {}, True
    sizes = _sizes(signature, owner)
    annotations = _annotations(build)
    named = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    settings = {
        name: _setting(one, annotations.get(name, one.annotation))
        for name, one in signature.parameters.items()
        if one.kind in named and name not in sizes
    }
    return settings, any(one.kind is one.VAR_KEYWORD for one in signature.parameters.values())


def arguments_of(
    build: Callable[..., Any], owner: str, in_channels: int, num_classes: int
) -> tuple[tuple[int, ...], dict[str, int]]:
    """The numbers of features and classes as a model takes them: by position, and by name.

    Args:
        build: makes the model.
        owner: its name, for messages.
        in_channels: number of features.
        num_classes: number of classes.

    Raises:
        TypeError: as for :func:`read_signature`.
    """
    try:
        signature = inspect.signature(build)
    except (TypeError, ValueError):
        return (in_channels, num_classes), {}
    sizes = _sizes(signature, owner)
    if len(sizes) < 2:  # *args
        return (in_channels, num_classes), {}
    values = dict(zip(sizes, (in_channels, num_classes), strict=True))
    if [*signature.parameters][:2] == sizes and not _by_name_alone(signature, sizes):
        return (in_channels, num_classes), {}
    positional = [
        name for name, one in signature.parameters.items() if name in values and one.kind is one.POSITIONAL_ONLY
    ]
    return tuple(values[name] for name in positional), {
        name: value for name, value in values.items() if name not in positional
    }


def _by_name_alone(signature: inspect.Signature, names: list[str]) -> bool:
    return any(signature.parameters[name].kind is inspect.Parameter.KEYWORD_ONLY for name in names)


def _sizes(signature: inspect.Signature, owner: str) -> list[str]:
    """Names of the parameters of the numbers of features and classes; fewer if ``*args`` takes them.

    Raises:
        TypeError: if there are none, or one of them is a setting by its name.
    """
    parameters = signature.parameters
    positional = [
        name for name, one in parameters.items() if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)
    ]
    by_name = [*positional, *(name for name, one in parameters.items() if one.kind is one.KEYWORD_ONLY)]
    second = positional[1] if len(positional) > 1 else ""
    names = _CLASSES
    if not any(word in second.lower() for word in ("class", "cls", "label")):
        names += (*_OUTPUTS, *(_MAYBE_OUTPUTS if not second or _is_another(second) else ()))
    classes = next((name for name in names if name in by_name), None)
    if classes is None:
        if len(positional) < 2:
            if any(one.kind is one.VAR_POSITIONAL for one in parameters.values()):
                return positional
            raise TypeError(
                f"{owner} must take the numbers of features and classes first, as in {owner}(in_channels, num_classes, "
                f"...); it takes {signature}"
            )
        classes = second
        if _is_another(classes):
            raise TypeError(
                f"{owner} must take the number of classes (for links: of numbers per node) as a parameter called "
                f"num_classes or out_channels, or in the second place; its second parameter is {classes}, in "
                f"{signature}: give the one of the number of classes such a name"
            )
        features = positional[0]
    else:
        others = [name for name in positional if name != classes]
        features = next((name for name in _FEATURES if name in by_name), None) or next(iter(others), "")
        if others and others[0] in _FEATURES:
            features = others[0]
        if not features:
            raise TypeError(
                f"{owner} must take the number of features, as in {owner}(in_channels, num_classes, ...); it takes "
                f"{signature}"
            )
    if features in MODEL_SETTINGS:
        raise TypeError(
            f"{owner} must take the number of features as a parameter called in_channels, or in the first place; its "
            f"first parameter is {features}, in {signature}: give the one of the number of features such a name"
        )
    return [features, classes]


def _is_another(name: str) -> bool:
    """A parameter in the second place that is not the number of classes, as its name says."""
    return name in MODEL_SETTINGS or name in _FEATURES or "hid" in name.lower() or name in ("edge_dim", "num_heads")


def _annotations(build: Callable[..., Any]) -> dict[str, Any]:
    target: Any = build.__init__ if isinstance(build, type) else build  # type: ignore[misc]
    try:
        return typing.get_type_hints(target)
    except Exception:  # names that exist for type checkers alone
        return {}


def _setting(parameter: inspect.Parameter, annotation: Any) -> OwnSetting:
    default = parameter.default
    parts = get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)
    may_be_none = default is None or type(None) in parts
    kinds = [part for part in parts if part in KINDS]
    choices = [choice for part in parts if get_origin(part) is Literal for choice in get_args(part)]
    others = [part for part in parts if part not in (*kinds, type(None)) and get_origin(part) is not Literal]
    kind = None
    if not others and not choices and kinds:
        kind = float if set(kinds) == {int, float} else kinds[0] if len(kinds) == 1 else None
    elif annotation is inspect.Parameter.empty and type(default) in KINDS:
        kind = type(default)
    return OwnSetting(
        parameter.name,
        kind=kind,
        choices=() if others or kinds else tuple(choices),
        default=default,
        may_be_none=may_be_none,
    )
