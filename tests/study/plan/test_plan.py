"""Plans: cells, defaults, identity, and refusals that name the setting, what it got and what is allowed."""

from __future__ import annotations

import hashlib
import json
from typing import get_args, get_origin

import numpy as np
import pytest
import torch
from pydantic import BaseModel

from lcat.data import CATALOG, csbm
from lcat.study import (
    LAYERS,
    Budget,
    Cell,
    HyperParameters,
    Noise,
    NoisePlan,
    Overrides,
    PlanError,
    RunSettings,
    SplitChoice,
    StudyPlan,
    default_hyper_parameters,
    load_plan,
    make_plan,
    run_study,
)
from lcat.study.models.layers import DEFAULT_LAYERS, THEORY_LAYERS
from lcat.study.plan.plan import demo_plan


def test_cells_are_the_product_with_layers_innermost():
    plan = make_plan(datasets=["cora", "photo"], layers=["gcn", "lcat"], seeds=[0, 1])
    names = [(cell.dataset, cell.seed, cell.layer) for cell in plan.cells()]
    assert names[:4] == [("cora", 0, "gcn"), ("cora", 0, "lcat"), ("cora", 1, "gcn"), ("cora", 1, "lcat")]
    assert len(names) == 8


def test_names_are_normalized_and_repeats_dropped():
    plan = make_plan(datasets=["Cora", "cora", "twitch_en"], layers=["gcn", "gcn"], seeds=[1, 1])
    assert (plan.datasets, plan.layers, plan.seeds) == (("cora", "twitch-en"), ("gcn",), (1,))


def test_overrides_reach_every_cell_and_only_what_they_name():
    plan = make_plan(datasets=["cora"], layers=["gcn", "gat"], seeds=[0], overrides={"lr": 0.5})
    for cell in plan.cells():
        default = default_hyper_parameters("cora", cell.layer)
        assert cell.hyper == HyperParameters(**{**default.model_dump(), "lr": 0.5})


def test_every_data_set_and_layer_has_valid_defaults():
    for dataset in [*CATALOG, "csbm:easy"]:
        layers = [name for name in LAYERS if not name.endswith("theory")]
        plan = make_plan(datasets=[dataset], layers=layers, seeds=[0])
        assert len(plan.cells()) == 10


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
        cell.model_copy(update={"hyper": HyperParameters(orthogonal_lr=0.1)}),
        cell.model_copy(update={"hyper": HyperParameters(orthogonal_include="*")}),
    ]
    assert len({cell.key, *(other.key for other in others)}) == 7


def test_a_key_is_the_hash_of_all_values():
    cell = Cell(dataset="cora", layer="gcn", seed=0, hyper=HyperParameters())
    plain = {"dataset": "cora", "layer": "gcn", "seed": 0, "hyper": HyperParameters().identity()}
    plain["split"] = {"rule": "own", "seed": 0, "repeat": None, "fold": None, "inner_fold": None}
    plain["noise"] = {"kind": "none", "level": 0.0}
    assert cell.key == hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:16]


def test_no_patience_is_none_in_every_spelling():
    for written in ("none", None):
        plan = make_plan(datasets=["cora"], layers=["gcn"], seeds=1, overrides={"patience": written})
        assert plan.cells()[0].hyper.patience is None
        assert plan.cells()[0].hyper.fit_config().patience is None
        assert StudyPlan(**json.loads(plan.model_dump_json())) == plan
    grid = make_plan(datasets=["cora"], layers=["gcn"], seeds=1, grid={"patience": ["none", 5]})
    assert [cell.hyper.patience for cell in grid.cells()] == [None, 5]
    with pytest.raises(ValueError, match=r'(?s)patience.*at least 1, or "none".*got 0'):
        HyperParameters(patience=0)
    for part in ({"overrides": {"patience": 0}}, {"grid": {"patience": [0]}}):
        with pytest.raises(PlanError, match=r'patience: must be at least 1, or "none".*got 0'):
            make_plan(datasets=["cora"], layers=["gcn"], seeds=1, **part)


