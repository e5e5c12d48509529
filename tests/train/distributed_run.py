"""What test_distributed.py runs in one process and, by torchrun, in two."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import torch

from lcat.data import csbm, neighbor_loader
from lcat.nn.models import LCAT
from lcat.train import (
    MinibatchConfig,
    Processes,
    WholeGraph,
    fit_minibatch,
    processes,
    save_checkpoint,
    seed_everything,
)

CONFIGS = {
    "plain": MinibatchConfig(epochs=4, lr=0.02),
    "accumulated": MinibatchConfig(epochs=2, lr=0.02, accumulate=3, clip_norm=0.5),
    "a process without seeds": MinibatchConfig(epochs=2, lr=0.02),
    "a parameter that no step uses": MinibatchConfig(epochs=2, lr=0.02, accumulate=2),
    "one step of sgd": MinibatchConfig(epochs=1, lr=1.0, optimizer="sgd", weight_decay=0.0),
}


def train(
    group: Processes,
    config: MinibatchConfig,
    batch_size: int,
    fanout: list[int],
    dropout: float,
    unused: bool = False,
    **options,
):
    """The model and the result of one training, in double precision."""
    seed_everything(0 if group.is_main else 17)  # the main process's weights are everybody's
    data = csbm(n=120, q=0.1, seed=0)
    data.x = data.x.double()
    model = LCAT(data.num_features, 8, num_layers=2, out_channels=2, dropout=dropout).double()
    if unused:
        model.unused = torch.nn.Linear(2, 2).double()
    # 25 seeds a batch: two processes get 13 and 12; 72 in all: the last batch is smaller.
    loader = neighbor_loader(
        data, fanout, data.train_mask, batch_size, shuffle=True, rank=group.rank, world_size=group.world_size,
        backend="torch",
    )  # fmt: skip
    evaluate = WholeGraph(data, {"val": data.val_mask, "test": data.test_mask}, rows=50)
    return model, fit_minibatch(model, loader, evaluate, config, seed=1, group=group, **options)


def curves(group: Processes) -> dict:
    """Histories and weights of all configurations."""
    outcomes = {}
    for name, config in CONFIGS.items():
        size = {"one step of sgd": 72, "a process without seeds": 71}.get(name, 25)
        model, result = train(group, config, size, [-1, -1, -1, -1], dropout=0.0, unused=name.startswith("a parameter"))
        weights = {key: value.tolist() for key, value in model.state_dict().items()}
        outcomes[name] = {"history": result.to_dict()["history"], "weights": weights}
    return outcomes


def main() -> None:
    task, folder = sys.argv[1], Path(sys.argv[2])
    torch.set_num_threads(1)
    with processes("cpu") as group:
        if task == "curves":
            document = curves(group)
            everywhere = group.gather(document)
            assert json.dumps(everywhere[0]) == json.dumps(everywhere[-1]), (
                "weights and histories are the same in all processes"
            )
            try:
                group.on_main(lambda: 1 / 0)
                failed = "nothing"
            except (ZeroDivisionError, RuntimeError) as error:
                failed = f"{type(error).__name__}: {error}"
            document["failed"] = group.gather(failed)
            try:
                group.all_or_none(lambda: 1 / (group.world_size - 1 - group.rank))
                failed = "nothing"
            except (ZeroDivisionError, RuntimeError) as error:
                failed = f"{type(error).__name__}: {error}"
            document["failed in the last"] = group.gather(failed)
            document["sum"] = group.sum([group.rank + 1.0, 0.5])
        else:
            kill_after = int(sys.argv[3])
            config = MinibatchConfig(epochs=4, lr=0.02)

            def stop(epoch, history):
                if epoch + 1 == kill_after:
                    os._exit(9)

            model, result = train(
                group, config, 25, [3, 3], 0.3, on_epoch=stop, checkpoint=folder / f"{task}.ckpt", checkpoint_steps=2
            )
            document = {"history": result.to_dict()["history"]}
            if group.is_main:
                save_checkpoint(folder / f"{task}.weights", model.state_dict())
        if group.is_main:
            (folder / f"{task}.json").write_text(json.dumps(document))


if __name__ == "__main__":
    main()
