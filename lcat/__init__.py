"""lcat: attention in graph neural networks, in one install.

``lcat.nn`` holds the layers and models, ``lcat.ops`` the primitives under them, ``lcat.optim`` the
orthogonal optimizers, ``lcat.data``, ``lcat.train`` and ``lcat.study`` what turns them into evidence.

Importing ``lcat`` alone imports none of them (and so neither torch nor PyG): the subpackages load when
first used. The layers can be taken from here, too: ``from lcat import LCATConv`` loads ``lcat.nn``, and so do
``lcat.accelerate(model)``, ``lcat.accelerated(model)`` and ``lcat.restore(model)``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from lcat._version import __version__

if TYPE_CHECKING:  # the same for type checkers, which then report a name that does not exist
    from lcat import data as data
    from lcat import graph as graph
    from lcat import nn as nn
    from lcat import ogb as ogb
    from lcat import ops as ops
    from lcat import optim as optim
    from lcat import study as study
    from lcat import testing as testing
    from lcat import train as train
    from lcat.nn import CATConv as CATConv
    from lcat.nn import CATv2Conv as CATv2Conv
    from lcat.nn import GATConv as GATConv
    from lcat.nn import GATv2Conv as GATv2Conv
    from lcat.nn import GCNConv as GCNConv
    from lcat.nn import GINConv as GINConv
    from lcat.nn import GraphConv as GraphConv
    from lcat.nn import LCATConv as LCATConv
    from lcat.nn import LCATGCN2Conv as LCATGCN2Conv
    from lcat.nn import LCATPNAConv as LCATPNAConv
    from lcat.nn import LCATv2Conv as LCATv2Conv
    from lcat.nn import LCATv2GCN2Conv as LCATv2GCN2Conv
    from lcat.nn import LCATv2PNAConv as LCATv2PNAConv
    from lcat.nn import SAGEConv as SAGEConv
    from lcat.nn import TransformerConv as TransformerConv
    from lcat.nn import accelerate as accelerate
    from lcat.nn import accelerated as accelerated
    from lcat.nn import restore as restore
    from lcat.nn import upgrade as upgrade

_SUBPACKAGES = ("data", "graph", "nn", "ogb", "ops", "optim", "study", "testing", "train")
_LAYERS = (
    *("CATConv", "CATv2Conv", "GATConv", "GATv2Conv", "GCNConv", "LCATConv", "LCATv2Conv"),
    *("GINConv", "GraphConv", "SAGEConv", "TransformerConv"),
    *("LCATGCN2Conv", "LCATPNAConv", "LCATv2GCN2Conv", "LCATv2PNAConv"),
)
_FUNCTIONS = ("accelerate", "accelerated", "restore", "upgrade")

__all__ = ["__version__", *_SUBPACKAGES]


def _load(name: str) -> Any:
    if name in _SUBPACKAGES:
        return importlib.import_module(f"lcat.{name}")
    if name in _LAYERS or name in _FUNCTIONS:
        return getattr(importlib.import_module("lcat.nn"), name)
    raise AttributeError(
        f"module 'lcat' has no attribute {name!r}; it has {', '.join((*__all__, *_LAYERS, *_FUNCTIONS))}. Models are "
        f"in lcat.nn.models, optimizers in lcat.optim, data sets in lcat.data, training in lcat.train, studies in "
        f"lcat.study"
    )


if not TYPE_CHECKING:
    __getattr__ = _load


def __dir__() -> list[str]:
    return sorted((*__all__, *_LAYERS, *_FUNCTIONS))