def test_config_keys_leave_out_seeds_and_folds_alone():
    base = {"dataset": "cora", "layer": "gcn", "seed": 0, "hyper": HyperParameters()}
    split = SplitChoice(rule="repeated:5x3", seed=1, repeat=0, fold=0)
    cell = Cell(**base, split=split)
    same = [
        {"seed": 5},
        {"split": split.model_copy(update={"fold": 3})},
        {"split": split.model_copy(update={"repeat": 2})},
    ]
    other = [
        {"split": split.model_copy(update={"seed": 2})},
        {"split": SplitChoice(rule="kfold:5", seed=1)},
        {"noise": Noise(kind="edges", level=0.1)},
        {"hyper": HyperParameters(lr=1.0)},
        {"layer": "gat"},
        {"dataset": "photo"},
    ]
    assert {cell.model_copy(update=change).config_key for change in same} == {cell.config_key}
    assert len({cell.config_key, *(cell.model_copy(update=change).config_key for change in other)}) == 7
    assert len({cell.model_copy(update=change).key for change in [{}, *same, *other]}) == 10
    assert cell.model_copy(update={"dataset": "photo"}).model_key == cell.model_key


def test_grids_splits_and_noise_multiply():
    plan = make_plan(
        datasets=["cora", "photo"],
        layers=["gcn", "gat"],
        seeds=2,
        split="repeated:3x2",
        noise={"edges": [0, 0.1, 0.1], "features": [1]},
        grid={"lr": [0.1, 0.01], "dropout": [0.2]},
    )
    cells = plan.cells()
    assert len(cells) == len({cell.key for cell in cells}) == 2 * 2 * 2 * 6 * 3 * 2
    assert {str(cell.noise) for cell in cells} == {"no noise", "noise on edges 0.1", "noise on features 1"}
    assert {cell.hyper.dropout for cell in cells} == {0.2}
    assert [cell.layer for cell in cells[:4]] == ["gcn", "gat", "gcn", "gat"]


def test_a_grid_gives_a_layer_only_what_matters_to_it():
    plan = make_plan(
        datasets=["cora"], layers=["gcn", "gat", "lcat"], seeds=1, grid={"heads": [1, 8], "lambda1_init": [0.3, 0.6]}
    )
    count = {layer: sum(cell.layer == layer for cell in plan.cells()) for layer in plan.layers}
    assert count == {"gcn": 1, "gat": 2, "lcat": 4}


def test_a_grid_gives_closed_forms_only_what_matters_to_them():
    meaningless = {"hidden_channels": [8, 16], "heads": [1, 8], "num_layers": [1, 2], "norm": ["none", "batch"]}
    shares = ("dropout", "input_dropout", "attention_dropout", "weight_decay")
    meaningless |= {name: [0.0, 0.5] for name in shares}
    lambdas = {"lambda1_init": [0.3, 0.6]}
    layers = ["gat-theory", "lcat-theory"]
    plan = make_plan(datasets=["csbm:easy"], layers=layers, seeds=1, grid={**meaningless, **lambdas, "lr": [0.1, 0.2]})
    assert [len(plan.hypers("csbm:easy", layer)) for layer in layers] == [2, 4]
    plan = make_plan(datasets=["csbm:easy"], layers=[*layers, "gat"], seeds=1, grid={"scalar_lr": [1, 10]})
    assert [len(plan.hypers("csbm:easy", layer)) for layer in plan.layers] == [2, 2, 1]


def test_none_is_a_word_where_a_setting_may_be_none(tmp_path):
    (tmp_path / "plan.toml").write_text(TOML + '[grid]\nclip_norm = ["none", 1]\nnorm = ["none", "batch"]\n')
    plan = load_plan(tmp_path / "plan.toml")
    assert plan.grid == {"clip_norm": (None, 1.0), "norm": ("none", "batch")}
    assert {cell.hyper.clip_norm for cell in plan.cells()} == {None, 1.0}
    values = {"attention_dropout": ["none", 0.5]}
    plan = make_plan(datasets=["cora"], layers=["gat"], seeds=1, search={"space": values})
    assert plan.search.space == {"attention_dropout": (None, 0.5)}


def test_a_search_plans_no_cells_yet():
    assert make_plan(datasets=["cora"], layers=["gcn"], seeds=1, search={"space": {"lr": [0.1, 0.2]}}).cells() == []


