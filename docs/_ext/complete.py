"""Warn about every public name of lcat that is missing in the API reference; ``sphinx-build -W`` then fails."""

from __future__ import annotations

import importlib
from typing import Any

from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging

import lcat

_log = logging.getLogger(__name__)
_PACKAGES = (
    *(f"lcat.{name}" for name in lcat.__all__ if not name.startswith("_")),
    "lcat.nn.models",
    "lcat.study.statistics",
    "lcat.study.analysis.copa",
    "lcat.study.analysis.objectives",
)


def public_names() -> list[str]:
    """Every name of every ``__all__``, with its package."""
    names = []
    for package in _PACKAGES:
        for name in getattr(importlib.import_module(package), "__all__", ()):
            if f"{package}.{name}" not in _PACKAGES:
                names.append(f"{package}.{name}")
    return names


def _check(app: Sphinx, env: BuildEnvironment) -> None:
    documented = set(env.get_domain("py").objects)  # type: ignore[attr-defined]
    for name in public_names():
        if name not in documented:
            _log.warning("%s is public, but missing in the API reference", name)


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("env-check-consistency", _check)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
