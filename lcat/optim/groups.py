"""Which weights of a model are constrained: parameter groups for the optimizers of this package."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from lcat._text import hint
from lcat.optim.layout import resolve
from lcat.optim.measure import gram_error, orthogonalized
from lcat.optim.optimizer import OrthogonalOptimizer
from lcat.optim.options import COMMON, DEFAULTS, Matrix, OrthogonalizeMethod

__all__ = ["NoWeightToConstrain", "OrthogonalGroups", "Row", "orthogonal_groups"]

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
    "lin_msg",
)
#: linear maps that do not carry node features from layer to layer
SIDE_PROJECTIONS = ("lin_edge", "lin_skip", "lin_beta", "res", "films", "film_skip", "att_l", "att_r")
#: weights that layers of PyG hold themselves, not in a linear map; with ``comp`` they are bases of weights
DIRECT_WEIGHTS = {
    "GCN2Conv": ("weight1", "weight2"),
    "GatedGraphConv": ("weight",),
    "RGCNConv": ("weight", "root"),
    "FastRGCNConv": ("weight", "root"),
}


@dataclass
class _Candidate:
    """A weight that may be constrained."""

    name: str
    param: Tensor
    layer: str
    matrix: Matrix
    side: str = ""
    recurrent: bool = False
    why: str = "hidden weight"


@dataclass(frozen=True)
class Row:
    """One line of the table: a parameter, and whether and why it is constrained.

    Attributes:
        name: the parameter's name in the model.
        shape: its shape.
        orthogonal: whether it is constrained.
        matrices: how it is read as matrices, such as ``8 x (16x64), rows``; empty if it is not constrained.
        why: the reason.
    """

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
        table: one :class:`Row` per parameter, in the order of ``model.named_parameters()``.
    """

    table: list[Row]

    def __init__(self, groups: Iterable[dict[str, Any]], table: list[Row]) -> None:
        super().__init__(groups)
        self.table = table

    def __str__(self) -> str:
        header = ("parameter", "shape", "", "read as", "why")
        lines = [header] + [
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
    heads: Literal["split", "joint"] = "split",
    first: bool = False,
    last: bool = False,
    orthogonalize: OrthogonalizeMethod | None = "nearest",
    orthogonal_options: dict[str, Any] | None = None,
    **euclidean_options: Any,
) -> OrthogonalGroups:
    """Split the parameters of a model into orthogonal groups and a Euclidean one.

    Constrained are the weight matrices that carry features from layer to layer: those of ``torch.nn.Linear`` and
    PyG's ``Linear`` and ``HeteroLinear``, of GCN2Conv, GatedGraphConv and RGCNConv (without bases), convolution
    kernels (read as ``(out, in * height * width)``, group by group), recurrent weights (gate by gate) and the input
    projections of ``torch.nn.MultiheadAttention`` and PyG's HGTConv (one matrix each for query, key and value).
    Everything else stays Euclidean: biases, attention vectors, norms, embeddings, the lambdas of L-CAT, projections of
    edge features and of skip connections, matrices of modules that are not known here (``include`` adds them), and by
    default the first and the last layer, which change the width of the features. A shared weight appears once.

    A recurrent weight maps the hidden state to itself, so it is hidden in a first and in a last layer, too.

    The first and the last layer are those that the model registers first and last, frozen ones included. The layers of
    a ``ModuleDict`` that holds only layers are parallel and count as one: those of the edge types of a ``HeteroConv``,
    of the node and edge types of ``to_hetero``.

    Args:
        model: the model; lazy layers must have run once.
        include: names (``fnmatch`` patterns, e.g. ``"convs.*.weight"``) of the parameters to constrain, instead
            of this choice. Vectors that a pattern matches besides matrices (``"rnn.*_hh_*"`` matches biases, too) stay
            Euclidean.
        exclude: names not to constrain.
        heads: ``"split"`` reads the projection ``(heads * channels, in)`` of an attention layer as ``heads``
            matrices ``(channels, in)``, so that each head has its own orthonormal basis; ``"joint"`` as one matrix.
        first: whether to constrain the first layer too. A message passing layer with all its linear maps counts as
            one.
        last: whether to constrain the last layer too.
        orthogonalize: how the constrained weights are made orthonormal in place, ``"nearest"`` or ``"qr"``; None leaves
            the weights as they are. Weights that are within an error of 0.5, the largest that a method of the package
            leaves at its defaults, are not changed here: they may be those of a run that goes on. The optimizer does
            it, unless it accepts them as a start.
        orthogonal_options: options of the orthogonal groups, e.g. ``{"lr": 0.1}``.
        **euclidean_options: options of the Euclidean group, e.g. ``lr=1e-3, weight_decay=5e-4``. Only options of
            the optimizers are accepted; other entries can be added to the groups afterwards.

    Returns:
        Groups to give to an optimizer of :mod:`lcat.optim`, with ``param_names`` and a printable table. Parameters
        with ``requires_grad=False`` are left out.

    Raises:
        TypeError: an option that no optimizer of the package has; parameters in place of a model; arguments of another
            kind.
        ValueError: lazy parameters, weights on the device "meta" (unless ``orthogonalize=None``), patterns that match
            nothing, a weight that cannot be made orthonormal. The model is unchanged then.
        NoWeightToConstrain: a ValueError for models in which no weight is left to constrain, frozen ones among them.

    >>> import torch
    >>> from torch import nn
    >>> from lcat.optim import POGO, orthogonal_groups
    >>> model = nn.Sequential(
    ...     nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3)
    ... )
    >>> groups = orthogonal_groups(model, lr=1e-3)
    >>> [row.name for row in groups.table if row.orthogonal]
    ['2.weight']
    >>> optimizer = POGO(groups, lr=0.1, base="vadam")
    """
    if not isinstance(model, nn.Module):
        raise TypeError(
            f"model must be a torch.nn.Module, got a {type(model).__name__}; orthogonal_groups looks at the modules to "
            f"see which weights are hidden. Pass the model itself, or parameters directly to the optimizer"
        )
    if not isinstance(heads, str) or heads not in ("split", "joint"):
        raise ValueError(f"heads must be 'split' or 'joint', got {heads!r}{hint(heads, ['split', 'joint'], show=repr)}")
    for name, value in (("first", first), ("last", last)):
        if not isinstance(value, bool):
            raise TypeError(f"{name} must be True or False, got {value!r}; name single weights with include=")
    if not isinstance(orthogonal_options, (Mapping, type(None))):
        raise TypeError(
            f"orthogonal_options must be a dict of options such as {{'lr': 0.1}}, got "
            f"{type(orthogonal_options).__name__}"
        )
    if orthogonalize is not None and orthogonalize not in get_args(OrthogonalizeMethod):
        methods = ", ".join(get_args(OrthogonalizeMethod))
        meant = hint(orthogonalize, get_args(OrthogonalizeMethod), show=repr)
        raise ValueError(f"orthogonalize must be None or one of {methods}, got {orthogonalize!r}{meant}")
    _check_names(euclidean_options, inspect.signature(orthogonal_groups).parameters)
    _check_names(orthogonal_options or {})
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    lazy = [name for name, p in named.items() if torch.nn.parameter.is_lazy(p)]
    if lazy:
        raise ValueError(
            f"{', '.join(map(repr, lazy))}: lazy parameters have no shape yet. Run one forward pass through the "
            f"model (under torch.no_grad()) before making groups"
        )
    candidates = {c.name: c for c in _candidates(model, heads)}
    included, excluded = _patterns("include", include), _patterns("exclude", exclude) or ()
    if not named:
        raise NoWeightToConstrain(_nothing_learned(model))
    matrices, why = _choose(named, candidates, include=included, exclude=excluded, first=first, last=last)
    if orthogonalize is not None:
        empty_names = [name for name in matrices if named[name].is_meta]
        if empty_names:
            raise ValueError(
                f"{empty_names[0]!r} is on the device 'meta' and has no values to make orthonormal: call "
                f"model.to_empty(device='cpu') and initialize or load the weights first, or pass orthogonalize=None"
            )
        _orthogonalize({name: (named[name], matrix) for name, matrix in matrices.items()}, orthogonalize)
    groups: dict[Matrix, dict[str, Any]] = {}
    common = {} if orthogonalize is None else {"orthogonalize": orthogonalize}
    common |= orthogonal_options or {}
    for name, matrix in matrices.items():
        empty: dict[str, Any] = {"params": [], "orthogonal": True, "matrix": matrix, **common}
        groups.setdefault(matrix, empty)["params"].append((name, named[name]))
    rest = [(name, p) for name, p in named.items() if name not in matrices]
    result = list(groups.values())
    if rest:
        result.append({"params": rest, "orthogonal": False, **euclidean_options})
    table = [
        Row(
            name=name,
            shape=tuple(p.shape),
            orthogonal=name in matrices,
            matrices=_reading(p, matrices[name]) if name in matrices else "",
            why=why[name],
        )
        for name, p in named.items()
    ]
    return OrthogonalGroups(result, table)


