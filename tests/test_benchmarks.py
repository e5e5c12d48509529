"""The benchmark scripts start, say what they take, and search learning rates as they claim."""

from __future__ import annotations

import argparse
import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.support.benchmark_scripts import runner
from tests.support.long import long, quick_or_long

FOLDER = Path(__file__).parents[1] / "benchmarks"
SCRIPTS = sorted(p.stem for p in FOLDER.glob("*.py") if not p.stem.startswith("_") and p.stem != "optim_rivals")


@pytest.fixture
def script(monkeypatch):
    return runner(monkeypatch)


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_script_says_what_it_takes(name, script, capsys):
    with pytest.raises(SystemExit) as end:
        script(name, "--help")
    assert end.value.code == 0
    assert f"usage: {name}.py" in capsys.readouterr().out


@pytest.mark.parametrize("name", sorted(p.name for p in (FOLDER / "results").glob("*.json")))
def test_every_results_file_is_strict_json(name):
    def refuse(constant):
        raise ValueError(f"{constant} is not JSON")

    json.loads((FOLDER / "results" / name).read_text(), parse_constant=refuse)


@pytest.mark.parametrize(("best", "passed"), [(1.0, 1.6), (200.0, 102.4), (0.002, 0.0015625)])
def test_rates_are_searched_until_the_best_is_inside(best, passed, script):
    search = script("optim_problems")["search"]
    runs, best_run = search(
        lambda lr: {"lr": lr}, (0.1, 0.4, 1.6, 6.4), 4.0, lambda run: abs(math.log(run["lr"] / best))
    )
    rates = sorted(run["lr"] for run in runs)
    assert rates[0] < best_run["lr"] < rates[-1]
    assert best_run["lr"] == pytest.approx(passed)
    assert not best_run["at_end"]


def test_walked_nodes_are_as_many_as_wanted_and_repeat(script):
    walked = script("optim_graphs")["walked"]
    ring = torch.stack([torch.arange(40), (torch.arange(40) + 1) % 40])
    edges = torch.cat([ring, ring.flip(0)], 1)  # nodes 40 to 49 have none
    for wanted in (1, 25, 50):
        nodes = walked(edges, 50, wanted)
        assert nodes.unique().tolist() == nodes.tolist()
        assert len(nodes) == wanted
        assert 0 <= int(nodes.min()) <= int(nodes.max()) < 50
        assert torch.equal(nodes, walked(edges, 50, wanted))


def test_search_goes_down_from_rates_that_diverge_and_marks_its_limits(script):
    search = script("optim_problems")["search"]

    def loss(run):
        return float("inf") if run["lr"] > 0.01 else abs(math.log(run["lr"] / 0.001))

    _, best_run = search(lambda lr: {"lr": lr}, (0.1, 0.4), 4.0, loss)
    assert best_run["lr"] == pytest.approx(0.1 / 4**3)
    assert search(lambda lr: {"lr": lr}, (0.1, 0.4), 4.0, lambda run: float("nan"))[1] is None
    _, best_run = search(lambda lr: {"lr": lr}, (0.1, 0.4), 4.0, lambda run: -run["lr"])
    assert best_run["at_end"]


@pytest.mark.long
def test_two_commits_take_turns_and_other_numbers_get_no_time(script, tmp_path):
    """Two processes on this very tree: equal numbers; then a case whose numbers one of them has not."""
    compare = script("compare")
    root = FOLDER.parent
    options = argparse.Namespace(size="tiny", limit=1e-5, rounds=3, noise=0.02)
    commits = [compare["Commit"](name, "this tree", root, {"OMP_NUM_THREADS": "1"}) for name in ("base", "head")]
    try:
        result = compare["measure"]("kernels/small/LCATConv", *commits, options, tmp_path)
        assert result["difference"] == 0
        assert {name: len(times) for name, times in result["seconds"].items()} == {"base": 3, "head": 3}
        low, high = result["ratio"]["quartiles"]
        assert low <= result["ratio"]["median"] <= high
        options.limit = -1.0
        result = compare["measure"]("graph/view", *commits, options, tmp_path)
        assert result["verdict"] == "other numbers"
        assert "seconds" not in result
    finally:
        for commit in commits:
            commit.close()


