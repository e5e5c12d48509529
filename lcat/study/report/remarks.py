"""What a careful reader would ask, said before it is asked: few runs, no margin, short training, unequal settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from lcat._text import counted
from lcat.study.analysis.direction import metrics_by_dataset
from lcat.study.models.hyper import MODEL_SETTINGS, HyperParameters
from lcat.study.models.layers import layer_spec
from lcat.study.report.data import ReportData
from lcat.study.report.unit import margin_remark
from lcat.study.statistics import fewest_wilcoxon_pairs
from lcat.study.statistics.paired import FEWEST_PAIRS

__all__ = ["few_samples_sentence", "margin_sentence", "settings_sentences", "training_sentence"]

#: A best epoch in this last part of the training says that training may have ended too early.
_LAST = 0.1
#: Settings that only a layer with learned lambdas has.
_OF_LAMBDA = ("lambda1_init", "lambda2_init", "scalar_lr")


def few_samples_sentence(data: ReportData) -> str:
    """On which data sets there are too few independent runs for a test, and how many it takes."""
    pairs = data.comparison.pairs
    if pairs.empty:
        return ""
    samples = pairs.groupby("dataset", sort=False)["samples"].max()
    # Where splits share nodes there is no Wilcoxon test to speak of.
    ranked = pairs[pairs["test_train_ratio"] == 0]
    tests = int(ranked.groupby("dataset").size().max()) if len(ranked) else 0
    enough, for_all = fewest_wilcoxon_pairs(), fewest_wilcoxon_pairs(tests=max(tests, 1))
    reach = ""
    if tests:
        reach = f" Wilcoxon's test can reach 0.05 from {enough} on"
        reach += f", and from {for_all} on for all pairs together." if for_all > enough else "."
    few = [f"{name} ({count})" for name, count in samples.items() if count < FEWEST_PAIRS]
    if few:
        return (
            f"Too few independent runs for a test of two layers on {', '.join(few)}. The corrected t test takes at "
            f"least {FEWEST_PAIRS} seeds or splits per layer; 5 to 10 are usual.{reach}"
        )
    rather_few = [(str(name), int(count)) for name, count in samples.items() if count < enough]
    if not rather_few:
        return ""
    names = ", ".join(f"{name} ({count})" for name, count in rather_few)
    text = f"Few independent runs on {names}: only large differences can be seen."
    counts = [count for name, count in rather_few if name in set(ranked["dataset"])]
    if counts:
        where = "there" if len(counts) == len(rather_few) else "where splits share no nodes"
        text += f" Wilcoxon's p-value cannot be below {2.0 ** (1 - max(counts)):.3g} {where}.{reach}"
    return text


def margin_sentence(data: ReportData) -> str:
    """On which data sets the default margin says nothing; empty if a margin is named, or nothing is compared."""
    if data.is_margin_named or data.comparison.pairs.empty:
        return ""
    return margin_remark(data.margin, metrics_by_dataset(data.selection.frame))


def training_sentence(data: ReportData) -> str:
    """How many runs were still getting better when their epochs ended."""
    runs = data.selection.selected
    if runs.empty:
        return ""
    planned, epochs = runs["hyper.epochs"].astype(int), runs["epochs"].astype(int)
    # A run that stopped early had its best epoch long before its end, by its patience.
    whole = epochs == planned
    late = whole & (runs["best_epoch"].astype(int) >= epochs - (_LAST * epochs).clip(lower=1)) & (epochs > 1)
    if not late.any():
        return ""
    names = ", ".join(
        f"{layer} {int(count)} of {int(group.size)}"
        for layer, group in late.groupby(runs["layer"], sort=False)
        if (count := group.sum())
    )
    return (
        f"In {int(late.sum())} of {counted(len(runs), 'run')} the best epoch is among the last tenth of all epochs "
        f"({names}). Their training may have ended too early, and with more epochs the order of the layers may change."
    )


def settings_sentences(data: ReportData) -> list[str]:
    """Per data set, the settings in which layers differ, and those that only some layers have."""
    frame = data.selection.selected
    sentences = []
    for dataset, rows in frame.groupby("dataset", sort=False):
        by_layer = {str(layer): _settings(group) for layer, group in rows.groupby("layer", sort=False)}
        different = _different(by_layer)
        own = _of_lambda(by_layer)
        if different:
            sentences.append(f"{dataset}: the layers do not have equal settings: {'; '.join(different)}.")
        if own:
            sentences.append(f"{dataset}: settings of the λ of {' and '.join(own)}.")
    return sentences


def _settings(rows: pd.DataFrame) -> dict[str, set[Any]]:
    """The values of every setting that matters to the layer of these rows."""
    layer = str(rows["layer"].iloc[0])
    names = {name.removeprefix("hyper."): name for name in rows.columns if name.startswith("hyper.")}
    known = layer_spec(layer).settings_that_matter(names)
    if layer_spec(layer).own:  # its signature is not known here: it has those that differ from the general defaults
        defaults = {name: HyperParameters.model_fields[name].default for name in MODEL_SETTINGS}
        known = {n: c for n, c in known.items() if n not in defaults or (rows[c] != defaults[n]).any()}
    # What was searched or varied differs by design, and the table of settings has it.
    varied = [name for name, column in known.items() if rows[column].astype(str).nunique() > 1]
    return {name: set(rows[column].head(1)) for name, column in known.items() if name not in varied}


def _different(by_layer: Mapping[str, Mapping[str, set[Any]]]) -> list[str]:
    """Settings with two values or more, each with its layers."""
    parts = []
    for name in HyperParameters.model_fields:
        if name in _OF_LAMBDA:
            continue
        layers: dict[str, list[str]] = {}
        for layer, settings in by_layer.items():
            for value in settings.get(name, ()):
                layers.setdefault(_short(value), []).append(layer)
        if len(layers) > 1:
            parts.append(f"{name} " + ", ".join(f"{value} ({', '.join(names)})" for value, names in layers.items()))
    return parts


def _of_lambda(by_layer: Mapping[str, Mapping[str, set[Any]]]) -> list[str]:
    """What layers with learned lambdas have of their own, where it is not the general default."""
    groups: dict[str, list[str]] = {}
    for layer, settings in by_layer.items():
        if layer_spec(layer).own or not layer_spec(layer).learns_lambda:
            continue
        values = [
            f"{name} {_short(value)} (default {_short(HyperParameters.model_fields[name].default)})"
            for name in _OF_LAMBDA
            for value in settings.get(name, ())
            if value != HyperParameters.model_fields[name].default
        ]
        if values:
            groups.setdefault(", ".join(values), []).append(layer)
    return [f"{', '.join(layers)}: {values}" for values, layers in groups.items()]


def _short(value: Any) -> str:
    return "none" if value is None or value != value else f"{value:g}" if isinstance(value, float) else str(value)
