"""``lcat ogb NAME``: the scripts' options, one line for what is wrong, light help."""

from __future__ import annotations

import argparse
import gzip
import io
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("ogb")
pytest.importorskip("typer")

from lcat import cli
from lcat.ogb import Settings, command, default_settings
from lcat.ogb.options import parser_of, typed_settings
from lcat.train import Processes
from tests.data.ogb.support import shut_off


@pytest.fixture
def call(monkeypatch, capsys, tmp_path):
    shut_off(monkeypatch)
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["lcat", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        out, err = capsys.readouterr()
        return caught.value.code or 0, out, err

    return call


def test_trains_and_says_how_it_was_called(call, tmp_path):
    options = ["--stand-in", "--data", "d", "--layer", "gcn", "--batching", "full", "--epochs", 2, "--seeds", 1]
    code, out, _ = call("ogb", "arxiv", *options, "--quiet")
    assert code == 0
    assert "Written to lcat-ogb/arxiv-gcn" in out
    block = json.loads((tmp_path / "lcat-ogb/arxiv-gcn/block.json").read_text())
    assert block["command"] == f"lcat ogb arxiv {' '.join(map(str, options))} --quiet"
    assert block["settings"]["epochs"] == 2


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), BrokenPipeError(32, "Broken pipe")])
def test_results_are_written_before_they_are_printed(error, call, tmp_path, monkeypatch):
    class Broken(io.StringIO):
        def write(self, text):
            raise error

    monkeypatch.setattr(sys, "stdout", Broken())
    options = ["--stand-in", "--data", "d", "--layer", "gcn", "--batching", "full", "--epochs", 1, "--seeds", 1, "-q"]
    code, _, err = call("ogb", "arxiv", *options)
    assert code == 0
    assert "Traceback" not in err
    assert ("No space left on device" in err) == (error.errno == 28)
    assert {"block.json", "block.txt"} <= {path.name for path in (tmp_path / "lcat-ogb/arxiv-gcn").iterdir()}


