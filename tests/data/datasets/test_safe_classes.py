"""What others have allowed torch to read stays allowed."""

from __future__ import annotations

import pytest
import torch
from torch_geometric.data import Data
from torch_geometric.data.data import DataEdgeAttr

from lcat.data.datasets._safe_classes import allowed


@pytest.mark.parametrize("fails", [False, True])
def test_leaves_things_as_they_were(fails):
    torch.serialization.add_safe_globals([Data])
    before = set(torch.serialization.get_safe_globals())
    assert DataEdgeAttr not in before
    try:
        with allowed([Data, DataEdgeAttr]):
            assert set(torch.serialization.get_safe_globals()) == before | {DataEdgeAttr}
            if fails:
                raise KeyError
    except KeyError:
        pass
    assert set(torch.serialization.get_safe_globals()) == before
