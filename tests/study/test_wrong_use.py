"""Arguments of another kind are named, by every function of lcat.study."""

from __future__ import annotations

import pytest

from lcat.study import (
    HyperParameters,
    Study,
    StudyPlan,
    choose,
    compare,
    default_hyper_parameters,
    load_plan,
    make_plan,
    regret,
    run_study,
    write_study,
)
from lcat.study.statistics import confidence_interval, corrected_t_test

PLAN = make_plan(datasets=["csbm:easy,n=60"], layers=["gcn", "gat"], seeds=2, overrides={"epochs": 2})


@pytest.fixture(scope="module")
def study():
    return run_study(PLAN).study


@pytest.mark.parametrize("folder", [3, True, b"x", [1]])
def test_folders_are_paths(study, folder):
    for call in (
        lambda: Study.load(folder),
        lambda: Study.create(PLAN, folder),
        lambda: run_study(PLAN, folder),
        lambda: study.report(folder),
    ):
        with pytest.raises(TypeError, match=r"expected the path of a folder, got "):
            call()


@pytest.mark.parametrize(
    ("call", "kind", "words"),
    [
        (lambda study: run_study(PLAN, own=3), TypeError, "expected 'own' as data sets by name, got int"),
        (lambda study: run_study(PLAN, own=[1]), TypeError, "expected 'own' as data sets by name, got list"),
        (lambda study: run_study(PLAN, resume="no"), TypeError, "expected resume as True or False, got 'no'"),
        (lambda study: run_study(PLAN, retry_failed=1), TypeError, "expected retry_failed as True or False, got 1"),
        (lambda study: run_study(PLAN, on_status=3), TypeError, "expected 'on_status' as a function"),
        (
            lambda study: StudyPlan({"datasets": []}),
            TypeError,
            r"^StudyPlan takes keywords, as in StudyPlan\(",
        ),
        (lambda study: HyperParameters(3), TypeError, "^HyperParameters takes keywords"),
        (lambda study: Study.in_memory(3), TypeError, "expected 'plan' of type StudyPlan, got int"),
        (lambda study: Study.in_memory(PLAN, [3]), TypeError, "expected results of type CellResult, got int"),
        (lambda study: Study.create(3, "x"), TypeError, "expected 'plan' of type StudyPlan, got int"),
        (lambda study: write_study(3, "x"), TypeError, "expected 'record' of type Study, got int"),
        (lambda study: study.histories("key"), TypeError, "expected keys of cells in a list, got 'key'"),
        (lambda study: study.lambdas(3), TypeError, "expected keys of cells in a list, got 3"),
        (lambda study: default_hyper_parameters("cora", "gta"), ValueError, r"no layer 'gta' \(did you mean gat"),
        (lambda study: default_hyper_parameters("cora", [1]), ValueError, r"no layer \[1\]"),
        (lambda study: default_hyper_parameters(3, "gat"), TypeError, "expected 'dataset' as the name of a data set"),
        (lambda study: study.choose("accuracy"), ValueError, r"objectives must be a list, .*; got 'accuracy'"),
        (lambda study: study.choose(None), ValueError, "objectives must be a list"),
        (lambda study: study.choose(weights={"accuracy": "x"}), ValueError, "the weight of accuracy must be a number"),
        (lambda study: study.choose(weights={"accuracy": True}), ValueError, "the weight of accuracy must be a number"),
        (lambda study: choose(study.results(), weights=[1]), ValueError, "weights must be a table of numbers"),
        (lambda study: study.choose(p="x"), ValueError, "p must be a number, at least 1"),
        (lambda study: compare(study.results(), level="x"), ValueError, "level must lie between 0 and 1; got 'x'"),
        (lambda study: compare(study.results(), level=True), ValueError, "level must lie between 0 and 1; got True"),
        # Two layers without noise: no row of robustness and regret, and no critical difference, has a level.
        (lambda study: study.robustness(level=2), ValueError, "level must lie between 0 and 1; got 2"),
        (lambda study: study.regret(level="x"), ValueError, "level must lie between 0 and 1; got 'x'"),
        (lambda study: study.compare(alpha=7), ValueError, "alpha must be between 0 and 0.5; got 7"),
        (lambda study: study.compare(alpha="no"), ValueError, "alpha must be between 0 and 0.5; got 'no'"),
        (lambda study: compare(study.results()[:0], interval="x"), ValueError, "interval must be 't' or 'bootstrap'"),
        (lambda study: study.compare(nonsense=1), TypeError, "unexpected keyword argument 'nonsense'"),
        (lambda study: Study.load(""), ValueError, "expected the path of a folder, got an empty text"),
        (lambda study: run_study(PLAN, ""), ValueError, "expected the path of a folder, got an empty text"),
        (lambda study: study.report(""), ValueError, "expected the path of a folder, got an empty text"),
        (lambda study: Study.load("a\0b"), ValueError, "no file name can hold a zero byte"),
        (lambda study: load_plan("a\0b"), ValueError, "no file name can hold a zero byte"),
    ],
)
def test_wrong_arguments_are_named(study, call, kind, words):
    with pytest.raises(kind, match=words):
        call(study)


@pytest.mark.parametrize("margin", [1, 2, 80])
def test_a_margin_is_a_share_where_the_metric_is_one(study, margin):
    words = rf"margin must be below 1 for a share such as accuracy \(0\.01 is one percentage point\); got {margin}"
    frame = study.results()
    for call in (
        lambda: make_plan(datasets=["csbm:easy,n=60"], layers=["gcn"], seeds=1, margin=margin),
        lambda: compare(frame, margin=margin),
        lambda: regret(frame, margin=margin),
    ):
        with pytest.raises(ValueError, match=words):
            call()
    assert not compare(frame.assign(metric="mae"), margin=margin).pairs.empty


def test_scores_in_percent_are_refused(study):
    frame = study.results()
    percent = frame.assign(test=100 * frame["test"], validation=100 * frame["validation"])
    with pytest.raises(ValueError, match=r"hold accuracy, which lies in 0 \.\. 1; got .*: divide per cent by 100"):
        compare(percent)
    with pytest.raises(ValueError, match="which lies in 0"):
        choose(frame.assign(validation=-0.5))


def test_a_table_of_objectives_is_told_from_weights(study):
    frame = study.results()
    with pytest.raises(ValueError, match=r"whose weights are the argument weights: choose\(frame, \['accuracy'\], "):
        choose(frame, {"accuracy": 1.0})


@pytest.mark.parametrize("values", [["a", "b"], [[1.0], [1.0, 2.0]], [1j], [object()], [{}]])
def test_scores_are_numbers(values):
    with pytest.raises(ValueError, match=r"must be real numbers, in a list or an array; got"):
        confidence_interval(values)
    with pytest.raises(ValueError, match=r"must be real numbers"):
        corrected_t_test(values, values, test_train_ratio=0.1)