def test_help(call):
    code, out, _ = call("ogb", "proteins", "--help")
    assert code == 0
    assert "--num-neighbors" in out
    assert "continues with the same command" in " ".join(out.split())
    assert "(default: 1200)" in " ".join(out.split())
    assert call("ogb", "proteins", "-h") == (0, out, "")
    for arguments in (["ogb"], ["ogb", "--help"], ["ogb", "-h"]):
        code, out, _ = call(*arguments)
        assert code == 0
        assert "NAME" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["arxvi"], ["NAME must be one of arxiv, ", "'arxvi'", "did you mean arxiv?"]),
        (["ogbg-molhiv"], ["papers100M; got 'ogbg-molhiv', which is no data set for predicting properties of nodes"]),
        (["arxiv", "--layer", "gta"], ["--layer must be one of gcn, ", "got 'gta' (did you mean gat"]),
        (["arxiv", "--layer", "GAT"], ["--layer", "got 'GAT' (did you mean gat"]),
        (["arxiv", "--optimizer", "adma"], ["--optimizer must be one of ", "got 'adma' (did you mean adam"]),
        (["arxiv", "--norm", "bach"], ["--norm must be one of none, layer, batch; got 'bach' (did you mean batch?)"]),
        (
            ["arxiv", "--laye", "gat"],
            ["there is no option --laye (did you mean --layer or --layers, which is --num-layers"],
        ),
        (["arxiv", "--epoch=3"], ["there is no option --epoch (did you mean --epochs"]),
        (["arxiv", "gat"], ["unexpected argument 'gat': options begin with --"]),
        (["arxiv", "--hidden", "8", "--hidden-channels", "16"], ["--hidden and --hidden-channels are one option"]),
        (["arxiv", "--num-layers", "2", "--depth", "3"], ["--num-layers and --depth are one option: give one of them"]),
        (["arxiv", "-l", "gat", "--layer", "gcn"], ["-l and --layer are one option"]),
        (["arxiv", "--patience", "nine"], ["--patience", "'nine'"]),
        (["arxiv", "--patience", "0"], ["--patience must be a whole number, at least 1", "got 0"]),
        (["arxiv", "--device", "cudda"], ["--device: expected cpu, cuda, cuda:1 or mps", "(did you mean cuda?)"]),
        (["arxiv", "--device", "gpu"], ["--device: expected cpu", "got 'gpu' (did you mean cuda?)"]),
        (["arxiv", "--device", "meta"], ["--device: expected cpu", "got 'meta'"]),
        (["mag", "--layer", "gat", "--hidden", "9", "--heads", "2"], ["--hidden-channels must be a multiple of heads"]),
        (["mag", "--epochs", "0"], ["--epochs must be a whole number, at least 1; got 0"]),
        (["ogbn_arxiv", "--color", "red"], ["--color"]),
        (["arxiv", "--runs", "1"], ["there is no option --runs (did you mean --seeds?)"]),
        (
            ["arxiv", "--hidden_channels", "8"],
            ["there is no option --hidden_channels (did you mean --hidden-channels?)"],
        ),
        (["arxiv", "--num_layers", "2"], ["there is no option --num_layers (did you mean --num-layers?)"]),
        (["arxiv", "--log_steps", "1"], ["there is no option --log_steps (progress is shown; --quiet hides it)"]),
        (["arxiv", "--use_sage"], ["there is no option --use_sage (GraphSAGE is none of the layers"]),
        (["arxiv", "--lr", "abc"], ["--lr: must be a number; got 'abc'"]),
        (["arxiv", "--lr"], ["--lr: expected a value, as in --lr X"]),
        (["arxiv", "--hidden"], ["--hidden: expected a value, as in --hidden N"]),
        (["arxiv", "--heads", "1.5"], ["--heads: must be a whole number; got '1.5'"]),
        (["arxiv", "--heads", "true"], ["--heads: must be a whole number; got 'true'"]),
        (["arxiv", "--clip-norm", "x"], ["--clip-norm: must be a number, or none; got 'x'"]),
        (["arxiv", "--bias=3"], ["--bias: takes no value; write --bias alone"]),
        (["arxiv", "--seeds", "x"], ["--seeds: expected seeds such as 3", "got 'x'"]),
        (["--epochs", "3", "arxiv"], ["the name of the data set comes before options, as in lcat ogb arxiv --epochs"]),
        (["arxiv", "--timeout", "0"], ["--timeout", "positive number of seconds; got '0'"]),
        (["arxiv", "--seeds", "4294967296,"], ["--seeds", "in 0 .. 2^32 - 1", "'4294967296,'"]),
    ],
)
def test_bad_input_is_one_line(arguments, words, call):
    code, out, err = call("ogb", *arguments)
    assert (code, out) == (2, "")
    [line] = err.splitlines()
    for word in words:
        assert word in line


def test_a_folder_that_cannot_hold_a_stand_in_is_one_line(call, tmp_path):
    (tmp_path / "file").write_text("")
    code, out, err = call("ogb", "arxiv", "--stand-in", "--data", tmp_path / "file", "--quiet")
    assert (code, out) == (1, "")
    [line] = err.splitlines()
    assert "--data: cannot write a stand-in to" in line


@pytest.mark.parametrize(("rank", "local", "turn"), [(0, 0, 0), (1, 1, 2), (2, 0, 1), (3, 1, 2)])
def test_the_first_process_of_a_machine_loads_before_the_others(rank, local, turn, monkeypatch, tmp_path):
    """Of two machines with two processes each, which need not share a disk."""
    events = []

    class Watched(Processes):
        def gather(self, value):
            events.append("wait")
            return [value] * 4

    monkeypatch.setenv("LOCAL_RANK", str(local))
    monkeypatch.setattr(command, "load_ogb", lambda *arguments, **options: events.append("load") or "the data")
    options = argparse.Namespace(data=tmp_path, stand_in=False, no_download=True, quiet=True)
    assert command._load("ogbn-arxiv", options, Watched(rank, 4)) == "the data"
    assert events == ["wait"] * turn + ["load"] + ["wait"] * (3 - turn)


def test_the_timeout_reaches_the_group(call, monkeypatch):
    def joined(device, timeout_seconds):
        raise ValueError(f"{device}, {timeout_seconds:g} seconds")

    monkeypatch.setattr(command, "joined", joined)
    assert "cpu, 90 seconds" in call("ogb", "arxiv", "--device", "cpu", "--timeout", "90")[2]
    assert parser_of("ogbn-arxiv").parse_args([]).timeout > 2 * 3600


