"""A layer as a torch module: saving, copying, training and evaluation mode."""

from __future__ import annotations

import copy
import io
import pickle

import torch

from lcat.testing._layer_tools import LayerTools

__all__ = ["ModuleClauses"]


class ModuleClauses(LayerTools):
    """What is saved is all of the layer, copies are independent, and only training is random."""

    def test_state_dict_round_trip(self) -> None:
        """A layer with other weights that loads the ``state_dict`` from a file computes the same bits."""
        x, edge_index = self.example()
        layer, other = self.make(), self.make(seed=1)
        expected = self.output(layer, x, edge_index)
        assert not torch.equal(self.output(other, x, edge_index), expected), "the parameters change nothing"
        file = io.BytesIO()
        torch.save(layer.state_dict(), file)
        file.seek(0)
        other.load_state_dict(torch.load(file, weights_only=True))
        assert torch.equal(self.output(other, x, edge_index), expected), "state_dict does not hold all of the layer"

    def test_deepcopies_apart(self) -> None:
        """A deep copy computes the same bits, and keeps them when the original changes."""
        x, edge_index = self.example()
        layer = self.make()
        expected = self.output(layer, x, edge_index)
        twin = copy.deepcopy(layer)
        assert torch.equal(self.output(twin, x, edge_index), expected), "a deep copy computes something else"
        with torch.no_grad():
            for parameter in layer.parameters():
                parameter.mul_(-2)
        assert torch.equal(self.output(twin, x, edge_index), expected), "a deep copy changes with the original"

    def test_pickles(self) -> None:
        """A pickled layer computes the same bits, also after it was used."""
        x, edge_index = self.example()
        layer = self.make()
        expected = self.output(layer, x, edge_index)
        again = pickle.loads(pickle.dumps(layer))
        assert torch.equal(self.output(again, x, edge_index), expected), "a pickled layer computes something else"

    def test_training_without_dropout_is_evaluation(self) -> None:
        """Without dropout both modes give the same output."""
        x, edge_index = self.example()
        layer = self.make()
        expected = self.output(layer, x, edge_index)
        self.assert_close(self.output(layer.train(), x, edge_index), expected, "training mode")

    def test_dropout_only_in_training(self) -> None:
        """Dropout changes the output in training, follows torch's seed, and does nothing in evaluation."""
        layer = self.make(**self.need("dropout"))
        x, edge_index = self.example()
        plain = self.make()
        plain.load_state_dict(layer.state_dict())
        expected = self.output(plain, x, edge_index)
        self.assert_close(self.output(layer, x, edge_index), expected, "dropout in evaluation")
        layer.train()
        with torch.random.fork_rng(devices=[]):
            outputs = []
            for seed in (0, 0, 1, 2, 3):
                torch.manual_seed(seed)
                outputs.append(self.output(layer, x, edge_index))
        assert torch.equal(outputs[0], outputs[1]), "dropout does not follow the seed"
        assert any(not torch.equal(outputs[0], out) for out in outputs[2:]), "dropout does nothing in training"
