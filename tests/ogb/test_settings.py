"""Settings say what they take; protocols are settings."""

from __future__ import annotations

import dataclasses
import typing

import numpy as np
import pytest

pytest.importorskip("ogb")

from lcat.ogb import PROTOCOLS, Settings, SettingsError, default_settings
from lcat.ogb.settings import setting_types


@pytest.mark.parametrize("dataset", PROTOCOLS)
def test_protocols_are_settings(dataset):
    settings = default_settings(dataset)
    assert settings.dataset == dataset
    assert settings.labels is False
    assert settings.heads == 8
    assert default_settings(dataset, lr=0.5, layer=None) == dataclasses.replace(settings, lr=0.5)


def test_protocols_are_the_published_ones():
    arxiv, products = default_settings("ogbn-arxiv"), default_settings("ogbn-products")
    mag, proteins = default_settings("ogbn-mag"), default_settings("ogbn-proteins")
    assert (arxiv.num_layers, arxiv.hidden_channels, arxiv.dropout, arxiv.lr, arxiv.epochs) == (3, 256, 0.25, 0.01, 50)
    assert (arxiv.batching, arxiv.batch_size, arxiv.walk_length, arxiv.num_steps) == ("walk", 20_000, 3, 30)
    assert (mag.num_layers, mag.hidden_channels, mag.dropout, mag.lr, mag.epochs) == (2, 256, 0.5, 0.01, 100)
    assert (mag.batching, mag.batch_size, mag.num_neighbors) == ("neighbor", 20_000, 10)
    assert (products.num_layers, products.hidden_channels, products.lr, products.batch_size) == (3, 128, 0.001, 256)
    assert (proteins.num_layers, proteins.hidden_channels, proteins.norm, proteins.epochs) == (6, 64, "batch", 1200)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"layer": "gta"}, r"layer must be one of gcn, gat, .*; got 'gta'"),
        ({"heads": 7}, r"hidden_channels must be a multiple of heads \(7\); got 256"),
        ({"epochs": 0}, "epochs must be a whole number, at least 1; got 0"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\); got 1\.0"),
        ({"lr": 0.0}, r"lr must be positive; got 0\.0"),
        ({"lr": float("inf")}, "lr must be a finite number; got inf"),
        ({"clip_norm": float("inf")}, "clip_norm must be a finite number; got inf"),
        ({"num_neighbors": 0}, "num_neighbors must be 1 or more, or -1 for all; got 0"),
        ({"noise": -0.1}, "noise must be 0 or more"),
        ({"label_rate": 1.0}, "label_rate must be between 0 and 1"),
        ({"optimizer": "adamm"}, "optimizer must be one of adam, adamw"),
        ({"warmup": 50}, r"warmup must be less than epochs \(50\); got 50"),
        ({"patience": 0}, "patience must be a whole number, at least 1, or None to train all epochs; got 0"),
        ({"num_neighbors": 2.5}, "num_neighbors must be 1 or more, or -1 for all; got 2.5"),
        ({"label_rate": "x"}, "label_rate must be between 0 and 1; got 'x'"),
        ({"hedas": 2}, r"hedas is no setting \(did you mean heads"),
        ({"batching": "some"}, "batching must be one of full, neighbor, walk"),
        (
            {"batching": "full", "batch_size": 5},
            "^batch_size has no effect with batching 'full', only with 'neighbor' or 'walk'; leave it out or change",
        ),
        ({"batching": "full", "accumulate": 2}, "^accumulate has no effect with batching 'full'"),
        ({"num_neighbors": 5}, "^num_neighbors has no effect with batching 'walk', only with 'neighbor'"),
        ({"batching": "neighbor", "walk_length": 2}, "^walk_length has no effect with batching 'neighbor', only with"),
        ({"label_rate": 0.3}, "^label_rate has no effect without labels; leave it out or set labels"),
        (
            {"label_rate": 0.3, "labels": True, "batching": "neighbor"},
            "^label_rate has no effect with batching 'neighbor'",
        ),
        ({"batching": "neighbor", "num_steps": 2}, "^num_steps has no effect with batching 'neighbor', only with"),
    ],
)
def test_bad_settings_are_told(change, words):
    with pytest.raises(SettingsError, match=words):
        default_settings("ogbn-arxiv", **change)


def test_gcn_has_no_heads_to_divide():
    assert default_settings("ogbn-arxiv", layer="gcn", heads=7).hidden_channels == 256


def test_every_setting_says_what_it_is():
    for spec in dataclasses.fields(Settings):
        assert spec.name == "dataset" or len(spec.metadata["help"]) > 4


@pytest.mark.parametrize("value", [True, np.True_], ids=repr)
def test_booleans_are_no_numbers(value):
    kinds = setting_types()
    numbers = [name for name in kinds if {int, float} & {kinds[name], *typing.get_args(kinds[name])}]
    assert {"heads", "lr", "clip_norm", "patience"} < set(numbers)
    for name in numbers:
        with pytest.raises(SettingsError, match=f"^{name} must be .*; got True"):
            default_settings("ogbn-arxiv", **{name: value})


def test_numbers_and_words_are_no_booleans():
    flags = [name for name, kind in setting_types().items() if kind is bool]
    for name in flags:
        for value in (1, 0, "yes"):
            with pytest.raises(SettingsError, match=f"^{name} must be True or False; got {value!r}"):
                default_settings("ogbn-arxiv", **{name: value})


def test_numpy_numbers_are_kept_as_plain_ones():
    settings = default_settings("ogbn-arxiv", heads=np.int64(4), lr=np.float32(0.5), bias=np.True_)
    assert (settings.heads, settings.lr, settings.bias) == (4, 0.5, True)
    assert [type(value) for value in (settings.heads, settings.lr, settings.bias)] == [int, float, bool]


@pytest.mark.parametrize("dataset", ["arxiv", 3, [1], None])
def test_settings_are_those_of_a_known_data_set(dataset):
    for make in (Settings, default_settings):
        with pytest.raises(SettingsError, match=r"^dataset must be one of ogbn-arxiv, "):
            make(dataset=dataset)


def test_no_protocol_for_other_names():
    with pytest.raises(SettingsError, match=r"dataset must be one of ogbn-arxiv, .*; got 'ogbn-arxvi'"):
        default_settings("ogbn-arxvi")