def test_numbers_of_other_shapes_differ(script, tmp_path):
    difference = script("compare")["difference"]
    torch.save({"out": torch.ones(3)}, tmp_path / "base.pt")
    for other, expected in ((torch.ones(3), 0.0), (torch.full((3,), 1.5), 0.5), (torch.ones(4), math.inf)):
        torch.save({"out": other}, tmp_path / "head.pt")
        assert difference(tmp_path / "base.pt", tmp_path / "head.pt") == pytest.approx(expected)


def test_results_about_depth_lose_nothing_that_pages_print(script, tmp_path):
    graphs = script("optim_graphs")
    settings = {"decays": [5e-4], "nodes": None}
    report = {
        "machine": {"cores": 2},
        "rows": [
            {
                "dataset": name,
                "rate": 0.01,
                "val": [0.81249],
                "test": [0.8149999976158142],
                "tuning": [{"rate": 0.01, "val": [0.81249]}],
                "seconds": 1.23,
                "settings": settings,
                "command": "python",
            }
            for name in ("cora", "csbm")
        ],
    }
    thin = graphs["thinned"](report)
    assert thin["runs"] == [{"settings": settings, "command": "python"}]
    back = graphs["restored"](thin)["rows"]
    assert [row["test"] for row in back] == [[0.8149999976158142]] * 2
    assert [row["val"] for row in back] == [[0.812]] * 2
    assert [row["settings"] for row in back] == [settings] * 2
    graphs["write_results"](tmp_path / "thin.json", thin, announce=False, one_line="rows")
    assert json.loads((tmp_path / "thin.json").read_text()) == thin
    lines = (tmp_path / "thin.json").read_text().splitlines()
    assert [line[:12] for line in lines if "dataset" in line] == ['  {"dataset"'] * 2


TINY = {
    "small_graphs": ("--graphs", "20/60", "--shapes", "2x4", "--layers", "GCNConv", "GATv2Conv", "LCATConv"),
    "epochs": ("--datasets", "cora", "--models", "GCN", "LCAT"),
    "batches": ("--graph", "300", "3000", "--batch-sizes", "8", "--batches", "3", "--models", "GATConv", "LCATv2Conv"),
    "training_loop": ("--models", "no model"),
    "accelerate": ("--datasets", "cora", "--models", "GCN", "GraphSAGE", "RGCN"),
}


@pytest.mark.parametrize("name", quick_or_long(TINY, ["small_graphs", "training_loop"]))
def test_calls_stay_within_their_budget(name, script):
    """Counts, not times: as many Python functions and torch operators as the table of the script allows, or fewer.

    In a process of their own: what this one has loaded adds calls, in optimizers for one.
    """
    command = [sys.executable, str(FOLDER / f"{name}.py"), "--counts"]
    counted = subprocess.run(command, capture_output=True, text=True, check=False)
    assert counted.returncode == 0, counted.stdout + counted.stderr
    for label, kinds in script(name)["BUDGET"].items():
        assert all(f"\n{label}, {kind} " in counted.stdout for kind in kinds)


def test_what_is_above_its_budget_is_named(script):
    counts = script("_counts")
    pair = counts["Counts"]
    assert counts["count"](lambda: torch.ones(2).neg(), warm_up=1) == pair(0, 4)  # ones, empty, fill_, neg

    def outer():
        return inner()

    def inner():
        return None

    assert counts["count"](outer) == pair(1, 0)
    budget = {"layer": {"forward": pair(10, 10)}}
    over = counts["over_budget"]
    assert over({"layer": {"forward": pair(10, 10)}}, budget) == []
    assert len(over({"layer": {"forward": pair(100, 10)}}, budget)) == 1
    assert len(over({"layer": {"forward": pair(100, 100)}}, budget)) == 2
    assert over({"layer": {"other": pair(1, 1)}}, budget) == ["layer, other: no budget; counted (1, 1)"]