def test_demo_holds_the_four_regimes():
    plan = demo_plan()
    assert len(plan.datasets) == 4
    assert set(plan.layers) == {*DEFAULT_LAYERS, *THEORY_LAYERS}
    assert len(plan.cells()) == 4 * 11 * 3


def test_plans_are_frozen():
    with pytest.raises(ValueError, match=r"^seeds: StudyPlan is frozen, because .* make another one$"):
        demo_plan().seeds = (1,)
    with pytest.raises(ValueError, match=r"^lr: Overrides is frozen"):
        Overrides().lr = 1.0
    with pytest.raises(ValueError, match=r"^level: Noise is frozen"):
        del Noise().level


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"datasets": ["coraa"]}, ["'coraa'", "did you mean cora"]),
        ({"datasets": []}, ["datasets", "at least 1"]),
        ({"datasets": ["csbm:medium"]}, ["'medium' is no option", "csbm:easy or csbm:hard"]),
        ({"datasets": ["csbm:q=x"]}, ["q must be a number", "'x'"]),
        ({"datasets": ["csbm:easy,n=60,n=70"]}, ["n is given twice; give it once"]),
        ({"datasets": ["csbm:n=60, easy,n=60"]}, ["n is given twice; give it once"]),
        ({"datasets": ["csbm:easy,hard"]}, ["expected one of easy and hard, got two"]),
        ({"datasets": ["csbm:easy,easy"]}, ["expected one of easy and hard, got two"]),
        ({"datasets": ["csbm:easy,n=1.5"]}, ["n must be a whole number; got '1.5'"]),
        ({"datasets": ["csbm:easy,n=true"]}, ["n must be a number; got 'true'"]),
        ({"datasets": ["csbm:easy,sigmma=1"]}, ["'sigmma=1' is no option (did you mean sigma?)"]),
        ({"datasets": ["csbm:easi"]}, ["'easi' is no option (did you mean easy?)"]),
        ({"datasets": ["csbm"]}, ["csbm:hard,q=0.3"]),
        ({"datasets": ["gone.pt"]}, ["there is no file gone.pt"]),
        ({"layers": ["gta"]}, ["layers", "'gta'", "did you mean gat", "lcatv2"]),
        ({"layers": []}, ["layers", "at least 1"]),
        ({"seeds": [-1]}, ["seeds", "-1", "2^32"]),
        ({"seeds": []}, ["seeds", "at least 1"]),
        ({"overrides": {"lr": -1.0}}, ["overrides.lr", "greater than 0", "-1.0"]),
        ({"overrides": {"lr": float("inf")}}, ["overrides.lr", "finite number", "inf"]),
        ({"overrides": {"dropout": 1.0}}, ["overrides.dropout", "less than 1", "1.0"]),
        ({"margin": float("nan")}, ["margin", "must be a finite number", "nan"]),
        ({"margin": float("inf")}, ["margin", "must be a finite number", "inf"]),
        ({"overrides": {"epochs": 0}}, ["overrides.epochs", "at least 1", "got 0"]),
        ({"overrides": {"optimizer": "adamm"}}, ["overrides.optimizer", "adam, adamw, ", "'adamm'"]),
        ({"overrides": {"schedule": "cos"}}, ["overrides.schedule", "cosine", "'cos'"]),
        ({"overrides": {"norm": "group"}}, ["overrides.norm", "'batch'", "'group'"]),
        ({"overrides": {"width": 3}}, ["overrides.width", "not permitted", "3"]),
        (
            {"overrides": {"hiden_channels": 3}},
            ["overrides.hiden_channels", "did you mean hidden_channels", "weight_decay"],
        ),
        ({"sedes": 3}, ["sedes", "did you mean seeds", "3"]),
        ({"seeds": 0}, ["seeds", "at least 1", "got 0"]),
        ({"seeds": "five"}, ["seeds", "'five'"]),
        ({"split_seed": -1}, ["split_seed", "-1"]),
        ({"noise": {"edges": [-0.1]}}, ["noise.edges", "0 or more", "-0.1"]),
        ({"noise": {"nodes": [0.1]}}, ["noise.nodes", "edges, features"]),
        ({"grid": {"lr": []}}, ["grid", "lr", "empty"]),
        (
            {"layers": ["torch_geometric.nn:GCN"], "grid": {"own": [True, 1]}},
            ["grid", "own", "true and 1 are one value"],
        ),
        ({"grid": {"lr": [0.1, -1]}}, ["grid", "lr", "greater than 0", "-1"]),
        ({"grid": {"lr": [0.1, "none"]}}, ["grid", "lr", "must be a number", "'none'"]),
        ({"grid": {"lr": [None]}}, ["grid", "lr", "must be a number", "None"]),
        ({"grid": {"lrr": [0.1]}}, ["grid", "'lrr'", "did you mean lr"]),
        ({"grid": {"norm": ["none", "group"]}}, ["grid", "norm", "'batch'", "'group'"]),
        ({"grid": {"optimizer": ["adamm"]}}, ["grid", "optimizer", "did you mean adam"]),
        ({"grid": {"lr": [0.1]}, "overrides": {"lr": 0.2}}, ["grid and overrides both set lr"]),
        ({"layers": ["gat"], "grid": {"hidden_channels": [64, 30]}}, ["hidden_channels 30", "heads 8", "gat on cora"]),
        ({"grid": {"lr": [0.1]}, "search": {"space": {"dropout": [0.1]}}}, ["grid and search exclude each other"]),
        ({"seeds": 10**6, "layers": ["gcn", "gat"]}, ["2,000,000 cells", "1,000,000"]),
        ({"objectives": {"acuracy": 1}}, ["objectives", "'acuracy'", "did you mean accuracy"]),
        ({"objectives": {"time": -1}}, ["objectives", "weight of time", "-1"]),
        ({"objectives": {"time": 0}}, ["objectives", "above 0"]),
        ({"metric": "f1"}, ["metric", "micro-f1, roc-auc", "'f1'"]),
        (
            {"task": "node-regression", "metric": "roc-auc"},
            ["the metric of node-regression", "r2, rmse, mae", "roc-auc"],
        ),
        ({"task": "link-prediction", "batching": "neighbor"}, ["batching is for tasks on nodes", "link-prediction"]),
        ({"task": "graph-regression", "noise": {"edges": [0.1]}}, ["noise is for tasks on nodes"]),
        ({"task": "node-regression", "datasets": ["csbm:easy"]}, ["csbm:easy has labels for node-classification"]),
        ({"task": "node-classification", "datasets": ["tu:MUTAG"]}, ["tu:MUTAG has labels for graph tasks"]),
        ({"batching": "clusters"}, ["batching.kind", "clusters"]),
        ({"budget": {"cells": 0}}, ["budget.cells", "got 0"]),
        ({"budget": {"minutes": 3}}, ["budget.minutes", "cells, seconds, trials"]),
        ({"run": {"engine": "process"}}, ["run.engine", "'processes'", "'process'"]),
        ({"run": {"workers": 0}}, ["run.workers", "got 0"]),
        ({"run": {"wokers": 2}}, ["run.wokers", "did you mean workers"]),
        ({"layers": ["gat"], "overrides": {"hidden_channels": 30}}, ["hidden_channels 30", "heads 8", "gat on cora"]),
        ({"overrides": {"epochs": 5, "warmup": 5}}, ["warmup 5", "epochs 5"]),
        (
            {"overrides": {"optimizer": "pogo", "num_layers": 1}},
            ["pogo", "num_layers 2 or more", "num_layers 1 for gcn on cora"],
        ),
        ({"overrides": {"orthogonal_lr": 0.1}}, ["orthogonal_lr", "pogo", "got optimizer adam for gcn"]),
        *(
            ({part: wrong}, [f"{part}: must be a table of names and values; got {wrong!r}"])
            for part in ("noise", "overrides", "search", "budget", "run", "grid", "objectives")
            for wrong in (3, [0.1])
        ),
        ({"overrides": {3: 4}}, ["overrides: its names must be text; got 3"]),
        ({"grid": {3: [4]}}, ["grid: its names must be text; got 3"]),
        ({"datasets": 3}, ["datasets: each entry must be text; got 3"]),
        ({"layers": [True]}, ["layers: each entry must be text; got True"]),
        ({"seeds": 1.5}, ["seeds: must be a number of seeds such as 5, a list", "'0-9'; got 1.5"]),
        ({"seeds": True}, ["seeds: must be a number of seeds", "got True"]),
        ({"seeds": [1.5]}, ["seeds: each entry must be a whole number; got 1.5"]),
        ({"split_seed": 2**32}, ["split_seed: must be less than 4294967296; got 4294967296"]),
        ({"overrides": {"orthogonal_include": ""}}, ["overrides.orthogonal_include: must not be empty; got ''"]),
        ({"layers": ["gat-theory"]}, ["nothing is left to run", "gat-theory", "csbm:", "cora"]),
    ],
)
def test_refusals(change, words):
    settings = {"datasets": ["cora"], "layers": ["gcn"], "seeds": [0], **change}
    with pytest.raises(PlanError) as caught:
        make_plan(**settings)
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("change", [{"datasets": [3]}, {"seeds": [None]}, {"noise": {"edges": [True]}}])
def test_a_wrong_entry_is_one_problem(change):
    with pytest.raises(PlanError) as caught:
        make_plan(**{"datasets": ["cora"], "layers": ["gcn"], "seeds": 1, **change})
    assert len(caught.value.problems) == 1


