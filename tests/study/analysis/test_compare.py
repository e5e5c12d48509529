"""Comparisons take the right rows, pair the right runs, and choose by validation alone."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from lcat.study.analysis.choose import choose
from lcat.study.analysis.compare import compare, robustness
from lcat.study.analysis.regret import regret
from lcat.study.analysis.samples import with_samples
from lcat.study.analysis.selection import choose_models, finished, one_row_per_run, without_noise
from tests.study.frames import cells, runs_of


def random_study(seed=0, datasets=("cora", "photo", "csbm:easy"), layers=("gcn", "gat", "lcat"), models=2, seeds=4):
    generator = np.random.default_rng(seed)
    return cells(
        *(
            row
            for dataset in datasets
            for layer in layers
            for model in range(models)
            for row in runs_of(
                layer,
                generator.uniform(0.5, 0.9, seeds).tolist(),
                generator.uniform(0.5, 0.9, seeds).tolist(),
                dataset=dataset,
                model=f"{layer}-{model}",
            )
        )
    )


# The made-up data sets have 20 test nodes.
STEP = 1 / 20


def test_two_seeds_decide_nothing_and_equal_differences_are_no_proof():
    def study(gcn, gat):
        rows = [*runs_of("gcn", gcn), *runs_of("gat", gat)]
        return compare(cells(*({**row, "split_hash": "public", "test_set": "public"} for row in rows)))

    [pair] = study([0.80, 0.85], [0.75, 0.80]).pairs.itertuples()
    assert math.isnan(pair.p_t)
    assert math.isnan(pair.p_holm)
    [pair] = study([0.80, 0.85, 0.90], [0.75, 0.80, 0.85]).pairs.itertuples()
    assert 0.05 < pair.p_t < 0.06
    assert pair.low < 0 < pair.high
    gcn = study([0.80, 0.80, 0.80], [0.75, 0.80, 0.85]).summary.iloc[0]
    assert gcn["low"] < 0.80 < gcn["high"]


def test_resolution_is_the_step_of_the_metric():
    rows = [*runs_of("gcn", [0.80, 0.85, 0.90]), *runs_of("gat", [0.75, 0.80, 0.85])]
    assert set(with_samples(cells(*rows))["resolution"]) == {1 / 20}
    assert set(with_samples(cells(*rows, metric="roc-auc"))["resolution"]) == {1 / 100}
    four = with_samples(cells(*folds_of("gcn", [[0.8, 0.7, 0.75]], 4)))
    assert set(four["resolution"]) == {1 / 20 / 2}, "of a mean of four"


def test_summary_by_hand():
    frame = cells(*runs_of("gcn", [0.80, 0.82, 0.81]), *runs_of("gat", [0.84, 0.80, 0.79], status="done"))
    frame.loc[5, ["status", "test", "validation"]] = ["failed", math.nan, math.nan]
    gcn, gat = compare(frame).summary.itertuples()
    assert (gcn.layer, gcn.runs, gcn.samples, gcn.failed, gcn.best) == ("gcn", 3, 3, 0, True)
    assert (gcn.test, gcn.std) == (pytest.approx(0.81), pytest.approx(0.01))
    # random splits, 20 test nodes to 60 training nodes
    half = stats.t.ppf(0.975, 2) * math.hypot(0.01, STEP / math.sqrt(12)) * math.sqrt(1 / 3 + 1 / 3)
    assert (gcn.low, gcn.high) == (pytest.approx(0.81 - half), pytest.approx(0.81 + half))
    assert (gat.runs, gat.failed, gat.best) == (2, 1, False)  # its mean is over fewer runs
    assert (gat.test, gat.std) == (pytest.approx(0.82), pytest.approx(0.04 / math.sqrt(2)))


def test_pairs_are_of_the_same_splits_and_corrected():
    first, second = [0.80, 0.82, 0.81, 0.85], [0.78, 0.83, 0.80, 0.80]
    rows = [*runs_of("gcn", first), *runs_of("gat", second)]
    frame = cells(*reversed(rows))  # the order of rows does not matter
    [pair] = compare(frame).pairs.itertuples()
    difference = np.subtract(first, second)
    t = difference.mean() / (math.hypot(difference.std(ddof=1), STEP / math.sqrt(6)) * math.sqrt(1 / 4 + 20 / 60))
    assert (pair.first, pair.second, pair.runs) == ("gcn", "gat", 4)
    assert (pair.difference, pair.t) == (pytest.approx(difference.mean()), pytest.approx(t))
    assert pair.p_t == pytest.approx(2 * stats.t.sf(abs(t), 3))
    assert math.isnan(pair.p_wilcoxon), "random splits share nodes"
    # a run that only one of them has does not count
    [pair] = compare(cells(*rows[:-1])).pairs.itertuples()
    assert pair.runs == 3


def test_one_split_and_generated_graphs_take_no_correction():
    rows = [*runs_of("gcn", [0.80, 0.82, 0.81]), *runs_of("gat", [0.79, 0.83, 0.85])]
    assert compare(cells(*rows)).pairs["test_train_ratio"].item() == pytest.approx(1 / 3)
    one_split = cells(*({**row, "split_hash": "public", "test_set": "public"} for row in rows))
    assert compare(one_split).pairs["test_train_ratio"].item() == 0
    assert compare(cells(*rows, dataset="csbm:easy,q=0.1")).pairs["test_train_ratio"].item() == 0
    difference = np.subtract([0.80, 0.82, 0.81], [0.79, 0.83, 0.85])
    t = difference.mean() / (math.hypot(difference.std(ddof=1), STEP / math.sqrt(6)) / math.sqrt(3))
    [pair] = compare(one_split).pairs.itertuples()
    assert pair.p_t == pytest.approx(2 * stats.t.sf(abs(t), 2))
    assert pair.p_wilcoxon == pytest.approx(stats.wilcoxon(np.round(difference, 12)).pvalue)


def folds_of(layer, tests, seeds, **common):
    """Every seed on the same folds."""
    return [
        {"layer": layer, "seed": seed, "fold": fold, "test": test, "test_set": f"fold {fold}",
         "split_hash": f"fold {fold}", **common}
        for seed in range(seeds)
        for fold, test in enumerate(np.asarray(tests)[seed % len(tests)].tolist())
    ]  # fmt: skip


def test_seeds_on_the_same_folds_are_averaged_before_anything_is_tested():
    gcn = [[0.80, 0.70, 0.75, 0.85], [0.82, 0.74, 0.75, 0.81]]
    gat = [[0.78, 0.71, 0.70, 0.80], [0.76, 0.73, 0.74, 0.84]]
    comparison = compare(cells(*folds_of("gcn", gcn, 2), *folds_of("gat", gat, 2)))
    [pair] = comparison.pairs.itertuples()
    means = np.mean(gcn, axis=0) - np.mean(gat, axis=0)
    # Each is the mean of two seeds, so its rounding error has half the variance.
    t = means.mean() / (math.hypot(means.std(ddof=1), STEP / math.sqrt(12)) * math.sqrt(1 / 4 + 1 / 3))
    assert (pair.runs, pair.samples, pair.t) == (8, 4, pytest.approx(t))
    assert pair.p_t == pytest.approx(2 * stats.t.sf(abs(t), 3))
    assert math.isnan(pair.p_wilcoxon)
    first = comparison.summary.iloc[0]
    spread = math.hypot(np.mean(gcn, axis=0).std(ddof=1), STEP / math.sqrt(24))
    half = stats.t.ppf(0.975, 3) * spread * math.sqrt(1 / 4 + 1 / 3)
    assert (first.runs, first.samples, first.high - first.test) == (8, 4, pytest.approx(half))
    assert first["std"] == pytest.approx(np.std(gcn, ddof=1))  # of what was run


def test_samples_of_generated_graphs_and_of_one_test_set():
    tests = [[0.8, 0.7, 0.6], [0.9, 0.7, 0.8]]
    # Folds of one generated graph are folds; of several, each graph is a sample.
    graphs = [
        {**row, "test_set": f"{row['seed']} {row['fold']}", "dataset": "csbm:easy"} for row in folds_of("gcn", tests, 2)
    ]
    several = with_samples(cells(*graphs))
    assert several["sample"].nunique() == 2
    assert set(several["test_train_ratio"]) == {0.0}
    one = with_samples(cells(*(row for row in graphs if row["seed"] == 0)))
    assert one["sample"].nunique() == 3
    assert one["test_train_ratio"].tolist() == pytest.approx([1 / 3] * 3)
    # Many training sets, one test set: no test node is drawn anew.
    masks = with_samples(cells(*folds_of("gcn", tests, 2, test_set="public")))
    assert masks["sample"].nunique() == 3
    assert set(masks["test_train_ratio"]) == {0.0}


def test_a_layer_does_not_win_by_failing_where_it_is_hard():
    # gcn is better on every seed; gat fails on the hard ones.
    rows = [
        row
        for dataset in ("cora", "photo")
        for layer, lead in (("gcn", 0.05), ("gat", 0.0), ("cat", 0.02))
        for row in runs_of(layer, [lead + easy for easy in (0.9, 0.6, 0.5, 0.4)], dataset=dataset, test_set="public",
                           split_hash="public")
    ]  # fmt: skip
    frame = cells(*rows)
    hard = (frame["layer"] == "gat") & (frame["seed"] > 0) & (frame["dataset"] == "cora")
    frame.loc[hard, ["status", "test", "validation"]] = ["failed", math.nan, math.nan]
    comparison = compare(frame)
    assert comparison.summary.loc[comparison.summary["best"], "layer"].tolist() == ["gcn", "gcn"]
    assert comparison.ranking.left_out == ("gat",)
    assert comparison.ranking.average_ranks.to_dict() == {"gcn": 1.0, "cat": 2.0}
    pair = comparison.overall.set_index(["first", "second"]).loc[("gcn", "gat")]
    assert (pair["datasets"], pair["wins"], pair["losses"]) == (2, 2, 0)
    assert pair["difference"] == pytest.approx(0.05)
    # Where it has settings that did not fail, nothing is lost.
    spare = cells(*runs_of("gat", [0.3] * 4, dataset="cora", test_set="public", split_hash="public", model="spare"))
    assert compare(pd.concat([frame, spare], ignore_index=True)).ranking.left_out == ()


def test_settings_are_chosen_by_validation_on_every_test_set():
    frame = cells(
        *runs_of("gat", [0.1, 0.2], [0.9, 0.3], model="a"),
        *runs_of("gat", [0.3, 0.4], [0.8, 0.6], model="b"),
    )
    assert choose_models(finished(frame))[["model", "seed"]].values.tolist() == [["a", 0], ["b", 1]]
    assert compare(frame).summary["test"].item() == pytest.approx((0.1 + 0.4) / 2)
    assert compare(frame).summary["models"].item() == 2
    # One test set: the mean over the seeds decides, 0.7 against 0.6.
    pooled = choose_models(finished(frame.assign(test_set="public")))
    assert pooled["model"].tolist() == ["b", "b"]
    # Unnamed test sets are never pooled.
    assert choose_models(finished(frame.assign(test_set="")))["model"].tolist() == ["a", "b"]


def test_ties_go_to_the_smaller_model_and_incomplete_ones_are_left_out():
    rows = [*runs_of("gat", [0.5, 0.5], model="a", parameters=20), *runs_of("gat", [0.5, 0.5], model="b")]
    assert set(choose_models(finished(cells(*rows, test_set="t")))["model"]) == {"b"}
    frame = cells(*runs_of("gat", [0.9, 0.9], model="a"), *runs_of("gat", [0.5, 0.5], model="b")).assign(test_set="t")
    frame.loc[1, "status"] = "failed"
    assert set(choose_models(finished(frame))["model"]) == {"b"}


def test_nested_folds_are_averaged_and_paired_by_outer_fold():
    rows = [
        {"layer": layer, "fold": fold, "inner_fold": inner, "test": test + 0.02 * inner, "validation": test,
         "test_set": f"outer {fold}", "split_hash": f"{fold}.{inner}", "split": "nested:2x2"}
        for layer, tests in (("gcn", [0.6, 0.7]), ("gat", [0.5, 0.8]))
        for fold, test in enumerate(tests)
        for inner in range(2)
    ]  # fmt: skip
    runs = one_row_per_run(choose_models(finished(cells(*rows))))
    assert runs[["layer", "fold", "seconds"]].values.tolist() == [
        ["gcn", 0, 2],
        ["gcn", 1, 2],
        ["gat", 0, 2],
        ["gat", 1, 2],
    ]
    assert runs["test"].tolist() == pytest.approx([0.61, 0.71, 0.51, 0.81])
    assert compare(cells(*rows)).pairs["runs"].item() == 2


def test_noise_counts_only_where_there_is_nothing_else():
    rows = [*runs_of("gcn", [0.8, 0.9]), *runs_of("gcn", [0.1, 0.2], noise="edges", noise_level=0.5)]
    assert compare(cells(*rows)).summary["test"].item() == pytest.approx(0.85)
    noisy = cells(*rows[2:], *runs_of("gcn", [0.0, 0.0], noise="edges", noise_level=0.9))
    assert compare(noisy).summary["test"].item() == pytest.approx(0.15)
    assert set(without_noise(noisy)["noise_level"]) == {0.5}


def test_robustness_curves_begin_without_noise():
    rows = [
        row
        for layer, clean in (("gcn", 0.8), ("gat", 0.9))
        for level in (0.0, 0.1, 0.5)
        for row in runs_of(
            layer, [clean - level, clean - level - 0.1], noise="edges" if level else "none", noise_level=level
        )
    ]
    curves = robustness(cells(*rows))
    assert sorted(curves[["noise", "layer", "noise_level", "runs"]].values.tolist()) == [
        ["edges", layer, level, 2] for layer in ("gat", "gcn") for level in (0.0, 0.1, 0.5)
    ]
    curve = curves[curves["layer"] == "gat"].sort_values("noise_level")
    assert curve["test"].tolist() == pytest.approx([0.85, 0.75, 0.35])
    assert (curve["low"] < curve["test"]).all()
    assert robustness(cells(*runs_of("gcn", [0.8]))).empty


def test_ranking_over_data_sets():
    frame = random_study(datasets=[f"d{number}" for number in range(6)])
    ranking = compare(frame).ranking
    table = compare(frame).summary.pivot(index="dataset", columns="layer", values="test").loc[:, ["gcn", "gat", "lcat"]]
    assert np.allclose(ranking.scores.to_numpy(), table.loc[ranking.scores.index].to_numpy())
    expected = stats.friedmanchisquare(*table.to_numpy().T)
    assert ranking.friedman.chi_square_p_value == pytest.approx(expected.pvalue)
    assert ranking.friedman.p_value == ranking.friedman.permutation_p_value
    assert ranking.average_ranks.index[0] == (-table).rank(axis=1).mean().idxmin()
    assert ranking.left_out == ()


def test_layers_that_did_not_run_everywhere_are_left_out_by_name():
    frame = pd.concat([random_study(), random_study(1, ("csbm:easy",), ("gat-theory",), 1)], ignore_index=True)
    assert compare(frame).ranking.left_out == ("gat-theory",)
    assert compare(frame).ranking.scores.shape == (3, 3)
    assert compare(random_study(datasets=("cora",))).ranking is None
    assert compare(random_study(layers=("gcn",))).ranking is None


def test_overall_counts_and_tests_over_data_sets():
    means = {"gcn": [0.8, 0.8, 0.8, 0.7, 0.6, 0.5], "gat": [0.7, 0.8, 0.9, 0.5, 0.3, 0.1]}
    rows = [
        row
        for layer, tests in means.items()
        for n, test in enumerate(tests)
        for row in runs_of(layer, [test] * 2, dataset=f"d{n}")
    ]
    [pair] = compare(cells(*rows)).overall.itertuples()
    assert (pair.datasets, pair.wins, pair.ties, pair.losses) == (6, 4, 1, 1)
    assert pair.p_wilcoxon == pytest.approx(stats.wilcoxon([1, 0, -1, 2, 3, 4]).pvalue)


def test_reference_pairs_alone():
    comparison = compare(random_study(), reference="lcat")
    assert set(zip(comparison.pairs["first"], comparison.pairs["second"], strict=True)) == {
        ("lcat", "gcn"),
        ("lcat", "gat"),
    }
    adjusted = comparison.pairs[comparison.pairs["dataset"] == "cora"]
    low, high = sorted(adjusted["p_t"])
    assert sorted(adjusted["p_holm"]) == pytest.approx([min(1, 2 * low), max(min(1, 2 * low), high)])
    with pytest.raises(ValueError, match=r"reference must be a layer of the study \(gcn, gat, lcat\); got 'cat'"):
        compare(random_study(), reference="cat")


def test_bootstrap_intervals():
    summary = compare(random_study(seeds=8), interval="bootstrap").summary
    assert ((summary["low"] < summary["test"]) & (summary["test"] < summary["high"])).all()


def test_settings_do_not_depend_on_the_test_metric():
    frame = random_study(models=3)
    shuffled = frame.assign(test=np.random.default_rng(9).permutation(frame["test"]))
    assert choose_models(finished(frame)).index.equals(choose_models(finished(shuffled)).index)
    assert not np.allclose(compare(frame).summary["test"], compare(shuffled).summary["test"])


def test_all_failed_or_nothing():
    frame = cells({"status": "failed"}, {"status": "failed", "layer": "gat"})
    comparison = compare(frame)
    assert comparison.summary[["runs", "failed"]].values.tolist() == [[0, 1], [0, 1]]
    assert comparison.pairs.empty
    assert comparison.ranking is None
    assert with_samples(frame.iloc[:0]).empty


@pytest.mark.parametrize("function", [compare, choose, regret])
def test_tables_are_made_of_frames_only(function):
    with pytest.raises(TypeError, match=r"^expected a frame of Study\.results\(\), got list$"):
        function([])