@pytest.mark.parametrize("name", quick_or_long(TINY, ["small_graphs"]))
def test_benchmarks_of_the_host_run_on_tiny_graphs(name, script, tmp_path, monkeypatch):
    monkeypatch.delenv("LCAT_TEST_DATA", raising=False)
    output = tmp_path / "results.json"
    options = ("--rounds", "2", "--threads", "1", "--allocators", "keep", "--out", str(output))
    script(name, *TINY[name], *options)
    report = json.loads(output.read_text())
    rows = report["modes"]["keep"]["rows"]
    ours, rival = ("fit", "by hand") if name == "training_loop" else ("lcat", "PyG")
    assert len(rows) >= 1
    for row in rows:
        low, high = row[ours]["quartiles"]
        assert 0 < row[ours]["minimum"] <= low <= row[ours]["median"] <= high
        assert row[ours]["calls"] == row[rival]["calls"] == 2
        assert row["ratio"] > 0
    assert report["modes"]["keep"]["machine"]["kernels"] in ("avx512", "avx2", "baseline", None)
    assert report["command"].startswith(f"python benchmarks/{name}.py --")
    assert {"lcat", "torch_geometric"} <= report["versions"].keys()
    assert all("value" in entry and entry["modes"].keys() == {"keep"} for entry in report["summary"])
    assert len(report["summary"]) >= 1


def test_wrong_numbers_of_a_layer_get_no_time(script):
    layers = script("_layers")
    ours, theirs = layers["make_pair"]("GATConv", 8, 2, 4)
    x, edges = torch.randn(10, 8), torch.randint(10, (2, 30))
    layers["check_pair"]("GATConv", ours, theirs, x, edges)
    with torch.no_grad():
        theirs.bias.add_(0.1)
    with pytest.raises(SystemExit, match="GATConv: numbers differ by"):
        layers["check_pair"]("GATConv", ours, theirs, x, edges)


def test_a_summary_claims_the_less_favorable_mode(script):
    entry = script("_command")["least_favorable"]("x", {"default": [3.0, 2.0], "keep": [1.4, 9.0]}, "at least", 1.5)
    assert entry == {
        "what": "x",
        "value": 1.4,
        "modes": {"default": 2.0, "keep": 1.4},
        "target": "at least 1.5",
        "met": False,
    }


def test_generated_graphs_have_the_shape_of_the_data_set(script):
    shape = script("_standins")["Shape"](300, 2000, features=50, classes=3, largest=80, density=0.2)
    data = script("_standins")["stand_in"](shape)
    source, target = data.edge_index
    assert (data.num_nodes, data.num_edges, data.num_features) == (300, 2000, 50)
    assert bool((source != target).all())
    assert (source * 300 + target).unique().numel() == 2000
    assert torch.equal((target * 300 + source).sort().values, (source * 300 + target).sort().values)
    assert 40 <= int(torch.bincount(source).max()) <= 110
    assert float((data.x != 0).float().mean()) == pytest.approx(0.2, abs=0.02)
    assert torch.equal(data.edge_index, script("_standins")["stand_in"](shape).edge_index)


@pytest.mark.parametrize(
    "part",
    [
        *("facts", "operators", "layers", "products", "batches", "one"),
        *(long("compiled"), long("rivals")),
    ],
)
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # of PyG in the compiler
def test_parts_of_the_gpu_benchmark_run_on_tiny_graphs(part, script, tmp_path):
    output = tmp_path / "rows.json"
    with pytest.raises(SystemExit) as end:
        script("gpu", "--part", part, "--dry-run", "--output", str(output))
    report = json.loads(output.read_text())
    assert end.value.code == 0
    assert (report["part"], report["failures"], report["left out"]) == (part, [], [])
    assert len(report["rows"]) >= 1
    assert all(row["difference"] < 1e-4 for row in report["rows"] if "difference" in row)
    if part == "operators":
        assert all(
            row["difference from naive"] < (1e-4 if row["dtype"] == "float32" else 1e-2) for row in report["rows"]
        )


def test_operators_with_wrong_numbers_get_no_time(script, monkeypatch):
    gpu = script("gpu")
    device = gpu["Device"](torch.device("cpu"), 1)
    monkeypatch.setitem(gpu["_like_naive"].__globals__, "difference", lambda *_: 1e-3)
    with pytest.raises(
        RuntimeError, match=r"numbers differ from naive's by 1\.0e-03, expected at most 1e-04: not timed"
    ):
        gpu["_like_naive"](device, "aggregate", gpu["Shape"](1, 4))


