"""No two random purposes share their draws, whatever the functions that get the same seed."""

from __future__ import annotations

import itertools
from typing import get_args

import numpy as np
import pytest
import torch

from lcat._seeds import Purpose, derive_seed
from lcat.data import Split, csbm, fold_numbers, fold_split, noisy_edges, noisy_features, random_split
from lcat.nn.models import GAT
from lcat.train import FitConfig, fit, seed_everything


def shifted_correlation(one, two):
    """The largest correlation between two sequences, over all shifts."""
    one, two = (values.double().flatten() - values.double().mean() for values in (one, two))
    size = one.numel() + two.numel()
    spectrum = torch.fft.rfft(one, size) * torch.fft.rfft(two, size).conj()
    return float(torch.fft.irfft(spectrum, size).abs().max() / (one.norm() * two.norm()))


def test_every_purpose_has_its_own_seed():
    seeds = [derive_seed(seed, purpose) for seed in range(50) for purpose in get_args(Purpose)]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)
    # torch's generator on a CPU uses the lowest 32 bits.
    assert len({seed % 2**32 for seed in seeds}) == len(seeds)


def test_seeds_are_whole_numbers():
    assert derive_seed(np.int64(3), "split") == derive_seed(3, "split") == derive_seed(torch.tensor(3), "split")
    assert derive_seed(-1, "split") != derive_seed(1, "split")
    for wrong in (3.0, "3", None):
        with pytest.raises(TypeError, match="expected a whole number as seed, got"):
            derive_seed(wrong, "split")


@pytest.mark.parametrize("n", [100, 200, 400, 401, 600, 1009])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_noise_on_features_is_no_copy_of_the_features(n, dtype):
    data = csbm(n=n, d=16, mu=0.0, seed=3)
    data.x = data.x.to(dtype)
    noise = noisy_features(data, level=1.0, seed=3).x - data.x
    # Of two independent sequences of 1,600 numbers the largest of 3,200 correlations is about 0.1.
    assert shifted_correlation(data.x, noise) < 0.2


def test_purposes_of_one_seed_are_independent():
    """Order statistics of permutations and draws that many functions would take from a generator of this seed."""
    seed, n = 5, 400
    data = csbm(n=n, d=8, mu=0.0, seed=seed)
    plain = torch.Generator().manual_seed(seed)
    draws = {
        "labels": data.y,
        "features": data.x,
        "noise": noisy_features(data, 1.0, seed).x - data.x,
        "folds": fold_numbers(torch.zeros(n, dtype=torch.long), 400, seed),
        "split": random_split(torch.zeros(n, dtype=torch.long), (0.5, 0.25, 0.25), seed).train,
        "order of the global generator": torch.randperm(n, generator=plain),
        "normal numbers of the global generator": torch.randn(n * 8, generator=plain.manual_seed(seed)),
        "numbers of the global generator": torch.rand(n * 8, generator=plain.manual_seed(seed)),
    }
    for (one, first), (two, second) in itertools.combinations(draws.items(), 2):
        if not (one.endswith("global generator") and two.endswith("global generator")):
            assert shifted_correlation(first, second) < 0.3, (one, two)


def test_splits_do_not_follow_the_labels():
    """A split that came from the labels' own draws would be the same function of the positions in every graph."""
    agreements = []
    for seed in range(20):
        data = csbm(n=200, seed=seed)
        for mask in (random_split(data.y, seed=seed).train, fold_split(data.y, 5, 0, seed).test, data.train_mask):
            first = (data.y == 0).nonzero().flatten()
            agreements.append(float(mask[first][:50].double().mean() - mask[first][50:].double().mean()))
    assert abs(np.mean(agreements)) < 0.1


def test_noise_on_edges_and_the_graph_draw_apart():
    data = csbm(n=300, p=0.1, q=0.1, seed=2)
    noisy = noisy_edges(data, 0.5, seed=2).edge_index[:, data.num_edges :]
    same = float((data.y[noisy[0]] == data.y[noisy[1]]).double().mean())
    assert same == pytest.approx(0.5, abs=0.03)


def test_dropout_is_not_drawn_from_the_numbers_of_the_weights():
    """``seed_everything(0)``, a model, ``fit(..., seed=0)``: the usual three lines."""
    data = csbm(n=60, seed=0)
    split = Split(data.train_mask, data.val_mask, data.test_mask)
    seed_everything(0)
    before = torch.random.get_rng_state()
    states = []

    class Watched(GAT):
        def forward(self, x, edge_index):
            states.append(torch.random.get_rng_state())
            return super().forward(x, edge_index)

    model = Watched(data.num_features, 8, num_layers=1, out_channels=2)
    fit(model, data, split, FitConfig(epochs=1), seed=0)
    torch.manual_seed(9)
    fit(model, data, split, FitConfig(epochs=1), seed=0)
    first, again = states[0], states[2]  # each epoch trains and then measures
    assert not torch.equal(first, before)
    assert torch.equal(first, again), "the seed still decides"
