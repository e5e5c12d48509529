"""What makes an L-CAT of a GAT, in either version: two scalars, averages, and values of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, get_args

import torch
from torch import Tensor
from torch.nn import Module, Parameter

from lcat.nn import _checks
from lcat.nn._attention import AttentionConv
from lcat.nn._inputs import Nodes
from lcat.nn._interpolation import Interpolation, NeighborAggregation
from lcat.nn._lambda import RAW_SHAPE, Parametrization, Scalar, ScalarName, check_parametrization, whole
from lcat.nn.neighborhood_statistic import StatisticInputs

_WITHOUT_SCALARS = (
    "The state_dict has no lambdas: is it that of a GAT? To start from it, make the layer or model with "
    "lambda1_init=0.999, lambda2_init=0.003 and load with strict=False; with lambda1=1.0, lambda2=0.0 it is that GAT."
)

#: where the metadata of a state_dict keep the parametrization of a layer
_MARK = "lambda_parametrization"


def missing_scalars(module: Module, state_dict: Mapping[str, Any], error: RuntimeError) -> RuntimeError:
    """The error of loading a checkpoint; one without lambdas, such as that of a GAT, with how to start from it."""
    missing = [name for name in module.state_dict() if name not in state_dict]
    if not any(name.endswith(("raw_lambda1", "raw_lambda2")) for name in missing):
        return error
    return RuntimeError(f"{error}\n\t{_WITHOUT_SCALARS}")


class _ScalarOfLayers:
    """Stands in a model where a layer has a scalar: to assign it would set an attribute that nothing reads."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, model: Any, owner: type | None = None) -> Any:
        if model is None:
            return self
        raise AttributeError(self._message(model))

    def __set__(self, model: Any, value: Any) -> None:
        raise AttributeError(self._message(model))

    def _message(self, model: Any) -> str:
        return (
            f"{type(model).__name__} has no '{self._name}', each of its layers has one: write "
            f"lcat.nn.set_lambdas(model, {self._name}=...) for all layers, layer.{self._name} = ... for one, and "
            f"lcat.nn.lambdas(model) to read them"
        )


class ScalarsOfLayers:
    """Stands in the bases of models whose layers have scalars."""

    lambda1 = _ScalarOfLayers()
    lambda2 = _ScalarOfLayers()


