"""Own models by name: a class in a file or package, one that was registered, or one of an installed package."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from torch import nn

from lcat.study.models.own_settings import OwnSetting
from lcat.study.models.own_signature import arguments_of, read_signature
from lcat.study.models.own_source import ModelSource, NoSuchModel, attribute_of, import_source, source_of

__all__ = [
    "ENTRY_POINTS",
    "NAME",
    "REGISTERED",
    "ModelRef",
    "OwnModel",
    "OwnModels",
    "find_model",
    "is_model_text",
    "model_name",
    "path_of",
    "registered_names",
]

#: Group of entry points in which packages name their models.
ENTRY_POINTS = "lcat.models"
#: Names of models.
NAME = re.compile(r"[A-Za-z_][\w.-]*")
#: Models that were registered in this process.
REGISTERED: dict[str, Callable[..., Any]] = {}
_SOURCES: dict[Callable[..., Any], ModelSource] = {}


def registered_names() -> list[str]:
    """Names of the models that were registered or that installed packages have."""
    return list(dict.fromkeys((*REGISTERED, *_of_packages())))


@lru_cache(maxsize=1)
def _of_packages() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=ENTRY_POINTS)}


def is_model_text(text: str) -> bool:
    """Whether a layer of a plan names an own model: ``file.py:MyNet``, ``package.module:MyNet``, a registered name."""
    return ":" in text or text in REGISTERED or text in _of_packages()


def model_name(text: str) -> str:
    """The name that cells and tables have for a layer of a plan.

    Example:
        >>> from lcat.study.models.own_model import model_name
        >>> (
        ...     model_name("nets/models.py:MyNet"),
        ...     model_name("old=models.py:MyNet"),
        ...     model_name("gcn"),
        ... )
        ('MyNet', 'old', 'gcn')
    """
    alias, _, target = text.rpartition("=")
    if ":" not in target:
        return text
    return alias or target.rpartition(":")[2].rpartition(".")[2]


@dataclass(frozen=True)
class OwnModel:
    """An own model, as far as it is known before it is made.

    Attributes:
        name: in cells and tables.
        text: in plans.
        build: called with the numbers of features and classes, by name or in the first two places, and settings;
            ``None`` if it cannot be imported.
        settings: those of its signature.
        takes_any: it takes others, too, or cannot be imported.
        source: where it comes from.
        problem: why it cannot be imported; its cells fail with this as their error.
    """

    name: str
    text: str
    build: Callable[..., Any] | None
    settings: Mapping[str, OwnSetting] = field(default_factory=dict)
    takes_any: bool = False
    source: ModelSource = field(default_factory=ModelSource)
    problem: BaseException | None = None

    def make(self, in_channels: int, num_classes: int, settings: Mapping[str, Any], edge_dim: int | None) -> nn.Module:
        """The model.

        Args:
            in_channels: number of features.
            num_classes: number of classes.
            settings: values by name.
            edge_dim: number of features of an edge, for models that take it.

        Raises:
            ImportError: if it cannot be imported.
            TypeError: if something else than a model is made, or it cannot be called as one.
            ValueError: if a setting without a default has no value.
        """
        if self.build is None:
            kind = type(self.problem).__name__
            raise ImportError(f"{self.text} cannot be imported: {kind}: {self.problem}") from self.problem
        self.check_complete(settings)
        if "edge_dim" in self.settings and "edge_dim" not in settings:
            settings = {**settings, "edge_dim": edge_dim}
        by_place, by_name = arguments_of(self.build, self.name, in_channels, num_classes)
        model = self.build(*by_place, **by_name, **settings)
        if not isinstance(model, nn.Module):
            got = f"the class {model.__name__}" if isinstance(model, type) else type(model).__name__
            raise TypeError(f"{self.text} must make a torch.nn.Module; it returned {got}")
        return model

    def check_complete(self, settings: Mapping[str, Any]) -> None:
        """Refuse settings without a value for a parameter that has no default.

        Args:
            settings: values by name.

        Raises:
            ValueError: names the parameters.
        """
        missing = [
            name
            for name, one in self.settings.items()
            if one.required and name not in settings and name != "edge_dim"  # the data set has this one
        ]
        if missing:
            raise ValueError(
                f"{self.name} has no default for {', '.join(missing)}: set it in [overrides], or --set {missing[0]}=..."
            )


@dataclass(frozen=True)
class ModelRef:
    """What another process needs to find the same model; travels there.

    Attributes:
        text: in plans.
        build: of a registered one; ``None`` for the others.
        hash: of its source when the study began.
    """

    text: str
    build: Callable[..., Any] | None = None
    hash: str = ""


@dataclass(frozen=True)
class OwnModels:
    """The own models of a study by their names; travels to other processes.

    Attributes:
        refs: by name.
        base: folder that relative paths of files start from.
    """

    refs: Mapping[str, ModelRef] = field(default_factory=dict)
    base: Path = Path()

    def sources(self) -> dict[str, tuple[str, ModelSource]]:
        """Text in the plan and source of each model, by its name."""
        models = {name: find_model(ref.text, self.base, ref.build) for name, ref in self.refs.items()}
        return {name: (model.text, model.source) for name, model in models.items()}

    def to_send(self) -> OwnModels:
        """The same with hashes, and with the classes that were registered, for workers that know nothing of them."""
        sources = self.sources()
        refs = {
            name: ModelRef(ref.text, REGISTERED.get(ref.text), sources[name][1].hash) for name, ref in self.refs.items()
        }
        return OwnModels(refs, self.base.absolute())

    def get(self, name: str) -> OwnModel | None:
        """The model, ``None`` if there is none of this name.

        Raises:
            ValueError: if it is not there any more, or not the one that the study began with.
        """
        ref = self.refs.get(name)
        if ref is None:
            return None
        model = find_model(ref.text, self.base, ref.build)
        if ref.hash and model.build is not None and model.source.hash != ref.hash:
            raise ValueError(
                f"{ref.text} has changed since this study went on ({model.source.hash} now, {ref.hash} then), so its "
                "cells would be of two models: put the file back and run failed cells again (--retry-failed)"
            )
        return model


def find_model(text: str, base: Path = Path(), build: Callable[..., Any] | None = None) -> OwnModel:
    """The own model that a layer of a plan names.

    Args:
        text: ``file.py:MyNet``, ``package.module:MyNet``, either with ``name=`` in front, or a registered name.
        base: folder that relative paths of files start from.
        build: of a registered one, in a process that did not register it.

    Raises:
        ValueError: if there is none, or it cannot be called as a model is made.
    """
    name = model_name(text)
    after_alias = text.rpartition("=")[2]
    target = after_alias if ":" in after_alias else text
    if not NAME.fullmatch(name) or text.startswith("="):
        raise ValueError(f"expected NAME=FILE.py:CLASS with a name of letters, digits, '-', '.' and '_'; got {text!r}")
    where, _, attribute = target.rpartition(":")
    try:
        if ":" not in target:
            made_by = build or REGISTERED.get(text) or _of_packages()[text].load()
        else:
            if not where or not attribute:
                raise NoSuchModel(f"expected FILE.py:CLASS or PACKAGE.MODULE:CLASS, got {text!r}")
            made_by = attribute_of(import_source(where, base), attribute, where)
    except NoSuchModel:
        raise
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit, too: a script that is no module
        return OwnModel(name, text, None, takes_any=True, problem=error, source=_of_broken(where, base))
    if not callable(made_by) or isinstance(made_by, nn.Module):
        what = f"a {type(made_by).__name__}"
        raise ValueError(f"{text} must be a class, or a function that makes a model; it is {what}")
    try:
        settings, takes_any = read_signature(made_by, name)
    except TypeError as error:
        raise ValueError(f"{text}: {error}") from None
    return OwnModel(name, text, made_by, settings, takes_any, _source_of(made_by))


def _source_of(build: Callable[..., Any]) -> ModelSource:
    """As it was when this process first asked, which is what its code is of."""
    if build not in _SOURCES:
        _SOURCES[build] = source_of(build)
    return _SOURCES[build]


def _of_broken(where: str, base: Path) -> ModelSource:
    path = base / where
    if not where.endswith(".py") or not path.is_file():
        return ModelSource()
    return ModelSource("", str(path.resolve()), path.read_text(encoding="utf-8", errors="replace"))


def path_of(build: Callable[..., Any]) -> str:
    """The import path of a class or function."""
    owner = build if inspect.isclass(build) or inspect.isroutine(build) else type(build)
    return f"{owner.__module__}.{owner.__qualname__}"
