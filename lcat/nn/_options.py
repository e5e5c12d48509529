"""Keywords that layers hand on to PyG's MessagePassing: their types, and an error for those that nobody takes."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any, Literal, TypeAlias, TypedDict

from torch_geometric.nn.aggr import Aggregation
from torch_geometric.nn.conv import MessagePassing

from lcat._text import hint

Flow: TypeAlias = Literal["source_to_target", "target_to_source"]


class MessagePassingOptions(TypedDict, total=False):
    """Keywords of :class:`torch_geometric.nn.MessagePassing`, which describes them."""

    aggr: str | list[str] | Aggregation | None
    aggr_kwargs: dict[str, Any] | None
    flow: Flow
    node_dim: int
    decomposed_layers: int


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
    names = list(known)
    for keyword in keywords:
        if keyword not in names:
            raise TypeError(
                f"{owner} has no argument {keyword!r}{hint(keyword, names)}; its arguments are {', '.join(names)}"
            )


def check_message_passing_options(layer: type, options: Iterable[str]) -> None:
    """Raise a TypeError, with a hint, for keywords that neither ``layer`` nor MessagePassing takes."""
    unknown = [name for name in options if name not in _MESSAGE_PASSING]
    if unknown:
        check_keywords(layer.__name__, unknown, arguments_of(layer))


_MESSAGE_PASSING = frozenset(arguments_of(MessagePassing))
