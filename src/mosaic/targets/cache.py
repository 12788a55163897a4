"""A cache on disk whose entries are named by what made them, safe against several writers and against damage.

    root/v1/3f/3f0c…/entry.json        the SHA-256 of each of the entry's files
    root/v1/3f/3f0c…/kernel.cubin      any names
    root/tmp/…                         entries being written or being removed

An entry appears and disappears whole (a rename); of two writers of one key the first wins. A file that doesn't match its
digest makes the entry a miss, and it is removed. Reading an entry renews its time; the least recently used go first when the
cache outgrows its bound. The root is $MOSAIC_CACHE, else ~/.cache/mosaic.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mosaic.errors import InputError

LAYOUT: Final = "v1"
_INDEX: Final = "entry.json"
_STALE_SECONDS: Final = 3600.0  # what lies in tmp/ this long was left by a process that died


def default_root() -> Path:
    """$MOSAIC_CACHE, else ~/.cache/mosaic."""
    named = os.environ.get("MOSAIC_CACHE")
    return Path(named).expanduser() if named else Path.home() / ".cache" / "mosaic"


def key_of(*parts: str | bytes) -> str:
    """SHA-256 over the parts, each preceded by its length, so that no two lists of parts run together."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()


@dataclass(frozen=True)
class Entry:
    """What is stored under a key: where, and the content of each file, checked against its digest.

    The files may be evicted later by any process; the content held here stays.
    """

    path: Path
    files: Mapping[str, bytes]

    def file(self, name: str) -> Path:
        """Where the file of that name lies."""
        return self.path / name


class Cache:
    """Named files by key. `limit` bounds its size in bytes."""

    def __init__(self, root: Path | str | None = None, *, limit: int = 4 << 30) -> None:
        self.root = Path(root) if root is not None else default_root()
        self.limit = limit

    def get(self, key: str) -> Entry | None:
        """The entry of that key, or None if there is none that is whole."""
        path = self._path(key)
        try:
            digests: dict[str, str] = json.loads((path / _INDEX).read_bytes())["sha256"]
            files = {name: (path / name).read_bytes() for name in digests}
            whole = all(hashlib.sha256(data).hexdigest() == digests[name] for name, data in files.items())
        except FileNotFoundError:
            if not path.is_dir():
                return None
            whole, files = False, {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            whole, files = False, {}
        if not whole:
            self._remove(path)
            return None
        with contextlib.suppress(OSError):  # a cache that may be read only still serves
            os.utime(path)
        return Entry(path, files)

    def put(self, key: str, files: Mapping[str, bytes]) -> Entry:
        """Store the files under the key, whole or not at all, and make room if the bound is passed.

        Raises InputError if the cache's folder cannot be written.
        """
        path = self._path(key)
        try:
            temporary = self._temporary()
            try:
                for name, data in files.items():
                    (temporary / name).write_bytes(data)
                index = {"sha256": {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}, "bytes": _total(files)}
                (temporary / _INDEX).write_text(json.dumps(index))
                path.parent.mkdir(parents=True, exist_ok=True)
                # Where the key is taken by now, another writer was first: the same key was made from the same inputs.
                with contextlib.suppress(FileExistsError):
                    _rename_whole(temporary, path)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise InputError(
                f"cannot write the cache folder {self.root} ({reason}); set MOSAIC_CACHE to a folder that can be written"
            ) from error
        self._evict(keep=path)
        return Entry(path, dict(files))

    def size(self) -> int:
        """Bytes of all entries."""
        return sum(size for _, _, size in self._entries())

    def clear(self) -> None:
        """Remove all entries."""
        for path, _, _ in list(self._entries()):
            self._remove(path)

    def _path(self, key: str) -> Path:
        return self.root / LAYOUT / key[:2] / key

    def _temporary(self) -> Path:
        folder = self.root / "tmp"
        folder.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(dir=folder))

    def _remove(self, path: Path) -> None:
        """Take an entry away whole: renamed first, so that no reader finds half of it."""
        with contextlib.suppress(OSError):
            grave = self._temporary()
            with contextlib.suppress(OSError):
                path.rename(grave / "entry")
            shutil.rmtree(grave, ignore_errors=True)

    def _entries(self) -> Iterator[tuple[Path, float, int]]:
        """Every entry with the time of its last use and its bytes. What vanishes meanwhile is left out."""
        for index in (self.root / LAYOUT).glob(f"*/*/{_INDEX}"):
            with contextlib.suppress(OSError, ValueError):
                files = [file.stat() for file in index.parent.iterdir()]
                yield index.parent, index.parent.stat().st_mtime, sum(file.st_size for file in files)

    def _evict(self, keep: Path) -> None:
        entries = sorted(self._entries(), key=lambda entry: entry[1])
        total = sum(size for _, _, size in entries)
        for path, _, size in entries:
            if total <= self.limit:
                break
            if path != keep:
                self._remove(path)
                total -= size
        with contextlib.suppress(OSError):
            for left in (self.root / "tmp").iterdir():
                if time.time() - left.stat().st_mtime > _STALE_SECONDS:
                    shutil.rmtree(left, ignore_errors=True)


def _total(files: Mapping[str, bytes]) -> int:
    return sum(len(data) for data in files.values())


def _rename_whole(temporary: Path, path: Path) -> None:
    """Rename a folder to a name that must be free. Raises FileExistsError if it is not."""
    try:
        temporary.rename(path)
    except OSError:
        if path.is_dir():
            raise FileExistsError(str(path)) from None
        raise
