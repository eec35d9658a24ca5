"""Where products lie: bare paths, ``file://`` and ``s3://`` by one set of functions.

A product is complete or not there at all: local files appear by rename, objects by a single put.
"""

import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any, Final

import fsspec

from nexus_pipeline.errors import StorageError, UnreadableProductError

Writer = Callable[[IO[bytes]], None]
_MISSING: Final = (FileNotFoundError, NotADirectoryError, IsADirectoryError)


def is_local(url: str) -> bool:
    """Say whether ``url`` is a bare path or ``file://``."""
    return "://" not in url or url.startswith("file://")


def local_path(url: str) -> Path:
    """Return the path of a local ``url``."""
    return Path(url.removeprefix("file://")).expanduser()


def file_name(url: str) -> str:
    """Return the last part of ``url``."""
    return PurePosixPath(url.rstrip("/")).name


def join(folder: str, name: str) -> str:
    """Return the URL of ``name`` in ``folder``."""
    return f"{folder.rstrip('/')}/{name}" if folder != "/" else f"/{name}"


def absolute(url: str) -> str:
    """Return ``url`` so that it means the same from any folder."""
    return str(local_path(url).absolute()) if is_local(url) else url


def exists(url: str) -> bool:
    """Say whether there is a file or object at ``url``; StorageError if the place cannot be asked."""
    if is_local(url):
        return local_path(url).exists()
    with _storage_errors(url):
        return bool(_remote(url).exists(url))


def is_folder(url: str) -> bool:
    """Say whether ``url`` is a folder, or a prefix of objects; StorageError if the place cannot be asked."""
    if is_local(url):
        return local_path(url).is_dir()
    with _storage_errors(url):
        return bool(_remote(url).isdir(url))


def listed(folder: str) -> list[str]:
    """Return the names of what lies in ``folder``, in order; none where there is no such folder."""
    with _storage_errors(folder, "listed"):
        try:
            if is_local(folder):
                return sorted(path.name for path in local_path(folder).iterdir())
            return sorted(file_name(path) for path in _remote(folder).ls(folder, detail=False))
        except _MISSING:
            return []


@contextmanager
def open_for_reading(url: str) -> Iterator[IO[bytes]]:
    """Open ``url`` for random access; UnreadableProductError if it is not there or may not be read."""
    try:
        handle = local_path(url).open("rb") if is_local(url) else _remote(url).open(url, "rb")
    except _MISSING as error:
        raise UnreadableProductError(f"{url}: no such file", url=url) from error
    except PermissionError as error:
        raise UnreadableProductError(
            f"{url}: may not be read ({error.strerror or error})", url=url
        ) from error
    except OSError as error:
        raise StorageError(f"{url}: could not be opened ({error})", url=url) from error
    with handle:
        yield handle


def save(url: str, write: Writer) -> None:
    """Let ``write`` fill a new file and put it at ``url`` once it is whole.

    Folders on the way are made. Whatever interrupts the writing (an error, Ctrl-C) leaves no
    trace and an older file as it was. StorageError on a full disk or a refusing store.
    """
    with _storage_errors(url):
        if is_local(url):
            _save_locally(local_path(url), write)
        else:
            _save_remotely(url, write)


def remove_folder(url: str) -> None:
    """Take away the folder or prefix ``url`` with all in it; StorageError where that is refused."""
    with _storage_errors(url, "removed"):
        if is_local(url):
            shutil.rmtree(local_path(url))
        else:
            _remote(url).rm(url, recursive=True)


def _save_locally(path: Path, write: Writer) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with part.open("x+b") as handle:
            write(handle)
            handle.flush()
            os.fsync(handle.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _save_remotely(url: str, write: Writer) -> None:
    with tempfile.NamedTemporaryFile(suffix=".part") as handle:
        # The wrapper is no io.IOBase, which asdf asks for; the file in it is.
        write(handle.file)
        handle.flush()
        _remote(url).put_file(handle.name, url)


def _remote(url: str) -> Any:
    """Return the file system of ``url``; endpoint and keys come from the environment as boto has it."""
    try:
        return fsspec.filesystem(url.split("://", 1)[0])
    except (ImportError, ValueError) as error:
        raise StorageError(f"{url}: {error}", url=url) from error


@contextmanager
def _storage_errors(url: str, done: str = "written") -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise StorageError(f"{url}: could not be {done}: {reason}", url=url, errno=error.errno) from error
