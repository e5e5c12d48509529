"""Checkpoints that are complete or do not exist: atomic replacement, a checksum, plain data only."""

from __future__ import annotations

import collections
import hashlib
import io
import pickle
import random
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch

from lcat._device import usable_device
from lcat._files import as_path, replace_file

__all__ = ["CheckpointError", "load_checkpoint", "random_state", "restore_random_state", "save_checkpoint"]

_MAGIC = b"lcat checkpoint 1\n"
_HEADER = len(_MAGIC) + 32
_PLAIN = (int, float, complex, bool, str, bytes, torch.Size, torch.dtype, torch.device)
_WAYS_OUT = {
    "numpy": ": torch.as_tensor makes a tensor of it, and .item() a number",
    "pathlib": ": str makes a text of it",
}


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be written or read; the message is one line and names the file."""


def save_checkpoint(path: str | Path, state: dict[str, Any]) -> None:
    r"""Write ``state`` so that ``path`` holds, at any moment and after any failure, the old checkpoint or the new one.

    The bytes go to a new file beside it, which is flushed to the disk and then takes the name; the folder is flushed
    last. A full disk, a kill or a power cut on the way leaves the old file as it was.

    The file is the 18 bytes ``lcat checkpoint 1\n``, the SHA-256 of what follows (32 bytes), and ``torch.save`` of the
    state.

    Args:
        path: the file; its folder is made if it is missing.
        state: tensors, numbers, strings, and lists, tuples and dictionaries of them.

    Raises:
        CheckpointError: the state holds something else, or the file cannot be written; the old file is unchanged.

    Example:
        >>> import torch
        >>> from lcat.train import load_checkpoint, save_checkpoint
        >>> save_checkpoint("run.ckpt", {"weights": torch.ones(2), "epoch": 3})
        >>> load_checkpoint("run.ckpt")["epoch"]
        3
    """
    path = as_path("path", path)
    payload = _serialized(path, state)

    def write(file: IO[bytes]) -> None:
        file.write(_MAGIC)
        file.write(hashlib.sha256(payload).digest())
        file.write(payload)

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, write)
    except OSError as error:
        outcome = "the older checkpoint is kept" if path.exists() else "there is none yet"
        reason = error.strerror or type(error).__name__
        raise CheckpointError(f"cannot write the checkpoint {path}: {reason}; {outcome}") from error


def load_checkpoint(path: str | Path, map_location: Any = "cpu") -> dict[str, Any]:
    """The state in a checkpoint, after its checksum was compared; nothing in the file is run (``weights_only=True``).

    Args:
        path: a file of :func:`save_checkpoint`.
        map_location: where tensors go: a device, or what else ``torch.load`` takes.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: it is no checkpoint, or is damaged: a single changed bit or missing byte is refused.
        ValueError: there is no device of this name, or it cannot be used here.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from lcat.train import load_checkpoint, save_checkpoint
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_checkpoint(Path(folder, "run.ckpt"), {"epoch": 3})
        ...     load_checkpoint(Path(folder, "run.ckpt"))
        {'epoch': 3}
    """
    path = as_path("path", path)
    if isinstance(map_location, (str, torch.device)):
        map_location = usable_device(map_location)  # what torch says of another would be taken for a damaged file
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no checkpoint {path}") from None
    except OSError as error:
        raise CheckpointError(f"cannot read the checkpoint {path}: {error.strerror}") from error
    if not content.startswith(_MAGIC):
        raise CheckpointError(f"{path} is no checkpoint of lcat, or its beginning is damaged; delete it to start again")
    payload = memoryview(content)[_HEADER:]
    if hashlib.sha256(payload).digest() != content[len(_MAGIC) : _HEADER]:
        raise CheckpointError(
            f"the checkpoint {path} is damaged: its checksum does not fit; delete it to start again, or restore a copy"
        )
    try:
        state: dict[str, Any] = torch.load(io.BytesIO(payload), weights_only=True, map_location=map_location)
    except (pickle.UnpicklingError, RuntimeError, ValueError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"{path} holds something other than plain data and tensors; it is not loaded") from error
    return state


def random_state() -> dict[str, Any]:
    """The state of all generators: Python's, NumPy's, torch's on the CPU and on every GPU; plain data.

    Example:
        >>> from lcat.train import random_state
        >>> sorted(random_state())
        ['cuda', 'numpy', 'python', 'torch']
    """
    version, numbers, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    return {
        "python": [version, list(numbers), gauss],
        "numpy": [name, torch.from_numpy(np.asarray(keys).astype(np.int64)), position, has_gauss, cached],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore_random_state(state: dict[str, Any]) -> None:
    """Put all generators back where :func:`random_state` saw them.

    Raises:
        CheckpointError: the state is of a machine with another number of GPUs, or no state of :func:`random_state`. All
            generators are as before then.

    Example:
        >>> import torch
        >>> from lcat.train import random_state, restore_random_state
        >>> state = random_state()
        >>> first = torch.rand(3)
        >>> restore_random_state(state)
        >>> torch.equal(torch.rand(3), first)
        True
    """
    try:
        generators = _generators(state)
    except (AttributeError, LookupError, TypeError, ValueError, RuntimeError, OverflowError) as error:
        got = ", ".join(map(repr, state)) if isinstance(state, dict) else type(state).__name__
        raise CheckpointError(
            f"expected what random_state() returned, with the states of 'python', 'numpy', 'torch' and 'cuda', got "
            f"{got} ({type(error).__name__}: {error})"
        ) from error
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if len(state["cuda"]) != gpus:
        raise CheckpointError(
            f"the checkpoint has the generators of {len(state['cuda'])} GPUs, and here are {gpus}: "
            "resume on as many, so that the run continues as it would have"
        )
    python, numpy, cpu = generators
    random.setstate(python.getstate())
    np.random.set_state(numpy.get_state(legacy=False))
    torch.set_rng_state(cpu.get_state())
    if gpus:
        torch.cuda.set_rng_state_all(state["cuda"])


def _generators(state: dict[str, Any]) -> tuple[random.Random, np.random.RandomState, torch.Generator]:
    """Generators in these states, made before the global ones are touched."""
    python, numpy, cpu = random.Random(), np.random.RandomState(), torch.Generator()
    version, numbers, gauss = state["python"]
    python.setstate((version, tuple(numbers), gauss))
    name, keys, position, has_gauss, cached = state["numpy"]
    numpy.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, cached))
    cpu.set_state(state["torch"])
    if not all(isinstance(one, torch.Tensor) and one.dtype == torch.uint8 for one in state["cuda"]):
        raise TypeError("the states of GPUs must be tensors of bytes")
    return python, numpy, cpu


def _serialized(path: Path, state: dict[str, Any]) -> bytes:
    """The state as bytes that are known to load again."""
    buffer = io.BytesIO()
    try:
        torch.save(state, buffer)
        buffer.seek(0)
        torch.load(buffer, weights_only=True, map_location="cpu")
    except (pickle.PicklingError, pickle.UnpicklingError, AttributeError, TypeError) as error:
        raise CheckpointError(
            f"the state for {path} holds more than tensors, numbers, strings, lists and dictionaries, and would not "
            f"load again ({_first_other(state) or type(error).__name__})"
        ) from error
    return buffer.getvalue()


def _first_other(state: Any, name: str = "state", depth: int = 0) -> str:
    """Where a state holds something else, for the message; empty if it is not known."""
    if depth > 50:
        return ""
    if type(state) in (dict, collections.OrderedDict):
        pairs = [(f"{name}[{key!r}]", value) for key, value in state.items()]
        pairs += [(f"a key of {name}", key) for key in state]
    elif type(state) in (list, tuple, set):
        pairs = [(f"{name}[{number}]", value) for number, value in enumerate(state)]
    elif state is None or isinstance(state, torch.Tensor) or type(state) in _PLAIN:
        return ""
    else:
        kind = type(state)
        title = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
        return f"{name} is of type {title}{_WAYS_OUT.get(kind.__module__, '')}"
    return next(filter(None, (_first_other(value, title, depth + 1) for title, value in pairs)), "")
