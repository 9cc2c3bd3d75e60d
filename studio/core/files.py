"""Files that are never half written: a temporary name in the same folder, flushed, then renamed."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write; on success it replaces ``path`` in one step, on failure it is removed.

    A link at ``path`` is followed, so the file it points to is the one replaced.

    What was at ``path`` stays untouched until the new file is complete and on the disk. Raises OSError with a plain
    message where the folder cannot be written or the disk is full.
    """
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name[:100]}.", suffix=".part", dir=path.parent)
    os.close(handle)
    part = Path(name)
    try:
        yield part
        with open(part, "rb+") as file:
            os.fsync(file.fileno())
        part.chmod(_MODE)
        os.replace(part, path)
        _flush_folder(path.parent)
    finally:
        part.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


_MODE = 0o666 & ~_umask()
# Read once, here: the system tells the mask only by changing it, which two threads must not do at a time.


def _flush_folder(folder: Path) -> None:
    """Make a rename last; only POSIX systems can, and need to."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text whole or not at all."""
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")


def explain(error: OSError, path: Path) -> str:
    """What an OSError about ``path`` means for the person, and what to do."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT) or getattr(error, "winerror", None) == 112:
        return f"The disk is full: {path} was not written. Free some space, then try again."
    match error.errno:
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return f"{path}: permission denied. Choose another place, or change who may read and write it."
        case errno.ENOENT:
            return f"{path} does not exist."
        case errno.ENOTDIR | errno.EEXIST | errno.EISDIR:
            return f"{path} cannot be used: a file is where a folder should be, or the reverse. Choose another place."
        case _:
            return f"{path}: {error.strerror or error}."
