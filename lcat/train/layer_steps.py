"""A model as a chain of layers and what it does between them, for inference one layer after the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, get_args

from torch import Tensor, nn
from torch_geometric.nn import conv as pyg_conv
from torch_geometric.nn import norm as pyg_norm
from torch_geometric.nn.models.basic_gnn import BasicGNN

from lcat.nn import NeighborhoodStatistic
from lcat.nn.neighborhood_statistic import StatisticInputs

__all__ = ["LayerStep", "head_of", "keeps_all_layers", "layerwise_steps", "source_statistic", "steps_of"]

# Layers of PyG whose output at a node depends on the node, its in-edges and their sources, and on nothing else.
_ONE_HOP = (
    pyg_conv.GATConv,
    pyg_conv.GATv2Conv,
    pyg_conv.SAGEConv,
    pyg_conv.GINConv,
    pyg_conv.GINEConv,
    pyg_conv.GraphConv,
    pyg_conv.TransformerConv,
)
# Where forward is that of BasicGNN, or computes the same.
_LIBRARIES = ("torch_geometric", "lcat")
_BATCH_NORMS = (nn.BatchNorm1d, pyg_norm.BatchNorm)


@dataclass(frozen=True)
class LayerStep:
    """One layer of a model, for :func:`layerwise_inference`.

    Args:
        conv: the layer.
        then: what the model does with the layer's rows, row by row: ``then(out, x)`` with the layer's output and
            its input for the same rows.
        on_all: what it does with all rows at once, after ``then``; they must fit into memory.
        before: what it does with the layer's input before the layer, row by row; ``then`` gets the input as it was.
        before_on_all: the same with all rows at once, instead of ``before``.

    A model whose outputs are more than the rows of its last step has a method ``layer_head(layers)`` too: it gets the
    rows of all steps, and makes outputs of them, row by row.

    Raises:
        TypeError: if ``conv`` is no module, or one of the others no function.
        ValueError: with both ``before`` and ``before_on_all``.

    Example:
        >>> from lcat.nn import GATConv
        >>> from lcat.train import LayerStep
        >>> step = LayerStep(GATConv(8, 8), then=lambda out, x: out.relu() + x)
    """

    conv: nn.Module
    then: Callable[[Tensor, Tensor], Tensor] = lambda out, _: out
    on_all: Callable[[Tensor], Tensor] | None = None
    before: Callable[[Tensor], Tensor] | None = None
    before_on_all: Callable[[Tensor], Tensor] | None = None

    def __post_init__(self) -> None:
        if self.before is not None and self.before_on_all is not None:
            raise ValueError("expected 'before' or 'before_on_all' of a LayerStep, got both: one does it all")
        if not isinstance(self.conv, nn.Module):
            raise TypeError(f"expected a layer, a torch.nn.Module, as 'conv' of a LayerStep, got {self.conv!r}")
        for name in ("then", "on_all", "before", "before_on_all"):
            value = getattr(self, name)
            if (value is not None or name == "then") and not callable(value):
                raise TypeError(f"expected a function as {name!r} of a LayerStep, got {value!r}")


def steps_of(model: nn.Module) -> list[LayerStep]:
    """The layers of a model, in the order in which they are computed.

    Raises:
        TypeError: for a model that is no BasicGNN, or one with a forward of its own, and has no method
            ``layer_steps``.
    """
    steps = getattr(model, "layer_steps", None)
    if callable(steps):
        return _checked_steps(model, steps())
    if not isinstance(model, BasicGNN):
        raise TypeError(
            f"layerwise_inference takes a BasicGNN, as the models of lcat.nn.models are (but LCATGCN2 and LCATv2GCN2, "
            f"whose layers see the first features too), or a model with a method layer_steps() that returns "
            f"LayerSteps; got {type(model).__name__}"
        )
    own = type(model).forward.__module__
    if own.partition(".")[0] not in _LIBRARIES:
        raise TypeError(
            f"{type(model).__name__} has a forward of its own (in {own}), so its layers alone do not say what it "
            "computes: give it a method layer_steps() that returns LayerSteps"
        )
    return [_step_of(model, number) for number in range(model.num_layers)]


def _checked_steps(model: nn.Module, steps: Any) -> list[LayerStep]:
    """What ``layer_steps()`` of a user's model returned."""
    if not isinstance(steps, (list, tuple)) or not steps:
        got = "an empty list" if isinstance(steps, (list, tuple)) else type(steps).__name__
        raise TypeError(f"'layer_steps' of {type(model).__name__} returned {got}; expected a list of LayerSteps")
    for number, step in enumerate(steps):
        if not isinstance(step, LayerStep) or not isinstance(step.conv, nn.Module):
            got = f"a LayerStep of {type(step.conv).__name__}" if isinstance(step, LayerStep) else type(step).__name__
            raise TypeError(
                f"'layer_steps' of {type(model).__name__} returned {got} at position {number}; expected a LayerStep of "
                f"a torch.nn.Module"
            )
    return list(steps)


