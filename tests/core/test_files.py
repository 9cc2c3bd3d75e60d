"""Files: whole or not at all, and nothing left behind."""

import errno
import os
from pathlib import Path

import pytest

from studio.core.files import explain, replacing, write_text


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    path.write_text("old")
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_new_content_takes_the_place_of_the_old_only_at_the_end(old: Path) -> None:
    with replacing(old) as part:
        assert part.parent == old.parent
        part.write_text("half")
        assert old.read_text() == "old"
        part.write_text("new")
    assert old.read_text() == "new"
    assert names(old.parent) == [old.name]


@pytest.mark.parametrize("error", [RuntimeError("out of memory"), OSError(errno.ENOSPC, "full"), KeyboardInterrupt()])
def test_failure_midway_keeps_the_old_file_and_leaves_no_other(old: Path, error: BaseException) -> None:
    def write() -> None:
        with replacing(old) as part:
            part.write_text("half of the new")
            raise error

    with pytest.raises(type(error)):
        write()
    assert old.read_text() == "old"
    assert names(old.parent) == [old.name]


def test_failure_midway_makes_no_file_where_there_was_none(tmp_path: Path) -> None:
    def write() -> None:
        with replacing(tmp_path / "run" / "new.txt") as part:
            part.write_text("half")
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        write()
    assert names(tmp_path / "run") == []


def test_full_disk_is_noticed_at_the_flush(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk may report that it is full only when the data is forced out: the old file must still stand then."""

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_text(old, "new")
    assert old.read_text() == "old"
    assert names(old.parent) == [old.name]


def test_data_is_flushed_before_it_is_renamed(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order = []
    flush, rename = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: (order.append("flush"), flush(descriptor))[1])
    monkeypatch.setattr(os, "replace", lambda a, b: (order.append("rename"), rename(a, b))[1])
    write_text(old, "new")
    assert order[:2] == ["flush", "rename"]


def test_rename_that_fails_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "taken"
    (folder / "inside").mkdir(parents=True)
    with pytest.raises(OSError, match="taken"):
        write_text(folder, "text")
    assert names(tmp_path) == ["taken"]


def test_text_is_utf8_and_folders_are_made(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "x.txt"
    write_text(path, "ᾱ = 0.5\n")
    assert path.read_bytes() == "ᾱ = 0.5\n".encode()


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_file_gets_the_rights_of_any_new_file(tmp_path: Path) -> None:
    """Temporary files are private to their owner; what they become is not."""
    (tmp_path / "plain.txt").write_text("text")
    write_text(tmp_path / "x.txt", "text")
    assert (tmp_path / "x.txt").stat().st_mode == (tmp_path / "plain.txt").stat().st_mode


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.ENOSPC, "The disk is full: /data/x was not written. Free some space"),
        (errno.EACCES, "/data/x: permission denied. Choose another place"),
        (errno.EROFS, "/data/x: permission denied"),
        (errno.ENOENT, "/data/x does not exist"),
        (errno.EIO, "/data/x: Input/output error"),
    ],
)
def test_error_is_explained(code: int, words: str) -> None:
    assert words in explain(OSError(code, "Input/output error"), Path("/data/x"))