def test_help_stays_light():
    script = (
        "import sys; sys.argv = ['lcat', 'ogb', '--help']\n"
        "from lcat import cli\n"
        "try: cli.main()\n"
        "except SystemExit: pass\n"
        "print('HEAVY', [name for name in ('torch', 'ogb', 'pandas', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "HEAVY []" in done.stdout


@pytest.mark.parametrize(
    ("name", "setting", "value"),
    [
        ("hidden", "hidden_channels", 24),
        ("layers", "num_layers", 2),
        ("depth", "num_layers", 2),
        ("fan-out", "num_neighbors", 7),
        ("walk-steps", "num_steps", 4),
    ],
)
def test_short_spellings_are_accepted_and_not_listed(name, setting, value):
    parser = parser_of("ogbn-arxiv")
    assert getattr(parser.parse_args([f"--{name}", str(value)]), setting) == value
    assert getattr(parser.parse_args([]), setting) == getattr(default_settings("ogbn-arxiv"), setting)
    assert f"--{name} " not in parser.format_help()


def test_short_options():
    options = parser_of("ogbn-arxiv").parse_args(["-l", "cat", "-q", "-o", "o"])
    assert (options.layer, options.quiet, options.out) == ("cat", True, Path("o"))


def test_none_is_a_value():
    parser = parser_of("ogbn-arxiv")
    assert parser.parse_args(["--patience", "none", "--clip-norm", "None"]).patience is None
    assert parser.parse_args(["--patience", "3", "--clip-norm", "1.5"]).clip_norm == 1.5


FAST = ["--stand-in", "--data", "d", "-l", "gcn", "--batching", "full", "--epochs", 1, "--hidden", 8, "--quiet"]


def test_a_block_has_all_finished_seeds_of_its_folder(call, tmp_path):
    """A block of the best two of four would be easy else."""

    def block():
        return json.loads((tmp_path / "o/block.json").read_text())

    assert call("ogb", "arxiv", *FAST, "--out", "o", "--seeds", "0-2")[0] == 0
    first = block()
    code, out, err = call("ogb", "arxiv", *FAST, "--out", "o", "--seeds", "0-1")
    assert code == 0
    assert "o holds more finished seeds (2); they are part of the block" in err
    assert block() == first
    assert first["seeds"] == [0, 1, 2]
    assert "seeds             0, 1, 2 (" in out
    call("ogb", "arxiv", *FAST, "--out", "o", "--seeds", "5,")
    assert block()["seeds"] == [0, 1, 2, 5]
    assert re.search(r"--seeds 0-2 \(seeds 0, 1, 2\); lcat ogb arxiv .*--seeds 5, \(seed 5\)$", block()["command"])


def test_weights_and_predictions_can_be_read(call, tmp_path):
    """As docs/ogb.md says; predictions also for a seed that is finished already."""
    from lcat.data import load_ogb
    from lcat.ogb import build_node_model, node_graph

    call("ogb", "arxiv", *FAST, "--out", "o", "--seeds", "0,")
    assert not (tmp_path / "o/seed-0-predictions.npy").exists()
    for _ in range(2):
        assert call("ogb", "arxiv", *FAST, "--out", "o", "--seeds", "0-1", "--predictions")[0] == 0
    settings = Settings(**json.loads((tmp_path / "o/run.json").read_text())["settings"])
    dataset = load_ogb("ogbn-arxiv", tmp_path / "d/stand-ins", download=False, progress=False)
    graph = node_graph(dataset, settings)
    for result in json.loads((tmp_path / "o/block.json").read_text())["results"]:
        seed = result["seed"]
        logits = torch.from_numpy(np.load(tmp_path / f"o/seed-{seed}-predictions.npy"))
        assert dataset.evaluate(logits, "test") == result["test"]
        model = build_node_model(settings, graph, dataset.num_classes).eval()
        model.load_state_dict(torch.load(tmp_path / f"o/seed-{seed}.pt"))
        with torch.no_grad():
            assert torch.equal(model(graph.x, graph.edge_index), logits)
    (tmp_path / "o/seed-0.pt").write_bytes(b"damaged")
    (tmp_path / "o/seed-0-predictions.npy").unlink()
    code, _, err = call("ogb", "arxiv", *FAST, "--out", "o", "--seeds", "0,", "--predictions")
    assert code == 1
    assert "seed-0.pt cannot be read" in err.splitlines()[-1]


RESULT = {"seed": 0, "train": 1, "valid": 1, "test": 1, "best_epoch": 1, "epochs": 1, "seconds": 1, "parameters": 1}


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("run.json", b"", "it is empty"),
        ("run.json", b"{half", "it is no JSON"),
        ("run.json", b"\xff\xfe", "it is no JSON"),
        ("run.json", b"[" * 100_000, "it is no JSON"),
        ("run.json", b"[1]", "it must hold a table of names and values; got list"),
        ("run.json", b'{"settings": 3}', "its settings must be a table; got 3"),
        ("run.json", b'{"commands": {"0": 3}}', "its commands must be texts by seed"),
        ("run.json", None, "Is a directory"),
        ("seed-0.json", b"", "it is empty"),
        ("seed-0.json", b"{half", "it is no JSON"),
        ("seed-0.json", b"[]", "it must hold a table of names and values; got list"),
        ("seed-0.json", None, "Is a directory"),
        ("seed-0.json", {}, "its seed is missing"),
        ("seed-0.json", {**RESULT, "seed": 5}, "it is the result of seed 5"),
        ("seed-0.json", {**RESULT, "test": "x"}, "its test must be a number; got 'x'"),
        ("seed-0.json", {**RESULT, "epochs": True}, "its epochs must be a whole number; got True"),
        ("seed-0.json", {**RESULT, "lambdas": {"a": 3}}, "its lambdas must be a table of pairs of numbers"),
        ("seed-0.json", {**RESULT, "curve": 3}, "its curve must be a list of tables of numbers; got 3"),
        ("seed-0.json", {**RESULT, "versions": None}, "its versions must be a table of text"),
        ("seed-0.json", {**RESULT, "more": 3}, "'more' is no part of a result"),
        ("seed-0.pt", b"", "it is no whole file of torch.save"),
        ("seed-0.pt", b"damaged", "it is no whole file of torch.save"),
        ("seed-0.pt", None, "Is a directory"),
        ("seed-0.pt", torch.tensor(1), "its weights are not those of this model"),
        ("seed-0.pt", {"a": torch.tensor(1)}, "its weights are not those of this model"),
    ],
)
def test_a_damaged_file_is_named_with_the_way_out(call, tmp_path, name, content, reason):
    options = ["arxiv", *FAST, "--out", "o", "--seeds", "0,"]
    assert call("ogb", *options)[0] == 0
    file = tmp_path / "o" / name
    file.unlink()
    if content is None:
        file.mkdir()
    elif isinstance(content, bytes):
        file.write_bytes(content)
    elif name.endswith(".pt"):
        torch.save(content, file)
    else:
        file.write_text(json.dumps(content))
    code, out, err = call("ogb", *options, "--predictions")
    assert (code, out) == (1, "")
    assert f"o/{name} cannot be read ({reason}" in err.splitlines()[-1]
    assert "move" in err.splitlines()[-1]
    assert "weights_only" not in err