def layerwise_steps(model: nn.Module) -> list[LayerStep]:
    """The same, after it was checked how far each of the layers looks.

    Raises:
        TypeError, ValueError: as :func:`steps_of` and :func:`source_statistic`.
    """
    steps = steps_of(model)
    for step in steps:
        source_statistic(step.conv)
    return steps


def _step_of(model: BasicGNN, number: int) -> LayerStep:
    conv, norm, act = model.convs[number], model.norms[number], model.act
    if number == model.num_layers - 1 and model.jk_mode is None:
        return LayerStep(conv)
    before = act if act is not None and model.act_first else nn.Identity()
    after = act if act is not None and not model.act_first else nn.Identity()
    if _is_row_wise(norm):
        return LayerStep(conv, lambda out, _: after(norm(before(out))))
    return LayerStep(conv, lambda out, _: before(out), lambda out: after(norm(out)))


def source_statistic(conv: nn.Module) -> NeighborhoodStatistic | None:
    """The layer, if a block of rows needs a quantity of its sources that takes *their* in-edges; ``None`` if not.

    Raises:
        TypeError: for a layer of which it is not known how far it looks.
        ValueError: for one that keeps the normalization of another graph, or normalizes attention.
    """
    if getattr(conv, "cached", False):
        raise ValueError("a layer with cached=True keeps the normalization of one graph: make it with cached=False")
    if getattr(conv, "symmetric_norm", False):
        raise ValueError(
            f"{type(conv).__name__} with symmetric_norm=True cannot be computed block by block: it needs the degrees "
            f"of sources, which a block does not have; call the model on the whole graph"
        )
    if isinstance(conv, _ONE_HOP):
        return None
    if hasattr(conv, "statistic_depends_on"):
        inputs = conv.statistic_depends_on
        if inputs is None:
            return None
        known = get_args(StatisticInputs)
        if inputs not in known:
            raise ValueError(
                f"'statistic_depends_on' of {type(conv).__name__} is {inputs!r}; it takes None or one of "
                f"{', '.join(map(repr, known))}"
            )
        if isinstance(conv, NeighborhoodStatistic):
            return conv
    one_hop = ", ".join(sorted({layer.__name__ for layer in _ONE_HOP}))
    raise TypeError(
        f"it is not known how far a {type(conv).__module__}.{type(conv).__name__} looks; layerwise_inference knows the "
        f"layers of lcat.nn, of PyG {one_hop}, and your own layers if they declare it (see "
        f"lcat.nn.NeighborhoodStatistic): run the model on the whole graph instead"
    )


def _is_row_wise(norm: nn.Module) -> bool:
    """Whether a norm in evaluation mode treats each row separately."""
    if isinstance(norm, _BATCH_NORMS):
        module = getattr(norm, "module", norm)
        return module.running_mean is not None
    if isinstance(norm, pyg_norm.LayerNorm):
        return bool(norm.mode == "node")
    return isinstance(norm, (nn.Identity, nn.LayerNorm))


def head_of(model: nn.Module) -> Callable[[list[Tensor]], Tensor] | None:
    """What a model does after its last layer, with the rows of all layers; ``None`` for nothing."""
    if not isinstance(model, BasicGNN):
        own: Callable[[list[Tensor]], Tensor] | None = getattr(model, "layer_head", None)
        return own
    jumping, linear = getattr(model, "jk", None), getattr(model, "lin", None)
    if jumping is None and linear is None:
        return None

    def head(layers: list[Tensor]) -> Tensor:
        x = layers[-1] if jumping is None else jumping(layers)
        return x if linear is None else linear(x)

    return head


def keeps_all_layers(model: nn.Module) -> bool:
    """Whether :func:`head_of` the model takes the rows of all layers, and not of the last one alone."""
    name = "jk" if isinstance(model, BasicGNN) else "layer_head"
    return getattr(model, name, None) is not None
