"""The number of matrix products of a step, as the documentation states it."""

from __future__ import annotations

import math

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from lcat.optim import POGO, RSDM, SLPG, Landing, LandingPC, RiemannianAdam, RiemannianSGD
from tests.optim.optim_support import orthonormal, parameter, random


def in_place(shape, a, b, *args, out_shape=None, **kwargs):
    """Flops of ``addmm_`` and ``baddbmm_``, which torch's counter leaves out."""
    return 2 * math.prod(a) * b[-1]


IN_PLACE = {torch.ops.aten.addmm_: in_place, torch.ops.aten.baddbmm_: in_place}


def flops(cls, *shape, **options):
    """Flops of the products of the third step."""
    p = parameter(orthonormal(*shape))
    optimizer = cls([p], **{"lr": 1e-5, **options})
    for seed in range(2):
        p.grad = random(*shape, seed=seed)
        optimizer.step()
    with FlopCounterMode(display=False, custom_mapping=IN_PLACE) as counter:
        optimizer.step()
    return counter.get_total_flops()


@pytest.mark.parametrize("batch", [(), (3,)])
@pytest.mark.parametrize(
    ("cls", "options", "p", "n", "wide", "small"),
    [
        (POGO, {}, 24, 40, 4, 0),
        (POGO, {}, 24, 72, 4, 0),
        (POGO, {}, 24, 24, 4, 0),
        (POGO, {}, 16, 16, 4, 0),
        (POGO, {"momentum": 0.9}, 24, 40, 5, 0),
        (POGO, {"base": "vadam"}, 24, 40, 5, 0),
        (POGO, {"momentum": 0.9}, 24, 24, 4, 0),
        (POGO, {"momentum": 0.9, "nesterov": True}, 24, 40, 6, 0),
        (POGO, {"tangent": True, "momentum": 0.9}, 24, 40, 7, 0),
        (POGO, {"gram_mode": "exact"}, 24, 40, 6, 0),
        (POGO, {"normal_step": "order2"}, 24, 40, 4, 1),
        (POGO, {"normal_step": "best"}, 24, 40, 4, 2),
        (POGO, {"lr": 1e2}, 24, 40, 5, 1),
        (POGO, {"lr": 1e2}, 24, 24, 5, 0),
        (POGO, {"iteration": "published"}, 24, 40, 6, 0),
        (POGO, {"iteration": "published"}, 24, 72, 5, 2),
        (POGO, {"iteration": "published", "max_step": 1.0}, 24, 72, 6, 0),
        (POGO, {"iteration": "published"}, 24, 24, 4, 0),
        (POGO, {"iteration": "published", "max_step": 1.0}, 24, 24, 5, 0),
        (POGO, {"iteration": "published", "gram_mode": "identity"}, 24, 40, 4, 0),
        (Landing, {}, 24, 40, 4, 0),
        (Landing, {"base": "vadam"}, 24, 40, 4, 0),
        (LandingPC, {}, 24, 40, 5, 0),
        (RiemannianSGD, {}, 24, 40, 2, 0),
        (RiemannianSGD, {"momentum": 0.9}, 24, 40, 4, 0),
        (RiemannianSGD, {"retraction": "polar"}, 24, 40, 4, 11),
        (RiemannianAdam, {}, 24, 40, 4, 0),
        (SLPG, {}, 24, 40, 4, 0),
        (SLPG, {"lr": 1e2}, 24, 40, 6, 0),
        (SLPG, {"regularizer": "l1", "gamma": 0.1, "inner": 5}, 24, 40, 14, 0),
    ],
)
def test_products_of_a_step(cls, options, p, n, wide, small, batch):
    """``wide`` products of p x p x n and ``small`` ones of p x p x p."""
    expected = math.prod(batch) * (wide * 2 * p * p * n + small * 2 * p**3)
    assert flops(cls, *batch, p, n, **options) == expected


def test_products_of_a_step_of_rsdm():
    """p r^2 for the directions and for the rotation, nothing of p n r: the columns are gathered."""
    p, n, r = 24, 40, 8
    assert flops(RSDM, p, n, rank=r) == 2 * (2 * p * r * r) + 2 * r**3


def test_gram_by_blocks_saves_nearly_half_a_product():
    """On one large matrix X X^H is computed by blocks up to the diagonal."""
    p, n = 600, 700
    unit = 2 * p * p * n
    assert 3.55 * unit < flops(POGO, p, n) < 3.7 * unit
    assert 5.1 * unit < flops(POGO, p, n, iteration="published", max_step=1.0) < 5.35 * unit
