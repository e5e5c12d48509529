"""lcat doctor: what this machine has and uses."""

from __future__ import annotations

from importlib import metadata

import torch

from lcat import ops
from lcat.cli.doctor import doctor_tables


def test_doctor(call):
    code, out, _ = call("doctor")
    assert code == 0
    for word in (
        metadata.version("torch"),
        "gat_attention",
        "gatv2_attention",
        "dot_attention",
        "aggregate",
        "extremes",
        "CUDA devices",
        "torch-scatter",
        "because",
    ):
        assert word in out


def test_doctor_says_a_reason_once():
    devices = ["cpu"] + (["cuda"] if torch.cuda.is_available() else [])
    rows = [row for device in devices for row in ops.explain(device)]
    reasons = {(row.device, row.implementation, row.reason, str(row.unavailable)) for row in rows}
    assert doctor_tables()[-1].row_count == len(reasons) < len(rows)
