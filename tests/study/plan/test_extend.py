"""Plans with more to run."""

from __future__ import annotations

import numpy as np
import pytest

from lcat.study import PlanError, extended_plan, make_plan, run_study

PLAN = {"datasets": ["csbm:easy,n=60"], "layers": ["gcn"], "seeds": 2, "overrides": {"epochs": 2}}


@pytest.mark.parametrize(
    ("more", "cells"),
    [
        ({"layers": ["gat"]}, 4),
        ({"layers": ["gcn", "gat", "lcat"]}, 6),
        ({"datasets": "csbm:hard,n=60"}, 4),
        ({"seeds": 3}, 3),
        ({"seeds": "5-6"}, 4),
        ({"seeds": [7], "layers": "gat"}, 6),
    ],
)
def test_all_cells_stay(more, cells):
    plan = make_plan(**PLAN)
    longer = extended_plan(plan, **more)
    assert len(longer.cells()) == cells
    assert {cell.key for cell in plan.cells()} < {cell.key for cell in longer.cells()}


def test_a_finished_study_goes_on(tmp_path):
    plan = make_plan(**PLAN, budget={"cells": 2})
    study = run_study(plan, tmp_path, engine="inline").study
    before = study.results()
    outcome = run_study(extended_plan(study.plan, layers=["gat"]), tmp_path, engine="inline")
    assert (outcome.ran, outcome.done) == (2, 4)
    after = outcome.study.results().set_index("key").loc[before["key"]]
    assert after["finished"].tolist() == before["finished"].tolist()


@pytest.mark.parametrize("more", [{}, {"layers": ["gcn"]}, {"seeds": 1}, {"seeds": "0-1", "layers": "gcn"}])
def test_nothing_new_is_refused(more):
    with pytest.raises(PlanError, match="expected a data set, a layer or a seed that the study does not have; it has"):
        extended_plan(make_plan(**PLAN), **more)


def test_what_cannot_be_run_is_refused():
    with pytest.raises(PlanError, match="there is no layer 'gta'"):
        extended_plan(make_plan(**PLAN), layers=["gta"])


def test_a_folder_in_place_of_a_plan():
    with pytest.raises(TypeError, match=r"Study\.load"):
        extended_plan("folder", layers=["gat"])


@pytest.mark.parametrize(("seeds", "expected"), [(np.int64(5), 5), (np.arange(4), 4), (iter([7]), 4)])
def test_seeds_of_numpy(seeds, expected):
    assert len(extended_plan(make_plan(**{**PLAN, "seeds": 3}), seeds=seeds).seeds) == expected


@pytest.mark.parametrize("seeds", [3.0, None, True])
def test_seeds_that_are_none(seeds):
    with pytest.raises(PlanError, match=r"seeds: expected whole numbers, .* got"):
        extended_plan(make_plan(**PLAN), seeds=seeds)
