"""LaTeX compiles the tables of a report."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from lcat.study import make_plan, run_study

_DOCUMENT = r"""\documentclass{article}
\usepackage[T1]{fontenc}
\usepackage[utf8]{inputenc}
\usepackage{booktabs,longtable}
\begin{document}
%s
\end{document}
"""


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_all_tables_compile(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = (
        "import torch\nclass A_b(torch.nn.Linear):\n    def forward(self, x, e):\n        return super().forward(x)\n"
    )
    broken = "class Broken(A_b):\n    def forward(self, x, e):\n        {}['$_#&%~^\\\\']\n"
    (tmp_path / "mo_del.py").write_text(model + broken)
    plan = make_plan(
        datasets=["csbm:easy,q=0.5,n=60", "csbm:hard,n=60"],
        layers=["gcn", "gat", "lcat", "a_b=mo_del.py:A_b", "mo_del.py:Broken"],
        seeds=2,
        overrides={"epochs": 2},
        grid={"lr": [0.1, 0.01]},
        noise={"edges": [0.2]},
        published=[{"dataset": "csbm:hard,n=60", "layer": "gcn", "mean": 90.0, "std": 1.0, "runs": 3}],
    )
    written = run_study(plan, "study", engine="inline").study.report()
    tables = sorted(path for path in written if path.suffix == ".tex")
    assert len(tables) > 12
    body = "\n\\clearpage\n".join(f"\\input{{study/tables/{path.name}}}" for path in tables)
    (tmp_path / "paper.tex").write_text(_DOCUMENT % body)
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=300,
    )
    log = (tmp_path / "paper.log").read_text(errors="replace")
    assert done.returncode == 0, log[-3000:]
    assert (tmp_path / "paper.pdf").stat().st_size > 10_000
    assert "Missing character" not in log
