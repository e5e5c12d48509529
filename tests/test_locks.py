"""Locks on files, and file systems that have none."""

from __future__ import annotations

import errno

import pytest

fcntl = pytest.importorskip("fcntl")

from lcat._locks import lock_file  # noqa: E402


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL, errno.EIO])
def test_a_file_system_without_locks(number, tmp_path, monkeypatch):
    def flock(*_):
        raise OSError(number, "not here")

    monkeypatch.setattr(fcntl, "flock", flock)
    with (tmp_path / "a").open("wb") as file:
        assert lock_file(file) == "no locks"


@pytest.mark.parametrize("number", [errno.EWOULDBLOCK, errno.EACCES])
def test_a_lock_that_somebody_holds(number, tmp_path, monkeypatch):
    def flock(*_):
        raise OSError(number, "held")

    monkeypatch.setattr(fcntl, "flock", flock)
    with (tmp_path / "a").open("wb") as file:
        assert lock_file(file) == "busy"


def test_closing_unlocks(tmp_path):
    with (tmp_path / "a").open("wb") as file:
        assert lock_file(file) == "locked"
        with (tmp_path / "a").open("ab") as other:
            assert lock_file(other) == "busy"
    with (tmp_path / "a").open("ab") as other:
        assert lock_file(other) == "locked"
