"""Keywords that layers hand on to PyG's MessagePassing: their types, and errors for those that nobody takes."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any, Literal, TypeAlias, TypedDict, get_args

from torch_geometric.nn.aggr import Aggregation
from torch_geometric.nn.conv import MessagePassing

from lcat._numbers import as_int
from lcat._text import hint

Flow: TypeAlias = Literal["source_to_target", "target_to_source"]


class OtherOptions(TypedDict, total=False):
    """Keywords of :class:`torch_geometric.nn.MessagePassing` beside its first argument; it describes them."""

    aggr_kwargs: dict[str, Any] | None
    flow: Flow
    node_dim: int
    decomposed_layers: int


class MessagePassingOptions(OtherOptions, total=False):
    """All keywords of :class:`torch_geometric.nn.MessagePassing`."""

    aggr: str | list[str] | Aggregation | None


class AttentionOptions(MessagePassingOptions, total=False):
    """Keywords that every attention layer takes beside those of PyG's; :class:`lcat.nn.GATConv` describes them."""

    separate_self: bool
    symmetric_norm: bool
    edge_dropout: float


def arguments_of(*classes: type) -> list[str]:
    """The names that the constructors of these classes and of their bases take, in the order of the classes."""
    names: dict[str, None] = {}
    for base in (base for cls in classes for base in cls.__mro__ if "__init__" in base.__dict__):
        for name, parameter in inspect.signature(base.__dict__["__init__"]).parameters.items():
            if name != "self" and parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
                names.setdefault(name)
    return list(names)


def check_keywords(owner: str, keywords: Iterable[str], known: Iterable[str]) -> None:
    """Raise a TypeError, with a hint, for the first of ``keywords`` that is not in ``known``."""
    problem = unknown_keyword(owner, keywords, known)
    if problem is not None:
        raise TypeError(problem)


def unknown_keyword(owner: str, keywords: Iterable[str], known: Iterable[str]) -> str | None:
    """What to say, with a hint, of the first of ``keywords`` that is not in ``known``."""
    names = list(known)
    for keyword in keywords:
        if keyword not in names:
            return f"{owner} has no argument {keyword!r}{hint(keyword, names)}; its arguments are {', '.join(names)}"
    return None


def check_message_passing_options(layer: type, options: Iterable[str]) -> None:
    """Raise a TypeError, with a hint, for keywords that neither ``layer`` nor MessagePassing takes."""
    unknown = [name for name in options if name not in _MESSAGE_PASSING]
    if unknown:
        check_keywords(layer.__name__, unknown, arguments_of(layer))


def check_own_options(layer: type, owner: type, options: Iterable[str], *, without: Iterable[str] = ()) -> None:
    """:func:`check_message_passing_options` for a class that takes fewer arguments than the class it derives from.

    Args:
        layer: the class that is made, for the message.
        owner: the class whose constructor asks.
        options: the keywords that this constructor has no argument for.
        without: those of MessagePassing that it does not take.
    """
    parameters = inspect.signature(owner.__dict__["__init__"]).parameters.values()
    own = [parameter.name for parameter in parameters if parameter.kind is not parameter.VAR_KEYWORD]
    known = [*own[1:], *sorted(_MESSAGE_PASSING - set(without))]
    check_keywords(layer.__name__, options, known)


def check_message_passing_values(layer: type[MessagePassing], options: MessagePassingOptions) -> None:
    """Raise for values that MessagePassing does not take, or fails with at the first call."""
    name = layer.__name__
    aggr = options.get("aggr", "add")
    one_by_one = aggr if isinstance(aggr, (tuple, list)) and aggr else [aggr]
    # ``None`` is for classes with their own step.
    has_own_step = aggr is None and layer.aggregate is not MessagePassing.aggregate
    if not has_own_step and not all(isinstance(one, (str, Aggregation)) for one in one_by_one):
        raise TypeError(
            f"'aggr' of {name} is {aggr!r}; it takes the name of an aggregation such as 'add' or 'mean', a "
            f"torch_geometric.nn.aggr.Aggregation, or a list of them"
        )
    aggr_kwargs = options.get("aggr_kwargs")
    if aggr_kwargs is not None and not isinstance(aggr_kwargs, dict):
        raise TypeError(
            f"'aggr_kwargs' of {name} is {aggr_kwargs!r}; it takes a dict of the arguments of the aggregation, such as "
            f"{{'learn': True}} for aggr='softmax', or None"
        )
    flow = options.get("flow", "source_to_target")
    if flow not in get_args(Flow):
        raise ValueError(
            f"Expected 'flow' of {name} to be either {' or '.join(map(repr, get_args(Flow)))} (got {flow!r})"
            f"{hint(flow, get_args(Flow))}"
        )
    node_dim, parts = options.get("node_dim", -2), options.get("decomposed_layers", 1)
    if as_int(node_dim) is None:
        raise TypeError(f"'node_dim' of {name} is {node_dim!r}; it takes an int")
    number = as_int(parts)
    if number is None or number < 1:
        raise ValueError(f"'decomposed_layers' of {name} is {parts!r}; it takes an int of at least 1")


def unusable_aggregation(layer: type, options: MessagePassingOptions, error: Exception) -> str:
    """What to say of an aggregation that PyG cannot make."""
    aggr, aggr_kwargs = options.get("aggr", "add"), options.get("aggr_kwargs")
    if "Could not resolve" in str(error):
        wrong = [aggr] if isinstance(aggr, str) else [one for one in aggr or () if isinstance(one, str)]
        meant = "".join(hint(one, _AGGREGATIONS) for one in wrong if one not in _AGGREGATIONS)
        return (
            f"'aggr' of {layer.__name__} is {aggr!r}{meant}; it takes {', '.join(map(repr, _AGGREGATIONS))} and other "
            f"names of classes in torch_geometric.nn.aggr, without 'Aggregation'"
        )
    return f"'aggr' of {layer.__name__} is {aggr!r} with aggr_kwargs={aggr_kwargs!r}, which PyG cannot make: {error}"


_AGGREGATIONS = ("add", "sum", "mean", "min", "max", "mul", "var", "std", "median", "softmax", "powermean")
_MESSAGE_PASSING = frozenset(arguments_of(MessagePassing))
