"""Every check by name: ``nox --list`` shows them, ``nox -s lint types`` runs two of them.

Sessions use the environment that nox is installed in (``python -m pip install -c constraints.txt -e '.[dev]'``), so
nothing is installed or compiled twice. What ``triton`` and ``scatter`` need besides goes into a folder of their own.
``.ci/run`` calls lint, types, docs and triton.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import nox

ROOT = Path(__file__).parent
BENCHMARKS = sorted(path.stem for path in (ROOT / "benchmarks").glob("*.py") if not path.stem.startswith("_"))

nox.needs_version = ">=2024.3"
nox.options.sessions = ["lint", "types", "tests"]
nox.options.reuse_venv = "yes"
nox.options.stop_on_first_error = True


def _python(session: nox.Session, *arguments: str, **options: object) -> None:
    """Run a module of the environment that nox is installed in."""
    session.run(sys.executable, "-m", *arguments, external=True, **options)


@nox.session(venv_backend="none")
def lint(session: nox.Session) -> None:
    """Style: ruff's rules and its formatting. ``-- --fix`` mends what can be."""
    _python(session, "ruff", "check", *session.posargs, ".")
    _python(session, "ruff", "format", *([] if "--fix" in session.posargs else ["--check"]), ".")


@nox.session(venv_backend="none")
def types(session: nox.Session) -> None:
    """Types: mypy over lcat."""
    _python(session, "mypy", *session.posargs)


@nox.session(venv_backend="none")
def tests(session: nox.Session) -> None:
    """The suite on two processes; ``-- tests/nn`` runs a part."""
    _python(session, "pytest", "-n", "2", *session.posargs)


@nox.session(venv_backend="none")
def long(session: nox.Session) -> None:
    """What takes long: fuzzing, full benchmarks, kill tests, Ray where it is installed; over an hour on two cores."""
    _python(session, "pytest", "-m", "long", "--durations=25", *session.posargs)


@nox.session(venv_backend="none")
def docs(session: nox.Session) -> None:
    """The pages, every code cell executed; ``-- DIR`` writes them elsewhere."""
    out = session.posargs[0] if session.posargs else "docs/_build/html"
    _python(session, "sphinx", "-W", "--keep-going", "-q", "-b", "html", "docs", out)


@nox.session(venv_backend="none", name="pre-commit")
def pre_commit(session: nox.Session) -> None:
    """All hooks of .pre-commit-config.yaml on all files."""
    _python(session, "pre_commit", "run", "--all-files", *session.posargs)


def _beside(session: nox.Session, package: str, **more: str) -> dict[str, str]:
    """Install a package into a folder that only this session sees; the variables with which its processes see it."""
    folder = session.create_tmp()
    environment = {"PYTHONPATH": os.pathsep.join([str(ROOT), folder]), "PIP_DISABLE_PIP_VERSION_CHECK": "1", **more}
    arguments = ("--no-deps", "--no-build-isolation", "--upgrade", "--target", folder, package)
    _python(session, "pip", "install", *arguments, env=environment)
    return environment


@nox.session(venv_backend="none")
def triton(session: nox.Session) -> None:
    """GPU kernels without a GPU: in Triton's interpreter, and compiled ahead of time."""
    environment = _beside(session, "triton==3.6.0", TRITON_INTERPRET="1", OMP_NUM_THREADS="1")
    files = sorted(str(path) for path in Path("tests/ops").glob("test_triton_*.py"))
    _python(session, "pytest", *(session.posargs or files), env=environment)


@nox.session(venv_backend="none")
def scatter(session: nox.Session) -> None:
    """Kernels on torch-scatter, which is compiled from source: the primitives, then the layers on them."""
    # Without debugging information, which would take a third of the time.
    environment = _beside(session, "torch-scatter", CFLAGS="-DNDEBUG -g0", CXXFLAGS="-DNDEBUG -g0")
    _python(session, "pytest", "tests/ops/test_scatter.py", *session.posargs, env=environment)
    environment["LCAT_IMPLEMENTATION"] = "scatter"
    layers = ("tests/nn/test_lcat_formula.py", "tests/nn/test_parity.py")
    _python(session, "pytest", *layers, *session.posargs, env=environment)


@nox.session(venv_backend="none")
def bench(session: nox.Session) -> None:
    """One benchmark: ``-- kernels --rounds 3``. Without a name, the list of them."""
    if not session.posargs or session.posargs[0] not in BENCHMARKS:
        session.error(f"name a benchmark after --: {', '.join(BENCHMARKS)}")
    name, *arguments = session.posargs
    session.run(sys.executable, f"benchmarks/{name}.py", *arguments, external=True)


@nox.session(venv_backend="none", name="bench-compare")
def bench_compare(session: nox.Session) -> None:
    """Two commits side by side: ``-- BASE HEAD`` prints how long HEAD takes in units of BASE."""
    session.run(sys.executable, "benchmarks/compare.py", *session.posargs, external=True)