def test_a_folder_of_results_that_is_a_file_is_one_line(call, tmp_path):
    (tmp_path / "o").write_text("")
    code, _, err = call("ogb", "arxiv", *FAST, "--out", "o", "--seeds", "0,")
    assert code == 1
    assert "o cannot be the folder of the results (it is a file); choose another one" in err.splitlines()[-1]


@pytest.mark.parametrize("options", [[], ["--labels"], ["--labels", "--batching", "neighbor", "--batch-size", 100]])
def test_unknown_labels_are_left_out(call, tmp_path, options):
    """As OGB's evaluator does: a task counts where its label is known."""
    from lcat.data import write_standin

    folder = write_standin("ogbn-proteins", tmp_path / "d/stand-ins", nodes=200)
    path = folder / "raw/node-label.csv.gz"
    rows = [row.split(",") for row in gzip.decompress(path.read_bytes()).decode().splitlines()]
    for number, row in enumerate(rows):
        row[number % 112] = row[(number + 7) % 112] = ""
    path.write_bytes(gzip.compress("\n".join(map(",".join, rows)).encode()))
    code, _, err = call("ogb", "proteins", *FAST, "--out", "o", "--seeds", "0,", "--linear-ends", *options)
    assert code == 0, err
    [result] = json.loads((tmp_path / "o/block.json").read_text())["results"]
    assert result["curve"][0]["loss"] is not None
    assert 0 < result["test"] < 1


