"""What the tests of OGB's data sets share: a closed standard input, no network, and snapshots of a folder."""

from __future__ import annotations

import io
import os
import socket
from pathlib import Path

import pytest


def snapshot(folder: Path) -> dict[str, bytes]:
    """Every file under ``folder`` and its content."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def nothing_lost(before: dict[str, bytes], folder: Path) -> bool:
    after = snapshot(folder)
    return all(after.get(name) == content for name, content in before.items())


def shut_off(monkeypatch: pytest.MonkeyPatch, local: bool = False) -> None:
    """No question can be asked and no other machine be reached (``local``: this one can)."""
    monkeypatch.setattr("sys.stdin", io.StringIO())
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("a question was asked"))
    real = socket.socket.connect

    def connect(self, address):
        if local and address[0] == "127.0.0.1":
            return real(self, address)
        raise OSError(101, "Network is unreachable")

    monkeypatch.setattr(socket.socket, "connect", connect)
    if not local:
        monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: (_ for _ in ()).throw(OSError("no network")))


class Evil:
    """A pickle that runs code when it is read: it makes the file ``path``."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (os.system, (f"touch {self.path}",))
