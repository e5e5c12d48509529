"""Raw scalars of a checkpoint are read with the parametrization they were saved with, or refused."""

from __future__ import annotations

import copy
import io
from itertools import permutations, product

import pytest
import torch
import torch_geometric.nn as pyg

import lcat
from lcat.nn import LCATConv, LCATv2Conv, lambdas, models

KINDS = ("published", "sigmoid", "reflected")


@pytest.mark.parametrize(("cls", "pair"), [*product((LCATConv, LCATv2Conv), permutations(KINDS, 2))])
def test_another_parametrization_is_refused(cls, pair):
    saved, own = pair
    layer = cls(8, 4, parametrization=own)
    before = lambdas(layer)
    for strict in (True, False):
        with pytest.raises(RuntimeError, match=f"'raw_lambda1' and 'raw_lambda2'.*'{saved}'.*'{own}'"):
            layer.load_state_dict(cls(8, 4, parametrization=saved).state_dict(), strict=strict)
    assert lambdas(layer) == before


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_one_is_loaded_also_from_a_file(kind):
    first, second = (LCATConv(8, 4, parametrization=kind, lambda1_init=start) for start in (0.25, 0.75))
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    second.load_state_dict(torch.load(file, weights_only=True))
    assert second.lambda1.item() == pytest.approx(0.25)


def test_a_file_of_another_parametrization_is_refused():
    file = io.BytesIO()
    torch.save(torch.nn.Sequential(LCATConv(8, 4)).state_dict(), file)
    file.seek(0)
    other = torch.nn.Sequential(LCATConv(8, 4, parametrization="sigmoid"))
    with pytest.raises(RuntimeError, match=r"'0.raw_lambda1'.*parametrization='published'"):
        other.load_state_dict(torch.load(file, weights_only=True))


def test_an_upgraded_model():
    gat = pyg.GAT(8, 4, 2, out_channels=2)
    lcat.upgrade(gat)
    with pytest.raises(RuntimeError, match=r"convs.1.raw_lambda1.*parametrization='reflected'.*set_lambdas"):
        models.LCAT(8, 4, 2, out_channels=2).load_state_dict(gat.state_dict())
    same = models.LCAT(8, 4, 2, out_channels=2, parametrization="reflected")
    same.load_state_dict(gat.state_dict())
    assert lambdas(same) == lambdas(gat)


def test_keys_stay_and_plain_dicts_load():
    state = LCATConv(8, 4, parametrization="reflected").state_dict()
    assert set(state) == set(LCATConv(8, 4).state_dict())
    LCATConv(8, 4).load_state_dict(dict(state))  # nothing says how it was saved


def test_scalars_that_are_not_read_are_not_compared():
    state = LCATConv(8, 4, parametrization="reflected").state_dict()
    fixed = LCATConv(8, 4, lambda1=1.0, lambda2=0.0)
    fixed.load_state_dict(state, strict=False)
    weights = copy.copy(state)
    del weights["raw_lambda1"], weights["raw_lambda2"]
    layer = LCATConv(8, 4)
    layer.load_state_dict(weights, strict=False)
    assert torch.equal(layer.att_src, state["att_src"])