def numbers_of(model, path=()):
    """The keys of all fields of a plan that take numbers."""
    for name, field in model.model_fields.items():
        is_several = get_origin(field.annotation) in (dict, tuple)
        for part in () if is_several else (field.annotation, *get_args(field.annotation)):
            part = getattr(part, "__origin__", part)
            if isinstance(part, type) and issubclass(part, BaseModel):
                yield from numbers_of(part, (*path, name))
            elif part in (int, float):
                yield (*path, name)


NUMBERS = [
    *numbers_of(StudyPlan),
    *(("overrides", *key) for key in numbers_of(HyperParameters)),
    ("seeds", 0),
    ("noise", "edges", 0),
    ("noise", "features"),
    ("grid", "heads"),
    ("grid", "lr", 0),
    ("search", "space", "heads", 0),
    ("search", "space", "lr", "low"),
    ("search", "space", "lr", "step"),
    ("objectives", "time"),
]


@pytest.mark.parametrize("value", [True, False, np.True_], ids=repr)
@pytest.mark.parametrize("path", NUMBERS, ids=str)
def test_booleans_are_no_numbers(path, value):
    change = value
    for key in reversed(path[1:]):
        change = [change] if key == 0 else {key: change}
    if path[0] == "search" and path[1] != "space":
        change["space"] = {"lr": [0.1]}
    if path[-2:] in [("lr", "low"), ("lr", "step")]:
        change["space"]["lr"] = {"low": 0.5, "high": 2, **change["space"]["lr"]}
    with pytest.raises(PlanError, match=r"must be a (whole )?number.*; got (np\.)?(True|False)") as caught:
        make_plan(**{"datasets": ["cora"], "layers": ["gat"], "seeds": 1, path[0]: change})
    assert str(caught.value).startswith(path[0])