def test_a_failing_measurement_does_not_stop_the_next(script, tmp_path):
    rows = script("_gpu_rows")["Rows"](tmp_path / "rows.json", {"part": "x"}, budget=60)
    rows.measure({"case": 1}, lambda: {"ms": 1.0})
    rows.measure({"case": 2}, lambda: 1 / 0)
    rows.measure({"case": 3}, lambda: [{"ms": 3.0}, {"ms": 4.0}])
    report = json.loads((tmp_path / "rows.json").read_text())
    assert [(row["case"], row["ms"]) for row in report["rows"]] == [(1, 1.0), (3, 3.0), (3, 4.0)]
    assert [(row["case"], row["error"]) for row in report["failures"]] == [(2, "ZeroDivisionError: division by zero")]


def test_a_part_that_starts_again_measures_what_is_left(script, tmp_path):
    """Failures are not tried again: an error of the device would come again."""

    def begin(**options):
        rows = script("_gpu_rows")["Rows"](tmp_path / "rows.json", {"part": "x"}, budget=60, **options)
        for case in (1, 2, 3):
            rows.measure({"case": case}, lambda case=case: measured.append(case) or {"ms": 1 / (2 - case)})
        return [row["case"] for row in json.loads((tmp_path / "rows.json").read_text())["rows"]]

    measured = []
    assert begin() == begin(resume=True) == [1, 3]
    assert measured == [1, 2, 3]
    assert begin() == [1, 3]
    assert measured == [1, 2, 3, 1, 2, 3]


def test_what_does_not_fit_into_the_budget_is_named(script, tmp_path):
    rows = script("_gpu_rows")["Rows"](tmp_path / "rows.json", {}, budget=-1)
    rows.measure({"case": 1}, lambda: {"ms": 1.0})
    report = json.loads((tmp_path / "rows.json").read_text())
    assert (report["rows"], report["left out"]) == ([], [{"case": 1}])


def test_a_part_that_is_killed_leaves_its_rows(tmp_path):
    code = """
import pathlib, sys, time
sys.path.insert(0, sys.argv[1])
from _gpu_rows import Rows
rows = Rows(pathlib.Path(sys.argv[2]), {}, budget=60)
rows.measure({"case": 1}, lambda: {"ms": 1.0})
print("measured", flush=True)
rows.measure({"case": 2}, lambda: time.sleep(600))
"""
    output = tmp_path / "rows.json"
    command = [sys.executable, "-c", code, str(FOLDER), str(output)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        while "measured" not in child.stdout.readline():
            assert child.poll() is None
        child.kill()
    assert [row["case"] for row in json.loads(output.read_text())["rows"]] == [1]


@pytest.mark.parametrize("stage", ["check", "speed", "scale", "tune"])
@pytest.mark.parametrize("works", [True, False])
def test_no_part_of_the_gpu_acceptance_stops_the_next_and_its_status_says_whether_one_failed(stage, works, tmp_path):
    """With a Python that does nothing in each part."""
    command = ["bash", str(FOLDER / "gpu_acceptance.sh"), stage]
    environment = {"OUT": str(tmp_path), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "DRY": "1"}
    environment["PYTHON"] = str(shutil.which("true" if works else "false"))
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    parts = [line.split() for line in (tmp_path / f"{stage}.txt").read_text().splitlines()]
    expected = {
        "check": {"facts", "warm", "kernels", "memcheck", "racecheck", "races", "initcheck", "through"},
        "speed": {"operators", "layers", "compiled", "rivals"},
        "scale": {"products", "batches"},
        "tune": {"warm", "tiles"},
    }[stage]
    assert {name for name, *_ in parts} == expected, done.stderr
    failed = {name for name, _, code, *_ in parts if code != "0"}
    assert failed == (set() if works else expected - {"races"})
    assert done.returncode == (0 if works else 1)


@pytest.mark.parametrize("stage", ["", "speed up"])
def test_the_gpu_acceptance_names_its_stages(stage, tmp_path):
    command = ["bash", str(FOLDER / "gpu_acceptance.sh"), *([stage] if stage else [])]
    done = subprocess.run(command, capture_output=True, text=True, env={"OUT": str(tmp_path), "PATH": "/usr/bin:/bin"})
    assert done.returncode != 0
    assert "expected" in done.stderr
    assert "check, speed, scale or tune" in done.stderr or "check, speed, scale, tune" in done.stderr
