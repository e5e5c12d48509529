"""A checkpoint is whole or refused, whatever happens while it is written and afterwards."""

from __future__ import annotations

import errno
import os
import pickle
import random
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from lcat.train import CheckpointError, load_checkpoint, random_state, restore_random_state, save_checkpoint
from lcat.train import checkpoint as module

OLD = {"weights": torch.arange(6.0), "epoch": 1, "best": [0.5, None, "x"], "pair": (1, 2)}
NEW = {"weights": torch.arange(60.0), "epoch": 2, "best": [], "pair": (3, 4)}


def same(one, two):
    if isinstance(one, torch.Tensor):
        return torch.equal(one, two)
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(same(one[key], two[key]) for key in one)
    return one == two


@pytest.fixture
def path(tmp_path):
    save_checkpoint(tmp_path / "run.ckpt", OLD)
    return tmp_path / "run.ckpt"


def test_round_trip(path):
    assert same(load_checkpoint(path), OLD)
    save_checkpoint(path, NEW)
    assert same(load_checkpoint(path), NEW)
    assert [file.name for file in path.parent.iterdir()] == ["run.ckpt"]


def test_makes_its_folder(tmp_path):
    save_checkpoint(tmp_path / "a" / "b" / "run.ckpt", OLD)
    assert same(load_checkpoint(tmp_path / "a" / "b" / "run.ckpt"), OLD)


def test_every_flipped_bit_is_refused(path):
    content = path.read_bytes()
    generator = random.Random(0)
    places = [(byte, bit) for byte in range(50) for bit in (0, 7)]  # all of the header
    places += [(generator.randrange(len(content)), generator.randrange(8)) for _ in range(300)]
    assert len(places) == 400
    for byte, bit in places:
        damaged = bytearray(content)
        damaged[byte] ^= 1 << bit
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match="damaged"):
            load_checkpoint(path)


