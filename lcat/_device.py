"""Devices as users name them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["host_waits_for", "read_device", "usable_device"]


def read_device(device: Any, *, otherwise: str = "") -> torch.device:
    """``device`` as a torch.device.

    Args:
        device: a torch.device, or its name.
        otherwise: what ends the message for anything else: what the caller probably meant.

    Raises:
        TypeError: neither of them.
        ValueError: no device has this name.

    Example:
        >>> from lcat._device import read_device
        >>> read_device("cpu")
        device(type='cpu')
    """
    if isinstance(device, torch.device):
        return device
    if not isinstance(device, str):
        raise TypeError(
            f"expected 'device' as a torch.device or its name, such as 'cpu' or 'cuda:0', got {device!r} of type "
            f"{type(device).__name__}{otherwise}"
        )
    try:
        return torch.device(device)
    except RuntimeError:  # torch lists all kinds of devices that exist anywhere
        raise ValueError(f"expected 'device' such as 'cpu', 'cuda' or 'cuda:0', got {device!r}{otherwise}") from None


def usable_device(device: Any) -> torch.device:
    """``device`` as a torch.device that this machine has.

    Raises:
        TypeError: it is neither a torch.device nor a name.
        ValueError: no device has this name, or it cannot be used here.

    Example:
        >>> from lcat._device import usable_device
        >>> usable_device("cpu")
        device(type='cpu')
    """
    usable = read_device(device)
    try:
        torch.empty(0, device=usable)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"expected a device that can be used here, got {str(usable)!r}: {reason}") from error
    return usable


def host_waits_for(tensor: Tensor) -> bool:
    """Whether reading a value of ``tensor`` waits for everything that was launched before: on every device but CPUs."""
    return not tensor.is_cpu