class LCATMixin(AttentionConv):
    """Stands before GATConv or GATv2Conv in the bases of a layer; its constructor calls :meth:`_interpolate` last.

    The steps of a call, with the averages, are those of :meth:`AttentionConv._forward`.
    """

    def _interpolate(
        self,
        *,
        lambda1: float | None,
        lambda2: float | None,
        share_values: bool,
        value_bias: bool,
        parametrization: Parametrization,
        lambda1_init: float,
        lambda2_init: float,
        neighbor_aggr: NeighborAggregation,
        cache_neighbor_sum: bool,
        per_head: bool,
    ) -> None:
        """Make :attr:`interpolation` and its parameters, and reset them."""
        known = get_args(NeighborAggregation)
        if neighbor_aggr not in known:
            raise ValueError(
                f"'neighbor_aggr' of {type(self).__name__} is {neighbor_aggr!r}; it takes "
                f"{' or '.join(map(repr, known))}"
            )
        check_parametrization(parametrization)
        share_values = _checks.read_flag(type(self).__name__, "share_values", share_values)
        cache_neighbor_sum = _checks.read_flag(type(self).__name__, "cache_neighbor_sum", cache_neighbor_sum)
        self.interpolation = Interpolation(
            lambda1=Scalar("lambda1", fixed=lambda1, initial=lambda1_init, parametrization=parametrization),
            lambda2=Scalar("lambda2", fixed=lambda2, initial=lambda2_init, parametrization=parametrization),
            share_values=share_values,
            neighbor_aggr=neighbor_aggr,
            cache_neighbor_sum=cache_neighbor_sum,
            per_head=_checks.read_flag(type(self).__name__, "lambdas_per_head", per_head),
        )
        self.lin_value = None if share_values else self._linear(0, bias=value_bias)
        for scalar in (self.interpolation.lambda1, self.interpolation.lambda2):
            raw = Parameter(torch.empty(self._raw_shape())) if scalar.fixed is None else None
            self.register_parameter(f"raw_{scalar.name}", raw)
        self._reset_interpolation(self.interpolation)

    def _raw_shape(self) -> tuple[int, ...]:
        """The shape of a raw parameter."""
        interpolation = self.interpolation
        return (self.heads,) if interpolation is not None and interpolation.per_head else RAW_SHAPE

    def reset_parameters(self) -> None:
        """Draw all parameters anew; learned scalars start again where they started."""
        super().reset_parameters()
        if self.interpolation is not None:  # not yet, when the constructor of the GAT layer resets its own
            self._reset_interpolation(self.interpolation)

    def _reset_interpolation(self, interpolation: Interpolation) -> None:
        if self.lin_value is not None:
            self.lin_value.reset_parameters()
        for scalar in (interpolation.lambda1, interpolation.lambda2):
            if scalar.fixed is None:
                raw: Parameter | None = getattr(self, f"raw_{scalar.name}")
                if raw is None:
                    scalar.value(raw)  # says what is missing
                else:
                    torch.nn.init.constant_(raw, scalar.initial_raw())

    def _changed_since_made(self) -> str | None:
        """The two raw parameters, and what the GAT layer finds."""
        for name in ("raw_lambda1", "raw_lambda2"):
            raw: Tensor | None = getattr(self, name)
            shape = self._raw_shape()
            if raw is not None and (raw.numel() != shape[0] or not raw.is_floating_point()):
                return (
                    f"'{name}' of {type(self).__name__} has shape {list(raw.shape)} and dtype {raw.dtype}; it takes "
                    f"{list(shape)} of a floating point type"
                )
        return super()._changed_since_made()

    @property
    def lambda1(self) -> Tensor:
        """Strength of the score, a 0-dimensional tensor in [0, 1]. 0 is a mean over in-edges, 1 is attention.

        With ``lambdas_per_head`` a learned one has shape ``[heads]``. Takes what the constructor takes:
        ``conv.lambda1 = 0.3`` fixes it, and it is no parameter from then on; ``conv.lambda1 = None`` learns it, from
        its value on (of a sigmoid, 0 and 1 are moved inwards, to 0.003 and 0.999).

        It is computed, and no parameter. To freeze it, use ``conv.raw_lambda1.requires_grad_(False)`` or
        :func:`lcat.nn.freeze_lambdas`.
        """
        return self._read_scalar("lambda1")

    @lambda1.setter
    def lambda1(self, value: float | Tensor | None) -> None:
        self._set_scalar("lambda1", value)

    @property
    def lambda2(self) -> Tensor:
        """Strength of the averaging, a 0-dimensional tensor in [0, 1]. 0 scores as GAT, 1 scores as CAT.

        Can be assigned as :attr:`lambda1`.
        """
        return self._read_scalar("lambda2")

    @lambda2.setter
    def lambda2(self, value: float | Tensor | None) -> None:
        self._set_scalar("lambda2", value)

    def _read_scalar(self, name: ScalarName) -> Tensor:
        scalar: Scalar = getattr(self.interpolation, name)
        raw: Tensor | None = getattr(self, f"raw_{name}")
        value = scalar.value(None if raw is None else whole(raw, name))
        if isinstance(value, Tensor):
            return value
        weight = self._attention_weight()
        device = "cpu" if weight.is_meta else weight.device
        return torch.tensor(value, dtype=torch.promote_types(weight.dtype, torch.float32), device=device)

    def own_raw(self, name: ScalarName) -> Parameter | None:
        """The parameter of a learned scalar, to be changed; ``None`` for a fixed one.

        Raises:
            ValueError: it is computed from another parameter, so what is written into it would be lost.
        """
        raw: Parameter | None = getattr(self, f"raw_{name}")
        if raw is None or self._parameters.get(f"raw_{name}") is raw:
            return raw
        raise ValueError(
            f"'raw_{name}' of {type(self).__name__} is computed from another parameter (pruned or parametrized): undo "
            f"that first, with torch.nn.utils.prune.remove or torch.nn.utils.parametrize.remove_parametrizations"
        )

    def _set_scalar(self, name: ScalarName, value: Any) -> None:
        """Fix one of the two scalars, or make it learned; the other scalar and all weights stay as they are."""
        assert self.interpolation is not None
        scalar: Scalar = getattr(self.interpolation, name)
        raw = self.own_raw(name)
        if value is not None:
            scalar, raw = replace(scalar, fixed=value), None
        elif raw is not None:
            raw.requires_grad_()
        else:
            weight = self._attention_weight()
            # It may be missing because somebody has set it to None.
            first = scalar.initial_raw() if scalar.fixed is None else scalar.raw_near(scalar.fixed)
            with torch.inference_mode(False):  # a parameter that is made in inference mode never gets a gradient
                raw = Parameter(torch.full(self._raw_shape(), first, dtype=weight.dtype, device=weight.device))
            scalar = replace(scalar, fixed=None)
        setattr(self.interpolation, name, scalar)
        self.register_parameter(f"raw_{name}", raw)

    def _smoothing(self) -> Tensor | float:
        return self._own_interpolation().lambda2.value(self.raw_lambda2)

    def _strength(self) -> Tensor | float:
        return self._own_interpolation().lambda1.value(self.raw_lambda1)

    def _own_interpolation(self) -> Interpolation:
        interpolation = self.interpolation
        if interpolation is None:  # the layer would be a GAT, and keep its lambdas
            raise ValueError(
                f"'interpolation' of {type(self).__name__} is None; expected what its constructor has made. For a GAT, "
                f"set lambda1 = 1.0 and lambda2 = 0.0"
            )
        return interpolation

    def _scores_values(self, nodes: Nodes, values: tuple[Any, Any]) -> bool:
        """Never: scores see averages, and lambda1."""
        del nodes, values
        return False

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """As in torch; ``lambda1`` and ``lambda2`` are values that are computed, and no parameters."""
        if name in ("lambda1", "lambda2"):
            raise TypeError(
                f"'{name}' is of type {type(param).__name__}; it takes None (learned) or a float in [0, 1]. The "
                f"parameter of a learned one is 'raw_{name}'"
            )
        super().register_parameter(name, param)

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """As in torch; the error of a checkpoint of a GAT says how to start from it."""
        try:
            return super().load_state_dict(state_dict, strict, assign)
        except RuntimeError as error:
            raise missing_scalars(self, state_dict, error) from None

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        """As in torch; notes in the metadata how raw scalars are read, so that the keys stay as they were."""
        super()._save_to_state_dict(destination, prefix, keep_vars)
        metadata = getattr(destination, "_metadata", None)
        if metadata is not None and self.interpolation is not None:
            metadata.setdefault(prefix[:-1], {})[_MARK] = self.interpolation.lambda1.parametrization

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: Mapping[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """Reads raw scalars without dimensions, too, as older checkpoints and the published code have them.

        Those of a layer with another parametrization are refused: the same numbers are other values there. A plain dict
        of tensors does not say which one it has.
        """
        saved = local_metadata.get(_MARK)
        if saved is not None and self.interpolation is not None:
            problem = self._unlike(self.interpolation, saved, state_dict, prefix)
            if problem is not None:
                error_msgs.append(problem)
                return
        for name in (f"{prefix}raw_lambda1", f"{prefix}raw_lambda2"):
            raw = state_dict.get(name)
            # So a checkpoint with one scalar for a layer begins one with a scalar for each head.
            if isinstance(raw, Tensor) and raw.numel() == 1:
                state_dict[name] = raw.detach().reshape(RAW_SHAPE).expand(self._raw_shape()).clone()
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )

    def _unlike(
        self, interpolation: Interpolation, saved: str, state_dict: Mapping[str, Any], prefix: str
    ) -> str | None:
        """What is wrong with raw scalars of the parametrization ``saved``; those of a fixed scalar are not read."""
        own = interpolation.lambda1.parametrization
        names = [f"raw_{scalar.name}" for scalar in (interpolation.lambda1, interpolation.lambda2)]
        read = [f"{prefix}{name}" for name in names if getattr(self, name) is not None and prefix + name in state_dict]
        if saved == own or not read:
            return None
        return (
            f"{' and '.join(map(repr, read))}: saved with parametrization={saved!r}, but this {type(self).__name__} "
            f"has parametrization={own!r}, where the same numbers are other lambdas. Make the layer or model "
            f"with parametrization={saved!r}; or leave these entries out, load with strict=False and set the values "
            f"with lcat.nn.set_lambdas"
        )

    @property
    def statistic_depends_on(self) -> StatisticInputs | None:
        """``"features"``, as scores see averages of the sources' neighborhoods; ``None`` if lambda2 is fixed at 0."""
        assert self.interpolation is not None
        return None if self.interpolation.lambda2.fixed == 0.0 else "features"

    def neighborhood_statistic(
        self, x: Tensor, edge_index: Any, edge_attr: Tensor | None = None, edge_weight: Tensor | None = None
    ) -> Tensor | None:
        """The averages of the neighborhoods that the scores see; see :class:`lcat.nn.NeighborhoodStatistic`.

        Args:
            x: ``[N, in_channels]`` or ``[B, N, in_channels]``.
            edge_index: the edges in any format.
            edge_attr: checked, and not used.
            edge_weight: checked, and not used: averages do not depend on it.

        Returns:
            ``[N, ...]``, for ``forward(..., statistic=)``; its other dimensions are the layer's own business. ``None``
            if lambda2 is fixed at 0.
        """
        if None in self._maps():
            raise ValueError(self._changed_since_made())
        lambda2 = self._smoothing()
        if isinstance(lambda2, float) and lambda2 == 0.0:
            return None
        nodes = self._read_nodes(x, None, edge_index)
        edges = self._read_edges(
            edge_index, nodes, edge_attr=edge_attr, edge_weight=edge_weight, size=None, messages=False
        )
        if not nodes.one_set:
            return None  # sources are not averaged
        if self._averages_features(nodes):
            return self._average_of_features(nodes, edges, lambda2)
        projected = self._project(nodes) if self._scores_projected(nodes) else None  # as forward does, to the last bit
        return self._average_of_pair(self._score_inputs(nodes, projected), nodes, edges, lambda2)

    def __repr__(self) -> str:
        if self.interpolation is None:
            return super().__repr__()
        return f"{super().__repr__()[:-1]}, {self._describe_scalars(self.interpolation)})"

    def _describe_scalars(self, interpolation: Interpolation) -> str:
        return ", ".join(
            f"{scalar.name}={scalar.describe(getattr(self, f'raw_{scalar.name}'))}"
            for scalar in (interpolation.lambda1, interpolation.lambda2)
        )
