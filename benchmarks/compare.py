"""Two commits side by side: how long HEAD takes in units of BASE, case by case.

    python benchmarks/compare.py main HEAD
    python benchmarks/compare.py v0.1.0 HEAD --cases kernels sampler --rounds 21 --out compare.json
    python benchmarks/compare.py HEAD HEAD              # what noise looks like on this machine

Each commit gets a git worktree with its own compiled kernels and one process that stays alive. First both run every
case once, and their numbers must agree; a case with other numbers gets no time. Then they take turns: in each round
both run the case, in alternating order, while the other waits. The ratio HEAD / BASE is taken round by round; the table
has its median and quartiles. A case is called slower or faster if both quartiles lie on one side of 1 by more than
``--noise``. Building the kernels takes one to two minutes per commit, once if both have the same sources of them;
``--folder`` keeps worktrees and kernels for the next call.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from _compare_cases import CASES, SIZES
from _measure import ALLOCATORS, geometric_mean, machine, write_results

ROOT = Path(__file__).parents[1]
CHILD = Path(__file__).parent / "_compare_cases.py"
SHORTEST = 0.05  # seconds of a run; shorter cases are repeated within a run


class Commit:
    """A worktree of one commit, and the process that runs its code."""

    def __init__(self, name: str, revision: str, root: Path, environment: dict[str, str]) -> None:
        self.name, self.revision = name, revision
        self.process = subprocess.Popen(
            [sys.executable, str(CHILD)],
            cwd=root,
            env={**os.environ, **environment, "PYTHONPATH": str(root), "MPLBACKEND": "Agg"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        self.facts = self._read()
        if Path(self.facts["lcat"]) != root / "lcat":
            raise SystemExit(f"{name} imports {self.facts['lcat']}, expected {root / 'lcat'}")

    def ask(self, **request: Any) -> float:
        """The seconds of what was asked."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return float(self._read()["seconds"])

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"the process of {self.name} ended with status {self.process.wait()}; its error is above")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(timeout=60)
        self.process.stdout.close()


