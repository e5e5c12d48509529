"""The registry builds torch's optimizers, and decays matrices and vectors but not lone numbers."""

from __future__ import annotations

import copy
from functools import partial

import pytest
import torch

from lcat.nn import LCATConv
from lcat.train import (
    MinibatchConfig,
    build_optimizer,
    load_optimizer_state,
    optimizer_names,
    optimizers,
    orthogonal_optimizer_names,
    register_optimizer,
)
from lcat.train.optimizers import parameter_groups

SHIPPED = tuple(optimizer_names())  # read before any example of the documentation registers its own


def test_builtin_names_and_classes():
    model = torch.nn.Linear(2, 2)
    kinds = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}
    assert set(kinds) <= set(optimizer_names())
    for name, kind in kinds.items():
        assert type(build_optimizer(name, model, lr=0.1)) is kind
    assert build_optimizer("sgd", model, lr=0.1).defaults["momentum"] == 0.9
    assert build_optimizer("sgd", model, lr=0.1, momentum=0.5).defaults["momentum"] == 0.5


def test_lambdas_take_no_weight_decay():
    layer = LCATConv(4, 2, heads=2)
    groups = parameter_groups(layer, 0.1)
    decay = {id(parameter): group["weight_decay"] for group in groups for parameter in group["params"]}
    for name, parameter in layer.named_parameters():
        assert decay[id(parameter)] == (0.0 if name.startswith("raw_lambda") else 0.1), name
    assert len(decay) == len(list(layer.parameters()))


def test_weight_decay_alone_leaves_lambda_where_it_is():
    layer = LCATConv(4, 2, heads=2)
    optimizer = build_optimizer("sgd", layer, lr=0.1, weight_decay=0.5)
    for parameter in layer.parameters():
        parameter.grad = torch.zeros_like(parameter)
    before = float(layer.lin.weight.norm().detach())
    for _ in range(5):
        optimizer.step()
    assert float(layer.lambda1.detach()) == pytest.approx(0.5)
    assert float(layer.lin.weight.norm().detach()) < 0.8 * before


def test_frozen_parameters_are_left_out():
    model = torch.nn.Linear(2, 2)
    model.bias.requires_grad_(False)
    assert [list(map(id, group["params"])) for group in parameter_groups(model, 0.1)] == [[id(model.weight)]]


def test_own_optimizers(monkeypatch):
    monkeypatch.setattr(optimizers, "_BUILDERS", dict(optimizers._BUILDERS))
    register_optimizer("mine", lambda model, lr, weight_decay: torch.optim.Rprop(model.parameters(), lr=lr))
    assert type(build_optimizer("mine", torch.nn.Linear(1, 1), lr=0.1)) is torch.optim.Rprop
    with pytest.raises(ValueError, match="'mine' exists already"):
        register_optimizer("mine", lambda model, lr, weight_decay: None)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"name": "adamm"}, "adam, adamw, .*sgd.*got 'adamm'"),
        ({"lr": 0.0}, "lr must be positive; got 0.0"),
        ({"lr": float("nan")}, "lr must be positive; got nan"),
        ({"weight_decay": -1.0}, "weight_decay must be 0 or more; got -1.0"),
    ],
)
def test_refusals(arguments, match):
    with pytest.raises(ValueError, match=match):
        build_optimizer(**{"name": "adam", "model": torch.nn.Linear(1, 1), "lr": 0.1, **arguments})


def test_scalar_lr_slows_single_numbers_only():
    from lcat.nn import LCATConv
    from lcat.train.optimizers import scale_scalar_lr

    optimizer = build_optimizer("adam", LCATConv(4, 2), lr=0.01, weight_decay=0.1)
    scale_scalar_lr(optimizer, 0.1)
    rates = {p.numel() <= 1: group["lr"] for group in optimizer.param_groups for p in group["params"]}
    assert rates == {False: 0.01, True: pytest.approx(0.001)}


