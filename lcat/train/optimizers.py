"""Optimizers by name: a small registry that other parts of the library, and users, can add to."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lcat._numbers import as_float
from lcat._text import hint
from lcat.train._checks import check_callable, check_torch_optimizer, kind_of
from lcat.train.ranges import NOT_NEGATIVE, YES_OR_NO, Range, check_ranges, optional

__all__ = [
    "build_optimizer",
    "load_optimizer_state",
    "optimizer_names",
    "orthogonal_optimizer_names",
    "parameter_groups",
    "register_optimizer",
    "scale_scalar_lr",
]

Builder = Callable[..., Optimizer]

_BUILDERS: dict[str, Builder] = {}
_TAKEN: dict[Builder, Callable[[], set[str]]] = {}  # the names of their options, for those of this file
_ORTHOGONAL: list[Builder] = []  # those of them that keep hidden weights orthonormal


def register_optimizer(name: str, builder: Builder) -> None:
    """Make ``builder(model, lr=..., weight_decay=..., **options)`` known as ``name``.

    Args:
        name: lower-case name, as it is then given to :func:`build_optimizer` and to ``lcat study --optimizer``.
        builder: returns a ``torch.optim.Optimizer`` over the parameters of the model it is given.

    Raises:
        TypeError: if ``name`` is no text, or ``builder`` cannot be called.
        ValueError: if the name is taken.

    Example:
        >>> import torch
        >>> from lcat.train import optimizers
        >>> def build(model, *, lr, weight_decay):
        ...     return torch.optim.RMSprop(
        ...         model.parameters(), lr=lr, weight_decay=weight_decay
        ...     )
        >>> optimizers.register_optimizer("rmsprop", build)
        >>> "rmsprop" in optimizers.optimizer_names()
        True
    """
    if not isinstance(name, str):
        raise TypeError(f"expected the name of the optimizer as 'name', a text such as 'rmsprop', got {name!r}")
    check_callable("builder", builder, "a function (model, lr=..., weight_decay=..., **options) -> optimizer")
    kind: Any = builder
    if isinstance(kind, type) and issubclass(kind, Optimizer):
        raise TypeError(
            f"expected a function (model, lr=..., weight_decay=..., **options) -> optimizer as 'builder', got the "
            f"class {kind.__name__}, which takes parameters: pass lambda model, **options: "
            f"{kind.__name__}(model.parameters(), **options)"
        )
    if name in _BUILDERS:
        raise ValueError(f"an optimizer called {name!r} exists already; choose another name")
    _BUILDERS[name] = builder


def optimizer_names() -> list[str]:
    """The names that :func:`build_optimizer` takes, sorted.

    Example:
        >>> from lcat.train import optimizer_names
        >>> "adam" in optimizer_names(), "pogo" in optimizer_names()
        (True, True)
    """
    return sorted(_BUILDERS)


def orthogonal_optimizer_names() -> list[str]:
    """Those of them that keep hidden weights orthonormal, sorted.

    Example:
        >>> from lcat.train import orthogonal_optimizer_names
        >>> "adam" in orthogonal_optimizer_names(), "pogo" in orthogonal_optimizer_names()
        (False, True)
    """
    return sorted(name for name, builder in _BUILDERS.items() if builder in _ORTHOGONAL)


def build_optimizer(name: str, model: nn.Module, lr: float, weight_decay: float = 0.0, **options: Any) -> Optimizer:
    """An optimizer over the parameters of ``model``, with weight decay where it belongs.

    Args:
        name: one of :func:`optimizer_names`; ``adam``, ``adamw`` and ``sgd`` (momentum 0.9) are always available, and
            those of :mod:`lcat.optim` with orthonormal hidden weights: ``pogo``, ``landing``, ``landing-pc``,
            ``rsgd`` and ``radam`` (Riemannian SGD and Adam), ``rsdm``, ``slpg``. Theirs is also ``orthogonal_lr``,
            by default ten times ``lr``.
        model: any module.
        lr: learning rate, positive.
        weight_decay: L2 penalty, decoupled for ``adamw``; single numbers, such as the lambdas of L-CAT, have none.
        **options: further arguments of the optimizer.

    Raises:
        TypeError: for a model that is none.
        ValueError: for an unknown name, an option that the optimizer does not have, a value out of its range, a
            learning rate that is not positive or a negative weight decay. The model is unchanged then.

    Example:
        >>> from lcat.nn.models import LCAT
        >>> from lcat.train import build_optimizer
        >>> model = LCAT(8, 16, num_layers=2, out_channels=3)
        >>> optimizer = build_optimizer("adamw", model, lr=0.01, weight_decay=5e-4)
        >>> [group["weight_decay"] for group in optimizer.param_groups]
        [0.0005, 0.0]
    """
    if not isinstance(name, str) or name not in _BUILDERS:
        way_out = hint(name, optimizer_names()) if isinstance(name, str) else ": see register_optimizer for your own"
        raise ValueError(f"optimizer must be one of {', '.join(optimizer_names())}; got {name!r}{way_out}")
    check_ranges({"lr": lr, "weight_decay": weight_decay})
    if not isinstance(model, nn.Module):
        raise TypeError(f"expected a torch.nn.Module, got {kind_of(model)}: pass the model, not its parameters")
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ValueError(f"{type(model).__name__} has no parameter that requires a gradient: there is nothing to train")
    _check_options(name, options, model)
    built = _BUILDERS[name](model, lr=lr, weight_decay=weight_decay, **options)
    if not isinstance(built, Optimizer):
        raise TypeError(f"the optimizer {name!r} was registered with a function that returned {kind_of(built)}")
    return built


def _are_betas(value: Any) -> bool:
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        return False
    return all((number := as_float(beta)) is not None and 0 <= number < 1 for beta in value)


#: what optimizers of torch keep in the shape of the parameter
_OF_A_PARAMETER = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq", "momentum_buffer")
#: options of torch's optimizers, which meet some wrong values only deep in a step
_TORCH_RANGES: dict[str, Range] = {
    "betas": Range(_are_betas, "two numbers in [0, 1)"),
    "eps": NOT_NEGATIVE,
    "momentum": NOT_NEGATIVE,
    "dampening": Range(lambda value: as_float(value) is not None, "a number"),
    "amsgrad": YES_OR_NO,
    "nesterov": YES_OR_NO,
    "maximize": YES_OR_NO,
    "capturable": YES_OR_NO,
    "foreach": optional(YES_OR_NO),
    "fused": optional(YES_OR_NO),
    "decoupled_weight_decay": YES_OR_NO,
    "differentiable": Range(lambda value: value is False, "False, because steps of a training are not differentiated"),
}


def _check_options(name: str, options: dict[str, Any], model: nn.Module) -> None:
    """Refuse options that the optimizer does not know, where it is known which these are, and values out of range."""
    builder = _BUILDERS[name]
    if not options or builder not in _TAKEN:
        return
    known = sorted(_TAKEN[builder]())
    for option in options:
        if option not in known:
            raise ValueError(
                f"the optimizer {name!r} has no option {option!r}; expected some of {', '.join(known)}"
                f"{hint(option, known)}"
            )

    def error(option: str, message: str) -> ValueError:
        return ValueError(f"the option {option!r} of the optimizer {name!r} {message}")

    if builder in _ORTHOGONAL:  # the optimizers of lcat.optim check theirs
        check_ranges(options, {"orthogonal_lr": optional(NOT_NEGATIVE)}, error)
        return
    check_ranges(options, _TORCH_RANGES, error)
    if options.get("capturable") and any(parameter.device.type == "cpu" for parameter in model.parameters()):
        raise error("capturable", "needs a model on an accelerator; got parameters on the CPU: leave it out")
    if options.get("foreach") and options.get("fused"):
        raise error("fused", "excludes 'foreach'; got True for both: set one of them")


def _arguments_of(cls: Callable[..., Optimizer]) -> set[str]:
    return set(inspect.signature(cls).parameters) - {"params", "lr", "weight_decay"}


# Those of L-CAT are lone numbers also where each head has its own.
_SCALARS = ("raw_lambda1", "raw_lambda2")


def _is_lone(name: str, parameter: Tensor) -> bool:
    """Whether a parameter is one number, or one for each head."""
    return name.endswith(_SCALARS) or (not nn.parameter.is_lazy(parameter) and parameter.numel() <= 1)


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict]:
    """Parameter groups in which single numbers take no weight decay.

    Decay pulls a weight towards zero, which is a mild prior for a matrix or a vector. For a lone number such as
    the one behind an L-CAT layer's lambda, zero is just one end of the range (lambda near 0, the GCN end), and
    decay would push every layer there whatever the data say. So parameters with one element are left alone, and so are
    the lambdas of single heads.

    Returns:
        One or two groups, in the order of ``model.parameters()`` within each; parameters without
        ``requires_grad`` are left out.
    """
    learned = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    decayed = [parameter for name, parameter in learned if not _is_lone(name, parameter)]
    scalars = [parameter for name, parameter in learned if _is_lone(name, parameter)]
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": scalars, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


def load_optimizer_state(optimizer: Optimizer, state: dict[str, Any]) -> None:
    """``optimizer.load_state_dict(state)``, also where lambdas had no dimensions when ``state`` was saved.

    They have shape ``[1]`` now, and torch keeps the shape of momenta as it was saved.

    Args:
        optimizer: any optimizer of torch or :mod:`lcat.optim`.
        state: its ``state_dict``, of now or of before.

    Raises:
        TypeError: ``optimizer`` is none.
        ValueError: ``state`` is no state of an optimizer, or that of other parameters.

    Example:
        >>> import torch
        >>> from lcat.train import load_optimizer_state
        >>> optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))])
        >>> load_optimizer_state(optimizer, optimizer.state_dict())
    """
    check_torch_optimizer(optimizer, "load_optimizer_state(optimizer, state)")
    if not isinstance(state, Mapping) or not {"state", "param_groups"} <= set(state):
        keys = ", ".join(map(repr, list(state)[:5])) if isinstance(state, Mapping) else ""
        got = f"the keys {keys}" if keys else "an empty dict" if state == {} else kind_of(state)
        raise ValueError(
            f"expected what optimizer.state_dict() returned, with 'state' and 'param_groups', got {got}: "
            "the weights of a model are loaded with model.load_state_dict(state)"
        )
    _check_shapes(optimizer, state)
    optimizer.load_state_dict(state)
    for parameter, values in optimizer.state.items():
        for name, value in values.items():
            is_momentum = isinstance(value, Tensor) and name != "step"
            if is_momentum and value.dim() == 0 and parameter.shape == (1,):
                values[name] = value.reshape(1)


def _check_shapes(optimizer: Optimizer, state: Mapping[str, Any]) -> None:
    """Refuse momentum of parameters of other shapes, which torch loads without a word.

    The optimizers of :mod:`lcat.optim` check it themselves; those keep other shapes, too.
    """
    from lcat.optim import OrthogonalOptimizer

    if isinstance(optimizer, OrthogonalOptimizer):
        return
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    keys = [key for group in state["param_groups"] for key in group.get("params", ())]
    for number, (parameter, key) in enumerate(zip(parameters, keys, strict=False)):  # torch refuses other numbers
        for name in _OF_A_PARAMETER:
            value = state["state"].get(key, {}).get(name)
            if isinstance(value, Tensor) and value.shape != parameter.shape and value.numel() + parameter.numel() != 2:
                raise ValueError(
                    f"{name!r} of parameter {number} has shape {list(value.shape)} in the state, expected "
                    f"{list(parameter.shape)}: it is the state of another model"
                )


def scale_scalar_lr(optimizer: Optimizer, factor: float, model: nn.Module | None = None) -> None:
    """Multiply the learning rate of the groups of single numbers (see :func:`parameter_groups`) by ``factor``.

    The lambdas of L-CAT decide what kind of layer the weights are trained for, and in the published parametrization
    seven steps of 0.01 take one from 0.5 to 0.3: at the weights' own rate they can settle before any attention is
    learned, and a small lambda1 then keeps it from being learned. To be called before a schedule is built.

    Args:
        optimizer: any optimizer; groups with a parameter of two or more elements are left alone.
        factor: positive.
        model: whose lambdas of single heads, which have several elements, count as single numbers, too.
    """
    lone = set() if model is None else {id(p) for name, p in model.named_parameters() if _is_lone(name, p)}
    for group in optimizer.param_groups:
        if all(parameter.numel() <= 1 or id(parameter) in lone for parameter in group["params"]):
            group["lr"] = group["lr"] * factor


def _torch_builder(cls: type[Optimizer], **defaults: float) -> Builder:
    def build(model: nn.Module, *, lr: float, weight_decay: float, **options: Any) -> Optimizer:
        return cls(parameter_groups(model, weight_decay), lr=lr, **{**defaults, **options})  # type: ignore[call-arg]

    _TAKEN[build] = lambda: _arguments_of(cls)
    return build


def _orthogonal_builder(class_name: str, **defaults: Any) -> Builder:
    """An optimizer of :mod:`lcat.optim`: orthonormal hidden weights, AdamW for everything else.

    ``lr`` and ``weight_decay`` are those of the AdamW part, so that one grid serves all optimizers of a study; the
    orthogonal part takes ``orthogonal_lr`` (default ``10 * lr``). Which weights are constrained is up to
    :func:`lcat.optim.orthogonal_groups`, whose ``include``, ``exclude``, ``heads``, ``first``, ``last`` and
    ``orthogonalize`` are options here; a model without hidden layers has its first layer constrained unless ``first``
    or ``include`` says otherwise. The chosen weights are made orthonormal in place.
    """

    def build(
        model: nn.Module, *, lr: float, weight_decay: float, orthogonal_lr: float | None = None, **options: Any
    ) -> Optimizer:
        from lcat import optim

        group_options = {name: options.pop(name) for name in _GROUP_OPTIONS if name in options}
        group_options |= {"lr": lr, "weight_decay": weight_decay}
        cls: Callable[..., Optimizer] = getattr(optim, class_name)
        rate = 10 * lr if orthogonal_lr is None else orthogonal_lr
        cls([{"params": []}], lr=rate, **{**defaults, **options})  # refuses wrong options before weights change
        try:
            groups = optim.orthogonal_groups(model, **group_options)
        except optim.NoWeightToConstrain:
            if {"first", "include"} & set(group_options):
                raise
            groups = optim.orthogonal_groups(model, first=True, **group_options)
        return cls(_scalars_apart(groups), lr=rate, **{**defaults, **options})

    def taken() -> set[str]:
        from lcat import optim

        return {"orthogonal_lr", *_GROUP_OPTIONS} | _arguments_of(getattr(optim, class_name))

    _TAKEN[build] = taken
    _ORTHOGONAL.append(build)
    return build


_GROUP_OPTIONS = ("include", "exclude", "heads", "first", "last", "orthogonalize")


def _scalars_apart(groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The Euclidean group split as in :func:`parameter_groups`: lone numbers take no weight decay."""
    result = []
    for group in groups:
        if group["orthogonal"]:
            result.append(group)
            continue
        many = [(name, p) for name, p in group["params"] if not _is_lone(name, p)]
        lone = [(name, p) for name, p in group["params"] if _is_lone(name, p)]
        result += [{**group, "params": many}] if many else []
        result += [{**group, "params": lone, "weight_decay": 0.0}] if lone else []
    return result


def _builtin() -> Iterator[tuple[str, Builder]]:
    yield "adam", _torch_builder(torch.optim.Adam)
    yield "adamw", _torch_builder(torch.optim.AdamW)
    yield "sgd", _torch_builder(torch.optim.SGD, momentum=0.9)
    yield "pogo", _orthogonal_builder("POGO", base="vadam")
    yield "landing", _orthogonal_builder("Landing", base="vadam")
    yield "landing-pc", _orthogonal_builder("LandingPC")
    yield "rsgd", _orthogonal_builder("RiemannianSGD", momentum=0.9)
    yield "radam", _orthogonal_builder("RiemannianAdam")
    yield "rsdm", _orthogonal_builder("RSDM", base="vadam")
    yield "slpg", _orthogonal_builder("SLPG", base="vadam")


for _name, _builder in _builtin():
    register_optimizer(_name, _builder)
