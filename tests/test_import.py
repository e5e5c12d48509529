"""What can be taken from ``lcat`` itself."""

from __future__ import annotations

import pytest

import lcat
import lcat.nn
from tests.support.layers import LAYERS


@pytest.mark.parametrize("name", LAYERS)
def test_layers_can_be_taken_from_the_package(name):
    space: dict[str, object] = {}
    exec(f"from lcat import {name}", space)
    assert space[name] is getattr(lcat.nn, name)
    assert name in dir(lcat)


def test_the_package_names_no_layer_that_does_not_exist():
    assert sorted(name for name in dir(lcat) if name.endswith("Conv")) == sorted(LAYERS)


@pytest.mark.parametrize(("name", "home"), [("POGO", "lcat.optim"), ("GAT", "lcat.nn.models"), ("fit", "lcat.train")])
def test_other_names_say_where_to_look(name, home):
    with pytest.raises(AttributeError, match=f"'lcat' has no attribute '{name}'.*{home}"):
        getattr(lcat, name)