@pytest.mark.parametrize("make", [torch.optim.AdamW, partial(torch.optim.SGD, momentum=0.9), torch.optim.RMSprop])
def test_states_of_lambdas_without_dimensions_load(make):
    """As they were saved when a lambda had no dimensions: the next step is that of an optimizer that never stopped."""

    def step(layer, optimizer):
        optimizer.zero_grad()
        layer(x, edges).square().sum().backward()
        optimizer.step()

    torch.manual_seed(0)
    x, edges = torch.randn(4, 3), torch.tensor([[0, 1, 2, 3], [1, 2, 3, 0]])
    layer = LCATConv(3, 2)
    optimizer = make(layer.parameters(), lr=0.1)
    step(layer, optimizer)
    twin, state = copy.deepcopy(layer), copy.deepcopy(optimizer.state_dict())
    for number, parameter in enumerate(layer.parameters()):
        if parameter.shape == (1,):
            entries = state["state"][number]
            entries |= {key: value.reshape(()) for key, value in entries.items() if isinstance(value, torch.Tensor)}
    again = make(twin.parameters(), lr=0.1)
    load_optimizer_state(again, state)
    step(layer, optimizer)
    step(twin, again)
    assert all(torch.equal(a, b) for a, b in zip(layer.parameters(), twin.parameters(), strict=True))


@pytest.mark.parametrize(
    ("name", "options", "match"),
    [
        ("adam", {"momentum": 0.9}, "'adam' has no option 'momentum'; expected some of amsgrad, betas"),
        ("sgd", {"momentun": 0.9}, "has no option 'momentun'.*momentum"),
        ("pogo", {"fist": True}, "'pogo' has no option 'fist'"),
    ],
)
def test_options_that_an_optimizer_does_not_have(name, options, match):
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 4), torch.nn.Linear(4, 2))
    with pytest.raises(ValueError, match=match):
        build_optimizer(name, model, lr=0.1, **options)


def test_options_of_every_optimizer_are_known():
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 4), torch.nn.Linear(4, 2))
    for name in orthogonal_optimizer_names():
        build_optimizer(name, copy.deepcopy(model), lr=0.1, orthogonal_lr=0.2, first=True, check="off")
    with pytest.raises(ValueError, match="optimizer must be one of"):
        build_optimizer(torch.optim.Adam, model, lr=0.1)
    with pytest.raises(TypeError, match=r"got generator: pass the model, not its parameters"):
        build_optimizer("adam", model.parameters(), lr=0.1)


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"optimizer_options": ["a"]}, "optimizer_options must be a dictionary"),
        ({"optimizer_options": {"lr": 0.1}}, "without lr and weight_decay; got"),
        ({"autocast": "bf16"}, "autocast must be True or False; got 'bf16'"),
        ({"compile": "yes"}, "compile must be True, False or the name of a backend of torch.compile; got 'yes'"),
        ({"compile": 1}, "compile must be True, False"),
    ],
)
def test_settings_of_another_kind(settings, match):
    with pytest.raises(ValueError, match=match):
        MinibatchConfig(**settings)