def test_torchrun_is_part_of_the_command(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    words = shlex.join(command._started("lcat ogb arxiv"))
    assert words == "torchrun --nnodes 2 --nproc-per-node 2 --no-python lcat ogb arxiv"


def test_options_that_the_batching_does_not_use_are_refused(call):
    code, _, err = call("ogb", "arxiv", "--stand-in", "--batching", "full", "--batch-size", "7")
    assert code == 2
    assert "--batch-size has no effect with batching 'full', only with 'neighbor' or 'walk'; leave it out" in err
    code, _, err = call("ogb", "arxiv", "--stand-in", "--num-neighbors", "7")
    assert code == 2
    assert "--num-neighbors has no effect with batching 'walk', only with 'neighbor'" in err


def test_a_training_that_fails_is_one_line(call, tmp_path):
    words = "--batching walk --batch-size 1 --walk-length 1 --num-steps 1 --epochs 8 --seeds 0-3 --layer gcn --quiet"
    code, _, err = call("ogb", "arxiv", "--stand-in", "--data", tmp_path, "--out", tmp_path / "out", *words.split())
    assert code == 1
    assert "expected at least one node to train on in an epoch, got none" in err.splitlines()[-1]
    assert "Traceback" not in err


def test_seeds():
    parser = parser_of("ogbn-arxiv")
    assert parser.parse_args([]).seeds == list(range(10))
    assert parser.parse_args(["--seeds", "3"]).seeds == [0, 1, 2]
    assert parser.parse_args(["--seeds", "7,0-2"]).seeds == [7, 0, 1, 2]


def test_commands_on_pages_and_in_scripts_are_understood():
    root = Path(__file__).parents[2]
    pages = [root / "README.md", root / "docs/ogb.md", *sorted((root / "benchmarks/ogb").glob("*.py"))]
    pattern = re.compile(
        r"(?:lcat ogb|benchmarks/ogb/)\s*(arxiv|products|proteins|mag)(?:\.py)?((?: +-\S+| +[\w.-]+)+)"
    )
    commands = 0
    for page in pages:
        for name, options in pattern.findall(page.read_text(encoding="utf-8")):
            words = shlex.split(options)
            if words[0].startswith("-") and "--help" not in words:
                options = parser_of(f"ogbn-{name}").parse_args(words)
                default_settings(f"ogbn-{name}", **{key: getattr(options, key) for key in typed_settings(options)})
                commands += 1
    assert commands >= 15


def test_results_that_a_full_disk_cannot_hold(call, tmp_path, small_files):
    options = ["--stand-in", "--data", "d", "--layer", "gcn", "--batching", "full", "--epochs", 1, "--seeds", 1, "-q"]
    assert call("ogb", "arxiv", *options)[0] == 0
    folder = tmp_path / "lcat-ogb/arxiv-gcn"
    with small_files(20_000):
        code, _, err = call("ogb", "arxiv", *options, "--predictions")
    assert code == 1
    assert err.endswith("seed-0-predictions.npy cannot be written (File too large)\n")
    (folder / "seed-0.json").unlink()
    with small_files(int((folder / "seed-0.pt").stat().st_size * 0.9)):
        code, _, err = call("ogb", "arxiv", *options)
    assert code == 1
    assert "File too large" in err.splitlines()[-1]
    assert call("ogb", "arxiv", *options, "--predictions")[0] == 0
    assert np.load(folder / "seed-0-predictions.npy").shape == (600, 40)


def test_a_stand_in_without_its_marker_does_not_pass_for_data(call, tmp_path):
    from lcat.data import write_standin

    folder = write_standin("ogbn-arxiv", tmp_path / "d/stand-ins")
    (folder / "GENERATED_STAND_IN.json").unlink()
    code, _, err = call("ogb", "arxiv", *FAST, "--out", "o", "--seeds", "0,")
    assert code == 1
    assert "does not say that it is a stand-in" in err
    assert "move it away, and --stand-in makes it again" in err
    assert not (tmp_path / "o/block.txt").exists()
