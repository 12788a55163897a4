"""Writing files whole: a reader sees the old content or the new, never half of it. Like errors.py, a leaf anyone may import."""

from __future__ import annotations

import os
from pathlib import Path

from mosaic.errors import InputError


def check_writable(path: Path) -> None:
    """Raise InputError, in a sentence, if a file could not be written here: before long work, not after it."""
    if path.is_dir():
        raise InputError(f"cannot write {path}: it is a folder; name a file")
    if not path.parent.is_dir():
        raise InputError(f"cannot write {path}: there is no folder {path.parent}; make it first")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise InputError(f"cannot write {path}: no permission to write in {path.parent.absolute()}")


def write_whole(path: Path, content: str | bytes) -> None:
    """Write `content` (a string as UTF-8) to `path`, replacing what is there, or leave that untouched.

    Raises InputError if it cannot be written; nothing is left behind then.
    """
    check_writable(path)
    data = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    except OSError as error:
        raise InputError(f"cannot write {path}: {(error.strerror or str(error)).lower()}") from error
    finally:
        temporary.unlink(missing_ok=True)
