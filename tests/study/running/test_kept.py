"""Models and predictions of cells, kept on request, and loaded in one line, also elsewhere."""

from __future__ import annotations

import shutil
import zipfile

import numpy as np
import pytest
import torch

from lcat.data import csbm, from_data
from lcat.study import (
    ModelFileError,
    PlanError,
    RetrainError,
    Study,
    load_model,
    make_plan,
    run_study,
    train_best_model,
)

OWN = """
import torch
from lcat.nn import GATConv

class MyNet(torch.nn.Module):
    def __init__(self, in_channels, num_classes, width=4):
        super().__init__()
        self.first, self.last = GATConv(in_channels, width), torch.nn.Linear(width, num_classes)

    def forward(self, x, edge_index):
        return self.last(self.first(x, edge_index).relu())
"""
GRAPH = "csbm:hard,q=0.2,n=80"
LAYERS = ["gcn", "lcat", "models.py:MyNet"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models.py").write_text(OWN)
    return tmp_path


def run(keep=("models", "predictions"), engine="inline", folder="study", **change):
    plan = make_plan(
        datasets=[GRAPH], layers=LAYERS, seeds=2, overrides={"epochs": 8}, grid={"width": [4, 6]}, **change
    )
    return run_study(plan, folder, engine=engine, keep=keep).study


def graph(seed):
    return csbm(n=80, q=0.2, regime="hard", seed=seed)


def accuracy_of(model, result):
    data = graph(result.cell.seed)
    with torch.no_grad():
        right = model(data.x, data.edge_index).argmax(dim=1) == data.y
    return float(right[data.test_mask].double().mean())


@pytest.mark.parametrize("engine", ["inline", "processes"])
def test_models_give_the_figures_of_their_cells(folder, engine):
    study = run(engine=engine, run={"workers": 1})
    for result in study.cell_results():
        assert result.ok
        model = load_model(study.folder / "models" / f"{result.cell.key}.pt")
        assert not model.training
        assert accuracy_of(model, result) == pytest.approx(result.fit.test)
    best = study.best_result(GRAPH, "MyNet")
    assert best.fit.val == max(one.fit.val for one in study.cell_results() if one.cell.layer == "MyNet")
    assert accuracy_of(load_model(study.best_model(GRAPH, "MyNet")), best) == pytest.approx(best.fit.test)


def test_predictions_have_a_row_per_node(folder):
    study = run(keep="predictions")
    assert not (study.folder / "models").exists()
    for result in study.cell_results():
        frame = study.predictions(result.cell.key)
        data = graph(result.cell.seed)
        assert list(frame.columns) == ["node", "part", "label", "prediction", "output.0", "output.1"]
        assert frame["label"].tolist() == data.y.tolist()
        for part, mask in (("train", data.train_mask), ("validation", data.val_mask), ("test", data.test_mask)):
            assert (frame["part"] == part).to_numpy().tolist() == mask.tolist()
        test = frame[frame["part"] == "test"]
        assert (test["label"] == test["prediction"]).mean() == pytest.approx(result.fit.test)
        assert np.array_equal(frame[["output.0", "output.1"]].to_numpy().argmax(axis=1), frame["prediction"])
    with pytest.raises(ValueError, match=r"has not kept predictions of the cell 0123: it has no such cell \(keys are"):
        study.predictions("0123")


def test_nothing_is_kept_by_default(folder):
    study = run(keep=())
    assert not (study.folder / "models").exists()
    assert not (study.folder / "predictions").exists()
    with pytest.raises(ValueError, match=r"has not kept the model of gcn on .*--keep models .*lcat study model"):
        study.best_model(GRAPH, "gcn")


def test_a_model_that_was_not_kept_is_trained_once_more(folder):
    study = run(keep=())
    for layer in ("gcn", "MyNet"):
        best = study.best_result(GRAPH, layer)
        model = load_model(train_best_model(study, GRAPH, layer, "best.pt"))
        assert accuracy_of(model, best) == pytest.approx(best.fit.test)
    with pytest.raises(ValueError, match=r"expected one of gcn, lcat, models\.py:MyNet, got 'gat'"):
        train_best_model(study, GRAPH, "gat", "best.pt")
    (folder / "models.py").unlink()
    with pytest.raises(RetrainError, match=r"failed when it was trained once more: .* there is no file models\.py"):
        train_best_model(study, GRAPH, "MyNet", "best.pt")


def test_a_model_that_comes_out_differently_is_no_result(folder, monkeypatch):
    study = run(keep=())
    monkeypatch.setattr("lcat.study.study.Study.best_result", _changed(study.best_result(GRAPH, "gcn")))
    with pytest.raises(RetrainError, match=r"came to a test metric of .* the study has 2: it ran on another machine"):
        train_best_model(study, GRAPH, "gcn", "best.pt")


def _changed(result):
    result.fit.test = 2.0
    return lambda *_: result


def test_an_own_model_loads_elsewhere(folder):
    study = run()
    best = study.best_result(GRAPH, "MyNet")
    path = study.best_model(GRAPH, "MyNet")
    (folder / "models.py").write_text(OWN.replace("relu", "tanh"))
    with pytest.raises(ModelFileError, match=r"is of models\.py:MyNet, which has changed since: put it back, or pass"):
        load_model(path)
    (folder / "models.py").unlink()
    with pytest.raises(
        ModelFileError, match=r"models\.py:MyNet, which is not there any more .*load_model\(path, MyNet"
    ):
        load_model(path)
    assert accuracy_of(load_model(path, trust_source=True), best) == pytest.approx(best.fit.test)
    names = {}
    exec(OWN, names)
    assert accuracy_of(load_model(path, names["MyNet"]), best) == pytest.approx(best.fit.test)
    with pytest.raises(ModelFileError, match="does not fit the model that it is of"):
        load_model(path, lambda in_channels, num_classes, width=4: torch.nn.Linear(in_channels, num_classes))


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (None, r"there is no file .*gone\.pt; a study keeps models with --keep models"),
        (b"", "is no model that a study has kept, or is damaged"),
        (b"not a model", "is no model that a study has kept, or is damaged"),
        ({"x": 1}, r"is no model that a study has kept; expected a file of models/ in its folder"),
        (
            {"weights": {}, "cell": "{}", "format": 9, "lcat": "9"},
            "has format 9, of lcat 9, and this lcat knows 1 and 2",
        ),
        ({"weights": {}, "cell": "{}", "format": 1}, "does not fit the model that it is of"),
    ],
)
def test_files_that_are_no_model(tmp_path, content, match):
    path = tmp_path / "gone.pt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(ModelFileError, match=match) as caught:
        load_model(path)
    assert "\n" not in str(caught.value)