def git(*arguments: str) -> str:
    """What a git command prints."""
    return subprocess.run(
        ["git", "-C", str(ROOT), *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


def worktree(revision: str, folder: Path) -> Path:
    """A checkout of a commit under ``folder``, made unless it exists."""
    root = folder / revision[:12]
    if not root.exists():
        git("worktree", "add", "--detach", str(root), revision)
    return root


def build(root: Path, revision: str, folder: Path) -> None:
    """Compile the kernels of a checkout, or copy those of another one with the same sources."""
    sources = "-".join(git("rev-parse", f"{revision}:{path}")[:12] for path in ("lcat/ops/csrc", "setup.py"))
    cache = folder / f"kernels-{sources}"
    if not cache.exists():
        print(f"compiling the kernels of {revision[:12]} ...", flush=True)
        command = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
        subprocess.run(command, cwd=root, check=True, stdout=subprocess.DEVNULL)
        cache.mkdir()
        for library in (root / "lcat/ops").glob("_native_*"):
            shutil.copy2(library, cache)
    for library in cache.iterdir():
        shutil.copy2(library, root / "lcat/ops")


def difference(base: Path, head: Path) -> float:
    """The largest relative difference of the numbers of two commits, in norm; infinite if their shapes differ."""
    one, other = torch.load(base, weights_only=True), torch.load(head, weights_only=True)
    if {name: value.shape for name, value in one.items()} != {name: value.shape for name, value in other.items()}:
        return float("inf")
    return max(
        float((one[name].double() - other[name].double()).norm() / one[name].double().norm().clamp(min=1e-12))
        for name in one
    )


def measure(case: str, base: Commit, head: Commit, options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Numbers, then times, of one case."""
    files = [folder / f"{name}.pt" for name in ("base", "head")]
    seconds = [
        commit.ask(prepare=case, size=options.size, numbers=str(file))
        for commit, file in zip((base, head), files, strict=True)
    ]
    result: dict[str, Any] = {"case": case, "difference": difference(*files)}
    if not result["difference"] <= options.limit:
        return {**result, "verdict": "other numbers"}
    repeats = max(1, round(SHORTEST / max(seconds[0], 1e-6)))
    times: dict[str, list[float]] = {"base": [], "head": []}
    for number in range(options.rounds + 1):
        turns = [("base", base), ("head", head)]
        for name, commit in turns if number % 2 else reversed(turns):
            spent = commit.ask(run=repeats) / repeats
            if number > 0:  # the first round is not measured
                times[name].append(spent)
    ratios = [head / base for base, head in zip(times["base"], times["head"], strict=True)]
    low, median, high = statistics.quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else ratios * 3
    verdict = "slower" if low > 1 + options.noise else "faster" if high < 1 - options.noise else "equal"
    return {
        **result,
        "repeats": repeats,
        "seconds": times,
        "ratio": {"median": median, "quartiles": [low, high]},
        "verdict": verdict,
    }


def show(result: dict[str, Any]) -> None:
    """One line of the table."""
    if "ratio" not in result:
        print(f"{result['case']:<28} {result['verdict']}: relative difference {result['difference']:.2g}", flush=True)
        return
    seconds = {name: statistics.median(values) * 1e3 for name, values in result["seconds"].items()}
    (low, high), median = result["ratio"]["quartiles"], result["ratio"]["median"]
    line = (
        f"{result['case']:<28}{seconds['base']:>12.2f}{seconds['head']:>12.2f}{median:>9.3f}   {low:.3f} to {high:.3f}"
    )
    print(f"{line}   {result['verdict']}", flush=True)


def wanted(prefixes: list[str]) -> list[str]:
    """The cases whose names begin so."""
    cases = [case for case in CASES if any(case.startswith(prefix) for prefix in prefixes)]
    if not cases:
        raise SystemExit(
            f"expected names of cases or their beginnings, got {', '.join(prefixes)}; known: {', '.join(CASES)}"
        )
    return cases


def compare(roots: list[Path], revisions: list[str], options: argparse.Namespace) -> dict[str, Any]:
    """All cases on two checkouts that are built."""
    environment = {**ALLOCATORS[options.allocator], "OMP_NUM_THREADS": str(options.threads)}
    commits: list[Commit] = []
    results = []
    try:
        for name, revision, root in zip(("base", "head"), revisions, roots, strict=True):
            commits.append(Commit(name, revision, root, environment))
        print(f"{'case':<28}{'base ms':>12}{'head ms':>12}{'ratio':>9}   quartiles", flush=True)
        with tempfile.TemporaryDirectory() as numbers:
            for case in wanted(options.cases):
                results.append(measure(case, *commits, options, Path(numbers)))
                show(results[-1])
    finally:
        for commit in commits:
            commit.close()
    ratios = [result["ratio"]["median"] for result in results if "ratio" in result]
    print(f"{'geometric mean':<28}{'':>24}{geometric_mean(ratios):>9.3f}")
    return {
        "command": "python benchmarks/compare.py " + " ".join(sys.argv[1:]),
        "commits": dict(zip(("base", "head"), revisions, strict=True)),
        "versions": {commit.name: commit.facts for commit in commits},
        "machine": machine(),
        "size": options.size,
        "threads": options.threads,
        "allocator": options.allocator,
        "geometric_mean": geometric_mean(ratios),
        "cases": results,
    }


def main() -> None:
    """Check out, build, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", help="a commit, branch or tag")
    parser.add_argument("head", nargs="?", default="HEAD", help="the other one; HEAD by default")
    parser.add_argument("--cases", nargs="+", default=[""], metavar="NAME", help="names of cases, or how they begin")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1, help="of torch and the kernels, in each process")
    parser.add_argument("--allocator", default="default", choices=list(ALLOCATORS), help="see _measure.ALLOCATORS")
    parser.add_argument("--limit", type=float, default=1e-5, help="largest relative difference of numbers")
    parser.add_argument("--noise", type=float, default=0.02, help="ratios this near to 1 are called equal")
    parser.add_argument(
        "--size", default="full", choices=list(SIZES), help="tiny: to try the script, not to claim times"
    )
    parser.add_argument("--folder", type=Path, help="keep worktrees and kernels here")
    parser.add_argument("--out", type=Path, help="JSON with all times")
    options = parser.parse_args()
    wanted(options.cases)
    revisions = [git("rev-parse", "--verify", f"{name}^{{commit}}") for name in (options.base, options.head)]
    folder = options.folder or Path(tempfile.mkdtemp(prefix="lcat-compare-"))
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    roots = []
    try:
        for revision in revisions:
            roots.append(worktree(revision, folder))
            build(roots[-1], revision, folder)
        report = compare(roots, revisions, options)
    finally:
        if options.folder is None:
            for root in set(roots):
                git("worktree", "remove", "--force", str(root))
            shutil.rmtree(folder, ignore_errors=True)
    if options.out is not None:
        write_results(options.out, report)


if __name__ == "__main__":
    main()
