"""What is wrong with a command line: one line with the way out, in every command."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["study", "--runs", 3], "there is no option --runs (did you mean --seeds?); lcat study run --help lists the"),
        (["study", "--num_layers", 3], "there is no option --num_layers (did you mean --num-layers?)"),
        (["study", "--layers", "gcn"], "there is no option --layers (did you mean --layer or --num-layers?)"),
        (["study", "--learning-rate", 1], "there is no option --learning-rate (did you mean --lr?)"),
        (["study", "--batch-size", 1], "there is no option --batch-size (did you mean --batching?)"),
        (["study", "--lr"], "--lr: expected a value"),
        (["study", "--quiet=3"], "--quiet: takes no value"),
        (["study", "a.toml", "b.toml"], "unexpected argument b.toml"),
        (["study", "report"], "DIR is missing, as in lcat study report DIR"),
        (["study", "report", "x", "--layers", "gcn"], "there is no option --layers (did you mean --layer?)"),
        (["study", "report", "x", "--lr"], "there is no option --lr"),
        (["study", "datasets", "--root", "x"], "there is no option --root (did you mean --data?)"),
        (["study", "defaults", "x"], "unexpected argument x"),
        (["doctor", "--device", "cpu"], "there is no option --device"),
        (["doctor", "x"], "unexpected argument x"),
        (["--vers"], "there is no option --vers (did you mean --version?)"),
        (["stuudy"], "there is no command 'stuudy' (did you mean study?); commands are study, doctor, ogb"),
    ],
)
def test_a_slip_is_one_line(call, arguments, line):
    code, out, err = call(*arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"lcat: {line}")
