"""The plan on the page is a file that can be run."""

from __future__ import annotations

import pytest

from lcat.study import make_plan
from lcat.study.plan.published import Published
from lcat.study.report.plan_toml import plan_toml


def test_plan_can_be_run_again():
    tomllib = pytest.importorskip("tomllib")
    plan = make_plan(
        datasets=["cora", "csbm:easy,q=0.1"],
        layers=["gcn", "lcat"],
        seeds=[0, 3],
        split="stratified:5",
        noise={"edges": [0.1, 0.2]},
        overrides={"epochs": 9, "norm": "layer"},
        grid={"hidden_channels": [16, 32], "lr": [0.01], "clip_norm": [None, 1.0]},
        objectives={"accuracy": 1, "time": 0.5},
    )
    assert make_plan(**tomllib.loads(plan_toml(plan))) == plan


def test_the_plan_on_the_page_has_no_paths_of_the_machine():
    plan = make_plan(datasets=["cora"], layers=["gcn"], seeds=1, run={"data": "/home/me/data", "workers": 2})
    plan = plan.model_copy(
        update={
            "datasets": ("/home/me/mine.pt", r"C:\me\other.npz", "sub/third.pt"),
            "split": "file:/home/me/{fold}.npz",
        }
    )
    text = plan_toml(plan)
    assert "/home" not in text
    assert "me\\" not in text
    assert 'datasets = ["mine.pt", "other.npz", "sub/third.pt"]' in text
    assert 'split = "file:{fold}.npz"' in text
    assert "workers = 2" in text
    assert "# run.data was set: say where it is on your machine" in text


def test_the_plan_on_the_page_tells_files_of_one_name_apart():
    plan = make_plan(datasets=["cora"], layers=["gcn"], seeds=1)
    published = (Published(dataset="/me/a/mine.pt", layer="gcn", mean=80.0),)
    layers = ("gcn", "/me/nets/m.py:Net", "old=/me/nets/m.py:Net", "sub/m.py:Other")
    names = ("/me/a/mine.pt", "/me/b/mine.pt", "/me/other.pt,undirected")
    text = plan_toml(plan.model_copy(update={"datasets": names, "layers": layers, "published": published}))
    assert 'datasets = ["a/mine.pt", "b/mine.pt", "other.pt,undirected"]' in text
    assert 'layers = ["gcn", "m.py:Net", "old=m.py:Net", "sub/m.py:Other"]' in text
    assert '{ dataset = "a/mine.pt", layer = "gcn"' in text
    assert "/me" not in text


def test_the_plan_on_the_page_quotes_what_toml_asks_to_quote():
    tomllib = pytest.importorskip("tomllib")
    plan = make_plan(datasets=["cora"], layers=["gcn"], seeds=1)
    grid = {"größe": (4, "a\x7fb"), "with space": (1,)}
    assert tomllib.loads(plan_toml(plan.model_copy(update={"grid": grid})))["grid"] == {
        "größe": [4, "a\x7fb"],
        "with space": [1],
    }
