"""Plans: cells, defaults, identity, and refusals that name the setting, what it got and what is allowed."""

from __future__ import annotations

import json

import pytest

from lcat.data import CATALOGUE
from lcat.study import (
    LAYERS,
    Cell,
    HyperParameters,
    Overrides,
    PlanError,
    default_hyper_parameters,
    demo_plan,
    make_plan,
)


def test_cells_are_the_product_with_layers_innermost():
    plan = make_plan(datasets=["cora", "photo"], layers=["gcn", "lcat"], seeds=[0, 1])
    names = [(cell.dataset, cell.seed, cell.layer) for cell in plan.cells()]
    assert names[:4] == [("cora", 0, "gcn"), ("cora", 0, "lcat"), ("cora", 1, "gcn"), ("cora", 1, "lcat")]
    assert len(names) == 8


def test_names_are_normalised_and_repeats_dropped():
    plan = make_plan(datasets=["Cora", "cora", "twitch_en"], layers=["gcn", "gcn"], seeds=[1, 1])
    assert (plan.datasets, plan.layers, plan.seeds) == (("cora", "twitch-en"), ("gcn",), (1,))


def test_overrides_reach_every_cell_and_only_what_they_name():
    plan = make_plan(datasets=["cora"], layers=["gcn", "gat"], seeds=[0], overrides={"lr": 0.5})
    for cell in plan.cells():
        default = default_hyper_parameters("cora", cell.layer)
        assert cell.hyper == HyperParameters(**{**default.model_dump(), "lr": 0.5})


def test_every_data_set_and_layer_has_valid_defaults():
    for dataset in [*CATALOGUE, "csbm:easy"]:
        layers = [name for name in LAYERS if not name.endswith("theory")]
        plan = make_plan(datasets=[dataset], layers=layers, seeds=[0])
        assert len(plan.cells()) == 8


def test_closed_form_layers_run_on_their_own_graphs_alone():
    plan = make_plan(datasets=["cora", "csbm:easy"], layers=["gcn", "gat-theory"], seeds=[0])
    assert [(cell.dataset, cell.layer) for cell in plan.cells()] == [
        ("cora", "gcn"),
        ("csbm:easy", "gcn"),
        ("csbm:easy", "gat-theory"),
    ]


def test_key_is_stable_and_depends_on_everything():
    cell = Cell(dataset="cora", layer="gcn", seed=0, hyper=HyperParameters())
    again = Cell(**json.loads(json.dumps(cell.model_dump())))
    assert again == cell
    assert again.key == cell.key
    others = [
        cell.model_copy(update={"dataset": "photo"}),
        cell.model_copy(update={"layer": "gat"}),
        cell.model_copy(update={"seed": 1}),
        cell.model_copy(update={"hyper": HyperParameters(lr=0.02)}),
    ]
    assert len({cell.key, *(other.key for other in others)}) == 5


def test_demo_holds_the_four_regimes():
    plan = demo_plan()
    assert len(plan.datasets) == 4
    assert set(plan.layers) == set(LAYERS)
    assert len(plan.cells()) == 4 * 11 * 3


def test_plans_are_frozen():
    with pytest.raises(ValueError, match="frozen"):
        demo_plan().seeds = (1,)
    with pytest.raises(ValueError, match="frozen"):
        Overrides().lr = 1.0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"datasets": ["coraa"]}, ["'coraa'", "did you mean cora"]),
        ({"datasets": []}, ["datasets", "at least 1"]),
        ({"datasets": ["csbm:medium"]}, ["'medium' is no option", "csbm:easy or csbm:hard"]),
        ({"datasets": ["csbm:q=x"]}, ["q must be a number", "'x'"]),
        ({"datasets": ["csbm"]}, ["csbm:hard,q=0.3"]),
        ({"datasets": ["gone.pt"]}, ["there is no file gone.pt"]),
        ({"layers": ["gta"]}, ["layers", "'gta'", "did you mean gat", "lcatv2"]),
        ({"layers": []}, ["layers", "at least 1"]),
        ({"seeds": [-1]}, ["seeds", "-1", "2^32"]),
        ({"seeds": []}, ["seeds", "at least 1"]),
        ({"overrides": {"lr": -1.0}}, ["overrides.lr", "greater than 0", "-1.0"]),
        ({"overrides": {"dropout": 1.0}}, ["overrides.dropout", "less than 1", "1.0"]),
        ({"overrides": {"epochs": 0}}, ["overrides.epochs", "greater than or equal to 1", "got 0"]),
        ({"overrides": {"optimizer": "adamm"}}, ["overrides.optimizer", "adam, adamw, ", "'adamm'"]),
        ({"overrides": {"schedule": "cos"}}, ["overrides.schedule", "cosine", "'cos'"]),
        ({"overrides": {"norm": "group"}}, ["overrides.norm", "'batch'", "'group'"]),
        ({"overrides": {"width": 3}}, ["overrides.width", "not permitted", "3"]),
        ({"layers": ["gat"], "overrides": {"hidden": 30}}, ["hidden 30", "heads 8", "gat on cora"]),
        ({"overrides": {"epochs": 5, "warmup": 5}}, ["warmup 5", "epochs 5"]),
    ],
)
def test_refusals(change, words):
    settings = {"datasets": ["cora"], "layers": ["gcn"], "seeds": [0], **change}
    with pytest.raises(PlanError) as caught:
        make_plan(**settings)
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)
