"""lcat.optim: orthogonal optimizers that keep torch.optim's contract.

One optimizer updates a whole model: the matrices of orthogonal groups keep orthonormal rows (or columns), the
other groups are updated by AdamW or SGD. Importing this package imports torch and nothing else.

>>> import torch
>>> from lcat.optim import POGO, orthogonal_groups
>>> model = torch.nn.Sequential(*[torch.nn.Linear(16, 16) for _ in range(4)])
>>> groups = orthogonal_groups(model, orthogonalize="qr")
>>> optimizer = POGO(groups, lr=0.1, base="vadam")
"""

from __future__ import annotations

from lcat.optim.groups import NoWeightToConstrain, orthogonal_groups
from lcat.optim.landing import Landing, LandingPC
from lcat.optim.measure import orthogonality_error, orthogonalize_, project_
from lcat.optim.optimizer import OrthogonalOptimizer, Update
from lcat.optim.pogo import POGO
from lcat.optim.riemannian import RiemannianAdam, RiemannianSGD
from lcat.optim.rsdm import RSDM
from lcat.optim.slpg import SLPG

__all__ = [
    "POGO",
    "RSDM",
    "SLPG",
    "Landing",
    "LandingPC",
    "NoWeightToConstrain",
    "OrthogonalOptimizer",
    "RiemannianAdam",
    "RiemannianSGD",
    "Update",
    "orthogonal_groups",
    "orthogonality_error",
    "orthogonalize_",
    "project_",
]
