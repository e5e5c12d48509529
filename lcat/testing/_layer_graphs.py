"""What a layer computes on a graph: clauses about nodes, edges and neighborhoods."""

from __future__ import annotations

import torch

from lcat.testing._layer_tools import LayerTools, reached

__all__ = ["GraphClauses"]


class GraphClauses(LayerTools):
    """The output is a function of the graph, not of its numbering, and a local one."""

    def test_output_has_the_declared_shape(self) -> None:
        """One finite row per node, ``out_channels`` wide, in the type of the features."""
        x, edge_index = self.example()
        out = self.output(self.make(), x, edge_index)
        assert isinstance(out, torch.Tensor), f"expected a tensor, got {type(out).__name__}"
        width = self.out_channels if self.out_channels is not None else out.shape[-1]
        expected = (x.shape[0], width)
        assert tuple(out.shape) == expected, f"expected shape {expected}, got {tuple(out.shape)}"
        assert out.dtype == x.dtype, f"expected {x.dtype}, got {out.dtype}"
        assert bool(torch.isfinite(out).all()), "the output is not finite"

    def test_equals_the_reference(self) -> None:
        """The output is that of ``reference``."""
        x, edge_index = self.example()
        layer = self.make()
        expected = self.reference(layer, x, edge_index)
        if expected is None:
            self.skip("no reference: override reference(self, layer, x, edge_index)")
        self.assert_close(self.output(layer, x, edge_index), expected, "the layer and its reference")

    def test_neighbors_matter(self) -> None:
        """Other features of a source change the output of its target."""
        x, edge_index = self.example()
        layer, other = self.make(), x.clone()
        other[5] = -2 * x[5]
        difference = (self.output(layer, other, edge_index) - self.output(layer, x, edge_index)).detach().abs()
        assert float(difference[6].max()) > 0, "the edge 5 -> 6 carries nothing"

    def test_nodes_may_be_renumbered(self) -> None:
        """A permutation of the nodes permutes the output, and nothing else."""
        x, edge_index = self.example()
        layer, inputs = self.with_edge_inputs(), self.edge_inputs(edge_index.shape[1])
        order = torch.randperm(x.shape[0], generator=torch.Generator().manual_seed(1))
        number = torch.argsort(order)  # the new number of every node
        expected = self.output(layer, x, edge_index, **inputs)[order]
        self.assert_close(self.output(layer, x[order], number[edge_index], **inputs), expected, "nodes renumbered")

    def test_edges_may_come_in_any_order(self) -> None:
        """The order of the edges, with what belongs to them, does not matter."""
        x, edge_index = self.example()
        layer, inputs = self.with_edge_inputs(), self.edge_inputs(edge_index.shape[1])
        expected = self.output(layer, x, edge_index, **inputs)
        for seed in range(3):
            order = torch.randperm(edge_index.shape[1], generator=torch.Generator().manual_seed(seed))
            shuffled = {name: tensor[order] for name, tensor in inputs.items()}
            self.assert_close(
                self.output(layer, x, edge_index[:, order], **shuffled), expected, "edges in another order"
            )

    def test_disjoint_graphs_do_not_meet(self) -> None:
        """Two graphs in one batch give what each of them gives alone."""
        x, edge_index = self.example()
        y = self.random(5, self.in_channels, seed=1)
        edges = torch.tensor([[0, 1, 4, 2], [1, 2, 0, 2]])
        layer = self.make()
        both = self.output(layer, torch.cat([x, y]), torch.cat([edge_index, edges + x.shape[0]], dim=1))
        alone = torch.cat([self.output(layer, x, edge_index), self.output(layer, y, edges)])
        self.assert_close(both, alone, "two graphs in one batch")

    def test_isolated_nodes_change_nothing(self) -> None:
        """Nodes without edges leave the others alone, and give what a graph without edges gives."""
        x, edge_index = self.example()
        layer, y = self.make(), self.random(3, self.in_channels, seed=1)
        out = self.output(layer, torch.cat([x, y]), edge_index)
        self.assert_close(out[: x.shape[0]], self.output(layer, x, edge_index), "nodes beside isolated ones")
        self.assert_close(out[x.shape[0] :], self.output(layer, y, edge_index[:, :0]), "isolated nodes")

    def test_no_edges(self) -> None:
        """A graph without edges has a finite output and finite gradients, without and with self-loops of the layer."""
        x, edge_index = self.example()
        for layer in (self.make(), self.make(**self.without_self_loops)):
            for name, tensor in self.gradients(layer, x, edge_index[:, :0]).items():
                assert bool(torch.isfinite(tensor).all()), f"{name} is not finite on a graph without edges"

    def test_no_nodes(self) -> None:
        """An empty graph gives an empty output."""
        x, edge_index = self.example()
        out = self.output(self.make(), x[:0], edge_index[:, :0])
        width = self.output(self.make(), x, edge_index).shape[1]
        assert tuple(out.shape) == (0, width), f"expected shape {(0, width)}, got {tuple(out.shape)}"

    def test_an_edge_that_occurs_twice_counts_twice(self) -> None:
        """The second copy of an edge counts like an edge from a second node with the same features and in-edges."""
        x = self.random(5, self.in_channels)
        layer = self.make()
        edges = torch.tensor([[0, 1, 2, 1, 3, 4], [1, 2, 3, 2, 0, 2]])  # 1 -> 2 twice
        twin = torch.tensor([[0, 1, 2, 5, 3, 4, 0], [1, 2, 3, 2, 0, 2, 5]])  # 5 is 1 again, with its in-edge from 0
        expected = self.output(layer, torch.cat([x, x[1:2]]), twin)[:5]
        self.assert_close(self.output(layer, x, edges), expected, "an edge that occurs twice")

    def test_a_self_loop_stays_in_its_neighborhood(self) -> None:
        """A new self-loop changes nothing further away than ``hops`` edges."""
        x, edge_index = self.example()
        layer = self.make()
        before = self.output(layer, x, edge_index)
        after = self.output(layer, x, torch.cat([edge_index, torch.tensor([[5], [5]])], dim=1))
        for node in set(range(x.shape[0])) - reached(edge_index, 5, self.hops):
            self.assert_close(after[node], before[node], f"node {node} after a self-loop at 5")
        assert bool(torch.isfinite(after).all()), "the output is not finite with self-loops"

    def test_nan_stays_in_its_neighborhood(self) -> None:
        """A NaN in one node reaches its target, and no node further away than ``hops`` edges."""
        x, edge_index = self.example()
        layer = self.make()
        for start, target in ((4, 5), (6, 1), (7, None)):
            broken = x.clone()
            broken[start] = float("nan")
            is_nan = self.output(layer, broken, edge_index).isnan().any(dim=1)
            outside = {n for n in range(x.shape[0]) if is_nan[n]} - reached(edge_index, start, self.hops)
            assert not outside, f"NaN in node {start} reaches {sorted(outside)}, further away than {self.hops} edges"
            assert target is None or is_nan[target], f"NaN in node {start} does not reach node {target}"

    def test_edges_changed_in_place_are_seen(self) -> None:
        """A layer may remember what it derived from the edges, but not beyond a change of them."""
        x, edge_index = self.example()
        layer, edges = self.make(), edge_index.clone()
        self.output(layer, x, edges)
        edges[1, 0] = 6
        self.assert_close(self.output(layer, x, edges), self.output(layer, x, edges.clone()), "edges changed in place")

    def test_graphs_do_not_meet_in_the_layer(self) -> None:
        """What a layer was called with before does not matter."""
        x, edge_index = self.example()
        layer, y = self.make(), self.random(5, self.in_channels, seed=1)
        edges = torch.tensor([[0, 1, 4, 2], [1, 2, 0, 3]])
        self.output(layer, y, edges)
        self.assert_close(self.output(layer, x, edge_index), self.output(self.make(), x, edge_index), "a second graph")

    def test_edge_weights(self) -> None:
        """Weights of one are as none; other weights change the output."""
        layer = self.make(**self.need("edge_weight"))
        x, edge_index = self.example()
        num_edges, plain = edge_index.shape[1], self.output(layer, x, edge_index)
        ones = self.output(layer, x, edge_index, edge_weight=torch.ones(num_edges, dtype=x.dtype))
        self.assert_close(ones, plain, "edge weights of one")
        weight = self.random(num_edges, seed=3).abs() + 0.5
        other = self.output(layer, x, edge_index, edge_weight=weight)
        assert float((other - plain).detach().abs().max()) > self.close, "edge weights change nothing"

    def test_edge_features(self) -> None:
        """Features of the edges change the output."""
        layer = self.make(**self.need("edge_attr"))
        x, edge_index = self.example()
        attr = self.random(edge_index.shape[1], self.edge_channels, seed=4)
        one, two = (self.output(layer, x, edge_index, edge_attr=factor * attr) for factor in (1, 2))
        assert float((one - two).detach().abs().max()) > self.close, "features of edges change nothing"

    def test_pairs(self) -> None:
        """Of a pair (sources, targets): one row per target, and either side may be renumbered."""
        layer = self.make(**{**self.without_self_loops, **self.need("pairs")})
        x, y = self.random(6, self.in_channels), self.random(4, self.in_channels, seed=1)
        edges = torch.tensor([[0, 5, 3, 4, 1, 3], [1, 3, 0, 0, 2, 0]])
        out = self.output(layer, (x, y), edges)
        assert out.shape[0] == 4, f"expected one row for each of 4 targets, got shape {tuple(out.shape)}"
        assert bool(torch.isfinite(out).all()), "the output of a pair is not finite"
        order = torch.tensor([3, 0, 5, 1, 4, 2])
        number = torch.argsort(order)
        renumbered = self.output(layer, (x[order], y), torch.stack([number[edges[0]], edges[1]]))
        self.assert_close(renumbered, out, "sources renumbered")
        order = torch.tensor([2, 3, 1, 0])
        number = torch.argsort(order)
        renumbered = self.output(layer, (x, y[order]), torch.stack([edges[0], number[edges[1]]]))
        self.assert_close(renumbered, out[order], "targets renumbered")

    def test_static_graphs(self) -> None:
        """Several feature sets ``[B, N, F]`` on one graph give what each of them gives alone."""
        layer = self.make(**self.need("static"))
        x, edge_index = self.example()
        stacked = torch.stack([x, -2 * x, x.flip(0)])
        expected = torch.stack([self.output(layer, one, edge_index) for one in stacked])
        self.assert_close(self.output(layer, stacked, edge_index), expected, "feature sets on one graph")
