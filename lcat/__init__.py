"""lcat: attention in graph neural networks, in one install.

``lcat.nn`` holds the layers and models, ``lcat.ops`` the two primitives under them, ``lcat.optim`` the
orthogonal optimizers, ``lcat.data``, ``lcat.train`` and ``lcat.study`` what turns them into evidence.

Importing ``lcat`` alone imports none of them (and so neither torch nor PyG): the subpackages load when
first used.
"""

from __future__ import annotations

import importlib
from types import ModuleType

from lcat._version import __version__

_SUBPACKAGES = ("data", "graph", "nn", "ogb", "ops", "optim", "study", "testing", "train")

__all__ = ["__version__", *_SUBPACKAGES]


def __getattr__(name: str) -> ModuleType:
    if name in _SUBPACKAGES:
        return importlib.import_module(f"lcat.{name}")
    raise AttributeError(f"module 'lcat' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted(__all__)