def _check_names(names: Iterable[str], arguments: Iterable[str] = ()) -> None:
    """Raise a TypeError for an option that neither the package's optimizers nor subclasses of them have."""
    known = {"lr", *COMMON}
    classes = [OrthogonalOptimizer]
    while classes:
        cls = classes.pop()
        known |= set(inspect.signature(cls).parameters)
        classes += cls.__subclasses__()
    known -= {"params", "defaults", "orthogonal"}  # options cannot replace what makes a group
    for name in set(names) - known:
        meant = hint(name, [*known, *arguments], show=repr) or "; the optimizers of lcat.optim have no such option"
        raise TypeError(f"orthogonal_groups() got an unexpected option {name!r}{meant}")


@torch.no_grad()
def _orthogonalize(weights: dict[str, tuple[Tensor, Matrix]], method: OrthogonalizeMethod) -> None:
    """Make all orthonormal in place that no method would leave, or none if one is refused."""
    results = []
    for name, (weight, matrix) in weights.items():
        try:
            if _may_be_trained(weight, matrix):
                continue
            results.append((weight, orthogonalized(weight, method, matrix)))
        except ValueError as error:
            raise ValueError(f"{name!r}: {error}") from None
    for weight, result in results:
        weight.copy_(result)


def _may_be_trained(weight: Tensor, matrix: Matrix) -> bool:
    """Whether a weight is as close to orthonormal as the default methods leave theirs."""
    if not (weight.is_floating_point() or weight.is_complex()):
        return False
    return bool(gram_error(weight.detach()[None], resolve(tuple(weight.shape), matrix)) <= DEFAULTS.safe * (1 + 1e-3))


