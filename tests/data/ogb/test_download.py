"""Downloads continue where they stopped; archives are unpacked completely or not at all; nothing is deleted."""

from __future__ import annotations

import hashlib
import http.server
import re
import shutil
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("ogb")

from lcat.data import DatasetUnavailable, load_ogb, write_standin
from lcat.data.ogb import load as ogb_module
from lcat.data.ogb.download import download, unpack
from tests.data.ogb.support import nothing_lost, shut_off, snapshot

CONTENT = bytes(range(256)) * 5000


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        content = server.files.get(self.path)
        if content is None:
            return self.send_error(404)
        range_match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")) if server.ranges else None
        start = int(range_match[1]) if range_match else 0
        server.starts.append(start)
        if start >= len(content) and range_match:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            return self.end_headers()
        self.send_response(206 if range_match else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        # A connection that breaks after so many bytes, if the test wants one.
        end = start + server.breaks.pop(0) if server.breaks else len(content)
        self.wfile.write(content[start:end])

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    shut_off(monkeypatch, local=True)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.files, server.breaks, server.starts, server.ranges = {"/a.bin": CONTENT}, [], [], True
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def fetch(server, path, **more):
    return download(f"{server.url}/a.bin", path, progress=False, timeout=5, **more)


def test_whole(server, tmp_path):
    path = fetch(server, tmp_path / "sub/a.bin", sha256=hashlib.sha256(CONTENT).hexdigest())
    assert path.read_bytes() == CONTENT
    assert [file.name for file in path.parent.iterdir()] == ["a.bin"]
    fetch(server, path)
    assert server.starts == [0]  # what is there is not fetched again


def test_goes_on_where_the_connection_broke(server, tmp_path):
    server.breaks = [100_000, 300_000]
    assert fetch(server, tmp_path / "a.bin").read_bytes() == CONTENT
    assert server.starts == [0, 100_000, 400_000]


def test_goes_on_in_a_later_run(server, tmp_path):
    (tmp_path / "a.bin.part").write_bytes(CONTENT[:700_000])
    assert fetch(server, tmp_path / "a.bin").read_bytes() == CONTENT
    assert server.starts == [700_000]


def test_a_complete_part_becomes_the_file(server, tmp_path):
    (tmp_path / "a.bin.part").write_bytes(CONTENT)
    assert fetch(server, tmp_path / "a.bin").read_bytes() == CONTENT


def test_a_part_that_is_too_long_is_told(server, tmp_path):
    (tmp_path / "a.bin.part").write_bytes(CONTENT + b"x")
    with pytest.raises(DatasetUnavailable, match="move it away"):
        fetch(server, tmp_path / "a.bin")
    assert (tmp_path / "a.bin.part").stat().st_size == len(CONTENT) + 1


def test_a_server_without_ranges_sends_all_again(server, tmp_path):
    server.ranges = False
    (tmp_path / "a.bin.part").write_bytes(b"wrong" * 10)
    assert fetch(server, tmp_path / "a.bin").read_bytes() == CONTENT


def test_gives_up_and_keeps_what_came(server, tmp_path):
    server.breaks = [100_000, 0, 0, 0]
    with pytest.raises(DatasetUnavailable, match=r"0\.1 MB are in .*a\.bin\.part; run again to continue from there"):
        fetch(server, tmp_path / "a.bin")
    assert (tmp_path / "a.bin.part").read_bytes() == CONTENT[:100_000]


def test_errors_are_one_line(server, tmp_path, monkeypatch):
    with pytest.raises(DatasetUnavailable, match="the server answers 404"):
        download(f"{server.url}/none", tmp_path / "none", progress=False)
    with pytest.raises(DatasetUnavailable, match=r"has the SHA-256 [0-9a-f]{64}; expected 00"):
        fetch(server, tmp_path / "a.bin", sha256="00")
    assert (tmp_path / "a.bin").exists()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 10, 5))
    with pytest.raises(DatasetUnavailable, match=r"0\.0 GB are free"):
        fetch(server, tmp_path / "b.bin")
    shut_off(monkeypatch)
    with pytest.raises(DatasetUnavailable, match=r"no network or no answer .*nothing came") as caught:
        download("http://snap.stanford.edu/x.zip", tmp_path / "x.zip", progress=False)
    assert "\n" not in str(caught.value)


