"""What every training loop follows: the best epoch so far, and the lambdas."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from lcat.train._checks import kind_of
from lcat.train.result import History


def read_lambdas(model: nn.Module) -> dict[str, list[float]]:
    """``[lambda1, lambda2]`` of every module of ``model`` that has both, by its name, as Python floats.

    Raises:
        TypeError: for what is no module.

    Example:
        >>> from lcat.nn.models import LCAT
        >>> from lcat.train import read_lambdas
        >>> read_lambdas(LCAT(8, 16, num_layers=1, lambda1=0.25, lambda2=0.5))
        {'convs.0': [0.25, 0.5]}
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"expected a model, a torch.nn.Module, got {kind_of(model)}: call it once for each model")
    return {name: _pair(module) for name, module in modules_with_lambdas(model).items()}


def modules_with_lambdas(model: nn.Module) -> dict[str, nn.Module]:
    """The modules that have both lambdas, by name. Looked for once for a training, not in every epoch."""
    return {
        name: module
        for name, module in model.named_modules()
        if hasattr(module, "lambda1") and hasattr(module, "lambda2")
    }


def follow_lambdas(modules: Mapping[str, nn.Module], history: History) -> None:
    """Append the lambdas to the history."""
    for name, module in modules.items():
        history.lambdas.setdefault(name, []).append(_pair(module))


def _pair(module: Any) -> list[float]:
    return [float(module.lambda1.detach().mean()), float(module.lambda2.detach().mean())]


class Best:
    """The best epoch so far and a copy of its weights: best validation metric, among equals lowest loss."""

    def __init__(self, model: nn.Module, *, higher_is_better: bool = True) -> None:
        self.epoch = -1
        self._sign = 1.0 if higher_is_better else -1.0
        self._score = (float("-inf"), float("-inf"))
        self._weights = copy_weights(model)

    def update(self, model: nn.Module, epoch: int, history: History) -> None:
        """Compare the last entries of the history, those of ``epoch``, with the best."""
        score = (self._sign * history.val[-1], -history.val_loss[-1])
        if self.epoch < 0 or score > self._score:
            self.epoch, self._score = epoch, score
            self._weights = copy_weights(model, into=self._weights)

    def restore(self, model: nn.Module) -> None:
        """Give the model the best weights, and put it into evaluation mode."""
        model.load_state_dict(self._weights)
        model.eval()

    def state_dict(self) -> dict[str, Any]:
        """Plain data for a checkpoint."""
        return {"epoch": self.epoch, "score": list(self._score), "weights": self._weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of :meth:`state_dict`."""
        self.epoch, self._weights = state["epoch"], state["weights"]
        self._score = (state["score"][0], state["score"][1])


def copy_weights(model: nn.Module, into: dict[str, Tensor] | None = None) -> dict[str, Tensor]:
    """The state of the model as it is now.

    Args:
        model: to copy.
        into: an older copy. Its tensors are overwritten where they fit, because new memory costs more than the copy.
    """
    older = into or {}
    copied = {}
    for name, value in model.state_dict().items():
        value, before = value.detach(), older.get(name)
        fits = (
            before is not None
            and before.shape == value.shape
            and before.dtype == value.dtype
            and before.device == value.device
        )
        copied[name] = before.copy_(value) if fits and before is not None else value.clone()
    return copied
