"""Calls that fail because of wrong use: the error says so instead of what failed. It costs nothing where none fails."""

from __future__ import annotations

import inspect
import weakref
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.modules.module import _has_any_global_hook

from lcat.nn._options import unknown_keyword

# Where the layers of models are that lcat.accelerate was called with.
_paths: weakref.WeakKeyDictionary[Any, str] = weakref.WeakKeyDictionary()


def remember_path(layer: Any, path: str) -> None:
    """Let errors of a layer say where in its model it is."""
    if path:
        _paths[layer] = path


def forget_path(layer: Any) -> None:
    """Undo :func:`remember_path`."""
    _paths.pop(layer, None)


def _name_layer(layer: Any, error: Exception) -> None:
    """Add to the message of an error where the layer is, if that is known; once."""
    path = _paths.get(layer)
    if path is None or len(error.args) != 1 or not isinstance(error.args[0], str):
        return
    if not error.args[0].endswith(_END):
        error.args = (f"{error.args[0]} (in layer '{path}'{_END}",)


_END = " of the accelerated model)"


class CheckedCalls:
    """Stands in the bases of a layer or model before PyG's class."""

    if TYPE_CHECKING:  # a module's own; TorchScript could not read these annotations
        forward: Any
        _call_impl: Any

    def _compiled_call_impl(self, *args: Any, **kwargs: Any) -> Any:
        """A call; where it fails because of wrong use, the error says so.

        ``Module.__call__`` calls a method of this name, if there is one, in place of ``_call_impl`` (``compile()`` puts
        one on the instance). So this takes the place of a step that each call makes anyway, and ``torch.compile`` and
        ``torch.fx``, which look for changed ``__call__`` and ``_call_impl``, find none.
        """
        attributes = self.__dict__  # those of a module are slow to read by name
        try:
            if (
                attributes["_forward_pre_hooks"] or attributes["_forward_hooks"] or attributes["_backward_pre_hooks"]
                or attributes["_backward_hooks"] or _has_any_global_hook() or torch._C._get_tracing_state()
            ):  # fmt: skip
                return self._call_impl(*args, **kwargs)
            return self.forward(*args, **kwargs)
        except (TypeError, AttributeError, RuntimeError) as error:
            problem = self._wrong_use(args, kwargs)
            if problem is None:
                _name_layer(self, error)
                raise
            _name_layer(self, problem)
            raise problem from None
        except (ValueError, IndexError) as error:
            _name_layer(self, error)
            raise

    def _wrong_use(self, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Exception | None:
        """Why a call has failed, if it is an unknown keyword, an argument too few or a change of the layer."""
        parameters = inspect.signature(self.forward).parameters.values()
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            unknown = unknown_keyword(type(self).__name__, keywords, [parameter.name for parameter in parameters])
            if unknown is not None:
                return TypeError(unknown)
        lacking = self._lacking(list(parameters), arguments, keywords)
        if lacking is not None:
            return TypeError(lacking)
        changed = self._changed_since_made()
        return None if changed is None else ValueError(changed)

    def _lacking(
        self, parameters: list[inspect.Parameter], arguments: tuple[Any, ...], keywords: dict[str, Any]
    ) -> str | None:
        """What to say of arguments without a default that a call lacks."""
        name = type(self).__name__
        by_position = [one for one in parameters if one.kind is one.POSITIONAL_OR_KEYWORD]
        missing = [
            one.name for one in by_position[len(arguments) :] if one.default is one.empty and one.name not in keywords
        ]
        if not missing:
            return None
        if arguments and hasattr(arguments[0], "edge_index"):
            kind = type(arguments[0]).__name__
            return f"{name} takes features and edges, and got a {kind}: pass data.x and data.edge_index of it"
        names = ", ".join(map(repr, missing))
        known = ", ".join(one.name for one in parameters)
        return f"{name} lacks the argument{'s' if len(missing) > 1 else ''} {names}; its arguments are {known}"

    def _changed_since_made(self) -> str | None:
        """What somebody has changed in the layer that it cannot work with; asked for where a call has failed."""
        return None
