"""from_dgl and dgl_edge_weight against numbers of DGL 1.1.3."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from lcat.nn import GATConv, GATv2Conv, dgl_edge_weight, from_dgl

ARCHIVE = np.load(Path(__file__).parent / "dgl_cases.npz")
CASES = json.loads(str(ARCHIVE["cases"]))


def tensors(number, group=""):
    start = f"{number}/{group}"
    return {key[len(start) :]: torch.from_numpy(ARCHIVE[key]) for key in ARCHIVE.files if key.startswith(start)}


@pytest.mark.parametrize("number", range(len(CASES)), ids=[case["name"] for case in CASES])
def test_same_numbers_as_dgl(number):
    case, values = CASES[number], tensors(number)
    layer = from_dgl(case["layer"], tensors(number, "state/"), **case["options"])
    x = (values["x0"], values["x1"]) if "x1" in values else values["x0"]
    weight = values.get("edge_weight")
    if case["options"].get("norm") == "none":
        weight = dgl_edge_weight(values["edge_index"], case["counts"], case["norm"], weight)
    options = {} if weight is None else {"edge_weight": weight}
    torch.testing.assert_close(layer(x, values["edge_index"], **options), values["out"], rtol=1e-5, atol=1e-5)


def test_every_layer_has_cases():
    assert {case["layer"] for case in CASES} == {"GATConv", "GATv2Conv", "GraphConv"}
    assert len(CASES) > 20


def gat_state(**changed):
    state = {"fc.weight": torch.ones(8, 3), "attn_l": torch.ones(1, 2, 4), "attn_r": torch.ones(1, 2, 4)}
    return {name: t for name, t in (state | changed).items() if t is not None}


def test_layer_of_a_model_in_double_precision():
    state = {f"layers.1.{name}": t.double() for name, t in gat_state().items()} | {"head.weight": torch.ones(2, 2)}
    layer = from_dgl("GATConv", state, prefix="layers.1.")
    assert layer.lin.weight.dtype is torch.float64
    assert layer.bias is None


def test_shared_maps_stay_shared():
    weight, bias = torch.ones(8, 3), torch.ones(8)
    state = {"attn": torch.ones(1, 2, 4)}
    for name in ("fc_src", "fc_dst"):
        state |= {f"{name}.weight": weight, f"{name}.bias": bias}
    layer = from_dgl("GATv2Conv", state)
    assert isinstance(layer, GATv2Conv)
    assert layer.lin_l is layer.lin_r
    assert layer.bias is None
    separate = from_dgl("GATv2Conv", {name: t.clone() for name, t in state.items()})
    assert separate.lin_l is not separate.lin_r


def test_the_checkpoint_is_not_shared():
    state = gat_state()
    with torch.no_grad():
        from_dgl("GATConv", state).lin.weight.zero_()
    assert state["fc.weight"].sum() == 24


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: from_dgl("GATConf", gat_state()), ValueError, "did you mean GATConv"),
        (lambda: from_dgl("GATConv", [1]), TypeError, "expected 'state_dict' as a mapping from names to tensors"),
        (lambda: from_dgl("GATConv", {"fc.weight": 5}), TypeError, "names to tensors, got 'fc.weight': int in it"),
        (lambda: from_dgl("GATConv", gat_state(), prefix="conv."), ValueError, "no name in the state_dict begins with"),
        (lambda: from_dgl("GATConv", gat_state(), feat_drop=0.5), TypeError, "apply it outside the layer"),
        (lambda: from_dgl("GATConv", gat_state(), norm="both"), TypeError, "it takes attn_drop"),
        (lambda: from_dgl("GATConv", gat_state(attn_l=None)), ValueError, "'attn_l' is missing"),
        (lambda: from_dgl("GATConv", gat_state(attn_l=torch.ones(8))), ValueError, "expected 3 dimensions"),
        (lambda: from_dgl("GATConv", gat_state(attn_r=torch.ones(1, 2, 5))), ValueError, "att_dst of shape"),
        (lambda: from_dgl("GATConv", gat_state() | {"w": torch.ones(1)}), ValueError, "are left over"),
        (lambda: from_dgl("GATConv", gat_state(), residual=True), ValueError, "check 'residual'"),
        (lambda: from_dgl("GATConv", gat_state(**{"fc.weight": torch.ones(7, 3)})), ValueError, "2 heads of 4"),
        (lambda: from_dgl("GraphConv", {"weight": torch.ones(3, 4)}, norm="right"), ValueError, "dgl_edge_weight"),
        (lambda: from_dgl("GraphConv", {"bias": torch.ones(3)}), ValueError, "'weight' is missing"),
        (lambda: dgl_edge_weight(torch.tensor([[0], [1]]), 2, norm="sym"), ValueError, "it takes 'both'"),
        (lambda: dgl_edge_weight(torch.tensor([[0], [3]]), 2), IndexError, "3"),
        (lambda: dgl_edge_weight(torch.tensor([[0], [1]]), 2, edge_weight=torch.ones(2)), ValueError, "per edge"),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_edge_weights_of_a_matrix_are_its_entries():
    edge_index = torch.tensor([[0, 1, 2], [2, 2, 0]])
    entries = torch.tensor([2.0, 3.0, 4.0])
    matrix = torch.sparse_coo_tensor(edge_index.flip(0), entries, (3, 3)).to_sparse_csr()
    expected = dgl_edge_weight(edge_index, 3, edge_weight=entries)
    by_row = torch.argsort(edge_index[1] * 3 + edge_index[0])
    torch.testing.assert_close(dgl_edge_weight(matrix, 3), expected[by_row])


def test_a_layer_in_place_of_its_name():
    with pytest.raises(TypeError, match=r"write from_dgl\('GATConv', state_dict"):
        from_dgl({"fc.weight": torch.ones(4, 5)}, GATConv(5, 4))
