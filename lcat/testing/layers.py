"""The contract of a graph layer, as a suite to run on your own layers.

Subclass :class:`LayerContract` in a test module and define how your layer is made::

    from lcat.testing import LayerContract


    class TestMine(LayerContract):
        out_channels = 4

        def layer(self, **options):
            return MyConv(self.in_channels, 4, **options)

pytest then collects one test per clause. Nothing here needs pytest: :meth:`LayerContract.clauses` lists the clauses,
each a method without arguments that raises an AssertionError, or a :class:`unittest.SkipTest` with the reason where it
does not apply to the layer. The clauses call the layer through its public interface only.
"""

from __future__ import annotations

from lcat.testing._layer_formats import FormatClauses
from lcat.testing._layer_graphs import GraphClauses
from lcat.testing._layer_module import ModuleClauses
from lcat.testing._layer_numbers import NumberClauses
from lcat.testing._layer_pyg import PyGClauses
from lcat.testing._layer_refusals import RefusalClauses

__all__ = ["LayerContract"]


class LayerContract(GraphClauses, FormatClauses, NumberClauses, ModuleClauses, PyGClauses, RefusalClauses):
    """What a layer ``layer(x, edge_index)`` keeps on every graph; one method per clause.

    Override :meth:`layer`, and :meth:`call` where the layer's arguments have other names. The other declarations say
    what the layer can do. Several of them are options (a dict) that make a layer with that ability, ``{}`` where none
    is needed, and None (the default) for layers without it, whose clauses are skipped.

    Attributes:
        in_channels: number of features of the nodes; keep it small, derivatives are checked entry by entry.
        out_channels: width of the output, heads included; None if the contract need not check it.
        hops: number of edges over which the features of a node reach others in one call.
        options: options of the layer in every clause.
        without_self_loops: options for a layer that adds no self-loops, ``{}`` if it never does.
        dropout: options that switch dropout on.
        edge_weight: options for a layer that takes ``edge_weight``, a factor per edge.
        edge_attr: options for a layer that takes ``edge_attr``, ``edge_channels`` features per edge.
        edge_channels: number of these features.
        pairs: options for a layer that takes ``x`` as a pair (sources, targets), in a bipartite graph.
        static: options for a layer that takes ``x`` as ``[B, N, in_channels]``, several feature sets on one graph.
        unsupported: clause -> reason, for what the layer does not do; the clause is skipped with the reason.
        slow: whether to run the slow clause, ``test_compiles_as_one_graph``.
        close: largest difference of two computations in float64 that differ by rounding only.
        close_float32: the same for float32 against float64.
        close_bfloat16: the same for bfloat16 against float64.

    Raises:
        TypeError: when a subclass is defined whose ``unsupported`` names no clause.

    Complexity: about 100 calls on graphs of eight nodes, and one for every entry of the inputs and parameters.

    Example:
        >>> import torch
        >>> from lcat.testing import LayerContract
        >>> class Sum(torch.nn.Module):
        ...     def __init__(self, in_channels, out_channels):
        ...         super().__init__()
        ...         self.linear = torch.nn.Linear(in_channels, out_channels)
        ...
        ...     def forward(self, x, edge_index):
        ...         source, target = edge_index
        ...         return (
        ...             torch.zeros_like(x).index_add(0, target, x[source])
        ...             @ self.linear.weight.T
        ...             + self.linear.bias
        ...         )
        >>> class TestSum(LayerContract):
        ...     out_channels = 2
        ...     unsupported = {"test_edges_as_csr": "takes edge_index only"}
        ...
        ...     def layer(self, **options):
        ...         return Sum(self.in_channels, 2, **options)
        >>> suite = TestSum()
        >>> suite.test_nodes_may_be_renumbered()
        >>> suite.test_gradients()
        >>> try:
        ...     suite.test_names_negative_edges()
        ... except AssertionError:
        ...     print("accepts what is wrong")
        accepts what is wrong
    """
