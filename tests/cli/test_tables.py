"""Tables of the terminal: the numbers, the best in bold, and what failed."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from lcat.cli.tables import dataset_table, failures_text, overview_table, plan_table
from lcat.study.analysis.summary import summary_frame
from lcat.study.running.preview import Preview, PreviewRow
from lcat.study.store.frame import lambda_frame, results_frame
from tests.study.study_support import made_up

RESULTS = [
    made_up("gcn", 0, 0.80),
    made_up("gcn", 1, 0.82),
    made_up("gcn", 2, 0.81),
    made_up("lcat", 0, 0.84, lambdas={"a": [0.2, 0.4], "b": [1.0, 0.0]}),
    made_up("lcat", 1, 0.80, lambdas={"a": [0.4, 0.8], "b": [1.0, 0.0]}),
    made_up("lcat", 2, error="Traceback ...\nValueError: boom"),
]


def rendered(renderable):
    console = Console(width=120, record=True, file=io.StringIO(), force_terminal=True, color_system="standard")
    console.print(renderable)
    return console.export_text(styles=True)


def rows_of(text, columns):
    """The cells of the rows of a table, without its frame."""
    lines = [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines()]
    return [line for line in lines if len(line) == columns]


def test_a_data_set_shows_its_numbers_and_the_best_in_bold():
    summary, lambdas = summary_frame(results_frame(RESULTS)), lambda_frame(RESULTS)
    text = rendered(dataset_table("cora", summary, lambdas, "public"))
    assert "81.0 ± 1.0" in text
    # Bold is written for the best row alone.
    best = next(line for line in text.splitlines() if "81.0 ± 1.0" in line)
    other = next(line for line in text.splitlines() if "82.0 ± 2.8" in line)
    assert "\x1b[1m" in best
    assert "\x1b[1m" not in other
    assert "0.30, 0.60" in text
    assert "2 (1 failed)" in text
    assert "public" in text


def test_an_overview_has_one_column_per_data_set_and_gaps_where_a_layer_did_not_run():
    summary = summary_frame(results_frame([*RESULTS, made_up("gcn", 0, 0.5, dataset="csbm:easy,q=0.1,n=300")]))
    text = rendered(overview_table(summary))
    assert "81.0 ± 1.0" in text
    assert "cora" in text
    assert "easy,q=0.1" in text
    assert "csbm" not in text
    plain = Console(width=120, file=io.StringIO(), record=True)
    plain.print(overview_table(summary))
    assert rows_of(plain.export_text(), 3) == [["gcn", "81.0 ± 1.0", "50.0"], ["lcat", "82.0 ± 2.8", ""]]


def test_failures_are_named_once_per_kind():
    assert "ValueError: boom" in rendered(failures_text([("cora lcat seed 2", RESULTS[5].error)]))
    many = rendered(failures_text([(f"seed {i}", "ValueError: boom") for i in range(500)]))
    assert many.count("boom") == 1
    assert "failed: seed 0, seed 1, seed 2 and 497 more: ValueError: boom" in many


def test_a_plan_has_one_row_per_data_set_and_layer():
    rows = [
        PreviewRow("cora", "gcn", settings=2, cells=10, done=3, seconds=1.25),
        PreviewRow("[b].pt", "lcat", settings=1, cells=5, done=0, seconds=None),
    ]
    preview = Preview(cells=[], total=15, left=12, slots=1, seconds=None, basis="", rows=rows)
    console = Console(width=120, file=io.StringIO(), record=True)
    console.print(plan_table(preview))
    assert rows_of(console.export_text(), 6) == [
        ["cora", "gcn", "2", "10", "3", "1.2"],
        ["[b].pt", "lcat", "1", "5", "0", "?"],
    ]


def lines_of(table, width, encoding="utf-8"):
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    console = Console(width=width, file=file)
    console.print(table)
    file.flush()
    return file.buffer.getvalue().decode(encoding).splitlines()


LAYERS = ["gcn", "gat", "gatv2", "cat", "catv2", "lcat", "lcatv2", "gcn-mean"]
MANY = [
    made_up(layer, seed, 0.8, dataset=dataset, lambdas={"a": [0.1, 0.2], "b": [0.1, 0.2], "c": [0.3, 0.4]})
    for layer in LAYERS
    for seed in (0, 1)
    for dataset in ("cora", "an-own-data-set-with-a-long-name.pt", "photo", "computers", "wiki-cs")
]


@pytest.mark.parametrize("width", [30, 40, 60, 80, 120])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "cp1252"])
def test_nothing_is_cut_off_on_narrow_terminals_and_in_pipes(width, encoding):
    summary, lambdas = summary_frame(results_frame(MANY)), lambda_frame(MANY)
    for table in (dataset_table("cora", summary, lambdas), overview_table(summary)):
        lines = lines_of(table, width, encoding)
        if width >= 30:
            assert max(map(len, lines)) <= width
        text = "\n".join(lines)
        assert "…" not in text
        assert "..." not in text
        names = [re.split(r"[│|]", line)[1].strip() for line in lines if line[:1] in "│|"]
        blocks = names.count("lcatv2")
        assert blocks >= 1
        for layer in LAYERS:
            assert names.count(layer) == blocks
        if encoding == "ascii":
            assert text.isascii()


def test_long_names_of_data_sets_leave_the_layers_whole():
    rows = [PreviewRow("folder/" * 20 + "data.pt", "gcn-mean", 1, 5, 0, 72.6, guessed=True)]
    preview = Preview(cells=[], total=5, left=5, slots=1, seconds=None, basis="", rows=rows)
    lines = lines_of(plan_table(preview), 80)
    assert max(map(len, lines)) <= 80
    text = "\n".join(lines)
    assert "gcn-mean" in text
    assert "~72.6" in text
