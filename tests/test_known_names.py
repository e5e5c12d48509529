"""Names of layers and metrics are stated once; the registries that give them a meaning have the same."""

from __future__ import annotations

from lcat import data, nn, study, train
from lcat._names import LAYER_NAMES, LAYER_TITLES, METRIC_NAMES
from lcat.ogb.model import LAYERS as OGB_LAYERS
from lcat.ogb.settings import choices, setting_types


def test_metrics():
    assert tuple(train.METRICS) == METRIC_NAMES == data.METRIC_NAMES


def test_layers_of_leaderboard_runs():
    assert tuple(OGB_LAYERS) == LAYER_NAMES == choices(setting_types()["layer"])
    assert {name: layer.__name__.removesuffix("Conv") for name, layer in OGB_LAYERS.items()} == {
        name: title.replace("-", "") for name, title in LAYER_TITLES.items()
    }


def test_layers_of_studies():
    others = {"gcn-mean", "gat-theory", "cat-theory", "lcat-theory", "sage", "transformer"}
    assert tuple(name for name in study.LAYERS if name not in others) == LAYER_NAMES


def test_layers_of_nn():
    classes = {f"{title.replace('-', '')}Conv" for title in LAYER_TITLES.values()}
    missing = classes - set(nn.__all__)
    assert not missing, f"LAYER_TITLES of lcat/_names.py names layers that lcat.nn lacks: {missing}"


def test_schedules():
    assert tuple(train.SCHEDULES) == choices(setting_types()["schedule"])
