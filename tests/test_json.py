"""What JSON has no word for becomes null, and nothing else does."""

from __future__ import annotations

import json
import math

from lcat._json import strict_json, with_nan, without_nan


def test_null_for_what_is_no_finite_number():
    values = {
        "a": [1.5, math.nan, (math.inf, -math.inf)],
        "b": {"c": math.nan},
        "d": True,
        "e": "NaN",
        "f": None,
        "g": 3,
    }
    plain = without_nan(values)
    assert plain == {"a": [1.5, None, [None, None]], "b": {"c": None}, "d": True, "e": "NaN", "f": None, "g": 3}
    assert json.loads(strict_json(values)) == plain
    assert strict_json(values, indent=1).startswith('{\n "a": [')
    assert math.isnan(values["b"]["c"]), "what was given stays as it is"


def test_and_back():
    read = with_nan({"a": [0.1 + 0.2, None], "n": 3})
    assert read["a"][0] == 0.1 + 0.2
    assert math.isnan(read["a"][1])
    assert read["n"] == 3