def test_a_study_in_memory_keeps_nothing(folder):
    with pytest.raises(PlanError, match=r"run\.keep: models need a folder of the study"):
        run(keep=("models",), folder=None)
    with pytest.raises(PlanError, match=r"run\.keep"):
        run(keep=("weights",))


def test_the_folder_opens_elsewhere(folder, tmp_path_factory):
    """Zipped, mailed and unpacked: everything can be read without the files beside it, and without writing to it."""
    study = run()
    keys, results = [cell.key for cell in study.cells()], study.results()
    archive = shutil.make_archive("mailed", "zip", ".", "study")
    shutil.rmtree("study")
    (folder / "models.py").unlink()
    other = tmp_path_factory.mktemp("elsewhere")
    with zipfile.ZipFile(archive) as content:
        content.extractall(other)
    before = sorted(path.name for path in (other / "study").iterdir())
    for path in [*(other / "study").rglob("*"), other / "study"]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    moved = Study.load(other / "study")
    assert [cell.key for cell in moved.cells()] == keys
    assert moved.results()["test"].tolist() == results["test"].tolist()
    assert moved.models()["source"].tolist() == [OWN]
    assert "MyNet" in moved._repr_html_()
    assert len(moved.predictions(keys[0])) == 80
    best = moved.best_result(GRAPH, "lcat")
    assert accuracy_of(load_model(moved.best_model(GRAPH, "lcat")), best) == pytest.approx(best.fit.test)
    written = moved.report(tmp_path_factory.mktemp("report"))
    assert "report.html" in [path.name for path in written]
    assert sorted(path.name for path in (other / "study").iterdir()) == before


def test_edge_features_are_part_of_the_model(folder):
    data = graph(0)
    data.edge_attr = torch.rand(data.num_edges, 3)
    plan = make_plan(datasets=["ours"], own=["ours"], layers=["gat"], seeds=1, overrides={"epochs": 4})
    study = run_study(plan, "study", engine="inline", own={"ours": from_data(data)}, keep="models").study
    model = load_model(study.best_model("ours", "gat"))
    model.use_edge_values(data)
    with torch.no_grad():
        right = model(data.x, data.edge_index).argmax(dim=1) == data.y
    assert float(right[data.test_mask].double().mean()) == pytest.approx(study.best_result("ours", "gat").fit.test)


def test_a_number_in_place_of_a_key():
    study = run_study(make_plan(datasets=["csbm:easy,n=60"], layers=["gcn"], seeds=1, overrides={"epochs": 1})).study
    with pytest.raises(TypeError, match="key"):
        study.predictions(3)


def test_a_layer_of_lcat_takes_no_model(folder):
    study = run_study(
        make_plan(datasets=["csbm:easy,n=60"], layers=["gcn"], seeds=1, overrides={"epochs": 1}), "study",
        engine="inline", keep=["models"],
    ).study  # fmt: skip
    with pytest.raises(ModelFileError, match="is of the layer gcn of lcat, which takes no 'model': leave it out"):
        load_model(study.best_model("csbm:easy,n=60", "gcn"), torch.nn.Linear)
