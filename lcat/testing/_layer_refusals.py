"""Bad input: an error that names the argument, before anything is computed."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import torch

from lcat.testing._layer_tools import LayerTools

__all__ = ["RefusalClauses"]

_ERRORS = (ValueError, TypeError, IndexError, RuntimeError, AssertionError)


class RefusalClauses(LayerTools):
    """Nothing wrong is accepted, and the message says which argument is."""

    def test_names_x_of_another_width(self) -> None:
        """Features of another width than ``in_channels``."""
        x, edge_index = self.example()
        self._refuses("x", lambda: self.call(self.make(), x[:, :-1], edge_index))

    def test_names_edges_beyond_the_nodes(self) -> None:
        """A node number that is too large."""
        x, edge_index = self.example()
        edge_index[0, 3] = x.shape[0]
        self._refuses("edge_index", lambda: self.call(self.make(), x, edge_index))

    def test_names_negative_edges(self) -> None:
        """A negative node number."""
        x, edge_index = self.example()
        edge_index[1, 3] = -1
        self._refuses("edge_index", lambda: self.call(self.make(), x, edge_index))

    def test_names_edges_that_are_no_integers(self) -> None:
        """Node numbers that are floating point."""
        x, edge_index = self.example()
        self._refuses("edge_index", lambda: self.call(self.make(), x, edge_index.float()))

    def test_names_edges_that_are_transposed(self) -> None:
        """Edges of shape ``[E, 2]``."""
        x, edge_index = self.example()
        self._refuses("edge_index", lambda: self.call(self.make(), x, edge_index.t()))

    def test_names_edge_weights_of_another_length(self) -> None:
        """Another number of weights than of edges."""
        layer = self.make(**self.need("edge_weight"))
        x, edge_index = self.example()
        weight = torch.ones(edge_index.shape[1] + 2, dtype=x.dtype)
        self._refuses("edge_weight", lambda: self.call(layer, x, edge_index, edge_weight=weight))

    def test_names_edge_features_of_another_length(self) -> None:
        """Features of another number of edges."""
        layer = self.make(**self.need("edge_attr"))
        x, edge_index = self.example()
        attr = self.random(edge_index.shape[1] + 2, self.edge_channels)
        self._refuses("edge_attr", lambda: self.call(layer, x, edge_index, edge_attr=attr))

    def _refuses(self, argument: str, call: Callable[[], Any]) -> None:
        message = self.refuses(_ERRORS, call)
        assert re.search(rf"\b{argument}\b", message), f"the error does not name {argument!r}: {message}"
