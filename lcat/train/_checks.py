"""What users pass to a training, checked before it is used, so that a mistake is named and not met deep in torch."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer
from torch_geometric.data import HeteroData

from lcat._numbers import as_float, as_int
from lcat._pyg_datasets import one_graph_of
from lcat._text import hint
from lcat.data.splits.splits import Split

__all__ = [
    "call_loss",
    "check_callable",
    "check_graph",
    "check_labels",
    "check_logits",
    "check_loss",
    "check_module",
    "check_objective",
    "check_split",
    "check_torch_optimizer",
    "check_trainable",
    "config_of",
    "explain_small_batch",
    "figures_of",
    "first_mean_loss",
    "kind_of",
    "outside_inference",
    "sum_and_count",
    "warn_of_probabilities",
    "with_whole_labels",
]

Config = TypeVar("Config")


def kind_of(value: Any) -> str:
    """A value in an error: its shape and type if it is a tensor, else its class."""
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if isinstance(value, Tensor):
        return f"a tensor {value.dtype} {list(value.shape)}"
    return "None" if value is None else type(value).__name__


def explain_small_batch(error: ValueError, batch: str) -> None:
    """Raise an error that says what to do, if ``error`` is that of a normalization which got one row.

    Args:
        error: of the loss of a batch.
        batch: what a message calls it.

    Raises:
        ValueError: in the place of ``error``.
    """
    if str(error).startswith(("Expected more than 1 value per channel", "Expected more than 1 spatial element")):
        raise ValueError(
            f"{batch} has one node or graph, and a normalization of the model needs two: choose another batch size or "
            "number of parts, drop_last=True where the loader takes it, or a normalization that needs none (layer)"
        ) from error


def check_module(model: Any, call: str) -> None:
    """Refuse what is no model, or a model without values."""
    if isinstance(model, type):
        raise TypeError(f"expected a model, got the class {model.__name__}: make one first, {model.__name__}(...)")
    if not isinstance(model, nn.Module):
        raise TypeError(f"expected a torch.nn.Module as the model, got {kind_of(model)}: call {call}")
    empty = next((name for name, parameter in model.named_parameters() if parameter.device.type == "meta"), None)
    if empty is not None:
        raise ValueError(
            f"expected a model whose weights have values, got {empty!r} on the device 'meta': call "
            "model.to_empty(device='cpu') and then model.reset_parameters(), or load its weights"
        )


def check_trainable(model: nn.Module) -> None:
    """Refuse a model whose weights autograd cannot use; a training inside of inference mode is named later."""
    if torch.is_inference_mode_enabled():
        return
    lazy = next((name for name, parameter in model.named_parameters() if nn.parameter.is_lazy(parameter)), None)
    if lazy is not None:
        raise ValueError(
            f"expected a model whose weights have shapes, got {lazy!r} without one: run the lazy model once on its "
            "data, or make it with in_channels"
        )
    made = next((name for name, parameter in model.named_parameters() if parameter.is_inference()), None)
    if made is not None:
        raise ValueError(
            f"expected a model that can be trained, got {made!r} made under torch.inference_mode(): make or load the "
            "model outside of it"
        )


def check_torch_optimizer(optimizer: Any, call: str) -> None:
    """Refuse what is no optimizer."""
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"expected a torch.optim.Optimizer as the optimizer, got {kind_of(optimizer)}: call {call}")


def config_of(config: Config | None, expected: type[Config]) -> Config:
    """The settings of a training, the default ones for ``None``."""
    if config is None:
        return expected()
    if isinstance(config, expected):
        return config
    if isinstance(config, Mapping):
        way_out = f"pass {expected.__name__}(**config)"
    elif hasattr(config, "epochs") and not isinstance(config, type):
        way_out = f"pass {expected.__name__}(**vars(config))"
    else:
        way_out = f"pass {expected.__name__}(epochs=..., lr=...)"
    raise TypeError(f"expected a {expected.__name__} as the config, got {kind_of(config)}: {way_out}")


def check_callable(name: str, value: Any, expected: str) -> None:
    """Refuse what cannot be called as ``name``."""
    if not callable(value):
        got = repr(value) if isinstance(value, str) else kind_of(value)
        raise TypeError(f"expected {expected} as {name!r}, got {got}")


def check_graph(data: Any) -> None:
    """Refuse data of several node types, and data without features or edges."""
    if isinstance(data, HeteroData):
        raise TypeError("expected data of one node type, got HeteroData: data.to_homogeneous() makes one type of all")
    way_out = one_graph_of(data)  # its attributes are those of its first graph, or of all joined
    if way_out or isinstance(data, (type, nn.Module)) or not hasattr(data, "x") or not hasattr(data, "edge_index"):
        raise TypeError(
            f"expected a torch_geometric.data.Data with x, edge_index and y as the data, got {kind_of(data)}{way_out}"
        )
    if data.edge_index is None:
        raise ValueError("expected edges in data.edge_index, got None: set data.edge_index, [2, E] node numbers")


def check_labels(y: Any) -> None:
    """Refuse labels that are no tensor."""
    if not isinstance(y, Tensor):
        way_out = "set data.y" if y is None else "use data.y = torch.as_tensor(data.y)"
        raise ValueError(f"expected a tensor of labels, one per node, as data.y, got {kind_of(y)}: {way_out}")


def with_whole_labels(data: Any) -> Any:
    """The data with labels of 64 bits, which the loss needs; integers of fewer bits and bools are converted."""
    check_labels(data.y)
    if data.y.dim() != 1 or data.y.is_floating_point() or data.y.is_complex():
        raise ValueError(
            f"data.y must be a vector of integer labels, one per node; got dtype {data.y.dtype} and shape "
            f"{list(data.y.shape)}: data.y.squeeze(1) for [N, 1], data.y.argmax(1) for one column per class, "
            "data.y.long() for whole numbers"
        )
    if data.y.dtype == torch.long:
        return data
    data = copy.copy(data)
    data.y = data.y.long()
    return data


def outside_inference(data: Any) -> Any:
    """The data with copies of tensors made under ``torch.inference_mode()``, which autograd cannot keep."""
    made = {name: value for name, value in data.to_dict().items() if isinstance(value, Tensor) and value.is_inference()}
    if not made:
        return data
    data = copy.copy(data)
    for name, value in made.items():
        data[name] = value.clone()
    return data


def check_split(split: Any) -> None:
    """Refuse what is no :class:`lcat.data.Split`."""
    if isinstance(split, Split):
        return
    way_out = "Split(*split)" if isinstance(split, (tuple, list)) and len(split) == 3 else "Split(train, val, test)"
    raise TypeError(
        f"expected a lcat.data.Split, got {kind_of(split)}: pass {way_out} with three boolean masks, or use "
        "lcat.data.random_split"
    )


def check_logits(logits: Any, training: bool = False) -> None:
    """Refuse what no loss can be computed from."""
    if not isinstance(logits, Tensor):
        raise TypeError(
            f"expected logits from the model, a tensor [nodes, classes], got {kind_of(logits)}: wrap the model in a "
            "module whose forward returns the logits alone"
        )
    if not logits.is_floating_point():
        raise ValueError(
            f"expected logits of a real floating-point type from the model, got {kind_of(logits)}: return scores of "
            "classes, not numbers of classes; for complex numbers their real part or absolute value"
        )
    if training and not logits.requires_grad:
        if not torch.is_grad_enabled():
            raise ValueError(
                "expected a training with gradients, got one under torch.no_grad() or torch.inference_mode(): call it "
                "outside of them, or under torch.enable_grad()"
            )
        raise ValueError(
            "expected logits that depend on the model's parameters, got logits without a gradient: remove detach(), "
            "torch.no_grad() and .data from the model's forward"
        )


def check_objective(objective: Any) -> None:
    """Refuse a loss, or the name of one, where an objective is expected."""
    expected = "a function (model, batch) -> (sum of losses, number of nodes)"
    is_loss = isinstance(objective, nn.modules.loss._Loss) or getattr(objective, "__module__", None) == F.__name__
    if not callable(objective) or isinstance(objective, type) or is_loss:
        got = repr(objective) if isinstance(objective, str) else kind_of(objective)
        raise TypeError(
            f"expected {expected} as 'objective', got {got}: pass NodeObjective() for cross-entropy, or "
            "NodeObjective(loss=f) with f(logits, y) -> one loss per node (reduction='none')"
        )


def sum_and_count(returned: Any) -> tuple[Tensor, int]:
    """What an objective returned for a batch."""
    if not isinstance(returned, (tuple, list)) or len(returned) != 2:
        got = f"{len(returned)} values" if isinstance(returned, (tuple, list)) else f"{kind_of(returned)} alone"
        raise ValueError(
            f"expected (sum of losses, number of nodes) from the objective, got {got}: return loss * count, count for "
            "a mean loss"
        )
    total, nodes = returned
    if not isinstance(total, Tensor) or total.numel() != 1 or not total.is_floating_point():
        raise ValueError(
            f"expected (sum of losses, number of nodes) from the objective, got {kind_of(total)} as the sum"
        )
    if not total.requires_grad:
        raise ValueError(
            "expected a sum of losses that depends on the model's parameters, got one without a gradient from the "
            "objective: remove detach(), torch.no_grad() and float(...) from it and from the model's forward"
        )
    count = as_int(nodes)
    if count is None or count < 0:
        got = repr(nodes) if isinstance(nodes, (int, float)) else kind_of(nodes) if count is None else str(count)
        raise ValueError(
            f"expected a whole number of nodes, 0 or more, from the objective, got {got}: return "
            "(sum of losses, number of nodes), for example (losses.sum(), losses.numel())"
        )
    return total, count


def figures_of(returned: Any) -> dict[str, float]:
    """What ``evaluate`` returned, as Python floats."""
    expected = "evaluate must return 'val' and 'test' as numbers, in a dictionary"
    if not isinstance(returned, Mapping):
        raise TypeError(f"{expected}; got {kind_of(returned)}: return {{'val': ..., 'test': ...}}")
    figures = {}
    for name, value in returned.items():
        number = as_float(value.reshape(()) if isinstance(value, Tensor) and value.numel() == 1 else value)
        if number is None:
            got = repr(value) if isinstance(value, (str, bool)) else kind_of(value)
            raise ValueError(f"{expected}; got {got} for {name!r}: return one number, for example its mean")
        figures[name] = number
    missing = [repr(name) for name in ("val", "test") if name not in figures]
    if missing:
        raise ValueError(f"{expected}; got {sorted(map(str, figures))}: {' and '.join(missing)} is missing")
    return figures


def check_loss(loss: Any, names: Sequence[str] = ()) -> None:
    """Refuse what is no loss: an unknown name, or a class, which would make a loss of the logits."""
    if isinstance(loss, type):
        raise TypeError(f"expected a loss as 'loss', got the class {loss.__name__}: pass {loss.__name__}()")
    if isinstance(loss, str) and names and loss not in names:
        raise ValueError(f"loss must be one of {', '.join(names)} or a function; got {loss!r}{hint(loss, names)}")
    if not isinstance(loss, str) and not callable(loss):
        expected = f"one of {', '.join(names)}, or a function" if names else "a function"
        raise TypeError(f"expected {expected} (logits, y) as 'loss', got {kind_of(loss)}")


def first_mean_loss(loss: Callable[[Tensor, Tensor], Any], logits: Tensor, y: Tensor) -> Tensor:
    """``loss(logits, y)`` of the first step, which must be one number; errors name what went in."""
    try:
        value = loss(logits, y)
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, TypeError, IndexError, ValueError) as error:
        raise ValueError(
            f"'loss' cannot be computed from the logits of the training nodes, {kind_of(logits)}, and their labels, "
            f"{kind_of(y)} ({str(error).splitlines()[0] if str(error) else type(error).__name__})"
        ) from error
    if not isinstance(value, Tensor) or value.numel() != 1:
        raise TypeError(
            f"expected one number from 'loss', the mean over the training nodes in a tensor, got {kind_of(value)}: "
            "losses of torch return it with reduction='mean'"
        )
    return value


def warn_of_probabilities(logits: Tensor) -> None:
    """Warn of outputs that a softmax has made: the cross-entropy, which makes its own, learns little from them."""
    values = logits.detach()
    if values.shape[-1] < 2 or not bool((values >= 0).all()):
        return
    if bool(torch.isclose(values.sum(dim=-1), values.new_ones(()), atol=1e-3).all()):
        warnings.warn(
            "the model returns probabilities (no value below 0, and each row sums to 1), and the cross-entropy takes "
            "logits: remove the softmax from the model's forward",
            UserWarning,
            stacklevel=2,
        )


def call_loss(loss: Callable[[Tensor, Tensor], Any], logits: Tensor, y: Tensor) -> Any:
    """``loss(logits, y)``, with what went in named where torch refuses it."""
    try:
        return loss(logits, y)
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, TypeError, IndexError) as error:
        raise ValueError(
            f"'loss' cannot be computed from the logits, {kind_of(logits)}, and the labels, {kind_of(y)}: expected a "
            "function f(logits, y) for these, with one loss per node; for class labels 'cross-entropy' is one, and "
            f"losses of numbers need labels of the logits' shape and type ({str(error).splitlines()[0]})"
        ) from error