def test_every_truncation_is_refused(path):
    content = path.read_bytes()
    for size in [*range(50), *(len(content) * k // 50 for k in range(1, 50)), len(content) - 1]:
        path.write_bytes(content[:size])
        with pytest.raises(CheckpointError, match="damaged"):
            load_checkpoint(path)
    path.write_bytes(content + b"x")
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(path)


class Bomb:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.system, (f"touch {self.target}",)


def test_code_in_a_checkpoint_is_not_run(path, tmp_path):
    import hashlib
    import io

    buffer = io.BytesIO()
    torch.save({"bomb": Bomb(tmp_path / "ran")}, buffer)
    payload = buffer.getvalue()
    path.write_bytes(module._MAGIC + hashlib.sha256(payload).digest() + payload)  # with a checksum that fits
    with pytest.raises(CheckpointError, match="other than plain data"):
        load_checkpoint(path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (Bomb("x"), r"of type .*Bomb\)"),
        (lambda: None, r"of type function\)"),
        (Path("x"), r"of type pathlib\..*: str makes a text of it\)"),
        (np.float64(1), r"of type numpy.float64: torch.as_tensor makes a tensor of it, and .item\(\) a number\)"),
        (np.ones(2), r"of type numpy.ndarray: torch.as_tensor makes .*\)"),
    ],
)
def test_what_would_not_load_again_is_refused_and_the_old_kept(path, value, kind):
    before = path.read_bytes()
    with pytest.raises(CheckpointError, match=rf"would not load again \(state\['value'\]\[1\] is {kind}"):
        save_checkpoint(path, {"epoch": 3, "value": [torch.ones(2), value]})
    assert path.read_bytes() == before


def test_a_failure_at_any_step_leaves_the_old_or_the_new(path, monkeypatch):
    """Fail the n-th system call, for n = 1, 2, ..., until the writing passes."""
    names = ("open", "write", "flush", "fsync", "replace", "close")
    outcomes = []
    for turn in range(1, 30):
        save_checkpoint(path, OLD)
        calls = []

        def count(name, real, turn=turn, calls=calls):
            def call(*arguments, **options):
                calls.append(name)
                if len(calls) == turn:
                    raise OSError(errno.EIO, "Input/output error")
                return real(*arguments, **options)

            return call

        class Watched:
            """A file whose operations count."""

            def __init__(self, file, count=count):
                self.file = file
                self.write, self.flush = count("write", file.write), count("flush", file.flush)
                self.fileno = file.fileno

            def __enter__(self):
                return self

            def __exit__(self, *error):
                self.file.close()

        with monkeypatch.context() as patch:
            opened = count("open", Path.open)
            patch.setattr(Path, "open", lambda *a, opened=opened, W=Watched: W(opened(*a)))
            patch.setattr(Path, "replace", count("replace", Path.replace))
            patch.setattr(os, "fsync", count("fsync", os.fsync))
            patch.setattr(os, "open", count("open", os.open))
            try:
                save_checkpoint(path, NEW)
            except CheckpointError as error:
                failed = str(error)
                assert "Input/output error" in failed
                assert "kept" in failed
                assert "\n" not in failed
            else:
                failed = None
        loaded = load_checkpoint(path)
        assert same(loaded, OLD) or same(loaded, NEW)
        assert [file.name for file in path.parent.iterdir()] == ["run.ckpt"], "nothing is left lying about"
        if failed is None:
            assert same(loaded, NEW)
            break
        outcomes.append((calls[-1], same(loaded, OLD)))
    # open, three writes, flush, fsync, replace of the file; open and fsync of the folder
    assert [name for name, _ in outcomes] == [
        "open", "write", "write", "write", "flush", "fsync", "replace", "open", "fsync",
    ]  # fmt: skip
    assert [old for _, old in outcomes] == [True] * 7 + [False] * 2
    assert set(names) >= {name for name, _ in outcomes}


def test_full_disk(path):
    """A limit on the size of files stands for a full disk: both fail in the middle of a write."""
    code = (
        "import resource, signal, sys, torch\n"
        "from lcat.train import CheckpointError, save_checkpoint\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "try:\n"
        "    save_checkpoint(sys.argv[1], {'w': torch.zeros(100_000)})\n"
        "except CheckpointError as error:\n"
        "    sys.exit(str(error))\n"
    )
    assert resource.RLIMIT_FSIZE is not None
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "File too large; the older checkpoint is kept" in done.stderr
    assert same(load_checkpoint(path), OLD)
    assert [file.name for file in path.parent.iterdir()] == ["run.ckpt"]


def test_other_files(tmp_path):
    with pytest.raises(FileNotFoundError, match="no checkpoint"):
        load_checkpoint(tmp_path / "none.ckpt")
    torch.save(OLD, tmp_path / "plain.pt")
    with pytest.raises(CheckpointError, match="no checkpoint of lcat"):
        load_checkpoint(tmp_path / "plain.pt")
    (tmp_path / "pickle.ckpt").write_bytes(pickle.dumps(OLD))
    with pytest.raises(CheckpointError, match="no checkpoint of lcat"):
        load_checkpoint(tmp_path / "pickle.ckpt")


def test_generators_go_on_where_they_were(tmp_path):
    def draws():
        return (
            random.random(),
            np.random.normal(),
            np.random.rand(3).tolist(),
            torch.rand(3).tolist(),
            random.gauss(0, 1),
        )

    np.random.normal()  # leaves a second number in store
    random.gauss(0, 1)
    save_checkpoint(tmp_path / "rng.ckpt", random_state())
    first = draws()
    draws()
    restore_random_state(load_checkpoint(tmp_path / "rng.ckpt"))
    assert draws() == first


def test_generators_of_more_gpus(tmp_path):
    state = random_state()
    state["cuda"] = [torch.zeros(16, dtype=torch.uint8)] * 9
    with pytest.raises(CheckpointError, match="generators of 9 GPUs"):
        restore_random_state(state)


def test_states_of_generators_that_are_none():
    """All generators stay as they are."""
    whole = random_state()
    wrong = [None, {}, [1], {**whole, "torch": torch.zeros(3)}, {**whole, "torch": torch.zeros(3, dtype=torch.uint8)}]
    wrong += [{**whole, "python": [3, [1, 2], None]}, {**whole, "python": None}, {**whole, "numpy": ["MT19937"]}]
    wrong += [{**whole, "numpy": ["MT19937", torch.zeros(3), 0, 0, 0.0]}, {**whole, "cuda": [1]}]
    for state in wrong:
        random.seed(1)
        np.random.seed(1)
        torch.manual_seed(1)
        before = random_state()
        with pytest.raises(CheckpointError, match=r"expected what random_state\(\) returned, .*, got"):
            restore_random_state(state)
        after = random_state()
        assert before["python"] == after["python"]
        assert torch.equal(before["numpy"][1], after["numpy"][1])
        assert torch.equal(before["torch"], after["torch"])
