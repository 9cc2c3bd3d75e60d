"""Files that are never half written: a temporary name in the same folder, flushed, then renamed."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write; on success it replaces ``path`` in one step, on failure it is removed.

    What was at ``path`` stays untouched until the new file is complete and on the disk. Raises OSError with a plain
    message where the folder cannot be written or the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    os.close(handle)
    part = Path(name)
    try:
        yield part
        with open(part, "rb+") as file:
            os.fsync(file.fileno())
        part.chmod(0o666 & ~_umask())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text whole or not at all."""
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")


def explain(error: OSError, path: Path) -> str:
    """What an OSError means for the person, and what to do."""
    import errno

    match error.errno:
        case errno.ENOSPC:
            return f"The disk is full: {path} was not written. Free some space, then try again."
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return f"{path} may not be written. Choose another folder or change its permissions."
        case errno.ENOENT:
            return f"{path} does not exist."
        case _:
            return f"{path}: {error.strerror or error}."