@pytest.mark.parametrize("model", [HyperParameters, Noise, SplitChoice, NoisePlan, Budget, RunSettings, Overrides])
def test_booleans_are_no_numbers_in_python(model):
    fields = HyperParameters.model_fields if model is Overrides else model.model_fields
    for name in fields:
        if fields[name].annotation is bool:
            continue
        with pytest.raises(ValueError, match=f"^{name}: "):
            model(**{name: True})


def test_numbers_are_no_booleans():
    for wrong in (1, 0, "yes"):
        with pytest.raises(PlanError, match="log: must be true or false; got"):
            make_plan(
                datasets="cora", layers="gcn", seeds=1, search={"space": {"lr": {"low": 1, "high": 2, "log": wrong}}}
            )


TOML = """
datasets = ["cora"]
layers = ["gcn", "lcat"]
split = "stratified:5"

[overrides]
epochs = 7

[noise]
edges = [0.1]

[budget]
seconds = 60

[objectives]
accuracy = 1
time = 0.25
"""


def test_a_plan_file_is_the_plan_that_its_keys_make(tmp_path):
    (tmp_path / "plan.toml").write_text(TOML)
    plan = load_plan(tmp_path / "plan.toml", {"seeds": 2, "overrides": {"lr": 0.5}})
    assert plan == make_plan(
        datasets=["cora"],
        layers=["gcn", "lcat"],
        seeds=2,
        split="stratified:5",
        overrides={"epochs": 7, "lr": 0.5},
        noise={"edges": [0.1]},
        budget={"seconds": 60},
        objectives={"accuracy": 1, "time": 0.25},
    )
    assert len(load_plan(tmp_path / "plan.toml").seeds) == 5


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, ["there is no plan file"]),
        ("datasets = [", ["is no TOML"]),
        ("layers = ['gcn']", ["datasets", "missing"]),
        (TOML.replace("epochs", "epoks"), ["overrides.epoks", "did you mean epochs", "7"]),
        (TOML + "[serach]\nspace = {}\n", ["serach", "did you mean search"]),
        (TOML.replace("[0.1]", "'much'"), ["noise.edges", "'much'"]),
        ("a = " + "[" * 100_000, ["is no TOML"]),
    ],
)
def test_wrong_plan_files(tmp_path, text, words):
    if text is not None:
        (tmp_path / "plan.toml").write_text(text)
    with pytest.raises(PlanError) as caught:
        load_plan(tmp_path / "plan.toml")
    assert "\n" not in str(caught.value)
    for word in ["plan.toml", *words]:
        assert word in str(caught.value)


