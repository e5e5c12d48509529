"""lcat study defaults."""

from __future__ import annotations


def test_default_settings_are_listed_and_the_old_spelling_works(call):
    code, out, _ = call("study", "defaults")
    assert code == 0
    for word in ("weight_decay", "attention layers", "cora"):
        assert word in out
    assert call("study", "--list-defaults") == (0, out, "")
    assert call("study", "-q", "--list-defaults") == (0, out, "")
