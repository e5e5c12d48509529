"""``lcat ogb NAME``: the scripts' options, one line for what is wrong, light help."""

from __future__ import annotations

import argparse
import dataclasses
import io
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("ogb")
pytest.importorskip("typer")

from lcat import cli
from lcat.ogb import Settings, command, default_settings
from lcat.ogb.options import parser_of
from lcat.train import Processes
from tests.data.ogb.support import shut_off

SETTINGS = {spec.name for spec in dataclasses.fields(Settings)} - {"dataset"}


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
    options = ["--stand-in", "--data", "d", "--layer", "gcn", "--batching", "full", "--epochs", 2, "--seeds", 0]
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
    options = ["--stand-in", "--data", "d", "--layer", "gcn", "--batching", "full", "--epochs", 1, "--seeds", 0, "-q"]
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
        (["arxiv", "--layer", "gta"], ["--layer", "'gta'"]),
        (["mag", "--layer", "gat", "--hidden", "9", "--heads", "2"], ["--hidden-channels must be a multiple of heads"]),
        (["mag", "--epochs", "0"], ["--epochs must be a whole number, at least 1; got 0"]),
        (["ogbn_arxiv", "--color", "red"], ["--color"]),
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
                parsed = vars(parser_of(f"ogbn-{name}").parse_args(words))
                default_settings(f"ogbn-{name}", **{key: parsed[key] for key in parsed if key in SETTINGS})
                commands += 1
    assert commands >= 15
