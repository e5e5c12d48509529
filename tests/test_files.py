"""A file has its old content or all of the new, whatever happens on the way, and nothing else is left."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from lcat import _files
from lcat._files import as_path, disk_error, move_file, replace_file, reserve, scratch_folder, shorten_file_name


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "numbers.txt"
    path.write_bytes(b"old")
    return path


def content(path):
    """The only file in its folder."""
    assert list(path.parent.iterdir()) == [path]
    return path.read_bytes()


def test_new_and_replaced(path):
    replace_file(path, lambda file: file.write(b"new"))
    assert content(path) == b"new"
    path.unlink()
    replace_file(str(path), lambda file: file.write(b"from nothing"))
    assert content(path) == b"from nothing"


def test_writers_may_seek(path):
    def write(file):
        file.write(b"0000 rows")
        file.seek(0)
        file.write(b"0012")

    replace_file(path, write)
    assert content(path) == b"0012 rows"


def test_a_name_of_the_length_that_systems_allow(tmp_path):
    path = tmp_path / ("n" * 255)
    replace_file(path, lambda file: file.write(b"new"))
    assert content(path) == b"new"


@pytest.mark.parametrize("error", [ValueError("no row"), KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left")])
def test_the_old_file_stays_when_writing_fails(path, error):
    def write(file):
        file.write(b"half of the n")
        raise error

    with pytest.raises(type(error)) as caught:
        replace_file(path, write)
    assert caught.value is error
    assert content(path) == b"old"


@pytest.mark.parametrize("step", ["flush", "rename"])
def test_the_old_file_stays_when_the_system_refuses(path, monkeypatch, step):
    def refuse(*arguments):
        raise OSError(errno.EIO, "Input/output error")

    owner, name = {"flush": (os, "fsync"), "rename": (Path, "replace")}[step]
    monkeypatch.setattr(owner, name, refuse)
    with pytest.raises(OSError, match="Input/output error"):
        replace_file(path, lambda file: file.write(b"new"))
    assert content(path) == b"old"


def test_a_missing_folder(tmp_path):
    with pytest.raises(FileNotFoundError):
        replace_file(tmp_path / "missing" / "file", lambda file: file.write(b"new"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="permissions of POSIX")
@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_permissions_are_those_of_an_opened_file(path, mask):
    before = os.umask(mask)
    try:
        replace_file(path, lambda file: file.write(b"new"))
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask


def test_file_and_folder_are_flushed_in_order(path, monkeypatch):
    steps = []
    fsync, replace = os.fsync, Path.replace

    def flushed(descriptor):
        steps.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def replaced(self, target):
        steps.append("rename")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", flushed)
    monkeypatch.setattr(Path, "replace", replaced)
    replace_file(path, lambda file: file.write(b"new"))
    assert steps == ["file", "rename", "folder"] if hasattr(os, "O_DIRECTORY") else ["file", "rename"]


@pytest.mark.parametrize("number", sorted(_files._NO_FLUSH_OF_FOLDERS))
def test_file_systems_that_cannot_flush_a_folder(path, monkeypatch, number):
    fsync = os.fsync

    def flushed(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", flushed)
    replace_file(path, lambda file: file.write(b"new"))
    assert content(path) == b"new"


def test_many_writers_of_one_file(path):
    """Each of them writes a file of its own, so the last rename wins and no content is mixed."""
    contents = [bytes([65 + number]) * 100_000 for number in range(8)]
    threads = [
        threading.Thread(target=replace_file, args=(path, lambda file, one=one: file.write(one))) for one in contents
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert content(path) in contents


@pytest.mark.skipif(os.name == "nt", reason="locks of POSIX")
def test_what_a_killed_writer_left_is_used_again(path):
    """However often: a run that is killed in every checkpoint leaves one file, and the next checkpoint takes it."""
    script = (
        "import os, sys\n"
        "from lcat._files import replace_file\n"
        "replace_file(sys.argv[1], lambda file: (file.write(b'half of it'), file.flush(), os._exit(9)))\n"
    )
    for _ in range(3):
        assert subprocess.run([sys.executable, "-c", script, str(path)], check=False).returncode == 9
    assert len(list(path.parent.iterdir())) == 2
    replace_file(path, lambda file: file.write(b"new"))
    assert content(path) == b"new"


def test_two_writers_at_once(path):
    """The second one writes a file of its own, and neither touches the other's."""

    def write(file):
        file.write(b"first")
        replace_file(path, lambda other: other.write(b"second"))
        assert path.read_bytes() == b"second"

    replace_file(path, write)
    assert content(path) == b"first"


