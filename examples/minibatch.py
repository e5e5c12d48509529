"""Train L-CAT on sampled neighborhoods, in one process or several, and resume after an interruption.

python examples/minibatch.py
torchrun --standalone --nproc-per-node 2 examples/minibatch.py
"""

from __future__ import annotations

from pathlib import Path

from lcat.data import csbm, neighbor_loader
from lcat.nn.models import LCAT
from lcat.train import FitResult, MinibatchConfig, WholeGraph, fit_minibatch, processes, seed_everything


def main(checkpoint: Path = Path("minibatch.ckpt")) -> FitResult:
    data = csbm(n=600, q=0.1, regime="easy", seed=0)
    with processes("cpu") as group:
        seed_everything(0)
        model = LCAT(data.num_features, 16, num_layers=2, out_channels=2, heads=2, dropout=0.2)
        # Two layers of L-CAT look four hops far: see docs/minibatch.md.
        loader = neighbor_loader(
            data, [10, 5, 5, 5], data.train_mask, batch_size=90, shuffle=True,
            rank=group.rank, world_size=group.world_size,
        )  # fmt: skip
        evaluate = WholeGraph(data, {"train": data.train_mask, "val": data.val_mask, "test": data.test_mask})
        config = MinibatchConfig(epochs=10, lr=0.02)
        result = fit_minibatch(
            model, loader, evaluate, config, seed=0, group=group, checkpoint=checkpoint, progress=True
        )
        if group.is_main:
            print(
                f"test accuracy {100 * result.test:.1f} % at epoch {result.best_epoch}, {group.world_size} process(es)"
            )
    return result


if __name__ == "__main__":
    main()
