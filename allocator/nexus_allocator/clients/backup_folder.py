"""The folder of one backup: its files with their checksums, and a manifest that is written last."""

import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from nexus_allocator.domain.backups import DIGEST, MANIFEST, File, Manifest, object_path, read_manifest
from nexus_allocator.domain.errors import BadBackup

CHUNK_BYTES = 1 << 20


class BackupFolder:
    def __init__(self, path: Path) -> None:
        self.path = path

    # -- writing

    def make(self) -> None:
        """Make the folder, for its maker alone. Raises FileExistsError."""
        self.path.mkdir(mode=0o700, parents=True)

    def copy_folder(self, source: Path, name: str) -> None:
        """Copy a folder's files; links are not followed, and files still being written are left out."""
        for found in _files_of(source):
            if found.suffix == ".part":
                continue
            target = self.path / name / found.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(found, target)

    def keep_object(self, body: Iterable[bytes]) -> tuple[int, str]:
        """Keep an object's content under its SHA-256; return its size and that."""
        part, size, digest = self.path / "object.part", 0, hashlib.sha256()
        with part.open("wb") as out:
            for chunk in body:
                size += len(chunk)
                digest.update(chunk)
                out.write(chunk)
        target = self.path / object_path(digest.hexdigest())
        target.parent.mkdir(parents=True, exist_ok=True)
        part.replace(target)
        return size, digest.hexdigest()

    def files(self) -> tuple[File, ...]:
        """Return every file there is but the manifest, by its path."""
        own = {self.path / MANIFEST, self.path / DIGEST}
        return tuple(self._file(each) for each in _files_of(self.path) if each not in own)

    def finish(self, manifest: Manifest) -> str:
        """Write the manifest and, last, its SHA-256; return that. Without it there is no backup here."""
        for each in _files_of(self.path):
            _onto_disk(each)
        text = manifest.as_json()
        digest = hashlib.sha256(text.encode()).hexdigest()
        for name, content in ((MANIFEST, text), (DIGEST, f"{digest}\n")):
            (self.path / name).write_text(content)
            _onto_disk(self.path / name)
        return digest

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)

    # -- reading

    def digest(self) -> str:
        """Return the manifest's SHA-256 as the folder has it. Raises BadBackup."""
        try:
            return (self.path / DIGEST).read_text().strip()
        except OSError as error:
            raise BadBackup(problem=f"{self.path} holds no finished backup") from error

    def read(self) -> Manifest:
        """Return the manifest, once each file was seen to be as it says. Raises BadBackup."""
        try:
            text = (self.path / MANIFEST).read_text()
        except (OSError, ValueError) as error:
            raise BadBackup(problem=f"{self.path} holds no finished backup") from error
        if hashlib.sha256(text.encode()).hexdigest() != self.digest():
            raise BadBackup(problem="its manifest was altered")
        manifest = read_manifest(text)
        found = {each.path: each for each in self.files()}
        for wanted in manifest.files:
            if found.pop(wanted.path, None) != wanted:
                raise BadBackup(problem=f"{wanted.path} is missing, cut short or altered")
        if found:
            raise BadBackup(problem=f"{min(found)} is not of it")
        return manifest

    def bring_back(self, name: str, target: Path) -> None:
        """Copy a folder of the backup to ``target``, which is empty or not there."""
        target.mkdir(parents=True, exist_ok=True)
        for each in _files_of(self.path / name):
            where = target / each.relative_to(self.path / name)
            where.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(each, where)

    def _file(self, path: Path) -> File:
        with path.open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256")
        return File(path.relative_to(self.path).as_posix(), path.stat().st_size, digest.hexdigest())


def empty_out(folder: Path) -> None:
    """Remove what a folder holds, and keep the folder: it may be a mount."""
    for each in folder.iterdir() if folder.exists() else ():
        shutil.rmtree(each) if each.is_dir() else each.unlink()


def finished(parent: Path) -> list[Path]:
    """Return the folders of finished backups, the oldest first: they are named by their moment."""
    return sorted(path.parent for path in parent.glob(f"*/{DIGEST}"))


def _files_of(folder: Path) -> Iterator[Path]:
    yield from sorted(each for each in folder.rglob("*") if each.is_file() and not each.is_symlink())


def _onto_disk(path: Path) -> None:
    with path.open("rb") as written:
        os.fsync(written.fileno())