def test_file_systems_without_locks(path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")

    def refuse(*arguments):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    path.with_name(_files._usual_name(path).name).write_bytes(b"left by somebody")
    replace_file(path, lambda file: file.write(b"new"))
    assert path.read_bytes() == b"new"
    with scratch_folder(path) as folder:
        assert list(folder.iterdir()) == []
    assert not folder.exists()


@pytest.mark.skipif(os.name == "nt", reason="symbolic links of POSIX")
def test_of_a_symbolic_link_the_file_is_replaced(tmp_path):
    (tmp_path / "disk").mkdir()
    target, link = tmp_path / "disk" / "run.ckpt", tmp_path / "run.ckpt"
    link.symlink_to(target)
    for text in (b"one", b"two"):  # the first one makes the file
        replace_file(link, lambda file, text=text: file.write(text))
        assert link.is_symlink()
        assert content(target) == text


def test_scratch_folders(tmp_path):
    path = tmp_path / "results"
    with scratch_folder(path) as folder:
        (folder / "a").mkdir()
        (folder / "a" / "part").write_text("1")
        with scratch_folder(path) as other:
            assert other != folder
        assert not other.exists()
        assert (folder / "a" / "part").exists()
    assert list(tmp_path.iterdir()) == []
    left = _files._usual_name(path)
    (left / "of a killed process").mkdir(parents=True)
    (left / "file").write_text("1")
    with scratch_folder(path) as folder:
        assert list(folder.iterdir()) == []
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(FileNotFoundError), scratch_folder(tmp_path / "missing" / "x"):
        pass


def test_move_file(path):
    part = path.with_name("numbers.part")
    part.write_bytes(b"new")
    move_file(part, path)
    assert content(path) == b"new"
    with pytest.raises(FileNotFoundError):
        move_file(part, path)


def test_an_empty_string_is_no_path():
    with pytest.raises(
        ValueError, match=r"expected a path as 'folder', got an empty string; '\.' is the current folder"
    ):
        as_path("folder", "")
    with pytest.raises(ValueError, match=r"'folder', got 'a\\x00b': no file name can hold a zero byte"):
        as_path("folder", "a\0b")
    assert as_path("folder", ".") == Path()


def test_the_error_of_a_full_disk_behind_that_of_the_writer(path, small_files):
    with pytest.raises(OSError, match="File too large") as caught, small_files(1000):
        replace_file(path, lambda file: torch.save(torch.zeros(10_000), file))  # of torch: a RuntimeError
    assert caught.value.filename == str(path)
    assert content(path) == b"old"


def test_no_error_of_the_disk():
    assert disk_error(ValueError("no row")) is None
    assert disk_error(FileNotFoundError(errno.ENOENT, "No such file")) is None


def test_reserved_files_have_their_room_or_do_not_begin(tmp_path, small_files, monkeypatch):
    path = tmp_path / "rows.bin"
    for size in (0, 5000):
        reserve(path, size)
        assert path.read_bytes() == bytes(size)
    if hasattr(path.stat(), "st_blocks"):
        assert path.stat().st_blocks * 512 >= 5000
    with pytest.raises(OSError, match=r"File too large: .*rows\.bin"), small_files(1000):
        reserve(path, 5000)

    def refuse(*arguments):
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(os, "posix_fallocate", refuse, raising=False)
    reserve(path, 3000)
    assert path.read_bytes() == bytes(3000)


def test_long_names_are_cut_and_stay_apart():
    long = ["é" * 300, "é" * 301]
    short = [shorten_file_name(name) for name in long]
    assert all(len(name.encode()) <= 120 and name.startswith("é" * 50) for name in short)
    assert short[0] != short[1]
    assert shorten_file_name("cora") == "cora"
