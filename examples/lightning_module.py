"""Train an L-CAT model with PyTorch Lightning, on sampled neighborhoods.

pip install lightning
python examples/lightning_module.py
"""

from __future__ import annotations

from pathlib import Path

import lightning
import torch
import torch.nn.functional as F
from lightning.pytorch.callbacks import ModelCheckpoint

import lcat.nn.models
from lcat.data import csbm, neighbor_loader


class Classifier(lightning.LightningModule):
    """Nothing here is special: layers of lcat are modules as any other."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.model = lcat.nn.models.LCAT(in_channels, 16, num_layers=2, out_channels=num_classes, heads=4)

    def forward(self, batch) -> torch.Tensor:
        # The first nodes of a batch are those that it was drawn for; the others are their neighbors.
        return self.model(batch.x, batch.edge_index)[: batch.batch_size]

    def training_step(self, batch) -> torch.Tensor:
        loss = F.cross_entropy(self(batch), batch.y[: batch.batch_size])
        self.log("loss", loss, prog_bar=True, batch_size=batch.batch_size)
        return loss

    def validation_step(self, batch) -> None:
        self.log("val", self._accuracy(batch), prog_bar=True, batch_size=batch.batch_size)

    def test_step(self, batch) -> None:
        self.log("test", self._accuracy(batch), batch_size=batch.batch_size)

    def _accuracy(self, batch) -> torch.Tensor:
        return (self(batch).argmax(dim=-1) == batch.y[: batch.batch_size]).float().mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=0.01)


def main(folder: Path | None = None) -> dict[str, float]:
    lightning.seed_everything(0, verbose=False)
    data = csbm(n=600, q=0.1, regime="easy", seed=0)
    # Two layers of L-CAT look four hops far.
    train, val, test = (
        neighbor_loader(data, [10, 5, 5, 5], mask, batch_size=100, shuffle=mask is data.train_mask)
        for mask in (data.train_mask, data.val_mask, data.test_mask)
    )
    best = ModelCheckpoint(dirpath=folder, monitor="val", mode="max", save_weights_only=True)
    trainer = lightning.Trainer(
        max_epochs=10, accelerator="cpu", devices=1, callbacks=[best], logger=False, enable_model_summary=False
    )
    trainer.fit(Classifier(data.num_features, 2), train, val)
    return trainer.test(ckpt_path="best", dataloaders=test, weights_only=True)[0]


if __name__ == "__main__":
    main()
