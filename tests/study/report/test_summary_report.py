"""Summaries have the right numbers, and reports are whole, readable and honest about failures."""

from __future__ import annotations

import copy
import csv
import json
import math
import os
import statistics
from pathlib import Path

import pytest

from lcat.study import (
    Cell,
    CellResult,
    HyperParameters,
    OutputError,
    StudyRecord,
    make_plan,
    write_study,
)
from lcat.study._folder import prepare_folder
from lcat.study.analysis.summary import summary_frame
from lcat.study.report.data import ReportData
from lcat.study.report.tables import all_tables
from lcat.study.store.frame import results_frame
from lcat.train import FitResult, History

PLAN = make_plan(datasets=["cora"], layers=["gcn", "lcat"], seeds=[0, 1, 2])


@pytest.fixture(scope="module")
def figure_formats():
    return ("png", "pdf", "svg")


def result_of(layer, seed, test, error=None, lambdas=None):
    cell = Cell(dataset="cora", layer=layer, seed=seed, hyper=HyperParameters())
    if error is not None:
        return CellResult(cell=cell, fit=None, error=error, metric="accuracy")
    lambdas = lambdas or {}
    history = History([1.0], [1.0], [test], [test], [test], [0.1], {k: [[0.5, 0.5], v] for k, v in lambdas.items()})
    fit = FitResult("accuracy", test, test, test, 0, 1, "epochs", 0.5, lambdas, history)
    return CellResult(cell, fit, None, 10, "accuracy", "public", (1, 2, 3), 2.0 + seed)


RESULTS = [
    result_of("gcn", 0, 0.80),
    result_of("gcn", 1, 0.82),
    result_of("gcn", 2, 0.81),
    result_of("lcat", 0, 0.84, lambdas={"a": [0.2, 0.4], "b": [1.0, 0.0]}),
    result_of("lcat", 1, 0.80, lambdas={"a": [0.4, 0.8], "b": [1.0, 0.0]}),
    result_of("lcat", 2, 0.0, error="Traceback ...\nValueError: boom"),
]


def summarize(results):
    return list(summary_frame(results_frame(results)).itertuples())


def write(results, folder, **options):
    return write_study(StudyRecord.in_memory(PLAN, results), folder, **options)


def read_results(folder):
    return [CellResult.from_dict(values) for values in json.loads((folder / "study.json").read_text())["cells"]]


def test_mean_and_unbiased_deviation_by_hand():
    gcn, lcat = summarize(RESULTS)
    assert gcn.test == pytest.approx(0.81)
    assert gcn.std == pytest.approx(statistics.stdev([0.80, 0.82, 0.81])) == pytest.approx(0.01)
    assert (gcn.runs, gcn.failed, gcn.seconds, gcn.parameters) == (3, 0, 3.0, 10)
    assert (lcat.runs, lcat.failed) == (2, 1)
    assert lcat.test == pytest.approx(0.82)
    assert lcat.std == pytest.approx(0.04 / math.sqrt(2))
    # The mean of lcat is higher, over the runs that did not fail.
    assert (gcn.best, lcat.best) == (True, False)
    assert summarize(RESULTS[3:])[0].best  # nothing else to compare with
    record = StudyRecord.in_memory(PLAN, RESULTS)
    table = all_tables(ReportData.of(record))["lambdas"].frame
    assert table["layer"].tolist() == ["lcat", "lcat"]
    assert table[["lambda1", "lambda2"]].values.tolist() == [[pytest.approx(0.3), pytest.approx(0.6)], [1.0, 0.0]]
    assert table["lambda2_std"][0] == pytest.approx(0.4 / math.sqrt(2))


def test_one_run_has_no_deviation_and_equal_means_are_both_best():
    rows = summarize([result_of("gcn", 0, 0.80001), result_of("lcat", 0, 0.80002)])
    assert all(math.isnan(row.std) for row in rows)
    assert [row.best for row in rows] == [True, True]  # 80.0 both, as tables show them


