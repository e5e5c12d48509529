"""The leaderboard scripts on stand-ins, offline: they learn, write the block, reuse, resume, and work in parallel."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

pytest.importorskip("ogb")

from lcat.data.ogb import load as ogb_module
from lcat.ogb.model import LAYERS
from tests.data.ogb.support import shut_off, snapshot
from tests.ogb.ogb_support import SCRIPTS, run_script

# What beats what: eight classes of equal size, and yes-or-no tasks.
CHANCE = {"arxiv": 1 / 8, "products": 1 / 8, "mag": 1 / 8, "proteins": 0.5}
CLEARLY = {"arxiv": 0.5, "products": 0.4, "mag": 0.5, "proteins": 0.7}
SHORT = ["--stand-in", "--seeds", "0-1", "--quiet", "--epochs", 5]


def with_short(options):
    """The options of a short run; in batches, where ``options`` name no other way."""
    return (
        [*SHORT, *options] if "full" in options else [*SHORT, "--batching", "neighbor", "--batch-size", 128, *options]
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


@pytest.fixture
def run(monkeypatch, tmp_path, data):
    """Run a script without network and standard input; returns its block."""
    shut_off(monkeypatch)

    def run(name, *arguments, out="out"):
        run_script(monkeypatch, name, "--data", data, "--out", tmp_path / out, *with_short(arguments))
        return json.loads((tmp_path / out / "block.json").read_text())

    return run


def check_learned(block, name, layer):
    assert block["dataset"] == f"ogbn-{name}"
    assert block["settings"]["layer"] == layer
    assert CLEARLY[name] > CHANCE[name] + 0.15
    for result in block["results"]:
        assert result["test"] > CLEARLY[name], (name, layer, result["test"])
        best = max(result["curve"], key=lambda row: row["valid"])
        assert (result["valid"], result["best_epoch"]) == (best["valid"], best["epoch"])
        assert result["test"] == best["test"]


@pytest.mark.parametrize(
    ("name", "layer"), [("arxiv", "lcat"), ("products", "gcn"), ("proteins", "gatv2"), ("mag", "catv2")]
)
def test_scripts_learn_and_write_the_block(name, layer, run, tmp_path, capsys):
    block = run(name, "--layer", layer)
    check_learned(block, name, layer)
    out, err = capsys.readouterr()
    assert out.startswith("*** GENERATED STAND-IN, NOT OGB'S DATA")
    assert "GENERATED STAND-IN" in err
    assert (tmp_path / "out/block.txt").read_text() in out
    assert block["command"].startswith(f"python {SCRIPTS / name}.py --data ")
    assert f"--layer {layer}" in block["command"]
    assert block["generated"]["dataset"] == f"ogbn-{name}"
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "run.json", "seed-0.json", "seed-1.json", "seed-0.pt", "seed-1.pt", "block.json", "block.txt",
    }  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("name", CHANCE)
def test_every_script_learns_with_every_layer(name, layer, run):
    check_learned(run(name, "--layer", layer, "--epochs", 8), name, layer)


@pytest.mark.parametrize(
    "options",
    [
        ["--batching", "full", "--labels", "--optimizer", "pogo", "--epochs", 10],
        ["--batching", "walk", "--batch-size", 200, "--num-steps", 3],
        ["--labels", "--inference", "layerwise", "--precision", "bf16", "--accumulate", 2, "--noise", 0.1],
        [
            "--norm",
            "batch",
            "--residual",
            "linear",
            "--optimizer",
            "adamw",
            "--weight-decay",
            0.01,
            "--schedule",
            "cosine",
        ],
    ],
    ids=lambda options: options[1] if options[0] == "--batching" else options[0],
)
def test_options_reach_the_training(options, run):
    block = run("arxiv", "--layer", "gat", "--hidden-channels", 64, *options)
    check_learned(block, "arxiv", "gat")
    for flag, value in zip(options, [*options[1:], None], strict=True):
        if str(flag).startswith("--"):
            setting = block["settings"][flag[2:].replace("-", "_")]
            assert setting == (True if str(value).startswith("--") else value)


def test_two_ways_to_measure_the_whole_graph_agree(run):
    whole, layerwise = (
        run("proteins", "--layer", "lcat", "--epochs", 2, "--inference", how, out=how) for how in ("whole", "layerwise")
    )
    for one, two in zip(whole["results"], layerwise["results"], strict=True):
        assert one["test"] == pytest.approx(two["test"], abs=1e-4)


def test_the_second_run_reuses_files_and_results(run, tmp_path, data, monkeypatch):
    first = run("arxiv", "--layer", "gcn")
    processed = data / "stand-ins/ogbn_arxiv/processed/geometric_data_processed.pt"
    stamp, before = processed.stat().st_mtime_ns, snapshot(tmp_path / "out")
    monkeypatch.setattr(ogb_module.import_ogb().PygNodePropPredDataset, "process", lambda _: pytest.fail("again"))
    second = run("arxiv", "--layer", "gcn")
    assert processed.stat().st_mtime_ns == stamp
    assert second["results"] == first["results"]
    after = snapshot(tmp_path / "out")
    assert {name: after[name] for name in before if name.startswith("seed")} == {
        name: content for name, content in before.items() if name.startswith("seed")
    }
    more = run("arxiv", "--layer", "gcn", "--seeds", "0-2")
    assert [result["seed"] for result in more["results"]] == [0, 1, 2]
    assert more["results"][:2] == first["results"]


def test_other_settings_need_another_folder(run, capsys):
    run("arxiv", "--layer", "gcn")
    with pytest.raises(SystemExit) as caught:
        run("arxiv", "--layer", "gcn", "--lr", 0.5)
    assert caught.value.code == 1
    assert "holds a run with lr 0.01, and this one has 0.5; choose another folder" in capsys.readouterr().err


def figures(block):
    """All figures but times."""
    return [{**result, "seconds": None} for result in block["results"]]


@pytest.mark.parametrize("batching", ["full", "neighbor"])
def test_a_run_broken_off_goes_on_bit_for_bit(batching, run, tmp_path, monkeypatch, capsys):
    from lcat.ogb import training

    options = ["--layer", "lcat", "--batching", batching, "--optimizer", "pogo", "--hidden-channels", 32]
    unbroken = run("arxiv", *options, out="unbroken")
    real, calls = training.Evaluator.__call__, []

    def broken(self, model):
        calls.append(1)
        if len(calls) in (4, 9):  # in the middle of the first seed, and of the second
            raise KeyboardInterrupt
        return real(self, model)

    monkeypatch.setattr(training.Evaluator, "__call__", broken)
    for _ in range(2):
        with pytest.raises(SystemExit) as caught:
            run("arxiv", *options)
        assert caught.value.code == 130
        assert "the same command continues from the last checkpoint" in capsys.readouterr().err
    resumed = run("arxiv", *options)
    assert len(calls) == 2 * 5 + 2  # the two measurements that were interrupted, and no epoch twice
    assert figures(resumed) == figures(unbroken)
    weights = [(tmp_path / out / "seed-1.pt").read_bytes() for out in ("out", "unbroken")]
    assert weights[0] == weights[1]


def environment(**more):
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(SCRIPTS.parents[1]), **more}


@pytest.mark.long
def test_a_killed_process_goes_on(tmp_path, data, run):
    options = ["--layer", "gat", "--hidden-channels", "32", "--epochs", "60", "--seeds", "0,"]
    command = [sys.executable, str(SCRIPTS / "mag.py"), "--data", str(data), "--out", str(tmp_path / "out")]
    command += map(str, with_short(options))
    process = subprocess.Popen(command, env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    checkpoint = tmp_path / "out/seed-0.checkpoint"
    deadline = time.monotonic() + 60
    while not checkpoint.exists():
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "out/seed-0.json").exists()
    resumed = run("mag", *options)
    unbroken = run("mag", *options, out="unbroken")
    assert figures(resumed) == figures(unbroken)
    assert not checkpoint.exists()


def parallel(tmp_path, data, *options):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += [str(SCRIPTS / "arxiv.py"), "--data", str(data), "--out", str(tmp_path / "two")]
    command += map(str, with_short(options))
    done = subprocess.run(
        command, env=environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=240
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("ogbn-arxiv, ") == 1  # one of them prints
    return json.loads((tmp_path / "two/block.json").read_text())


@pytest.mark.long
@pytest.mark.parametrize("batching", ["full", "neighbor", "labels"])
def test_two_processes_learn_as_one(batching, tmp_path, data, run):
    # Without dropout, which each process draws for itself, and with all neighbors, which need no drawing. Sampled,
    # only layers that look one hop far: averages over the neighbors of a source depend on where the sample ends.
    layer = "gat" if batching == "neighbor" else "lcat"
    options = [
        "--layer",
        layer,
        "--hidden-channels",
        32,
        "--dropout",
        0,
        "--num-layers",
        2,
        "--seeds",
        1,
    ]
    if batching == "neighbor":
        options += ["--batching", "neighbor", "--num-neighbors", -1]
    else:
        options += ["--batching", "full", *(["--labels"] if batching == "labels" else [])]
    one, two = run("arxiv", *options), parallel(tmp_path, data, *options)
    curves = [[row["loss"] for row in block["results"][0]["curve"]] for block in (one, two)]
    assert len(curves[0]) == 5
    assert curves[0] == pytest.approx(curves[1], rel=1e-4)
    assert two["results"][0]["test"] == pytest.approx(one["results"][0]["test"], abs=0.01)
    assert two["command"].startswith("torchrun --nproc-per-node 2 ")
    assert two["hardware"].endswith("2 processes")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--layer", "gta"], 2, ["--layer", "'gta'"]),
        (["--heads", "7"], 2, ["--hidden-channels must be a multiple of heads (7); got 256"]),
        (["--lr", "-1"], 2, ["--lr must be positive; got -1.0"]),
        (["--num-neighbors", "0"], 2, ["--num-neighbors"]),
        (["--seeds", "3-x"], 2, ["--seeds", "'3-x'"]),
        (["--seeds", "5-3"], 2, ["--seeds"]),
        (["--color", "red"], 2, ["--color"]),
        (["--device", "cuda:7"], 2, ["--device"]),
        (["--out", "file/sub"], 1, ["file/sub"]),
    ],
)
def test_bad_options_are_one_line(arguments, code, words, run, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit) as caught:
        run("arxiv", *arguments)
    assert caught.value.code == code
    lines = [line for line in capsys.readouterr().err.splitlines() if "GENERATED" not in line]
    assert len(lines) == 1
    assert lines[0].startswith("arxiv.py: ")
    for word in words:
        assert word in lines[0]


def test_a_training_that_diverges_is_one_line(run, capsys):
    with pytest.raises(SystemExit) as caught:
        run("arxiv", "--layer", "gcn", "--optimizer", "sgd", "--lr", "1e30", "--norm", "none", "--residual", "none")
    assert caught.value.code == 1
    [line] = [line for line in capsys.readouterr().err.splitlines() if "GENERATED" not in line]
    assert "lower lr" in line


def test_missing_data_is_one_line(monkeypatch, tmp_path, capsys):
    shut_off(monkeypatch)
    for flags, words in (([], "no network or no answer"), (["--no-download"], "there is no folder")):
        with pytest.raises(SystemExit) as caught:
            run_script(monkeypatch, "arxiv", "--data", tmp_path, "--quiet", *flags)
        assert caught.value.code == 1
        [line] = capsys.readouterr().err.splitlines()
        assert words in line


def test_results_of_other_settings_never_share_a_block(run, capsys, tmp_path):
    """Results that were copied to the folder, or whose run.json is gone, are not mixed with those of other settings."""
    run("arxiv", "--layer", "gcn", "--seeds", "1")
    results = (tmp_path / "out/seed-0.json").read_bytes()
    (tmp_path / "out/run.json").unlink()
    with pytest.raises(SystemExit):
        run("arxiv", "--layer", "gcn", "--seeds", "2", "--lr", 0.5)
    assert re.search(
        r"seed-0.json is the result of a run with lr 0.01, and this one has 0.5; choose another folder, or move seed",
        capsys.readouterr().err,
    )
    assert (tmp_path / "out/seed-0.json").read_bytes() == results
    assert len(run("arxiv", "--layer", "gcn", "--seeds", "2")["results"]) == 2  # with its own settings, it goes on
