"""A type checker sees in a user's script what lcat returns and which arguments are wrong."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent / "support" / "user_script.py"


@pytest.fixture(scope="module")
def messages(request):
    """What mypy says, by line; its cache stays, as reading all of torch takes a while."""
    api = pytest.importorskip("mypy.api", reason="mypy is part of the extra lint")
    cache = request.config.cache.mkdir("mypy")
    arguments = ["--config-file=", "--ignore-missing-imports", f"--cache-dir={cache}", str(SCRIPT)]
    out, err, _ = api.run(arguments)
    assert err == ""
    reported: dict[int, list[str]] = {}
    for line in out.splitlines():
        if match := re.match(r".*user_script\.py:(\d+): (.*)", line):
            reported.setdefault(int(match[1]), []).append(match[2])
    assert reported, out
    return reported


def _expected(mark):
    lines = SCRIPT.read_text(encoding="utf-8").splitlines()
    return {number: line.split(mark)[1] for number, line in enumerate(lines, 1) if mark in line}


def test_types_of_outputs(messages):
    expected = _expected("  # type: ")
    assert len(expected) > 10
    shown = {}
    for number in expected:
        revealed = [text for text in messages.get(number, []) if "Revealed type" in text]
        shown[number] = revealed[0].split('"')[1].replace("torch._tensor.", "") if revealed else None
    assert shown == expected


def test_mistakes_are_reported_and_nothing_else(messages):
    expected = _expected("  # error: ")
    assert len(expected) > 15
    reported = {number: [m for m in texts if m.startswith("error: ")] for number, texts in messages.items()}
    reported = {number: texts for number, texts in reported.items() if texts}
    assert {number: texts for number, texts in reported.items() if number not in expected} == {}
    for number, part in expected.items():
        assert any(part in text for text in reported.get(number, [])), f"line {number}: {part}: {messages.get(number)}"


def test_keywords_of_studies_are_the_fields_of_their_models():
    """The names that type checkers accept are those that pydantic accepts."""
    from lcat.study import RunSettings, StudyPlan
    from lcat.study.plan.keywords import PlanKeywords, RunKeywords

    assert set(PlanKeywords.__annotations__) == set(StudyPlan.model_fields)
    assert set(RunKeywords.__annotations__) == set(RunSettings.model_fields)


def test_options_of_models_are_arguments_of_their_layers():
    """The names that type checkers accept are those that some layer takes."""
    from lcat.nn import GCNConv, LCATConv, LCATGCN2Conv, LCATPNAConv, LCATv2Conv
    from lcat.nn._options import arguments_of
    from lcat.nn.models import LayerOptions

    taken = {*arguments_of(GCNConv, LCATConv, LCATv2Conv, LCATGCN2Conv, LCATPNAConv), "v2"}
    taken -= {"in_channels", "out_channels", "channels", "dropout", "act", "act_kwargs"}  # models take them themselves
    taken -= {"alpha", "theta", "layer"}
    assert set(LayerOptions.__annotations__) == taken