def test_a_layer_that_always_failed_is_a_row_without_numbers():
    [row] = summarize([result_of("gcn", 0, 0, error="boom")])
    assert (row.runs, row.failed, row.best) == (0, 1, False)
    assert math.isnan(row.test)


def test_report_files(tmp_path):
    written = write(RESULTS, tmp_path / "out")
    assert [path.name for path in written][:5] == [
        "cells.csv",
        "summary.csv",
        "study.json",
        "accuracy.png",
        "lambda.png",
    ]
    figures = [path.name for path in written if path.parent.name == "figures"]
    stems = list(dict.fromkeys(name.rpartition(".")[0] for name in figures))
    assert stems[:2] == ["scores", "lambdas"]
    assert {"paths-cora_lcat", "curves-cora"} <= set(stems)
    assert figures == [f"{stem}.{kind}" for stem in stems for kind in ("png", "pdf", "svg")]
    page = 5 + len(figures)
    assert written[page] == tmp_path / "out/report.html"
    assert {path.suffix for path in written[page + 1 :]} == {".csv", ".md", ".tex"}
    cells = list(csv.DictReader((tmp_path / "out/cells.csv").read_text().splitlines()))
    assert [line["status"] for line in cells] == ["done"] * 5 + ["failed"]
    assert [float(line["test"]) for line in cells[:5]] == [0.80, 0.82, 0.81, 0.84, 0.80]
    assert cells[5]["error"] == "ValueError: boom"
    assert cells[0]["hyper.lr"] == "0.01"
    summary = list(csv.DictReader((tmp_path / "out/summary.csv").read_text().splitlines()))
    assert [(line["layer"], line["runs"], line["best"]) for line in summary] == [
        ("gcn", "3", "True"),
        ("lcat", "2", "False"),
    ]
    document = json.loads((tmp_path / "out/study.json").read_text())
    assert document["plan"]["seeds"] == [0, 1, 2]
    assert "torch" in document["versions"]
    assert read_results(tmp_path / "out") == RESULTS
    for name in ("accuracy.png", "lambda.png"):
        content = (tmp_path / "out" / name).read_bytes()
        assert content.startswith(b"\x89PNG")
        assert len(content) > 10_000
    assert not [path for path in (tmp_path / "out").iterdir() if path.name.startswith(".")]


def test_files_are_strict_json_whatever_was_measured(tmp_path):
    results = copy.deepcopy(RESULTS)
    results[0].fit.train = math.nan
    results[0].fit.history.val_loss = [math.nan, math.inf]
    write(results, tmp_path, page=False)
    text = (tmp_path / "study.json").read_text()
    assert "NaN" not in text
    assert "Infinity" not in text
    fit = json.loads(text)["cells"][0]["fit"]
    assert (fit["train"], fit["history"]["val_loss"][:2]) == (None, [None, None])
    again = read_results(tmp_path)
    assert math.isnan(again[0].fit.train)
    assert again[1:] == RESULTS[1:]


def test_no_lambda_figure_where_nothing_learns_one(tmp_path):
    names = [path.name for path in write(RESULTS[:3], tmp_path)]
    assert "lambda.png" not in names
    assert "accuracy.png" in names


def test_all_failed_still_reports(tmp_path):
    names = [path.name for path in write(RESULTS[5:], tmp_path)]
    assert names[:4] == ["cells.csv", "summary.csv", "study.json", "report.html"]
    assert not [name for name in names if name.endswith(".png")]


def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch):
    write(RESULTS[:1], tmp_path, page=False)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OutputError, match=r"cannot write .*cells\.csv: No space left"):
        write(RESULTS, tmp_path, page=False)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_folders_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"file is a file; expected a folder"):
        prepare_folder(tmp_path / "file" / "sub")
    if os.geteuid() != 0:
        (tmp_path / "locked").mkdir(mode=0o555)
        with pytest.raises(OutputError, match="locked"):
            prepare_folder(tmp_path / "locked")


def test_a_study_in_memory_has_no_folder_of_its_own(tmp_path):
    with pytest.raises(ValueError, match=r"in memory has no folder of its own .* expected a folder, as in report"):
        write_study(StudyRecord.in_memory(PLAN, RESULTS))