def _choose(
    named: dict[str, nn.Parameter],
    candidates: dict[str, _Candidate],
    *,
    include: tuple[str, ...] | None,
    exclude: tuple[str, ...],
    first: bool,
    last: bool,
) -> tuple[dict[str, Matrix], dict[str, str]]:
    """The matrix of every name that is constrained, and for every name the reason."""
    for pattern in (*(include or ()), *exclude):
        if not any(fnmatchcase(name, pattern) for name in named):
            raise ValueError(f"no parameter is called {pattern!r}; the model has {', '.join(map(repr, named))}")
    for pattern in include or ():
        vectors = [name for name, param in named.items() if fnmatchcase(name, pattern) and param.dim() < 2]
        if vectors and not any(fnmatchcase(name, pattern) and param.dim() >= 2 for name, param in named.items()):
            raise ValueError(
                f"{vectors[0]!r} has shape {tuple(named[vectors[0]].shape)} and is no matrix, and {pattern!r} matches "
                f"nothing else; include weights of at least 2 dimensions"
            )
    layers = list(dict.fromkeys(c.layer for c in candidates.values() if not c.side and not c.recurrent))
    matrices: dict[str, Matrix] = {}
    why: dict[str, str] = {}
    for name, param in named.items():
        candidate = candidates.get(name)
        if any(fnmatchcase(name, pattern) for pattern in exclude):
            why[name] = "excluded"
        elif include is not None:
            if not any(fnmatchcase(name, pattern) for pattern in include):
                why[name] = "not included"
            elif param.dim() < 2:
                why[name] = "included pattern, but no matrix"
            else:
                matrices[name], why[name] = candidate.matrix if candidate else None, "included"
        elif candidate is None:
            why[name] = "vector or scalar" if param.dim() < 2 else "not known as a feature map"
        elif candidate.side:
            why[name] = candidate.side
        elif not candidate.recurrent and candidate.layer == layers[0] and not first:
            why[name] = "first layer"
        elif not candidate.recurrent and candidate.layer == layers[-1] and not last:
            why[name] = "last layer"
        else:
            matrices[name], why[name] = candidate.matrix, candidate.why
    if not matrices:
        raise NoWeightToConstrain(
            "no weight is left to constrain: "
            + "; ".join(f"{name} ({why[name]})" for name in named)
            + ". Constrain the outer layers with first=True, last=True, or name weights with include="
        )
    return matrices, why


