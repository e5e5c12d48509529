"""Studies that run until their questions are decided."""

from __future__ import annotations

import pytest

from lcat.study import PlanError, Study, make_plan, run_study, run_until_decided

FAST = {"epochs": 20}


def plan_of(**changes):
    settings = {"datasets": ["csbm:easy,q=0.5,n=100"], "layers": ["gcn", "gat"], "seeds": 3, "overrides": FAST}
    return make_plan(**{**settings, **changes})


def test_a_clear_difference_is_decided_at_the_first_look(tmp_path):
    looks = []
    decision = run_until_decided(plan_of(seeds=4), tmp_path, engine="inline", on_look=looks.append)
    assert decision.reason == "decided"
    assert [(look.number, look.seeds, look.alpha, look.undecided) for look in looks] == [(1, 4, 0.025, ())]
    assert decision.outcome.study.compare(alpha=0.025).pairs["verdict"].tolist() == ["worse"]
    assert Study.load(tmp_path).looks() == 1


def test_seeds_are_added_and_looks_are_counted(tmp_path):
    # A margin that nothing can be within, and layers that are equal: never decided.
    plan = plan_of(datasets=["csbm:hard,q=0.2,n=60"], layers=["gcn", "gcn-mean"], seeds=2, margin=1e-9)
    first = run_until_decided(plan, tmp_path, engine="inline", max_looks=2)
    assert first.reason == "looks"
    assert first.looks[0].seeds == 3  # fewer say nothing
    assert 3 < first.looks[1].seeds <= 6
    assert first.looks[1].alpha == pytest.approx(0.05 / 6)
    assert first.looks[0].undecided == ("gcn against gcn-mean on csbm:hard,q=0.2,n=60",)
    seeds = first.looks[1].seeds
    assert first.outcome.study.plan.seeds == tuple(range(seeds))
    # Calling again looks at the same results: that is no new look, and goes on from there.
    again = run_until_decided(plan, tmp_path, engine="inline", max_looks=1)
    assert [(look.number, look.seeds) for look in again.looks] == [(2, seeds)]
    assert again.outcome.ran == 0


def test_the_budget_holds_for_all_runs_together(tmp_path):
    plan = plan_of(datasets=["csbm:hard,q=0.2,n=60"], layers=["gcn", "gcn-mean"], margin=1e-9, budget={"cells": 8})
    decision = run_until_decided(plan, tmp_path, engine="inline", max_looks=5)
    assert decision.reason == "budget"
    assert len(Study.load(tmp_path).results()) == 8
    assert [look.seeds for look in decision.looks] == [3]


def test_the_question_of_always_taking_lcat_comes_first(tmp_path):
    plan = plan_of(layers=["gcn", "gat", "cat", "lcat"], margin=0.9, datasets=["csbm:hard,q=0.1,n=60"])
    decision = run_until_decided(plan, tmp_path, engine="inline")
    assert decision.reason == "decided"
    assert decision.outcome.study.regret(margin=0.9)["verdict"].tolist() == ["equivalent"]


def test_the_report_uses_the_level_of_the_last_look(tmp_path):
    plan = plan_of(layers=["gcn", "gat", "lcat"], margin=0.5, datasets=["csbm:hard,q=0.1,n=60"])
    run_until_decided(plan, tmp_path, engine="inline")
    Study.load(tmp_path).report()
    page = (tmp_path / "report.html").read_text()
    assert "looked at 1 time to decide whether to go on, so this look tests at the level 0.025" in page


def test_the_report_uses_the_alpha_that_was_asked_for(tmp_path):
    plan = plan_of(layers=["gcn", "gat", "lcat"], margin=0.5, datasets=["csbm:hard,q=0.1,n=60"])
    run_until_decided(plan, tmp_path, engine="inline", alpha=0.01)
    study = Study.load(tmp_path)
    looks = study.looks()
    assert study.alpha() == pytest.approx(0.01 / (looks * (looks + 1)))
    study.report()
    assert f"at the level {study.alpha():.2g}." in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"split": "kfold:5"}, "another seed on the folds of kfold:5 brings no other test nodes"),
        ({"layers": ["gcn"]}, "there is nothing to compare"),
        ({"search": {"space": {"lr": [0.01, 0.1]}}}, "a search has its own seeds"),
    ],
)
def test_what_no_seeds_decide_is_refused(changes, message, tmp_path):
    with pytest.raises(PlanError, match=message):
        run_until_decided(plan_of(**changes), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("looks", [0, 1.5, "2"])
def test_looks_are_counted_in_whole_numbers(looks, tmp_path):
    with pytest.raises(ValueError, match="max_looks must be a whole number of at least 1"):
        run_until_decided(plan_of(), tmp_path, max_looks=looks)


def test_alpha_is_checked_before_anything_runs(tmp_path):
    with pytest.raises(ValueError, match="alpha must be between 0 and"):
        run_until_decided(plan_of(), tmp_path, alpha=0.9)
    assert list(tmp_path.iterdir()) == []


def test_another_study_in_the_folder_is_refused(tmp_path):
    run_study(plan_of(datasets=["csbm:easy,n=60"]), tmp_path, engine="inline")
    with pytest.raises(PlanError, match="holds another study"):
        run_until_decided(plan_of(), tmp_path, engine="inline")


@pytest.mark.parametrize("folder", [None, 3, ["a"]])
def test_a_study_until_decided_needs_a_folder(folder):
    with pytest.raises(TypeError, match="expected a path as 'folder', got"):
        run_until_decided(plan_of(), folder)


def test_a_layer_whose_cells_all_fail_is_not_decided(tmp_path):
    (tmp_path / "m.py").write_text(
        "from torch import nn\n\n\nclass Fails(nn.Module):\n"
        "    def __init__(self, in_channels, out_channels):\n        super().__init__()\n"
        "        self.map = nn.Linear(in_channels, out_channels)\n\n"
        "    def forward(self, x, edge_index):\n        raise RuntimeError('out of luck')\n"
    )
    plan = plan_of(layers=["gcn", f"{tmp_path}/m.py:Fails"], overrides={"epochs": 2})
    decision = run_until_decided(plan, tmp_path / "out", engine="inline")
    assert decision.reason == "hopeless"
    assert decision.looks[-1].undecided == ("Fails on csbm:easy,q=0.5,n=100, where all its cells failed",)
