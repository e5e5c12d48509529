"""Deprecated names work as before, warn once per use, and say what to use."""

from __future__ import annotations

import pickle
import warnings

import pytest

from lcat._deprecated import deprecated


@deprecated(since="0.3", removed_in="0.5", use="lcat.total")
def add(a: int, b: int = 2) -> int:
    """The sum.

    Args:
        a: a number.
        b: another one.
    """
    return a + b


@deprecated(since="0.3", removed_in="1.0", use="Box")
class Crate:
    """Holds something."""

    def __init__(self, content: str) -> None:
        self.content = content

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Crate) and self.content == other.content

    __hash__ = None


class Wooden(Crate):
    pass


@deprecated(since="0.9", removed_in="0.11", use="num_layers", argument="depth")
def build(num_layers: int = 2, *, depth: int | None = None) -> int:
    return num_layers if depth is None else depth


def test_a_function_works_and_warns_at_the_caller() -> None:
    expected = r"^add is deprecated since lcat 0\.3 and will be removed in 0\.5; use lcat\.total$"
    with pytest.warns(FutureWarning, match=expected) as seen:
        assert add(1, b=4) == 5
    assert len(seen) == 1
    assert seen[0].filename == __file__
    assert add.__name__ == "add"
    assert add.__doc__.startswith("The sum.")
    assert ".. deprecated:: 0.3\n   Use lcat.total. Will be removed in 0.5." in add.__doc__


@pytest.mark.parametrize("cls", [Crate, Wooden])
def test_a_class_stays_a_class(cls: type) -> None:
    with pytest.warns(FutureWarning, match=r"^Crate is deprecated") as seen:
        crate = cls("apples")
    assert len(seen) == 1
    assert crate.content == "apples"
    assert isinstance(crate, Crate)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # unpickling is no use of the name by a user
        assert pickle.loads(pickle.dumps(crate)) == crate
    assert "Use Box. Will be removed in 1.0." in Crate.__doc__


def test_an_argument_warns_only_when_it_is_passed() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert build() == 2
        assert build(num_layers=3) == 3
    with pytest.warns(FutureWarning, match=r"^argument 'depth' of build is .* 0\.11; use num_layers$"):
        assert build(depth=5) == 5


@pytest.mark.parametrize(("since", "removed_in"), [("0.3", "0.4"), ("0.3", "0.3"), ("1.2", "0.9"), ("1.2", "1.3.9")])
def test_two_minor_versions_at_least(since: str, removed_in: str) -> None:
    with pytest.raises(ValueError, match="at least two minor versions after"):
        deprecated(since=since, removed_in=removed_in, use="x")


def test_an_argument_must_exist() -> None:
    with pytest.raises(ValueError, match="no keyword argument 'width'"):
        deprecated(since="0.3", removed_in="0.5", use="x", argument="width")(build)
