"""What some versions of torch and PyG cannot do, whatever lcat does."""

from __future__ import annotations

import pytest
import torch
import torch_geometric

__all__ = ["needs_to_hetero", "pyg_at_least"]


def pyg_at_least(version):
    """Whether the installed PyG is this version or a later one."""
    return tuple(map(int, torch_geometric.__version__.split(".")[:2])) >= tuple(map(int, version.split(".")))


# PyG 2.6.0's to_hetero reads names of torch.fx that torch 2.9 no longer has; its own layers fail there too.
needs_to_hetero = pytest.mark.skipif(
    not hasattr(torch.fx._symbolic_trace, "List") and not pyg_at_least("2.7"),
    reason="to_hetero of this version of PyG does not run on this version of torch",
)
