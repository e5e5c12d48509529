"""Choices go by validation and cost, never by test."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from lcat.study.analysis.choose import available_objectives, choose
from lcat.study.analysis.objectives import OBJECTIVES, Objective, objective_table
from lcat.study.analysis.selection import finished
from tests.study.frames import cells, runs_of

EVERYTHING = ["accuracy", "time", "memory", "parameters", "robustness", "robustness-slope"]


def study(seed=0, noise=True):
    generator = np.random.default_rng(seed)
    levels = (0.0, 0.2, 0.4) if noise else (0.0,)
    return cells(
        *(
            row
            for dataset in ("cora", "photo")
            for layer in ("gcn", "gat", "cat", "lcat")
            for model in ("a", "b")
            for level in levels
            for row in runs_of(
                layer,
                generator.uniform(0.5, 0.9, 3).tolist(),
                generator.uniform(0.5, 0.9, 3).tolist(),
                dataset=dataset,
                model=f"{dataset} {layer} {model}",
                noise="edges" if level else "none",
                noise_level=level,
                seconds=float(generator.uniform(1, 9)),
                peak_memory=int(generator.integers(100, 900)),
                parameters=int(generator.integers(10, 99)),
            )
        )
    )


def test_accuracy_alone_is_the_best_mean_validation():
    frame = study()
    choice = choose(frame)
    for dataset, rows in choice.groupby("dataset"):
        clean = frame[(frame["dataset"] == dataset) & (frame["noise"] == "none")]
        best = clean.groupby("model")["validation"].mean().idxmax()
        assert rows.loc[rows["chosen"], "model"].tolist() == [best]
        assert rows["model"].iloc[0] == best
        assert rows["accuracy"].is_monotonic_decreasing


@pytest.mark.parametrize("over_datasets", [False, True])
@pytest.mark.parametrize("p", [1, 2, math.inf])
def test_permuting_the_test_metric_changes_nothing(p, over_datasets):
    frame = study()
    before = choose(frame, EVERYTHING, {"time": 0.5}, p, over_datasets=over_datasets)
    for seed in range(3):
        test = np.random.default_rng(seed).permutation(frame["test"])
        pd.testing.assert_frame_equal(
            choose(frame.assign(test=test), EVERYTHING, {"time": 0.5}, p, over_datasets=over_datasets), before
        )


def test_objectives_cannot_even_see_the_test_metric():
    seen = []
    spy = Objective("spy", True, "", "looks", lambda frame: seen.append(set(frame.columns)) or pd.Series(dtype=float))
    with pytest.raises(ValueError, match="objective 'spy' has no value for any candidate"):
        choose(study(), [spy])
    assert "validation" in seen[0]
    assert "test" not in seen[0]


def test_objective_values_by_hand():
    rows = [
        *runs_of("gcn", [0.0] * 2, [0.8, 0.9], seconds=3.0, peak_memory=50, parameters=7),
        *runs_of("gcn", [0.0] * 2, [0.7, 0.7], noise="edges", noise_level=0.1, seconds=99.0),
        *runs_of("gcn", [0.0] * 2, [0.5, 0.4], noise="edges", noise_level=0.4, seconds=99.0),
        *runs_of("gcn", [0.0] * 2, [0.2, 0.4], noise="features", noise_level=2.0, seconds=99.0),
    ]
    [row] = objective_table(cells(*rows), EVERYTHING).to_dict("records")
    assert row["accuracy"] == pytest.approx(0.85)
    assert (row["time"], row["memory"], row["parameters"]) == (3.0, 50.0, 7.0)
    edges = (0.1 * (0.85 + 0.7) / 2 + 0.3 * (0.7 + 0.45) / 2) / 0.4
    features = (0.85 + 0.3) / 2
    assert row["robustness"] == pytest.approx((edges + features) / 2)
    slope = np.polyfit([0, 0.1, 0.4], [0.85, 0.7, 0.45], 1)[0]
    assert row["robustness-slope"] == pytest.approx((slope + (0.3 - 0.85) / 2.0) / 2)


def test_weights_move_the_choice_along_the_front():
    rows = [
        *runs_of("gcn", [0] * 2, [0.70, 0.70], seconds=1.0),
        *runs_of("gat", [0] * 2, [0.85, 0.85], seconds=2.0),
        *runs_of("cat", [0] * 2, [0.90, 0.90], seconds=9.0),
        *runs_of("lcat", [0] * 2, [0.80, 0.80], seconds=9.5),
    ]
    frame = cells(*rows)

    def chosen_layer(**weights):
        choice = choose(frame, ["accuracy", "time"], weights)
        return choice.loc[choice["chosen"], "layer"].item()

    assert chosen_layer(accuracy=1, time=0.05) == "cat"
    assert chosen_layer() == "gat"
    assert chosen_layer(accuracy=0.05, time=1) == "gcn"
    choice = choose(frame, ["accuracy", "time"]).set_index("layer")
    assert choice["pareto"].to_dict() == {"gcn": True, "gat": True, "cat": True, "lcat": False}
    assert choice.loc["gat", ["rank.accuracy", "rank.time"]].tolist() == [0.5, 0.5]


def test_over_data_sets_every_data_set_counts_the_same():
    rows = [
        # On cora validation differs by tenths, on photo by hundredths: ranks do not care.
        *runs_of("gcn", [0] * 2, [0.9, 0.9], dataset="cora"),
        *runs_of("gat", [0] * 2, [0.8, 0.8], dataset="cora"),
        *runs_of("cat", [0] * 2, [0.1, 0.1], dataset="cora"),
        *runs_of("gcn", [0] * 2, [0.91, 0.91], dataset="photo"),
        *runs_of("gat", [0] * 2, [0.93, 0.93], dataset="photo", model="gat small"),
        *runs_of("gat", [0] * 2, [0.1, 0.1], dataset="photo", model="gat wide"),
        *runs_of("cat", [0] * 2, [0.92, 0.92], dataset="photo"),
    ]
    choice = choose(cells(*rows, *runs_of("lcat", [0] * 2, [1, 1], dataset="cora")), over_datasets=True, p=1)
    assert choice["layer"].tolist() == ["gat", "gcn", "cat"]  # lcat did not run on photo
    assert choice["rank.accuracy"].tolist() == pytest.approx([0.5, 2 / 3, 5 / 6])
    assert choice["chosen"].tolist() == [True, False, False]


def test_available_objectives():
    assert available_objectives(study()) == EVERYTHING
    frame = study(noise=False).assign(peak_memory=pd.array([pd.NA] * 24 * 2, dtype="Int64"))
    assert available_objectives(frame) == ["accuracy", "time", "parameters"]
    with pytest.raises(ValueError, match="objective 'memory' has no value for any candidate: mean peak memory"):
        choose(frame, ["memory"])


def test_failed_cells_do_not_count_and_missing_values_are_worst():
    frame = study(noise=False)
    frame.loc[frame["layer"] == "gcn", "status"] = "failed"
    assert "gcn" not in set(choose(frame)["layer"])
    frame.loc[frame["layer"] == "gat", "peak_memory"] = pd.NA
    choice = choose(frame, ["memory"])
    assert (choice.loc[choice["layer"] == "gat", "rank.memory"] == 1).all()
    assert not choice.loc[choice["chosen"], "layer"].isin(["gat"]).any()
    assert choose(frame.assign(status="failed")).empty


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"objectives": ["test"]}, f"objectives are {', '.join(OBJECTIVES)}, or an Objective; got 'test'"),
        ({"objectives": []}, r"one or more different names; got \[\]"),
        ({"objectives": ["time", "time"]}, "one or more different names"),
        ({"weights": {"time": 1}}, "weights are for the objectives accuracy; got time"),
        ({"weights": {"accuracy": -1}}, "weights must be finite, at least 0"),
        ({"p": 0.3}, "p must be at least 1"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        choose(study(), **arguments)


def test_every_objective_has_a_measure_on_a_full_study():
    table = objective_table(finished(study()), list(OBJECTIVES))
    assert table.notna().all(axis=None)
    assert len(table) == 2 * 4 * 2


def test_failed_cells_flatter_nobody():
    rows = [
        row
        for layer, lead in (("gcn", 0.05), ("gat", 0.0))
        for level in (0.0, 0.5, 1.0)
        for row in runs_of(
            layer, [0.0] * 2, [0.9 + lead - level / 2, 0.7 + lead - level / 2], noise="edges" if level else "none",
            noise_level=level,
        )
    ]  # fmt: skip
    frame = cells(*rows)
    strong = (frame["layer"] == "gat") & (frame["noise_level"] == 1.0)
    failed = frame.copy()
    failed.loc[strong, ["status", "validation"]] = ["failed", math.nan]
    choice = choose(failed, ["accuracy", "robustness"]).set_index("layer")
    assert choice["chosen"].to_dict() == {"gcn": True, "gat": False}
    assert choice.loc["gat", "accuracy"] == pytest.approx(0.8)  # all its cells without noise are there
    assert math.isnan(choice.loc["gat", "robustness"])
    assert choice.loc["gcn", "robustness"] == pytest.approx(0.6)
    # Of the seeds without noise the hard one failed.
    failed.loc[(failed["layer"] == "gat") & (failed["seed"] == 1), ["status", "validation"]] = ["failed", math.nan]
    assert choose(failed)["layer"].tolist() == ["gcn", "gat"]
    assert math.isnan(choose(failed)["accuracy"].iloc[1])
    # Where all have failed cells, they are compared by what they have.
    failed.loc[(failed["layer"] == "gcn") & (failed["seed"] == 0), ["status", "validation"]] = ["failed", math.nan]
    assert choose(failed)["layer"].tolist() == ["gat", "gcn"]
