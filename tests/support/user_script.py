"""A user's script for type checkers, run by none: test_types.py says what a checker must find in each line.

Behind ``# type:`` stands the type that is revealed, behind ``# error:`` a part of the error.
"""

# ruff: noqa: B018, F401, F821, I001

import torch

import lcat
from lcat import LCATConv as FromTheTop
from lcat import LCATCnv  # error: has no attribute "LCATCnv"
from lcat.nn import CATConv, CATv2Conv, GATConv, GATv2Conv, GCNConv, LCATConv, LCATv2Conv, from_published
from lcat.nn.models import GAT, GCN, LCAT
from lcat.optim import POGO, Landing
from lcat.study import make_plan, run_study


def outputs(x: torch.Tensor, edges: torch.Tensor, flag: bool) -> None:
    reveal_type(GCNConv(8, 4).forward(x, edges))  # type: Tensor
    reveal_type(GATConv(8, 4).forward(x, edges))  # type: Tensor
    reveal_type(GATConv(8, 4).forward((x, x), edges, edge_weight=x))  # type: Tensor
    reveal_type(GATConv(8, 4).forward(x, edges, return_attention_weights=True))  # type: tuple[Tensor, tuple[Tensor, Tensor]]
    reveal_type(GATConv(8, 4).forward(x, edges, None, None, True))  # type: tuple[Tensor, tuple[Tensor, Tensor]]
    reveal_type(GATv2Conv(8, 4).forward(x, edges, None, True))  # type: tuple[Tensor, tuple[Tensor, Tensor]]
    reveal_type(GATv2Conv(8, 4).forward(x, edges, return_attention_weights=False))  # type: Tensor
    reveal_type(CATConv(8, 4).forward(x, edges, statistic=x))  # type: Tensor
    reveal_type(CATv2Conv(8, 4).forward(x, edges, return_attention_weights=True))  # type: tuple[Tensor, tuple[Tensor, Tensor]]
    reveal_type(LCATConv(8, 4).forward(x, edges))  # type: Tensor
    reveal_type(LCATConv(8, 4).forward(x, edges, return_attention_weights=True))  # type: tuple[Tensor, tuple[Tensor, Tensor]]
    reveal_type(LCATv2Conv(8, 4).forward(x, edges, return_attention_weights=None))  # type: Tensor
    reveal_type(LCATv2Conv(8, 4).forward(x, edges, return_attention_weights=flag))  # type: Tensor | tuple[Tensor, tuple[Tensor, Tensor]] | tuple[Tensor, Any]
    reveal_type(FromTheTop(8, 4).forward(x, edges))  # type: Tensor
    reveal_type(lcat.nn.LCATConv(8, 4).forward(x, edges))  # type: Tensor
    reveal_type(LCATConv(8, 4).lambda1)  # type: Tensor


def accepted(x: torch.Tensor) -> None:
    LCATConv((8, 5), 4, aggr="mean", flow="target_to_source", decomposed_layers=1, aggr_kwargs=None)
    GCNConv(8, 4, node_dim=0, aggr=["add", "max"])
    LCAT(8, 4, 2, out_channels=3, jk="cat", heads=2, lambda1=None, aggr="mean")
    GAT(8, 4, 2, v2=True, edge_dim=3)
    conv = LCATConv(8, 4, fill_value=x)
    conv.lambda1 = 0.3
    conv.lambda2 = None
    plan = make_plan(datasets=["cora"], layers=["gcn"], seeds=3, noise={"edges": [0.1]}, run={"engine": "inline"})
    run_study(plan, "folder", engine="inline", workers=2)


def mistakes(x: torch.Tensor) -> None:
    LCATConv(3, 4, heds=2)  # error: "heds" for "LCATConv"
    LCATv2Conv(8, 4, lambda_1=0.3)  # error: "lambda_1" for "LCATv2Conv"
    CATConv(8, 4, lambda_1=0.3)  # error: "lambda_1" for "CATConv"
    GCNConv(8, 4, normalise=True)  # error: "normalise" for "GCNConv"
    GATConv(3, 4, heads="2")  # error: "heads" to "GATConv" has incompatible type "str"
    GATv2Conv(3, 4, flow="up")  # error: "flow" to "GATv2Conv"
    GATConv(3, 4, fill_value="median")  # error: "fill_value" to "GATConv"
    LCATConv(3, 4, neighbor_aggr="max")  # error: "neighbor_aggr" to "LCATConv"
    LCATConv(3, 4, parametrization="tanh")  # error: "parametrization" to "LCATConv"
    LCAT(8, 4, 2, out_chanels=2)  # error: "out_chanels" for "LCAT"
    GCN(8, 4, 2, jk="sum")  # error: "jk" to "GCN"
    from_published("plain", "v3", {}, in_channels=1, out_channels=1)  # error: "from_published"
    from_published("plain", "v1", {}, in_channels=1, out_channels=1, mode="gta")  # error: "mode" to "from_published"
    from_published("plain", "v1", {}, in_channels=1, out_channels=1, head=2)  # error: "head" for "from_published"
    POGO([x], lr=0.1, base="vadm")  # error: "base" to "POGO"
    Landing([x], lr=0.1, orientation="row")  # error: "orientation" to "Landing"
    plan = make_plan(dataset=["cora"], layers=["gcn"], seeds=1)  # error: "dataset" for "make_plan"
    make_plan(datasets=["cora"], layers=["gcn"], seeds=1, metric="acuracy")  # error: "metric" to "make_plan"
    run_study(plan, "folder", engine="inlne")  # error: "engine" to "run_study"
    run_study(plan, "folder", worker=2)  # error: "worker" for "run_study"
    lcat.optimm  # error: "optimm"