def test_what_stands_in_place_of_a_table_is_refused_under_options_too(tmp_path):
    (tmp_path / "plan.toml").write_text("overrides = 3\n" + TOML.partition("[overrides]")[0])
    with pytest.raises(PlanError, match="overrides: must be a table of names and values; got 3"):
        load_plan(tmp_path / "plan.toml", {"overrides": {"lr": 0.5}})


@pytest.mark.parametrize("path", [None, 3, {"datasets": ["cora"]}])
def test_a_plan_file_is_named_by_its_path(path):
    with pytest.raises(TypeError, match=r"expected the path of a plan file, got .*; make_plan takes keywords"):
        load_plan(path)


def test_single_values_stand_for_lists(tmp_path):
    torch.save(csbm(n=60, seed=0), tmp_path / "data.pt")
    single = {"datasets": "data.pt", "layers": "gcn", "grid": {"lr": 0.1}, "noise": {"edges": 0.2}, "seeds": "0-2"}
    plan = make_plan(**single, run={"base": str(tmp_path)})
    assert (plan.datasets, plan.layers, plan.seeds) == (("data.pt",), ("gcn",), (0, 1, 2))
    assert (plan.grid, plan.noise.edges) == ({"lr": (0.1,)}, (0.2,))


def test_paths_of_a_plan_start_from_its_folder(tmp_path, monkeypatch):
    (tmp_path / "sub").mkdir()
    torch.save(csbm(n=60, seed=0), tmp_path / "sub/data.pt")
    np.savez(tmp_path / "sub/data-split.npz", train=np.arange(30), valid=np.arange(30, 40), test=np.arange(40, 60))
    text = 'datasets = ["data.pt"]\nsplit = "file:{dataset}-split.npz"\n[run]\ndata = "."\n'
    (tmp_path / "sub/plan.toml").write_text(text, encoding="utf-8-sig")
    monkeypatch.chdir(tmp_path)
    plan = load_plan("sub/plan.toml")
    assert plan.layers == DEFAULT_LAYERS
    assert (plan.run.base, plan.run.data) == ("sub", "sub")
    one = plan.model_copy(update={"layers": ("gcn",), "seeds": (0,), "overrides": Overrides(epochs=1)})
    keys = [cell.key for cell in plan.cells()]
    assert run_study(one, "out", engine="inline").done == 1
    monkeypatch.chdir(tmp_path / "sub")
    assert [cell.key for cell in load_plan("plan.toml").cells()] == keys
    again = load_plan("plan.toml").model_copy(update={"layers": ("gcn",), "seeds": (0,), "overrides": one.overrides})
    assert run_study(again, "../out", engine="inline").ran == 0


