"""Downloads that continue where they stopped, and archives that are unpacked completely or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import re
import shutil
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from lcat._files import move_file, scratch_folder
from lcat._locks import lock_file
from lcat._progress import progress_bar
from lcat.data.datasets.load import DatasetUnavailable

__all__ = ["download", "unpack"]

_CHUNK = 1 << 20
#: Attempts in a row without a single new byte before a download is given up.
_ATTEMPTS = 3


class _Stopped(Exception):
    """The connection ended early; what has come is in the file."""


def download(
    url: str, path: str | Path, *, sha256: str | None = None, progress: bool = True, timeout: float = 30.0
) -> Path:
    """Fetch ``url`` to ``path``; a download that was interrupted continues where it stopped.

    Bytes go to ``path.part`` (so named until the last one is there). A later call asks the server for the rest of
    it. Ctrl-C, a lost connection and a full disk leave the part where it is.

    Args:
        url: http or https.
        path: file to make; if it exists, it is only checked.
        sha256: its SHA-256 in hexadecimal digits, where known.
        progress: a bar with the time left, on standard error.
        timeout: seconds of silence after which a connection counts as lost.

    Returns:
        ``path``.

    Raises:
        DatasetUnavailable: one line with the address, how far it came and why it stopped, or both checksums. No
            file is removed.
    """
    path = Path(path)
    if not path.exists():
        part = path.with_name(path.name + ".part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with part.open("ab") as file, _only_one(file, path):
                _fetch(url, file, part, progress, timeout)
                file.flush()
                os.fsync(file.fileno())
            move_file(part, path)
        except OSError as error:
            raise DatasetUnavailable(f"{url}: cannot be written to {part} ({_reason(error)})") from error
    _check_sum(path, sha256, progress)
    return path


def unpack(archive: str | Path, top: str, folder: str | Path, *, progress: bool = True) -> None:
    """Unpack the folder ``top`` of a zip file as ``folder``, completely or not at all.

    Files that ``folder`` holds already stay as they are; missing ones are added. The archive stays.

    Args:
        archive: the zip file; every file in it is read against its checksum.
        top: name of the folder inside.
        folder: where its content belongs.
        progress: a bar with the time left, on standard error.

    Raises:
        DatasetUnavailable: if the archive is incomplete, damaged, holds something else, or does not fit the disk.
    """
    archive, folder = Path(archive), Path(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(archive) as file, scratch_folder(folder) as fresh:
            members = [member for member in file.infolist() if member.filename.startswith(f"{top}/")]
            if not members:
                folders = sorted({name.split("/")[0] for name in file.namelist()})
                raise DatasetUnavailable(
                    f"{archive} holds {', '.join(folders) or 'nothing'}; expected a folder {top}. Move it away"
                )
            _need_room(folder.parent, sum(member.file_size for member in members), archive.name)
            with _bar(sum(member.file_size for member in members), f"unpacking {archive.name}", progress) as bar:
                for member in members:
                    file.extract(member, fresh)
                    bar.update(member.file_size)
            _add_missing(fresh / top, folder)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise DatasetUnavailable(
            f"{archive} is incomplete or damaged ({_reason(error)}); rename it to {archive.name}.part to "
            "continue downloading where it stopped, or move it away to download it again"
        ) from error
    except OSError as error:
        raise DatasetUnavailable(f"{archive} cannot be unpacked to {folder} ({_reason(error)})") from error


def _fetch(url: str, file: IO[bytes], part: Path, progress: bool, timeout: float) -> None:
    """Append to ``file`` until it has all bytes of ``url``."""
    failures = 0
    while True:
        before = file.seek(0, os.SEEK_END)
        try:
            if _fetch_once(url, file, part, progress, timeout):
                return
            reason = "the connection ended early"
        except (urllib.error.URLError, http.client.HTTPException, _Stopped, ConnectionError, TimeoutError) as error:
            if isinstance(error, urllib.error.HTTPError) and error.code < 500:
                raise DatasetUnavailable(f"{url}: the server answers {error.code} {error.reason}") from error
            reason = _reason(error)
        file.flush()
        now = file.seek(0, os.SEEK_END)
        failures = 0 if now > before else failures + 1
        if failures >= _ATTEMPTS or (now == 0 and failures):
            how_far = f"{now / 1e6:.1f} MB are in {part}; run again to continue from there" if now else "nothing came"
            raise DatasetUnavailable(f"{url}: no network or no answer ({reason}); {how_far}")


def _fetch_once(url: str, file: IO[bytes], part: Path, progress: bool, timeout: float) -> bool:
    """One connection; True if the file is complete after it."""
    have = file.tell()
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        answer = urllib.request.urlopen(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:  # nothing is left to send
            total = _number(r"\*/(\d+)", error.headers.get("Content-Range"))
            if total == have:
                return True
            raise DatasetUnavailable(
                f"{part} holds {have} bytes and the file at {url} has {total or 'fewer'}; move it away"
            ) from error
        raise
    with answer:
        if have and answer.status != 206:  # a server that cannot continue in the middle sends all of it again
            have = 0
            file.truncate(0)
            file.seek(0)
        length = answer.headers.get("Content-Length")
        total = have + int(length) if length is not None else None
        if total is not None:
            _need_room(part.parent, total - have, url)
        with _bar(total, f"downloading {url.rpartition('/')[2]}", progress, have) as bar:
            try:
                while chunk := answer.read(_CHUNK):
                    file.write(chunk)
                    bar.update(len(chunk))
            except (http.client.HTTPException, ConnectionError, TimeoutError) as error:
                raise _Stopped(_reason(error)) from error
        return total is None or file.tell() >= total


def _check_sum(path: Path, expected: str | None, progress: bool) -> None:
    if expected is None:
        return
    digest = hashlib.sha256()
    with path.open("rb") as file, _bar(path.stat().st_size, f"checking {path.name}", progress) as bar:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            bar.update(len(chunk))
    if digest.hexdigest() != expected:
        raise DatasetUnavailable(
            f"{path} has the SHA-256 {digest.hexdigest()}; expected {expected}. Move it away to download it again, or "
            "unpack it by hand if you trust it"
        )


def _add_missing(source: Path, target: Path) -> None:
    if not target.exists():
        source.rename(target)
        return
    for path in sorted(source.rglob("*")):
        destination = target / path.relative_to(source)
        if path.is_dir():
            destination.mkdir(exist_ok=True)
        elif not destination.exists():
            path.replace(destination)


def _need_room(folder: Path, wanted: int, what: str) -> None:
    free = shutil.disk_usage(folder).free
    if wanted > free:
        raise DatasetUnavailable(f"{what} needs {wanted / 1e9:.1f} GB in {folder}, where {free / 1e9:.1f} GB are free")


@contextlib.contextmanager
def _only_one(file: IO[bytes], path: Path) -> Iterator[None]:
    """A lock on the file that ends with the process; where there is none, two downloads are not distinguished."""
    if lock_file(file) == "busy":
        raise DatasetUnavailable(f"another process is downloading {path}; wait for it")
    yield


def _bar(total: int | None, text: str, progress: bool, initial: int = 0) -> Any:
    return progress_bar(total, text, "B", show=progress, initial=initial, unit_scale=True)


def _number(pattern: str, text: str | None) -> int | None:
    match = re.search(pattern, text or "")
    return int(match[1]) if match else None


def _reason(error: BaseException) -> str:
    inner = getattr(error, "reason", None)
    text = str(inner if inner is not None else error)
    return " ".join(text.split()) or type(error).__name__