def _candidates(model: nn.Module, heads: str) -> Iterator[_Candidate]:
    """The feature maps among the parameters, in the order of the model."""
    seen: set[int] = set()
    modules = dict(model.named_modules())
    for path, module in modules.items():
        for local, matrix in _feature_maps(module):
            param = getattr(module, local, None)
            if not isinstance(param, Tensor) or id(param) in seen or torch.nn.parameter.is_lazy(param):
                continue
            if param.dim() < 2:
                continue
            if isinstance(param, nn.Parameter):  # others are computed: pruned, normalized. Their layer counts, too
                seen.add(id(param))
            layer, inside = _message_passing_around(path, modules)
            why = "hidden weight"
            if layer is not None and matrix is None and param.dim() == 2:
                matrix, why = _split(param, layer, inside, heads)
            side = "side projection" if any(part in SIDE_PROJECTIONS for part in inside) else ""
            recurrent = isinstance(module, (nn.RNNBase, nn.RNNCellBase))
            if recurrent and local.startswith("weight_ih"):
                side = "input weight of a recurrent layer"
            name = f"{path}.{local}" if path else local
            yield _Candidate(
                name=name,
                param=param,
                layer=_layer_of(path, modules),
                matrix=matrix,
                side=side,
                recurrent=recurrent,
                why="recurrent weight" if recurrent else why,
            )


def _message_passing_around(path: str, modules: dict[str, nn.Module]) -> tuple[nn.Module | None, list[str]]:
    """The innermost message passing layer around a module, and the path from it to the module."""
    parts = path.split(".") if path else []
    for depth in range(len(parts) - 1, -1, -1):
        layer = modules[".".join(parts[:depth])]
        if _is_message_passing(layer):
            return layer, parts[depth:]
    return None, []