def test_one_file_is_one_data_set(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save(csbm(n=60, seed=0), "mine.pt")
    names = ["mine.pt", "./mine.pt", str(tmp_path / "mine.pt"), "csbm:easy,n=60"]
    assert make_plan(datasets=names, layers=["gcn"], seeds=1).datasets == ("mine.pt", "csbm:easy,n=60")


def test_files_whose_names_begin_like_synthetic_graphs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save(csbm(n=60, seed=0), "csbm_hard.pt")
    assert make_plan(datasets=["csbm_hard.pt"], layers=["gcn"], seeds=1).datasets == ("csbm_hard.pt",)
    with pytest.raises(PlanError, match="own: names that begin with csbm: are those of synthetic graphs; got 'csbm:x'"):
        make_plan(datasets=["csbm:x"], layers=["gcn"], seeds=1, own=["csbm:x"])


@pytest.mark.parametrize("key", ["datasets", "layers", "split", "metric"])
def test_text_that_is_no_utf_8_is_named(key):
    with pytest.raises(PlanError, match=f"{key}: expected text that is UTF-8"):
        make_plan(**{"datasets": ["cora"], "layers": ["gcn"], "seeds": 1, key: "caf\udce9.pt"})
    with pytest.raises(PlanError, match=r"run\.data: expected text that is UTF-8"):
        make_plan(datasets=["cora"], layers=["gcn"], seeds=1, run={"data": "caf\udce9"})


@pytest.mark.parametrize(
    "other", ["csbm:n=60,easy", "csbm: easy , n=060", "csbm:n=60", "csbm:easy,n=60,q=0.1", "csbm:n=60,sigma=1e-1"]
)
def test_spellings_of_the_same_csbm_graphs_are_one_data_set(other):
    """Two of them would count twice in tests over data sets."""
    plan = make_plan(datasets=["csbm:easy,n=60", other, "csbm:hard,n=60"], layers=["gcn"], seeds=1)
    assert plan.datasets == ("csbm:easy,n=60", "csbm:hard,n=60")


def test_other_csbm_graphs_are_other_data_sets():
    names = ("csbm:n=60", "csbm:n=60,distance=1.0", "csbm:n=60,q=0.2", "csbm:n=60,d=3")
    assert make_plan(datasets=names, layers=["gcn"], seeds=1).datasets == names


@pytest.mark.parametrize(
    "wrong",
    [
        {"overrides": {"pooling": "max"}},
        {"grid": {"pooling": ["max", "mean"]}},
        {"grid": {"batch_size": [8, 16]}},
        {"search": {"space": {"batch_size": [8, 16]}, "trials": 2}},
        {"overrides": {"batch_size": 8}, "task": "link-prediction"},
        {"overrides": {"pooling": "max"}, "batching": "neighbor"},
    ],
)
def test_settings_of_graphs_and_batches_need_some(wrong):
    with pytest.raises(PlanError, match=r"(pooling|batch_size) is a setting of .* changes nothing on cora: leave it"):
        make_plan(datasets=["cora"], layers=["gcn"], seeds=1, **wrong)


def test_settings_of_graphs_and_batches_where_they_matter():
    both = {"overrides": {"pooling": "max", "batch_size": 8}}
    assert make_plan(datasets=["tu:MUTAG"], layers=["gcn"], seeds=1, split="stratified:5", **both).cells()
    assert make_plan(datasets=["mine"], own=["mine"], layers=["gcn"], seeds=1, **both).cells()
    assert make_plan(
        datasets=["cora"], layers=["gcn"], seeds=1, batching="neighbor", overrides={"batch_size": 8}
    ).cells()


def test_a_data_set_of_the_caller_that_the_plan_does_not_name():
    with pytest.raises(PlanError, match=r"make_plan\(own=\[NAME\]\)"):
        make_plan(datasets=["gr"], layers=["gcn"], seeds=1)


@pytest.mark.parametrize("name", ["g.pt", "data.py:make_data", "nodes.csv", "csbm:q=0.5"])
def test_a_data_set_in_place_of_a_plan_file(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if name == "g.pt":
        (tmp_path / name).write_bytes(b"PK\x03\x04\xff\xfe")
    with pytest.raises(PlanError, match=f"; a data set is named with -d, as in lcat study -d {name}"):
        load_plan(name)


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
