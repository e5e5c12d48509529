"""A study in the forms of other tools, read back with them."""

from __future__ import annotations

import importlib.util
import math

import pandas as pd
import pytest

from lcat.study import ExportError, Study, export_study, make_plan, run_study
from lcat.study.store.columns import FRAMES


def needs(*names):
    return pytest.mark.skipif(
        any(importlib.util.find_spec(name) is None for name in names), reason=f"needs {' and '.join(names)}"
    )


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    plan = make_plan(
        datasets=["csbm:easy,n=60", "csbm:hard,n=60"],
        layers=["gcn", "lcat"],
        seeds=1,
        overrides={"epochs": 4},
        search={"space": {"lr": {"low": 0.001, "high": 0.3, "log": True}, "clip_norm": ["none", 1.0]}, "trials": 3},
    )
    return run_study(plan, tmp_path_factory.mktemp("export") / "mine", engine="inline").study


def test_every_frame_has_the_columns_that_are_documented(study):
    for name, documented in FRAMES.items():
        columns = list(getattr(study, name)().columns)
        plain = [column for column in documented if not column.endswith("*")]
        several = tuple(column[:-1] for column in documented if column.endswith("*"))
        assert [column for column in columns if not (several and column.startswith(several))] == plain, name
        assert all(documented.values())


@needs("pyarrow")
def test_parquet_comes_back(study, tmp_path):
    written = study.export("parquet", tmp_path)
    assert [path.name for path in written] == [f"{name}.parquet" for name in FRAMES]
    for name in ("results", "histories", "lambdas", "trials"):
        frame, back = getattr(study, name)(), pd.read_parquet(tmp_path / f"{name}.parquet")
        assert list(back.columns) == list(frame.columns)
        assert len(back) == len(frame) > 0
    results, back = study.results(), pd.read_parquet(tmp_path / "results.parquet")
    assert back["test"].tolist() == results["test"].tolist()
    assert back["key"].tolist() == results["key"].tolist()
    assert back["hyper.lr"].tolist() == results["hyper.lr"].tolist()
    # A second time gives the same files, and nothing else.
    study.export("parquet", tmp_path)
    assert len(list(tmp_path.iterdir())) == len(FRAMES)


