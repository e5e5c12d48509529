"""How a layer under test is declared, made and called; the clauses of the contract are in the other modules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple, NoReturn
from unittest import SkipTest

import torch
from torch import Tensor, nn

from lcat._text import hint
from lcat.testing._contract import Contract

__all__ = ["Example", "LayerTools", "reached"]


class Example(NamedTuple):
    """A small graph.

    Attributes:
        x: ``[N, in_channels]`` features of the nodes.
        edge_index: ``[2, E]`` edges from sources (row 0) to targets (row 1).
    """

    x: Tensor
    edge_index: Tensor


#: eight nodes: a cycle, a self-loop at 3, the edge 1 -> 2 twice; nothing leads to 7 or from it
_EDGES = ((0, 1), (1, 2), (2, 3), (3, 3), (0, 2), (4, 5), (5, 4), (1, 2), (5, 6), (2, 0), (6, 1))
_NUM_NODES = 8


#: what a layer can do, declared by the options that make such a layer
_ABILITIES = ("dropout", "edge_weight", "edge_attr", "pairs", "static")
_DECLARED_OPTIONS = ("options", "without_self_loops", "unsupported", *_ABILITIES)


def reached(edge_index: Tensor, start: int, hops: int) -> set[int]:
    """The nodes that are at most ``hops`` edges behind ``start``, itself included."""
    nodes = {start}
    for _ in range(hops):
        nodes |= {target for source, target in edge_index.t().tolist() if source in nodes}
    return nodes


def _skipping(reason: str) -> Callable[[Any], None]:
    def clause(self: Any) -> None:  # noqa: ARG001
        raise SkipTest(reason)

    clause.__doc__ = f"Declared as not supported: {reason}"
    return clause


class LayerTools(Contract):
    """Declarations of a layer, and the tools of the clauses.

    A declaration that holds options (a dict) says how a layer with that ability is made, ``{}`` where it needs no
    option; None says that the layer does not have the ability.
    """

    in_channels: int = 6
    out_channels: int | None = None
    hops: int = 1
    options: ClassVar[dict[str, Any]] = {}
    without_self_loops: ClassVar[dict[str, Any]] = {}
    dropout: ClassVar[dict[str, Any] | None] = None
    edge_weight: ClassVar[dict[str, Any] | None] = None
    edge_attr: ClassVar[dict[str, Any] | None] = None
    edge_channels: int = 3
    pairs: ClassVar[dict[str, Any] | None] = None
    static: ClassVar[dict[str, Any] | None] = None
    unsupported: ClassVar[dict[str, str]] = {}
    slow: bool = False
    close: float = 1e-9
    close_float32: float = 1e-5
    close_bfloat16: float = 5e-2

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name in _DECLARED_OPTIONS:
            value = cls.__dict__.get(name, {})
            if not isinstance(value, dict) and not (value is None and name in _ABILITIES):
                takes = "a dict of options, {} where none is needed" + (", or None" if name in _ABILITIES else "")
                raise TypeError(
                    f"{name!r} of {cls.__name__} is of type {type(value).__name__}; it takes {takes}, see LayerContract"
                )
        for name, reason in cls.__dict__.get("unsupported", {}).items():
            if name not in cls.clauses():
                raise TypeError(
                    f"'unsupported' of {cls.__name__} names {name!r}, which is no clause of the contract"
                    f"{hint(name, cls.clauses(), show=repr)}; {cls.__name__}.clauses() lists them"
                )
            setattr(cls, name, _skipping(reason))

    def layer(self, **options: Any) -> nn.Module:
        """The layer under test, with ``in_channels`` features; ``options`` come from the declarations."""
        raise NotImplementedError("define how your layer is made: override layer(self, **options)")

    def call(self, layer: nn.Module, x: Any, edge_index: Any, **edge_inputs: Any) -> Tensor:
        """Call a layer; override it where its arguments have other names.

        Args:
            layer: the layer under test.
            x: features of the nodes; a pair (sources, targets) in a bipartite graph.
            edge_index: the edges in any format.
            **edge_inputs: ``edge_weight`` ``[E]`` and ``edge_attr`` ``[E, edge_channels]``, where the layer takes them.
        """
        out: Tensor = layer(x, edge_index, **edge_inputs)
        return out

    def output(self, layer: nn.Module, x: Any, edge_index: Any, **edge_inputs: Any) -> Tensor:
        """What :meth:`call` returns, which must be a tensor of numbers with one row per node."""
        out: Any = self.call(layer, x, edge_index, **edge_inputs)
        assert isinstance(out, Tensor), (
            f"expected a tensor, got {type(out).__name__} from {type(layer).__name__}: where the layer returns more "
            f"than its output, override call(self, layer, x, edge_index, **edge_inputs)"
        )
        shape = list(out.shape)
        assert out.dim() >= 2, f"expected one row per node, a shape [N, F], got {shape} from {type(layer).__name__}"
        assert out.is_floating_point() or out.is_complex(), (
            f"expected floating point numbers, got {out.dtype} from {type(layer).__name__}"
        )
        return out

    def reference(self, layer: nn.Module, x: Tensor, edge_index: Tensor) -> Tensor | None:  # noqa: ARG002
        """What the layer should return, computed in another way from its parameters; None if there is none."""
        return None

    def make(self, dtype: torch.dtype = torch.float64, *, seed: int = 0, **options: Any) -> nn.Module:
        """The layer in evaluation mode, its parameters a function of ``seed``; those that start at zero are drawn."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            layer: Any = self.layer(**{**self.options, **options})
            assert isinstance(layer, nn.Module), (
                f"expected a torch.nn.Module, got {type(layer).__name__} from layer(self, **options): return the layer"
            )
            with torch.no_grad():
                for parameter in layer.parameters():
                    if not parameter.any():
                        parameter.uniform_(-0.5, 0.5)
        made: nn.Module = layer.to(dtype).eval()
        return made

    def with_edge_inputs(self) -> nn.Module:
        """The layer with all edge inputs that it takes."""
        return self.make(**(self.edge_weight or {}), **(self.edge_attr or {}))

    def edge_inputs(self, num_edges: int) -> dict[str, Tensor]:
        """The edge inputs that the layer takes, the same in every call."""
        inputs = {}
        if self.edge_weight is not None:
            inputs["edge_weight"] = self.random(num_edges, seed=3).abs() + 0.5
        if self.edge_attr is not None:
            inputs["edge_attr"] = self.random(num_edges, self.edge_channels, seed=4)
        return inputs

    def random(self, *shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
        """Normal random numbers, the same in every call."""
        return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)

    def example(self, dtype: torch.dtype = torch.float64) -> Example:
        """A graph with a cycle, a self-loop, an edge that occurs twice and an isolated node."""
        return Example(self.random(_NUM_NODES, self.in_channels, dtype=dtype), torch.tensor(_EDGES).t().contiguous())

    def need(self, ability: str) -> dict[str, Any]:
        """The options of a declared ability, or skip the clause."""
        options: dict[str, Any] | None = getattr(self, ability)
        if options is None:
            self.skip(f"the layer declares {ability} = None")
        return options

    def skip(self, reason: str) -> NoReturn:
        """Skip the clause; pytest and unittest show the reason."""
        raise SkipTest(reason)

    def gradients(self, layer: nn.Module, x: Tensor, edge_index: Any, **edge_inputs: Any) -> dict[str, Tensor]:
        """The output and its gradients with respect to ``x`` and the parameters, by name."""
        x = x.detach().clone().requires_grad_()
        out = self.output(layer, x, edge_index, **edge_inputs)
        names, tensors = ["x"], [x]
        for name, parameter in layer.named_parameters():
            names.append(name)
            tensors.append(parameter)
        cotangent = self.random(*out.shape, seed=5, dtype=out.dtype)
        if not out.requires_grad:  # no nodes
            return {"out": out}
        grads = torch.autograd.grad(out, tensors, cotangent, allow_unused=True)
        zeros = [torch.zeros_like(t) if g is None else g for t, g in zip(tensors, grads, strict=True)]
        return {"out": out.detach(), **dict(zip(names, zeros, strict=True))}

    def assert_close(self, actual: Tensor, expected: Tensor, what: str, tolerance: float | None = None) -> None:
        """Assert that two tensors agree to ``tolerance`` (``close``), relative to the largest entry if above one."""
        tolerance = self.close if tolerance is None else tolerance
        assert actual.shape == expected.shape, (
            f"{what}: expected shape {tuple(expected.shape)}, got {tuple(actual.shape)}"
        )
        if expected.numel() == 0:
            return
        scale = max(1.0, float(expected.detach().abs().max()))
        difference = float((actual.detach().double() - expected.detach().double()).abs().max()) / scale
        assert difference <= tolerance, f"{what}: expected a difference of at most {tolerance:g}, got {difference:.3g}"

    def assert_same_answer(self, layer: nn.Module, x: Tensor, edge_index: Any, what: str) -> None:
        """Assert that edges in another form give the output and the gradients of the example's edges."""
        expected = self.gradients(layer, x, self.example().edge_index)
        actual = self.gradients(layer, x, edge_index)
        for name, tensor in expected.items():
            self.assert_close(actual[name], tensor, f"{what}, {'output' if name == 'out' else f'gradient of {name}'}")
