"""What people pass by mistake is refused with a message of lcat's own, or changes nothing that they did not ask for."""

import networkx
import numpy as np
import pandas
import pytest
import torch

from lcat.data import DataError, csbm, from_frames, from_networkx
from lcat.nn import GATConv, LambdaSchedule, LCATConv, from_dgl, from_published, models
from lcat.study import HyperParameters, build_model, compare, extended_plan, make_plan, regret, run_study
from lcat.train import WholeGraph, fit_task, layerwise_inference


@pytest.fixture(scope="module")
def results():
    plan = make_plan(datasets=["csbm:easy,n=60"], layers=["gcn", "gat"], seeds=2, overrides={"epochs": 1})
    return run_study(plan).study.results()


@pytest.mark.parametrize("function", [compare, regret])
@pytest.mark.parametrize("wrong", ["1%", -1, float("nan")])
def test_margins_that_are_no_numbers_above_zero(function, wrong, results):
    with pytest.raises(ValueError, match="margin must be"):
        function(results, margin=wrong)


@pytest.mark.parametrize("alpha", [5, "0.05", float("nan")])
def test_levels_of_regret_without_an_answer(alpha, results):
    with pytest.raises(ValueError, match=r"alpha must be between 0 and 0\.5"):
        regret(results, alpha=alpha)


@pytest.mark.parametrize(
    ("questions", "message"),
    [
        (["gcn"], "questions must be a table"),
        ({"a": ("gcn", "gat")}, "a list of candidates"),
        ({"a": "gcn"}, "a list of candidates"),
        ({"a": ("gcnn", ["gat"])}, "got 'gcnn' .did you mean gcn"),
        ({"a": ("gcn", ["gat", "lcatt"])}, "got 'lcatt' .did you mean lcat"),
    ],
)
def test_questions_of_regret(questions, message, results):
    with pytest.raises((TypeError, ValueError), match=message):
        regret(results, questions=questions)


def test_questions_about_layers_that_did_not_run_stay_unanswered(results):
    assert regret(results, questions={"a": ("lcat", ["sage", "gat"])}).empty


def test_copies_of_plans_are_checked():
    plan = make_plan(datasets=["csbm:easy,n=60"], layers=["gcn"], seeds=2, run={"engine": "inline"})
    copy = plan.model_copy(update={"layers": ["gat"]})
    assert copy.layers == ("gat",)
    assert copy.run.model_fields_set == plan.run.model_fields_set
    assert plan.model_copy() == plan
    for update, message in (
        ({"sedes": 3}, "did you mean seeds"),
        ({"layers": ["gatt"]}, "gatt"),
        ({"seeds": 5.5}, "seeds"),
    ):
        with pytest.raises(ValueError, match=message):
            plan.model_copy(update=update)
    with pytest.raises(ValueError, match="heads: must be a whole number; got 'two'"):
        HyperParameters().model_copy(update={"heads": "two"})


@pytest.mark.parametrize(
    "values",
    [
        pandas.to_datetime(["2020", "2021", "2022", "2023"]),
        pandas.to_timedelta([1, 2, 3, 4]),
        np.array([1j, 2, 3, 4]),
    ],
)
def test_columns_that_only_look_like_numbers(values):
    nodes = pandas.DataFrame({"id": [1, 2, 3, 4], "a": 1.0, "label": list("xyxy")})
    edges = pandas.DataFrame({"source": [1, 2, 3, 4], "target": [2, 3, 4, 1]})
    with pytest.raises(DataError, match="the frame of nodes, row 0, column when: expected a number"):
        from_frames(nodes.assign(when=values), edges)
    with pytest.raises(DataError, match="the frame of edges, row 0, column when: expected a number"):
        from_frames(nodes, edges.assign(when=values))
    graph = networkx.path_graph(4)
    networkx.set_node_attributes(graph, {node: node % 2 for node in graph}, "label")
    networkx.set_node_attributes(graph, {node: np.asarray(values)[node] for node in graph}, "when")
    with pytest.raises(DataError, match="attribute 'when'"):
        from_networkx(graph)


def test_arguments_of_the_wrong_kind():
    data = csbm(n=60, seed=0)
    plan = make_plan(datasets=["csbm:easy,n=60"], layers=["gcn"], seeds=2)
    model = models.GAT(data.num_features, 4, 2, out_channels=2)
    for call, message in (
        (lambda: from_dgl({"fc.weight": torch.ones(4, 5)}, GATConv(5, 4)), "write from_dgl.'GATConv', state_dict"),
        (lambda: from_published({}, "v1", {}), "write from_published"),
        (lambda: fit_task(model, data), "fit.model, data, split. trains on a graph"),
        (lambda: extended_plan("folder", layers=["gat"]), "Study.load"),
        (lambda: build_model("gcn", 3, 2, {"heads": 2}), "HyperParameters"),
        (
            lambda: run_study(plan.model_copy(update={"seeds": (0,), "overrides": {"epochs": 1}})).study.predictions(3),
            "key",
        ),
        (lambda: WholeGraph(data, {"val": data.val_mask}, row=3), "did you mean rows"),
    ):
        with pytest.raises(TypeError, match=message):
            call()


def test_schedules_of_scalars_that_would_change_nothing():
    with pytest.raises(ValueError, match="nothing would change"):
        LambdaSchedule(LCATConv(4, 4), 10)
    with pytest.raises(ValueError, match="no CAT or L-CAT layer"):
        LambdaSchedule(models.GAT(4, 4, 2), 10, lambda1=(0.0, 1.0))


@pytest.mark.skipif(torch.cuda.is_available(), reason="the device is here")
def test_devices_that_are_not_here():
    data = csbm(n=60, seed=0)
    model = models.GAT(data.num_features, 4, 2, out_channels=2)
    with pytest.raises(ValueError, match="expected a device that can be used here, got 'cuda'"):
        layerwise_inference(model, data.x, data.edge_index, device="cuda")
    plan = make_plan(datasets=["csbm:easy,n=60"], layers=["gcn"], seeds=1, run={"device": "cuda", "engine": "inline"})
    with pytest.raises(ValueError, match="expected a device that can be used here, got 'cuda'"):
        run_study(plan)
