"""Which weights of a model are constrained: parameter groups for the optimizers of this package."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import nn

from lcat.optim.layout import Matrix, resolve
from lcat.optim.measure import orthogonalize_

#: linear maps of attention layers whose rows are the heads' channels, as PyG and lcat name them
HEAD_PROJECTIONS = (
    "lin",
    "lin_l",
    "lin_r",
    "lin_src",
    "lin_dst",
    "lin_v",
    "lin_value",
    "lin_key",
    "lin_query",
)
#: linear maps that do not carry node features from layer to layer
SIDE_PROJECTIONS = ("lin_edge", "lin_skip", "lin_beta", "res")


@dataclass
class _Candidate:
    """A weight that may be constrained."""

    name: str
    param: nn.Parameter
    layer: str
    matrix: Matrix
    side: bool = False
    why: str = "hidden weight"


@dataclass(frozen=True)
class Row:
    """One line of the table: a parameter and what happens to it."""

    name: str
    shape: tuple[int, ...]
    orthogonal: bool
    matrices: str
    why: str


class NoWeightToConstrain(ValueError):
    """A model has no weight that :func:`orthogonal_groups` would constrain under the given choice."""


class OrthogonalGroups(list[dict[str, Any]]):
    """Parameter groups (a list of dicts) with a ``table`` of what is constrained; ``print`` shows it.

    Attributes:
        table: one :class:`Row` a parameter, in the order of ``model.named_parameters()``.
    """

    table: list[Row]

    def __init__(self, groups: Iterable[dict[str, Any]], table: list[Row]) -> None:
        super().__init__(groups)
        self.table = table

    def __str__(self) -> str:
        head = ("parameter", "shape", "", "read as", "why")
        lines = [head] + [
            (
                row.name,
                "x".join(map(str, row.shape)) or "1",
                "orthogonal" if row.orthogonal else "-",
                row.matrices,
                row.why,
            )
            for row in self.table
        ]
        widths = [max(len(line[i]) for line in lines) for i in range(5)]
        return "\n".join(
            "  ".join(f"{cell:<{w}}" for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines
        )


def orthogonal_groups(
    model: nn.Module,
    *,
    include: str | Iterable[str] | None = None,
    exclude: str | Iterable[str] = (),
    heads: str = "split",
    first: bool = False,
    last: bool = False,
    orthogonalize: str | None = "nearest",
    orthogonal_options: dict[str, Any] | None = None,
    **euclidean_options: Any,
) -> OrthogonalGroups:
    """Split the parameters of a model into orthogonal groups and a Euclidean one.

    Constrained are the weight matrices that carry features from layer to layer: those of ``torch.nn.Linear`` and
    PyG's ``Linear`` and ``HeteroLinear``, convolution kernels (read as ``(out, in * height * width)``), recurrent
    weights (gate by gate) and the input projections of ``torch.nn.MultiheadAttention`` (one matrix each for
    query, key and value). Everything else stays Euclidean: biases, attention vectors, norms, embeddings, the
    lambdas of L-CAT, projections of edge features and of skip connections, and by default the first and the last
    layer, which change the width of the features. A shared weight appears once.

    Args:
        model: the model; lazy layers must have run once.
        include: names (``fnmatch`` patterns, e.g. ``"convs.*.weight"``) of the parameters to constrain, instead
            of this choice.
        exclude: names not to constrain.
        heads: ``"split"`` reads the projection ``(heads * channels, in)`` of an attention layer as ``heads``
            matrices ``(channels, in)``, so that each head keeps an orthonormal basis of its own; ``"joint"`` as
            one matrix.
        first, last: whether to constrain the first and the last layer too. A message passing layer with all its
            linear maps counts as one.
        orthogonalize: makes the chosen weights orthonormal in place, ``"nearest"`` (which leaves orthonormal
            ones as they are) or ``"qr"``; None leaves the weights alone.
        orthogonal_options: options of the orthogonal groups, e.g. ``{"lr": 0.1}``.
        **euclidean_options: options of the Euclidean group, e.g. ``lr=1e-3, weight_decay=5e-4``.

    Returns:
        Groups to give to an optimizer of :mod:`lcat.optim`, with ``param_names`` and a printable table. Parameters
        with ``requires_grad=False`` are left out.

    Raises:
        ValueError: lazy parameters, patterns that match nothing.
        NoWeightToConstrain: a ValueError for models in which no weight is left to constrain.

    >>> import torch
    >>> from torch import nn
    >>> from lcat.optim import POGO, orthogonal_groups
    >>> model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3))
    >>> groups = orthogonal_groups(model, lr=1e-3)
    >>> [row.name for row in groups.table if row.orthogonal]
    ['2.weight']
    >>> optimizer = POGO(groups, lr=0.1, base="vadam")
    """
    if heads not in ("split", "joint"):
        raise ValueError(f"heads must be 'split' or 'joint', got {heads!r}")
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    lazy = [name for name, p in named.items() if torch.nn.parameter.is_lazy(p)]
    if lazy:
        raise ValueError(
            f"{', '.join(map(repr, lazy))}: lazy parameters have no shape yet. Run one forward pass through the "
            f"model (under torch.no_grad()) before making groups"
        )
    candidates = {c.name: c for c in _candidates(model, heads) if c.name in named}
    chosen, why = _choose(named, candidates, _patterns(include), _patterns(exclude) or (), first, last)
    groups: dict[Matrix, dict[str, Any]] = {}
    for name, matrix in chosen.items():
        if orthogonalize is not None:
            try:
                orthogonalize_(named[name], orthogonalize, matrix=matrix)
            except ValueError as error:
                raise ValueError(f"{name!r}: {error}") from None
        empty: dict[str, Any] = {"params": [], "orthogonal": True, "matrix": matrix, **(orthogonal_options or {})}
        groups.setdefault(matrix, empty)["params"].append((name, named[name]))
    rest = [(name, p) for name, p in named.items() if name not in chosen]
    result = list(groups.values())
    if rest:
        result.append({"params": rest, "orthogonal": False, **euclidean_options})
    table = [
        Row(name, tuple(p.shape), name in chosen, _reading(p, chosen[name]) if name in chosen else "", why[name])
        for name, p in named.items()
    ]
    return OrthogonalGroups(result, table)


def _choose(
    named: dict[str, nn.Parameter],
    candidates: dict[str, _Candidate],
    include: tuple[str, ...] | None,
    exclude: tuple[str, ...],
    first: bool,
    last: bool,
) -> tuple[dict[str, Matrix], dict[str, str]]:
    """The constrained names with their matrices, and for every name the reason."""
    for pattern in (*(include or ()), *exclude):
        if not any(fnmatchcase(name, pattern) for name in named):
            raise ValueError(f"no parameter is called {pattern!r}; the model has {', '.join(map(repr, named))}")
    layers = list(dict.fromkeys(c.layer for c in candidates.values() if not c.side))
    chosen: dict[str, Matrix] = {}
    why: dict[str, str] = {}
    for name, param in named.items():
        candidate = candidates.get(name)
        if any(fnmatchcase(name, pattern) for pattern in exclude):
            why[name] = "excluded"
        elif include is not None:
            if not any(fnmatchcase(name, pattern) for pattern in include):
                why[name] = "not included"
            elif param.dim() < 2:
                raise ValueError(
                    f"{name!r} has shape {tuple(param.shape)} and is no matrix; include weights of 2 or more dimensions"
                )
            else:
                chosen[name], why[name] = candidate.matrix if candidate else None, "included"
        elif candidate is None:
            why[name] = "vector or scalar" if param.dim() < 2 else "no feature map"
        elif candidate.side:
            why[name] = "side projection"
        elif candidate.layer == layers[0] and not first:
            why[name] = "first layer"
        elif candidate.layer == layers[-1] and not last:
            why[name] = "last layer"
        else:
            chosen[name], why[name] = candidate.matrix, candidate.why
    if not chosen:
        raise NoWeightToConstrain(
            "no weight is left to constrain: "
            + "; ".join(f"{name} ({why[name]})" for name in named)
            + ". Constrain the outer layers with first=True, last=True, or name weights with include="
        )
    return chosen, why


def _candidates(model: nn.Module, heads: str) -> Iterator[_Candidate]:
    """The feature maps among the parameters, in the order of the model."""
    seen: set[int] = set()
    modules = dict(model.named_modules())
    for path, module in modules.items():
        for local, matrix in _feature_maps(module):
            param = getattr(module, local, None)
            if not isinstance(param, nn.Parameter) or id(param) in seen or param.dim() < 2:
                continue
            seen.add(id(param))
            parent_path, _, child = path.rpartition(".")
            parent = modules.get(parent_path) if path else None
            why = "hidden weight"
            if heads == "split" and matrix is None and param.dim() == 2 and child in HEAD_PROJECTIONS:
                count = getattr(parent, "heads", 1)
                if isinstance(count, int) and count > 1 and param.shape[0] % count == 0:
                    matrix, why = (count, param.shape[0] // count, -1), f"hidden weight, {count} heads"
            side = _message_passing(parent) and child in SIDE_PROJECTIONS
            name = f"{path}.{local}" if path else local
            yield _Candidate(name, param, _layer_of(path, modules), matrix, side, why)


def _feature_maps(module: nn.Module) -> list[tuple[str, Matrix]]:
    """Names of the weights of a module that map features, and how they are read as matrices."""
    if isinstance(module, nn.MultiheadAttention):
        width = module.embed_dim
        return [("in_proj_weight", (3, width, -1))] + [(f"{k}_proj_weight", None) for k in "qkv"]
    if isinstance(module, nn.RNNBase):
        return [
            (f"weight_hh_l{layer}{reverse}", (-1, module.hidden_size, module.proj_size or module.hidden_size))
            for layer in range(module.num_layers)
            for reverse in ("", "_reverse")
        ]
    if isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d)):
        return [("weight", "conv")]
    if isinstance(module, nn.Linear) or _pyg_linear(module):
        return [("weight", None)]
    return []


def _pyg_linear(module: nn.Module) -> bool:
    """PyG's Linear and HeteroLinear, recognised without importing PyG (which takes seconds)."""
    return any(
        cls.__name__ in ("Linear", "HeteroLinear") and cls.__module__.startswith("torch_geometric.")
        for cls in type(module).__mro__
    )


def _message_passing(module: nn.Module | None) -> bool:
    return hasattr(module, "propagate") and hasattr(module, "message")


def _layer_of(path: str, modules: dict[str, nn.Module]) -> str:
    """The layer that a module belongs to: the outermost message passing layer around it, or itself."""
    parts = path.split(".")
    for depth in range(1, len(parts)):
        ancestor = ".".join(parts[:depth])
        if _message_passing(modules.get(ancestor)) or isinstance(modules.get(ancestor), nn.MultiheadAttention):
            return ancestor
    return path


def _patterns(names: str | Iterable[str] | None) -> tuple[str, ...] | None:
    if names is None:
        return None
    return (names,) if isinstance(names, str) else tuple(names)


def _reading(param: nn.Parameter, matrix: Matrix) -> str:
    """How a parameter is read, in words: ``8 x (16x64), rows``."""
    layout = resolve(tuple(param.shape), matrix)
    side = "columns" if layout.transposed else "rows"
    count = f"{layout.matrices} x " if layout.matrices > 1 else ""
    return f"{count}({layout.height}x{layout.width}), {side}"
