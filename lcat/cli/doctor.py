"""What this machine has, and what lcat uses of it."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass

import torch
from rich.markup import escape
from rich.table import Table

import lcat
from lcat import ops
from lcat._environment import gpu_names, package_version

__all__ = ["Package", "doctor_tables", "packages"]

# distribution name, what it is for, how to install it
_PACKAGES = (
    ("torch", "everything", "pip install torch"),
    ("torch-geometric", "everything", "pip install torch-geometric"),
    ("numpy", "everything", "pip install numpy"),
    ("typer", "the command lcat", "pip install 'lcat-gnn[study]'"),
    ("rich", "lcat study, lcat doctor", "pip install 'lcat-gnn[study]'"),
    ("pydantic", "lcat study", "pip install 'lcat-gnn[study]'"),
    ("matplotlib", "figures of lcat study", "pip install 'lcat-gnn[study]'"),
    ("scipy", "data sets of PyG", "pip install 'lcat-gnn[study]'"),
    ("pandas", "data sets of PyG", "pip install 'lcat-gnn[study]'"),
    ("optuna", "searches of lcat study", "pip install 'lcat-gnn[search]'"),
    ("ray", "lcat study on clusters", "pip install 'lcat-gnn[ray]'"),
    ("ogb", "OGB data sets", "pip install 'lcat-gnn[ogb]'"),
    ("torch-scatter", "segment kernels on GPUs without Triton", "pip install --no-build-isolation torch-scatter"),
    ("triton", "fused GPU kernels", "comes with CUDA builds of torch on Linux"),
)


@dataclass(frozen=True)
class Package:
    """One package that lcat can use.

    Attributes:
        name: distribution name.
        version: installed version, ``None`` if it is missing.
        use: what it is for.
        install: the command that installs it.
    """

    name: str
    version: str | None
    use: str
    install: str


def packages() -> list[Package]:
    """Every package that lcat can use, with its installed version."""
    return [Package(name, package_version(name), use, install) for name, use, install in _PACKAGES]


def doctor_tables() -> list[Table]:
    """The tables that ``lcat doctor`` prints: machine, packages, implementations."""
    return [_machine_table(), _package_table(), _implementation_table()]


def _machine_table() -> Table:
    table = Table(title="Machine", title_style="", title_justify="left", show_header=False)
    table.add_column()
    table.add_column(overflow="fold")
    for key, value in _machine().items():
        table.add_row(key, escape(value))
    return table


def _machine() -> dict[str, str]:
    """Versions, processor, threads and accelerators, as text."""
    facts = {
        "lcat": lcat.__version__,
        "Python": platform.python_version(),
        "system": platform.platform(),
        "cores": str(os.cpu_count()),
        "torch threads": f"{torch.get_num_threads()} (OMP_NUM_THREADS {os.environ.get('OMP_NUM_THREADS', 'not set')})",
        "CPU instructions": torch.backends.cpu.get_cpu_capability(),
    }
    facts["CUDA devices"] = ", ".join(gpu_names()) or "none"
    facts["MPS"] = "yes" if torch.backends.mps.is_available() else "no"
    return facts


def _package_table() -> Table:
    table = Table(title="Packages", title_style="", title_justify="left")
    for column in ("package", "version", "used for", "to install"):
        table.add_column(column, overflow="fold")
    for package in packages():
        version = package.version or "missing"
        install = "" if package.version else package.install
        table.add_row(package.name, version, package.use, escape(install), style="" if package.version else "yellow")
    return table


def _implementation_table() -> Table:
    table = Table(title="Implementations", title_style="", title_justify="left")
    for column in ("primitives", "device", "uses", "because", "not used"):
        table.add_column(column, overflow="fold")
    devices = ["cpu"] + (["cuda"] if torch.cuda.is_available() else [])
    # Primitives with the same answers share a row.
    rows: dict[tuple[str, str, str, str], list[str]] = {}
    for device in devices:
        for row in ops.explain(device):
            others = "; ".join(f"{name}: {why}" for name, why in row.unavailable.items()) or "-"
            rows.setdefault((row.device, row.implementation, row.reason, others), []).append(row.primitive)
    for (device, implementation, reason, others), primitives in rows.items():
        table.add_row(", ".join(primitives), device, implementation, escape(reason), escape(others))
    return table