@needs("tensorboard")
def test_tensorboard_comes_back(study, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for _ in range(2):  # the second one replaces the first
        folders = study.export("tensorboard", tmp_path)
    results = [result for result in study.cell_results(history=True) if result.ok]
    assert len(folders) == len(results)
    for folder, result in zip(folders, results, strict=True):
        events = EventAccumulator(str(folder)).Reload()
        losses = [one.value for one in events.Scalars("loss/train")]
        assert losses == pytest.approx(result.fit.history.loss, rel=1e-6)
        assert events.Scalars("best/test")[0].value == pytest.approx(result.fit.test, rel=1e-6)
        assert ("lambda1/layer1" in events.Tags()["scalars"]) == (result.cell.layer == "lcat")


@pytest.mark.long
@needs("mlflow", "sqlalchemy", "alembic")
@pytest.mark.filterwarnings("ignore")  # of the database behind MLflow
def test_mlflow_comes_back(study, tmp_path):
    from mlflow import MlflowClient

    for _ in range(2):  # the second one adds nothing
        [path] = study.export("mlflow", tmp_path)
    client = MlflowClient(tracking_uri=f"sqlite:///{path}")
    runs = client.search_runs([client.get_experiment_by_name("mine").experiment_id])
    results = {result.cell.key: result for result in study.cell_results(history=True)}
    assert sorted(run.data.tags["lcat.key"] for run in runs) == sorted(results)
    run = runs[0]
    result = results[run.data.tags["lcat.key"]]
    assert run.data.params["layer"] == result.cell.layer
    assert run.data.params["lr"] == str(result.cell.hyper.lr)
    assert run.data.metrics["best/test"] == pytest.approx(result.fit.test)
    history = client.get_metric_history(run.info.run_id, "loss/train")
    assert [one.value for one in history] == pytest.approx(result.fit.history.loss)


@needs("optuna", "sqlalchemy")
def test_optuna_comes_back(study, tmp_path):
    import optuna

    for _ in range(2):
        [path] = study.export("optuna", tmp_path)
    storage = f"sqlite:///{path}"
    summaries = optuna.study.get_all_study_summaries(storage)
    assert {(one.user_attrs["dataset"], one.user_attrs["layer"]) for one in summaries} == set(study.plan.pairs())
    trials = study.trials()
    for summary in summaries:
        loaded = optuna.load_study(study_name=summary.study_name, storage=storage)
        own = trials[(trials["layer"] == summary.user_attrs["layer"])]
        own = own[own["dataset"] == summary.user_attrs["dataset"]].sort_values("number")
        assert [trial.value for trial in loaded.trials] == pytest.approx(own["validation"].tolist())
        assert [trial.params["lr"] for trial in loaded.trials] == pytest.approx(own["params.lr"].tolist())
        assert {trial.params["clip_norm"] for trial in loaded.trials} <= {None, 1.0}
        assert loaded.best_value == own["validation"].max()


@needs("optuna", "sqlalchemy")
def test_optuna_needs_a_search(tmp_path):
    plan = make_plan(datasets=["csbm:easy,n=60"], layers=["gcn"], seeds=1, overrides={"epochs": 2})
    study = run_study(plan, tmp_path / "plain", engine="inline").study
    with pytest.raises(ExportError, match="the study has no search, and Optuna keeps searches alone"):
        study.export("optuna")


@pytest.mark.parametrize("name", ["parquet", "mlflow", "tensorboard", "optuna"])
def test_missing_packages_are_named_with_the_command(name, study, tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda module: None)
    extra = {"optuna": "search"}.get(name, name)
    with pytest.raises(ExportError, match=rf"an export to {name} needs .*: pip install 'lcat-gnn\[{extra}\]'"):
        study.export(name, tmp_path)
    assert not any(tmp_path.iterdir())


def test_wrong_use(study, tmp_path):
    with pytest.raises(ValueError, match=r"expected one of parquet, .* \(did you mean parquet\?\); got 'parket'"):
        export_study(study, "parket", tmp_path)
    with pytest.raises(TypeError, match="expected 'record' of type Study, got str"):
        export_study("mine", "parquet")
    plan = make_plan(datasets=["csbm:easy,n=60"], layers=["gcn"], seeds=1)
    with pytest.raises(ValueError, match="a study in memory has no folder"):
        Study.in_memory(plan).export("parquet")


@needs("pyarrow")
def test_a_study_without_results(tmp_path):
    plan = make_plan(datasets=["csbm:easy,n=60"], layers=["gcn"], seeds=1)
    with pytest.raises(ExportError, match="no cell of the study has a result yet"):
        Study.create(plan, tmp_path / "new").export("parquet")


@needs("pyarrow")
def test_settings_of_own_models_of_several_types(tmp_path, monkeypatch):
    """The same name of a setting may be a number in one model and a word in another."""
    monkeypatch.chdir(tmp_path)
    text = "\n".join(
        f"class {name}(torch.nn.Linear):\n"
        f"    def __init__(self, inputs, outputs, kind={value!r}):\n        super().__init__(inputs, outputs)\n"
        "    def forward(self, x, edge_index):\n        return super().forward(x)\n"
        for name, value in (("One", 3), ("Two", "word"))
    )
    (tmp_path / "models.py").write_text(f"import torch\n{text}")
    layers = ["models.py:One", "models.py:Two"]
    plan = make_plan(datasets=["csbm:easy,n=60"], layers=layers, seeds=1, overrides={"epochs": 2})
    run_study(plan, "own", engine="inline").study.export("parquet")
    back = pd.read_parquet("own/export/parquet/results.parquet")
    assert set(back["status"]) == {"done"}
    assert math.isfinite(back["test"].sum())
