"""The block: mean and unbiased deviation, what the rules want, and stand-ins that do not pass for data."""

from __future__ import annotations

import dataclasses
import json
import math
import re

import pytest
import torch

pytest.importorskip("ogb")

from lcat.data import OGBDataset
from lcat.ogb import SeedResult, block_text, default_settings, leaderboard_block
from lcat.ogb.run import write_json


def block_of(tests=(0.70, 0.72, 0.71), seeds=None, name="ogbn-arxiv", generated=None, hardware=None, **changes):
    seeds = range(len(tests)) if seeds is None else seeds
    results = [
        SeedResult(
            seed, 0.9, test + 0.01, test, 3, 5, 1.0, 1234567, versions={"ogb": "1.3.6", "torch": "2.9"},
            hardware=machine,
        )
        for seed, test, machine in zip(seeds, tests, hardware or ["a CPU"] * len(tests), strict=True)
    ]  # fmt: skip
    dataset = OGBDataset(name, None, {}, 40, 1, "acc", None, generated)
    settings = default_settings(name, **changes)
    return leaderboard_block(dataset, settings, results, command="python x.py --layer gat")


def test_mean_and_unbiased_deviation():
    block = block_of()
    assert block["test"]["mean"] == pytest.approx(0.71)
    assert block["test"]["std"] == pytest.approx(0.01)  # divided by two, not by three
    assert block["test"]["std"] == pytest.approx(torch.tensor([0.70, 0.72, 0.71]).std().item(), abs=1e-6)
    assert block["valid"]["mean"] == pytest.approx(0.72)
    json.dumps(block)


def test_files_are_strict_json(tmp_path):
    curve = [{"epoch": 1, "loss": 2.5, "train": math.nan, "valid": 0.5, "test": 0.25}]
    result = SeedResult(3, math.nan, 0.5, 0.25, 1, 1, 1.0, 10, {"0": [0.5, math.nan]}, curve, {"torch": "2"})
    write_json(tmp_path / "seed-3.json", result.to_dict())
    text = (tmp_path / "seed-3.json").read_text()
    assert "NaN" not in text
    assert json.loads(text)["curve"][0]["train"] is None
    assert repr(SeedResult.from_dict(json.loads(text))) == repr(result)
    old = json.dumps(dataclasses.asdict(result))  # as it was written once
    assert repr(SeedResult.from_dict(json.loads(old))) == repr(result)
    write_json(tmp_path / "block.json", {"results": [dataclasses.asdict(result)], "x": math.inf})
    assert json.loads((tmp_path / "block.json").read_text())["x"] is None


def test_text_has_all_that_the_rules_want():
    text = block_text(block_of())
    assert "ogbn-arxiv, GAT (3 layers, 8 heads)" in text
    assert re.search(r"test acc +0\.7100 ± 0\.0100\n", text)
    assert re.search(r"validation acc +0\.7200 ± 0\.0100\n", text)
    assert re.search(r"parameters +1,234,567\n", text)
    assert re.search(r"command +python x\.py --layer gat\n", text)
    for word in (
        "ogb 1.",
        "torch 2.",
        "hardware          a CPU\n",
        "external data     none",
        "labels as input   no",
        "0, 1, 2",
    ):
        assert word in text
    assert "GENERATED" not in text


def test_stand_ins_are_marked_everywhere():
    block = block_of(generated={"note": "made up"})
    assert block["generated"] == {"note": "made up"}
    assert "the data are generated" in block["not_a_submission"]
    lines = block_text(block).splitlines()
    assert lines[0] == lines[-1]
    assert "GENERATED STAND-IN, NOT OGB'S DATA" in lines[0]


@pytest.mark.parametrize(
    ("arguments", "reasons"),
    [
        ({"tests": [0.7] * 10}, []),
        ({"tests": [0.7] * 9}, ["10 seeds are wanted; these are 9"]),
        ({"tests": [0.7] * 10, "seeds": range(1, 11)}, ["the seeds 0 .. 9 are wanted, or ones that were not fixed"]),
        ({"tests": [0.7] * 3, "name": "ogbn-papers100M"}, []),
        ({"tests": [0.7] * 10, "noise": 0.05}, ["the graph has 5% noise"]),
    ],
)
def test_what_the_rules_still_want(arguments, reasons):
    assert block_of(**arguments)["not_a_submission"] == reasons


def test_seeds_of_several_versions_are_told():
    results = [
        SeedResult(seed, 0.9, 0.7, 0.7, 3, 5, 1.0, 10, versions={"lcat": str(seed // 5)}, hardware="a CPU")
        for seed in range(10)
    ]
    dataset = OGBDataset("ogbn-arxiv", None, {}, 40, 1, "acc", None)
    block = leaderboard_block(dataset, default_settings("ogbn-arxiv"), results, command="x")
    assert block["not_a_submission"] == ["seeds were run with different versions"]


def test_the_hardware_is_that_of_the_training():
    block = block_of(tests=[0.7] * 10, hardware=["a CPU, 2 processes"] * 10)
    assert (block["hardware"], block["not_a_submission"]) == ("a CPU, 2 processes", [])
    block = block_of(tests=[0.7] * 10, hardware=["a GPU"] * 4 + ["a CPU"] * 5 + [""])
    assert block["hardware"] == "a GPU (seeds 0, 1, 2, 3); a CPU (seeds 4, 5, 6, 7, 8); not recorded (seed 9)"
    assert block["not_a_submission"] == [
        "seeds were run on different hardware",
        "the hardware of seed 9 is not recorded",
    ]
    block = block_of(tests=[0.7] * 10, hardware=[""] * 10)
    assert block["hardware"] == "not recorded"


def test_results_of_before_hardware_was_kept_are_read():
    values = SeedResult(3, 0.9, 0.5, 0.25, 1, 1, 1.0, 10).to_dict()
    del values["hardware"]
    assert SeedResult.from_dict(values).hardware == ""


def test_one_seed_has_no_deviation():
    block = block_of(tests=[0.7])
    assert block["test"]["std"] is None
    assert "0.7000 (one seed)" in block_text(block)


def test_labels_as_input_are_named():
    text = block_text(block_of(labels=True, layer="lcatv2"))
    assert "L-CATv2 (3 layers, 8 heads) + labels" in text
    assert "labels as input   training labels" in text