@pytest.mark.parametrize(
    ("option", "values", "match"),
    [
        ("betas", (3, "x", None, (0.9,), (0.9, "x"), (0.9, 1.0), torch.ones(2)), r"two numbers in \[0, 1\)"),
        ("eps", ("x", None, -1.0, [1.0], float("nan")), "eps"),
        ("momentum", ("a", None, -1, (0.9,)), "momentum"),
        ("weight_decay", ("a", None, -1, [0.1]), "weight_decay must be"),
        ("orthogonal_lr", ("a", -1.0, [0.1]), "'orthogonal_lr' of the optimizer .* must be 0 or more"),
        ("nesterov", ("a", 3), "nesterov"),
        ("maximize", ("a", 3), "maximize"),
        ("foreach", ("a", 3), "foreach"),
        ("amsgrad", ("a", None), "'amsgrad' of the optimizer .* must be True or False"),
        ("differentiable", (True, "a"), "must be False"),
    ],
)
def test_values_of_options_that_cannot_be_used(option, values, match):
    """All optimizers by name refuse them before they change a weight."""
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 4), torch.nn.Linear(4, 2))
    before, tried = copy.deepcopy(model.state_dict()), 0
    for name in SHIPPED:
        for value in values:
            with pytest.raises(ValueError, match=rf"{match}|has no option") as refused:
                build_optimizer(name, model, lr=0.1, **{option: value})
            assert "/lcat/" in str(refused.traceback[-1].path)  # not torch's own
            tried += "has no option" not in str(refused.value)
    assert tried >= len(values)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_options_that_need_another_device_or_exclude_each_other():
    model = torch.nn.Linear(4, 2)
    with pytest.raises(ValueError, match="'capturable' of the optimizer 'adam' needs a model on an accelerator"):
        build_optimizer("adam", model, lr=0.1, capturable=True)
    with pytest.raises(ValueError, match="'fused' of the optimizer 'sgd' excludes 'foreach'"):
        build_optimizer("sgd", model, lr=0.1, fused=True, foreach=True)


@pytest.mark.parametrize(
    ("name", "builder", "match"),
    [
        (3, torch.optim.RMSprop, "expected the name of the optimizer as 'name', a text such as 'rmsprop', got 3"),
        ("wrong", None, "expected a function .model, lr=..., .* as 'builder', got None"),
        ("wrong", "adam", "expected a function .model, lr=..., .* as 'builder', got 'adam'"),
        (
            "wrong",
            torch.optim.RMSprop,
            "got the class RMSprop, which takes parameters: pass lambda model, .*options: RMS",
        ),
    ],
)
def test_optimizers_that_cannot_be_registered(name, builder, match):
    """A name that is no text broke every later error that lists the names."""
    before = optimizer_names()
    with pytest.raises(TypeError, match=match):
        register_optimizer(name, builder)
    assert optimizer_names() == before


@pytest.mark.parametrize(
    ("state", "got"),
    [(None, "None"), ({}, "an empty dict"), (torch.nn.Linear(1, 1).state_dict(), "the keys 'weight', 'bias'")],
)
def test_what_is_no_state_of_an_optimizer_is_named(state, got):
    optimizer = torch.optim.Adam(torch.nn.Linear(2, 2).parameters())
    with pytest.raises(ValueError, match=f"optimizer.state_dict.. returned.*got {got}"):
        load_optimizer_state(optimizer, state)
    with pytest.raises(TypeError, match=r"expected a torch\.optim\.Optimizer as the optimizer, got dict"):
        load_optimizer_state(optimizer.state_dict(), optimizer)


@pytest.mark.parametrize("cls", [torch.optim.Adam, torch.optim.SGD])
def test_a_state_of_other_shapes_is_refused(cls):
    options = {"lr": 0.1, "momentum": 0.9} if cls is torch.optim.SGD else {"lr": 0.1}
    first, second = torch.nn.Linear(3, 4), torch.nn.Linear(3, 5)
    optimizer = cls(first.parameters(), **options)
    first(torch.ones(2, 3)).sum().backward()
    optimizer.step()
    other = cls(second.parameters(), **options)
    with pytest.raises(ValueError, match=r"of parameter 0 has shape \[4, 3\] in the state, expected \[5, 3\]"):
        load_optimizer_state(other, optimizer.state_dict())
    assert not other.state
    again = cls(torch.nn.Linear(3, 4).parameters(), **options)
    load_optimizer_state(again, optimizer.state_dict())
    assert len(again.state) == 2


def test_a_registered_function_must_return_an_optimizer():
    register_optimizer("returns a class", lambda model, lr, weight_decay: torch.optim.Adam)
    try:
        with pytest.raises(
            TypeError, match="'returns a class' was registered with a function that returned the class Adam"
        ):
            build_optimizer("returns a class", torch.nn.Linear(2, 2), lr=0.1)
    finally:
        optimizers._BUILDERS.pop("returns a class")