def _split(param: Tensor, layer: nn.Module, inside: list[str], heads: str) -> tuple[Matrix, str]:
    """How a projection of an attention layer is read: all heads, and key, query and value where they are one."""
    count = getattr(layer, "heads", 1)
    count = count if isinstance(count, int) and heads == "split" else 1
    is_joined = inside[0] == "kqv_lin"  # HGTConv: of each node type, all three below each other
    if not is_joined and (len(inside) > 1 or inside[0] not in HEAD_PROJECTIONS):
        count = 1
    matrices = 3 * count if is_joined else count
    if matrices == 1 or param.shape[0] % matrices:
        return None, "hidden weight"
    why = ["hidden weight"] + ["key, query, value"] * is_joined + [f"{count} heads"] * (count > 1)
    return (matrices, param.shape[0] // matrices, -1), ", ".join(why)


def _feature_maps(module: nn.Module) -> list[tuple[str, Matrix]]:
    """Names of the weights of a module that map features, and how they are read as matrices."""
    if isinstance(module, nn.MultiheadAttention):
        width = module.embed_dim
        return [("in_proj_weight", (3, width, -1))] + [(f"{k}_proj_weight", None) for k in "qkv"]
    if isinstance(module, nn.RNNBase):
        ends = [f"_l{layer}{reverse}" for layer in range(module.num_layers) for reverse in ("", "_reverse")]
        return [(kind + end, _gates(module, kind + end)) for end in ends for kind in ("weight_hh", "weight_ih")]
    if isinstance(module, nn.RNNCellBase):
        return [(kind, _gates(module, kind)) for kind in ("weight_hh", "weight_ih")]
    if isinstance(module, nn.modules.conv._ConvNd):
        groups = module.groups
        return [("weight", "conv" if groups == 1 else (groups, module.weight.shape[0] // groups, -1))]
    if (
        type(module).__name__ in DIRECT_WEIGHTS
        and _is_message_passing(module)
        and getattr(module, "comp", None) is None
    ):
        return [(name, None) for name in DIRECT_WEIGHTS[type(module).__name__]]
    if isinstance(module, nn.Linear) or _is_pyg_linear(module):
        return [("weight", None)]
    return []


def _gates(module: nn.RNNBase | nn.RNNCellBase, name: str) -> Matrix:
    """A weight of a recurrent layer as one matrix for each gate."""
    weight: Tensor | None = getattr(module, name, None)
    return None if weight is None else (-1, int(module.hidden_size), weight.shape[-1])


def _is_pyg_linear(module: nn.Module) -> bool:
    """PyG's Linear and HeteroLinear, recognized without importing PyG (which takes seconds)."""
    return any(
        cls.__name__ in ("Linear", "HeteroLinear") and cls.__module__.startswith("torch_geometric.")
        for cls in type(module).__mro__
    )


def _is_message_passing(module: nn.Module | None) -> bool:
    """Whether a module is one of PyG's MessagePassing layers, recognized without importing PyG."""
    return hasattr(module, "propagate") and hasattr(module, "message")


def _layer_of(path: str, modules: dict[str, nn.Module]) -> str:
    """The layer of a module: the outermost message passing layer or dict of layers around it, or the module itself."""
    parts = path.split(".")
    for depth in range(1, len(parts)):
        ancestor = modules[".".join(parts[:depth])]
        only_layers = isinstance(ancestor, nn.ModuleDict) and all(
            _is_message_passing(child) or _feature_maps(child) for child in ancestor.children()
        )
        if only_layers or _is_message_passing(ancestor) or isinstance(ancestor, nn.MultiheadAttention):
            return ".".join(parts[:depth])
    return path


def _patterns(option: str, names: str | Iterable[str] | None) -> tuple[str, ...] | None:
    """One pattern or several as a tuple."""
    if names is None:
        return None
    patterns = (names,) if isinstance(names, str) else tuple(names) if isinstance(names, Iterable) else (names,)
    for pattern in patterns:
        if not isinstance(pattern, str):
            raise TypeError(
                f"{option} must be a name or pattern of parameters such as 'convs.*.weight', or several, got "
                f"{type(pattern).__name__}"
            )
    return patterns


def _nothing_learned(model: nn.Module) -> str:
    """Why a model has no weight to constrain that requires a gradient."""
    if next(model.parameters(), None) is None:
        return f"no weight is left to constrain: the {type(model).__name__} has no parameters"
    return (
        "no weight is left to constrain: all parameters of the model have requires_grad=False; call "
        "model.requires_grad_(True), or for those that are to be trained"
    )


def _reading(param: nn.Parameter, matrix: Matrix) -> str:
    """How a parameter is read, in words: ``8 x (16x64), rows``."""
    layout = resolve(tuple(param.shape), matrix)
    side = "columns" if layout.transposed else "rows"
    count = f"{layout.matrices} x " if layout.matrices > 1 else ""
    return f"{count}({layout.height}x{layout.width}), {side}"
