"""Options of other programs, and misspelt ones, lead to the options of a command."""

from __future__ import annotations

import pytest

from lcat._option_names import _ELSEWHERE, option_hint
from lcat.cli.study.run import run

STUDY = ["--layer", "--num-layers", "--hidden-channels", "--seeds", "--lr", "--device", "--epochs", "--quiet", "--data"]


@pytest.mark.parametrize(
    ("option", "hint"),
    [
        ("--runs", " (did you mean --seeds?)"),
        ("--num_runs", " (did you mean --seeds?)"),
        ("--seed", " (did you mean --seeds?)"),
        ("--hidden_channels", " (did you mean --hidden-channels?)"),
        ("--num_layers", " (did you mean --num-layers?)"),
        ("--Num-Layers", " (did you mean --num-layers?)"),
        ("-lr", " (did you mean --lr?)"),
        ("--layers", " (did you mean --layer or --num-layers?)"),
        ("--gpu", " (did you mean --device?)"),
        ("--root", " (did you mean --data?)"),
        ("--log_steps", " (progress is shown; --quiet hides it)"),
        ("--use_sage", " (GraphSAGE is none of the layers; --layer names one)"),
        ("--epoch", " (did you mean --epochs?)"),
        ("--use-linear", ""),
        ("--zzz", ""),
    ],
)
def test_hints(option, hint):
    assert option_hint(option, STUDY) == hint


def test_names_elsewhere_are_words_of_their_own():
    for ours, names in _ELSEWHERE.items():
        for name in names.split():
            assert name == name.lower().replace("_", "-")
            assert name != ours


def test_names_of_here_exist():
    """Each is an option of one of the commands."""
    import dataclasses
    import inspect

    from lcat.ogb import Settings
    from lcat.ogb.options import parser_of

    names = {name.replace("_", "-") for name in inspect.signature(run).parameters}
    names |= {spec.name.replace("_", "-") for spec in dataclasses.fields(Settings)}
    names |= {option.lstrip("-") for option in parser_of("ogbn-arxiv", "x")._option_string_actions}
    assert set(_ELSEWHERE) - names == {"version"}
