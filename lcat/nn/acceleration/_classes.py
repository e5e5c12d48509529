"""The classes that layers get while they run on lcat.

Such a class inherits from lcat's layer and from the class that the layer had, so that ``isinstance`` says what it said
before. It is made once for each class, bears its name, and is freed when nothing uses it any more.
"""

from __future__ import annotations

import copyreg
import threading
import weakref
from typing import Any, ClassVar

from torch import nn

from lcat.nn._calls import CheckedCalls
from lcat.nn.acceleration._registry import Adapter, adapted_base, adapter_of

_made: weakref.WeakKeyDictionary[type, weakref.ref[Any]] = weakref.WeakKeyDictionary()
_lock = threading.RLock()
# What a class statement writes down, and what type() makes anew for each class.
_OWN_OF_CLASS = ("__dict__", "__weakref__")


class Swapped(CheckedCalls):
    """First base of all classes of layers that run on lcat."""

    _original_class: ClassVar[type[nn.Module]]

    def _set_jittable_templates(self, raise_on_error: bool = False) -> None:
        """PyG would put code that it generates, and that would run instead of lcat's, on the class."""

    def __reduce_ex__(self, protocol: Any) -> Any:
        """The class cannot be found by its name: a pickle has the name of the original one."""
        reduced = super().__reduce_ex__(max(int(protocol), 2))
        if isinstance(reduced, tuple) and reduced[0] is copyreg.__newobj__ and reduced[1][0] is type(self):  # type: ignore[attr-defined]
            return (_new, (type(self)._original_class, *reduced[1][1:]), *reduced[2:])
        return reduced

    def __prepare_scriptable__(self) -> Any:
        """``torch.jit.script`` gets PyG's layer, which it can compile where PyG can."""
        original = object.__new__(original_class(type(self)))
        original.__dict__.update(self.__dict__)
        return original


def _new(original: type[nn.Module], *arguments: Any) -> Any:
    """An instance without attributes, for what unpickles and copies."""
    cls = original if adapted_base(original) is None else swapped_class(original)
    return cls.__new__(cls, *arguments)


def swapped_class(original: type[nn.Module]) -> type[nn.Module]:
    """The class that a layer of class ``original`` gets.

    Raises:
        TypeError: the bases of ``original`` do not allow one.
    """
    with _lock:
        reference = _made.get(original)
        made: type[nn.Module] | None = None if reference is None else reference()
        if made is None:
            made = _make(original)
            _made[original] = weakref.ref(made)
        return made


def is_swapped(cls: type) -> bool:
    """Whether layers of this class run on lcat because :func:`lcat.accelerate` has swapped them."""
    return "_original_class" in vars(cls) or (issubclass(cls, Swapped) and is_made_by_torch(cls))


def original_class(cls: type) -> type[nn.Module]:
    """The class that a layer of a swapped class had, or would have had."""
    original: type[nn.Module] | None = vars(cls).get("_original_class")
    if original is None:  # torch has made it, of a class that was swapped already
        original = _derived(cls, tuple(original_class(base) if is_swapped(base) else base for base in cls.__bases__))
    elif is_made_by_torch(original):
        _copy_properties(cls, original)
    return original


def is_made_by_torch(cls: type) -> bool:
    """Whether torch has made this class of a layer's own, as parametrizations and ``fully_shard`` do."""
    return cls.__module__.startswith("torch.")


def _make(original: type[nn.Module]) -> type[nn.Module]:
    base = adapted_base(original)
    assert base is not None
    adapter = adapter_of(base)
    if is_made_by_torch(original):
        # torch takes its class off again by its first base, and deletes what it has put on the class itself.
        bases = tuple(swapped_class(one) if adapted_base(one) is not None else one for one in original.__bases__)
        return _derived(original, bases, _original_class=original)
    namespace: dict[str, Any] = {**_steps(adapter), "_original_class": original, "__doc__": original.__doc__}
    namespace["__qualname__"] = original.__qualname__
    if original is base:
        # Their own calls of ``super()`` go on behind PyG's class.
        own = {name: getattr(base, name) for name in ("__init__", "reset_parameters", "__repr__")}
        namespace |= {**own, "__module__": __name__}
        return type(original.__name__, (Swapped, *adapter.parts, base), namespace)
    namespace["__module__"] = original.__module__
    return type(original.__name__, (original, swapped_class(base)), namespace)


def _steps(adapter: Adapter) -> dict[str, Any]:
    """The steps that PyG puts on classes of its own: code that it generates, which would come before lcat's."""
    steps: dict[str, Any] = {}
    for name in ("propagate", "edge_updater"):
        step = next((getattr(part, name) for part in adapter.parts if hasattr(part, name)), None)
        if step is None:
            continue
        # PyG sets these on the instance, when an explainer begins and ends.
        steps |= {name: step, f"_orig_{name}": step, f"_jinja_{name}": step}
    return steps


def _derived(cls: type, bases: tuple[type, ...], **more: Any) -> type[nn.Module]:
    """A class with all that torch has written on ``cls``, on other bases."""
    own = {name: value for name, value in vars(cls).items() if name not in _OWN_OF_CLASS}
    own.pop("_original_class", None)
    derived: type[nn.Module] = type(cls)(cls.__name__, bases, {**own, **more})
    return derived


def _copy_properties(source: type, target: type) -> None:
    """Parametrizations are properties of a class of the layer's own: those registered and removed since the swap."""
    new = {name: value for name, value in vars(source).items() if isinstance(value, property)}
    for name in [name for name, value in vars(target).items() if isinstance(value, property) and name not in new]:
        delattr(target, name)
    for name, value in new.items():
        if name not in vars(target):
            setattr(target, name, value)
