"""The source of an own model: found, imported, and known by a hash."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from lcat._text import hint

__all__ = ["ModelSource", "NoSuchModel", "attribute_of", "import_source", "source_of"]

#: Modules from files, by path and hash: a file that has changed is imported again.
_MODULES: dict[tuple[Path, str], ModuleType] = {}


class NoSuchModel(ValueError):
    """A file, module or name that does not exist; the message says where it was looked for."""


@dataclass(frozen=True)
class ModelSource:
    """Where a model comes from.

    Attributes:
        hash: 16 hexadecimal digits of the files it is made of; empty if there is no file, as for some of a notebook.
        file: the main one.
        text: of the main one.
    """

    hash: str = ""
    file: str = ""
    text: str = ""


def import_source(where: str, base: Path) -> ModuleType:
    """The module in a file (``models.py``) or of a package (``my_package.models``).

    Args:
        where: path that ends in ``.py``, or name of a module.
        base: folder that relative paths start from; modules are looked for there, too.

    Raises:
        NoSuchModel: if there is none.
        Exception: what the module itself raises.
    """
    if where.endswith(".py"):
        return _import_file(base / where, where)
    try:
        with _importing_from(base):
            return importlib.import_module(where)
    except ModuleNotFoundError as error:
        if error.name is not None and (where == error.name or where.startswith(f"{error.name}.")):
            raise NoSuchModel(
                f"there is no module {where} (no {error.name} in the packages of this Python, nor in "
                f"{base.absolute()}); a file is written with its ending, as in models.py:MyNet"
            ) from None
        raise


def _import_file(path: Path, where: str) -> ModuleType:
    path = path.resolve()
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise NoSuchModel(f"there is no file {where} (looked for as {path})") from None
    except OSError as error:
        raise NoSuchModel(f"the file {where} cannot be read: {error.strerror or error}") from None
    key = (path, hashlib.sha256(content).hexdigest())
    if key not in _MODULES:
        name = f"lcat_own_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        module = importlib.util.module_from_spec(spec)
        before = sys.modules.get(name)
        sys.modules[name] = module
        try:
            with _importing_from(path.parent):
                exec(compile(content, str(path), "exec"), module.__dict__)  # the bytes that were hashed
        except BaseException:
            if before is None:
                del sys.modules[name]
            else:
                sys.modules[name] = before
            raise
        _MODULES[key] = module
    return _MODULES[key]


@contextmanager
def _importing_from(folder: Path) -> Iterator[None]:
    """Find modules in a folder first, as Python does for those beside a script."""
    entry = str(folder.resolve())
    sys.path.insert(0, entry)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        if entry in sys.path:
            sys.path.remove(entry)


def attribute_of(module: ModuleType, name: str, where: str) -> Any:
    """What a module calls ``name``, which may have dots.

    Raises:
        NoSuchModel: with names that are similar.
    """
    value: Any = module
    for part in name.split("."):
        if not hasattr(value, part):
            known = [one for one, what in vars(value).items() if callable(what) and not one.startswith("_")]
            own = [one for one in known if getattr(getattr(value, one), "__module__", "") == module.__name__]
            names = f"; it has {', '.join(own)}" if own else ""
            raise NoSuchModel(f"{where} has no {name!r}{hint(part, known)}{names}")
        value = getattr(value, part)
    return value


def source_of(model: Any) -> ModelSource:
    """The source of a class or function, with the files beside its own that it is made of.

    These are the modules that its module names, directly or through others, as long as they lie in the folder of its
    file, or in its package. Libraries are not among them.
    """
    model = inspect.unwrap(getattr(model, "func", model))
    if not (inspect.isclass(model) or inspect.isfunction(model) or inspect.ismethod(model)):
        model = type(model)
    try:
        file = inspect.getsourcefile(model)
    except TypeError:
        file = None
    if file is None or not Path(file).is_file():
        return _text_of(model)
    path = Path(file).resolve()
    module = sys.modules.get(model.__module__)
    files = {path}
    if module is not None:
        root = path.parent
        for _ in range(getattr(module, "__name__", "").count(".") if not _is_from_file(module) else 0):
            root = root.parent
        if root.name in ("site-packages", "dist-packages"):  # its neighbors are other libraries
            root = root / module.__name__.partition(".")[0]
        with warnings.catch_warnings():  # to look at a name is not to use what it warns of
            warnings.simplefilter("ignore")
            files |= _files_below(root, module)
    texts = {str(one.relative_to(path.anchor)): one.read_bytes() for one in files}
    main = path.read_text(encoding="utf-8", errors="replace")
    # Without names of folders: a project that moves stays the same.
    parts = sorted(hashlib.sha256(text).hexdigest() for text in texts.values())
    return ModelSource(hashlib.sha256("".join(parts).encode()).hexdigest()[:16], str(path), main)


def _text_of(model: Any) -> ModelSource:
    """Of what was written into a notebook or a prompt, as far as Python remembers it."""
    try:
        text = inspect.getsource(model)
    except (OSError, TypeError):
        return ModelSource()
    return ModelSource(hashlib.sha256(text.encode()).hexdigest()[:16], "", text)


def _is_from_file(module: ModuleType) -> bool:
    return module.__name__.startswith("lcat_own_")


def _files_below(root: Path, module: ModuleType) -> set[Path]:
    """Files of the module and of those that it names, below ``root``."""
    files: set[Path] = set()
    waiting, seen = [module], set()
    while waiting:
        one = waiting.pop()
        if one.__name__ in seen:
            continue
        seen.add(one.__name__)
        file = getattr(one, "__file__", None)
        path = Path(file).resolve() if file else None
        if path is None or not path.is_relative_to(root) or "site-packages" in path.relative_to(root).parts:
            continue
        if path.suffix == ".py":
            files.add(path)
        for value in list(vars(one).values()):
            other = (
                value if isinstance(value, ModuleType) else sys.modules.get(getattr(value, "__module__", None) or "")
            )
            if isinstance(other, ModuleType):
                waiting.append(other)
    return files
