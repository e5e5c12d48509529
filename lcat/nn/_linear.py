"""What may be assumed of a linear map that a user can replace or hook."""

from __future__ import annotations

from typing import Any

from torch.nn.modules.module import _has_any_global_hook
from torch_geometric.nn.dense.linear import Linear, is_uninitialized_parameter


def is_plain(linear: Any) -> bool:
    """Whether a call of ``linear`` is ``x @ weight.T + bias`` and nothing more.

    Only then may a layer use its weight itself, or let the map change places with a sum.
    """
    if type(linear) is not Linear or is_uninitialized_parameter(linear.weight):
        return False
    hooks = (linear._forward_hooks, linear._forward_pre_hooks, linear._backward_hooks, linear._backward_pre_hooks)
    return not any(hooks) and not _has_any_global_hook()
