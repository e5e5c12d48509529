"""From options and a file to a plan."""

from __future__ import annotations

import pytest

from lcat.cli.study.plan import plan_of
from lcat.study.models.layers import DEFAULT_LAYERS
from tests.cli.study.support import PLAN


def test_options_alone_have_the_layers_that_exist_on_every_graph():
    plan = plan_of(None, {"dataset": ["cora"], "lr": 0.5, "heads": None, "noise_edges": [], "quiet": True})
    assert plan.datasets == ("cora",)
    assert plan.layers == DEFAULT_LAYERS
    assert plan.seeds == (0, 1, 2, 3, 4)
    assert plan.overrides.model_dump(exclude_none=True) == {"lr": 0.5}


def test_without_data_sets_it_is_the_demo():
    plan = plan_of(None, {"layer": ["gcn"]})
    assert len(plan.datasets) == 4
    assert all(name.startswith("csbm:") for name in plan.datasets)
    assert (plan.layers, plan.seeds) == (("gcn",), (0, 1, 2))


def test_options_replace_keys_of_the_file_and_leave_the_others(tmp_path):
    file = tmp_path / "plan.toml"
    file.write_text(PLAN + "threads = 2\n[objectives]\ntime = 1\n[search]\nspace = {lr = [0.1, 0.2]}\ntrials = 4\n")
    options = {"workers": 3, "hidden_channels": 8, "trials": 5, "objective": ["accuracy=2"], "max_seconds": 1.5}
    plan = plan_of(file, options)
    assert (plan.run.engine, plan.run.threads, plan.run.workers) == ("inline", 2, 3)
    assert plan.overrides.model_dump(exclude_none=True) == {"hidden_channels": 8, "epochs": 3}
    assert plan.search is not None
    assert (plan.search.trials, plan.search.space) == (5, {"lr": (0.1, 0.2)})
    assert plan.objectives == {"time": 1, "accuracy": 2}
    assert plan.budget.seconds == 1.5


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ('device = "warp"', "run.device: there is no device 'warp'; "),
        ('data = "nowhere"', "run.data: there is no folder "),
    ],
)
def test_what_the_machine_lacks_is_said_by_the_key_that_asked_for_it(tmp_path, capsys, lines, words):
    file = tmp_path / "plan.toml"
    file.write_text(f"{PLAN}{lines}\n")
    with pytest.raises(SystemExit):
        plan_of(file, {})
    assert capsys.readouterr().err.startswith(f"lcat: {file}: {words}")
    option = words.split(".")[1].split(":")[0]
    with pytest.raises(SystemExit):
        plan_of(file, {option: lines.split('"')[1]})
    assert capsys.readouterr().err.startswith(f"lcat: --{words.removeprefix('run.')}")
