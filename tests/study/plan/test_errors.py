"""Errors of plans carry the keys that are wrong, one by one."""

from __future__ import annotations

import pickle

import pytest

from lcat.study import PlanError, load_plan, make_plan, run_study


def problems_of(function, *arguments, **options):
    with pytest.raises(PlanError) as caught:
        function(*arguments, **options)
    return caught.value


def test_each_wrong_key_has_its_path_its_message_and_its_value():
    error = problems_of(
        make_plan,
        datasets=["cora"],
        layers=["gta"],
        seeds=1,
        overrides={"lr": -1, "epocs": 3},
        objectives={"time": "x"},
    )
    assert [problem.path for problem in error.problems] == [
        ("layers",),
        ("overrides", "lr"),
        ("overrides", "epocs"),
        ("objectives", "time"),
    ]
    assert [problem.value for problem in error.problems] == [["gta"], -1, 3, "x"]
    assert error.problems[1].message == "must be greater than 0; got -1"
    assert "did you mean epochs?" in error.problems[2].message
    assert str(error) == " | ".join(map(str, error.problems))
    assert str(error.problems[1]) == "overrides.lr: must be greater than 0; got -1"


def test_keys_that_do_not_fit_together_have_no_path():
    error = problems_of(make_plan, datasets=["cora"], layers=["gat"], seeds=1, grid={"lr": [1]}, overrides={"lr": 1})
    assert [problem.path for problem in error.problems] == [()]
    assert str(error) == "grid and overrides both set lr; leave one of them out"


def test_a_file_is_named_before_its_keys(tmp_path):
    file = tmp_path / "plan.toml"
    file.write_text('datasets = ["cora"]\nlayers = ["gat"]\n[overrides]\nlr = 0\n')
    error = problems_of(load_plan, file)
    assert str(error) == f"{file}: overrides.lr: must be greater than 0; got 0"
    assert [problem.path for problem in error.problems] == [("overrides", "lr")]
    assert problems_of(load_plan, tmp_path / "gone.toml").problems == ()


def test_settings_of_a_run_stand_under_run(tmp_path):
    plan = make_plan(datasets=["csbm:easy,n=60"], layers=["gcn"], seeds=1)
    error = problems_of(run_study, plan, tmp_path, engine="threads", workers=0)
    assert [problem.path for problem in error.problems] == [("run", "engine"), ("run", "workers")]
    assert "run.workers: " in str(error)


def test_errors_can_be_pickled():
    error = problems_of(make_plan, datasets=["cora"], layers=["gta"], seeds=1)
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.problems) == (str(error), error.problems)