def make_archive(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in files.items():
            file.writestr(name, content)
    return path


def test_unpacks_what_is_missing_and_keeps_what_is_there(tmp_path):
    archive = make_archive(tmp_path / "a.zip", {"top/raw/one": b"1", "top/raw/two": b"2", "other/three": b"3"})
    unpack(archive, "top", tmp_path / "new", progress=False)
    assert snapshot(tmp_path / "new") == {"raw/one": b"1", "raw/two": b"2"}
    (tmp_path / "old/raw").mkdir(parents=True)
    (tmp_path / "old/raw/one").write_bytes(b"mine")
    unpack(archive, "top", tmp_path / "old", progress=False)
    assert snapshot(tmp_path / "old") == {"raw/one": b"mine", "raw/two": b"2"}
    assert {path.name for path in tmp_path.iterdir()} == {"a.zip", "new", "old"}


@pytest.mark.long
def test_what_a_killed_process_unpacked_is_gone_after_the_next(tmp_path):
    archive = make_archive(tmp_path / "a.zip", {"top/raw/one": b"1", "top/raw/two": b"2"})
    code = """
import os, sys, zipfile
from lcat.data.ogb.download import unpack
extract = zipfile.ZipFile.extract
def killed(*arguments):
    extract(*arguments)
    os._exit(9)
zipfile.ZipFile.extract = killed
unpack(sys.argv[1], "top", sys.argv[2], progress=False)
"""
    for _ in range(2):
        command = [sys.executable, "-c", code, archive, tmp_path / "new"]
        assert subprocess.run(command, check=False).returncode == 9
        [left] = (path for path in tmp_path.iterdir() if path != archive)
        assert left.name.startswith(".writing-")
    unpack(archive, "top", tmp_path / "new", progress=False)
    assert {path.name for path in tmp_path.iterdir()} == {"a.zip", "new"}


def test_an_archive_cannot_write_elsewhere(tmp_path):
    archive = make_archive(tmp_path / "a.zip", {"top/../../evil": b"1", "top/good": b"2", "/abs": b"3"})
    (tmp_path / "in").mkdir()
    unpack(archive, "top", tmp_path / "in/new", progress=False)
    assert (tmp_path / "in/new/good").exists()
    assert not (tmp_path / "evil").exists()
    assert not (tmp_path / "in/evil").exists()


@pytest.mark.parametrize("how", ["half", "one byte", "empty"])
def test_a_damaged_archive_is_told(how, tmp_path):
    archive = make_archive(tmp_path / "a.zip", {"top/raw/one": bytes(range(256)) * 100})
    content = bytearray(archive.read_bytes())
    content[80] ^= 0xFF
    archive.write_bytes({"half": content[: len(content) // 2], "one byte": content, "empty": b""}[how])
    before = snapshot(tmp_path)
    with pytest.raises(DatasetUnavailable, match=r"incomplete or damaged .*rename it to a\.zip\.part"):
        unpack(archive, "top", tmp_path / "new", progress=False)
    assert snapshot(tmp_path) == before


def test_another_archive_is_told(tmp_path):
    archive = make_archive(tmp_path / "a.zip", {"other/three": b"3"})
    with pytest.raises(DatasetUnavailable, match="holds other; expected a folder top"):
        unpack(archive, "top", tmp_path / "new", progress=False)


@pytest.fixture
def served(server, tmp_path, monkeypatch):
    """A stand-in of ogbn-arxiv that a server offers as OGB's archive."""
    folder = write_standin("ogbn-arxiv", tmp_path / "made", nodes=200)
    files = {f"arxiv/{name}": content for name, content in snapshot(folder).items()}
    server.files["/arxiv.zip"] = make_archive(tmp_path / "served.zip", files).read_bytes()
    master = ogb_module._master()
    master["ogbn-arxiv"]["url"] = f"{server.url}/arxiv.zip"
    monkeypatch.setattr(ogb_module, "_master", lambda: master)
    monkeypatch.setattr(ogb_module, "CHECKSUMS", {})
    return server


def test_from_the_network_to_a_data_set(served, tmp_path):
    served.breaks = [10_000]
    dataset = load_ogb("ogbn-arxiv", tmp_path / "root", progress=False)
    assert dataset.data.num_nodes == 200
    assert {path.name for path in (tmp_path / "root").iterdir()} == {"arxiv.zip", "ogbn_arxiv"}
    assert served.starts == [0, 10_000]


def test_a_half_downloaded_archive_is_told_and_can_be_finished(served, tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    content = served.files["/arxiv.zip"]
    (root / "arxiv.zip").write_bytes(content[: len(content) // 2])  # as a killed run of OGB leaves it
    before = snapshot(root)
    with pytest.raises(DatasetUnavailable, match=r"rename it to arxiv\.zip\.part to continue"):
        load_ogb("ogbn-arxiv", root, progress=False)
    assert nothing_lost(before, root)
    (root / "arxiv.zip").rename(root / "arxiv.zip.part")
    assert load_ogb("ogbn-arxiv", root, progress=False).num_classes == 40
    assert served.starts == [len(content) // 2]


def test_the_known_checksum_is_held(served, tmp_path, monkeypatch):
    monkeypatch.setattr(ogb_module, "CHECKSUMS", {"ogbn-arxiv": "00"})
    with pytest.raises(DatasetUnavailable, match="expected 00"):
        load_ogb("ogbn-arxiv", tmp_path / "root", progress=False)
    assert not (tmp_path / "root/ogbn_arxiv").exists()


def test_a_folder_left_half_by_others_is_completed(served, tmp_path):
    root = tmp_path / "root"
    (root / "ogbn_arxiv/raw").mkdir(parents=True)
    (root / "ogbn_arxiv/mine.txt").write_text("mine")
    load_ogb("ogbn-arxiv", root, progress=False)
    assert (root / "ogbn_arxiv/mine.txt").read_text() == "mine"
