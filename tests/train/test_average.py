"""An average of the weights is what is measured and kept."""

from __future__ import annotations

import copy

import pytest
import torch

from lcat.data import Split, csbm
from lcat.nn.models import GCN
from lcat.train import FitConfig, fit, seed_everything


def task():
    data = csbm(n=60, seed=0)
    seed_everything(0)
    model = GCN(data.num_features, 8, num_layers=2, out_channels=2, norm="batch")
    return model, data, Split(data.train_mask, data.val_mask, data.test_mask)


def test_the_average_of_three_steps():
    """By hand: the first step is taken as it is, later ones are averaged with what was before."""
    model, data, split = task()
    plain = copy.deepcopy(model)
    weights = []

    def keep(_epoch, _history):
        weights.append([parameter.detach().clone() for parameter in model.parameters()])

    config = FitConfig(epochs=3, patience=None)
    result = fit(model, data, split, config, ema=0.75, seed=0, on_epoch=keep)
    averages = [weights[0]]
    for step in weights[1:]:
        averages.append([0.75 * old + 0.25 * new for old, new in zip(averages[-1], step, strict=True)])
    for average, expected in zip(model.parameters(), averages[result.best_epoch], strict=True):
        torch.testing.assert_close(average, expected)
    # The training itself is that without an average, and what is measured is not.
    other = fit(plain, data, split, config, seed=0)
    assert result.history.loss == other.history.loss
    assert result.history.val_loss[0] == other.history.val_loss[0]
    assert result.history.val_loss[2] != other.history.val_loss[2]


@pytest.mark.parametrize("ema", [0.0, 1.0, True, "0.9"])
def test_decays_are_checked(ema):
    model, data, split = task()
    with pytest.raises(ValueError, match="expected ema as a number between 0 and 1"):
        fit(model, data, split, FitConfig(epochs=1), ema=ema)
