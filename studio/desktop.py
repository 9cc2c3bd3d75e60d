"""Puts the studio into the desktop's launcher, and takes it out again.

On Linux: a desktop entry, the icon, AppStream metadata and the file type of a model (so that a double click opens one),
all below ``$XDG_DATA_HOME``. On Windows: a Start-menu shortcut. The entry starts the interpreter that installed it by
its absolute path, so the studio is found without its virtual environment being active.

Desktop Entry Specification: https://specifications.freedesktop.org/desktop-entry-spec/latest/
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import shutil
import subprocess
import sys
from pathlib import Path

from studio.core import files, resources

APP_ID = "studio.denoising.DenoisingStudio"
"""What ties a window to its launcher: the entry's file name, the icon's name and Qt's desktop file name."""

# Values reach PowerShell through its environment, so no path needs quoting.
_SHORTCUT = """$ErrorActionPreference = 'Stop'
$link = (New-Object -ComObject WScript.Shell).CreateShortcut($env:STUDIO_LINK)
$link.TargetPath = $env:STUDIO_TARGET
$link.Arguments = '-P -m studio'
$link.IconLocation = $env:STUDIO_ICON
$link.Description = 'Train denoising diffusion models and look inside every step'
$link.Save()"""


def install() -> list[Path]:
    """Add the studio to the launcher and return the files written; a second call writes the same files again.

    Raises ValueError where the studio is not installed in this Python, on macOS, and where Windows refuses the
    shortcut; OSError where a folder cannot be written.
    """
    _require_installed()
    if sys.platform == "win32":
        return [_write_shortcut()]
    _require_freedesktop()
    contents = _contents()
    for path, content in contents.items():
        with files.replacing(path) as part:
            part.write_bytes(content)
    _refresh()
    return list(contents)


def uninstall() -> list[Path]:
    """Remove what ``install`` wrote, and nothing else; return the files that were there."""
    if sys.platform == "win32":
        paths = [_shortcut_path()]
    else:
        _require_freedesktop()
        paths = list(_contents())
    removed = [path for path in paths if path.exists()]
    for path in removed:
        path.unlink()
    if removed and sys.platform != "win32":
        _refresh()
    return removed


def _require_installed() -> None:
    """A checkout that merely lies in the current folder would not be found by a launcher."""
    try:
        importlib.metadata.distribution("denoising-studio")
    except importlib.metadata.PackageNotFoundError:
        raise ValueError(
            f"The studio is not installed in {sys.executable}, so a launcher could not start it. "
            "Run `pip install .` in its folder first."
        ) from None


def _require_freedesktop() -> None:
    if sys.platform == "darwin":
        raise ValueError(
            "macOS has no launcher entries that a program can add. Start the studio with `denoising-studio`, "
            "or keep that command in the Dock as a shortcut of the Shortcuts app."
        )


def _data_home() -> Path:
    """The person's data folder; the specification says that a relative XDG_DATA_HOME is to be ignored."""
    folder = Path(os.environ.get("XDG_DATA_HOME", ""))
    return folder if folder.is_absolute() else Path.home() / ".local" / "share"


def _contents() -> dict[Path, bytes]:
    """Each file of the Linux integration and what it holds."""
    data, assets = _data_home(), resources.assets()
    icons = data / "icons" / "hicolor"
    entry = (assets / f"{APP_ID}.desktop").read_text(encoding="utf-8")
    return {
        data / "applications" / f"{APP_ID}.desktop": desktop_entry(entry, Path(sys.executable)).encode(),
        icons / "scalable" / "apps" / f"{APP_ID}.svg": (assets / "icon.svg").read_bytes(),
        icons / "256x256" / "apps" / f"{APP_ID}.png": (assets / "icon-256.png").read_bytes(),
        data / "metainfo" / f"{APP_ID}.metainfo.xml": (assets / f"{APP_ID}.metainfo.xml").read_bytes(),
        data / "mime" / "packages" / f"{APP_ID}.xml": (assets / f"{APP_ID}.mime.xml").read_bytes(),
    }


def desktop_entry(template: str, python: Path) -> str:
    """The shipped entry with ``Exec`` and ``TryExec`` naming ``python`` by its absolute path.

    ``-P`` keeps the folder that the launcher starts in out of the module search: a folder named ``studio`` in
    someone's home must not be run instead of this package.
    """
    lines = {
        "TryExec": _escape(str(python)),
        "Exec": f"{_escape(_quote(str(python)))} -P -m studio %f",
    }
    out = []
    for line in template.splitlines():
        key = line.partition("=")[0]
        out.append(f"{key}={lines[key]}" if key in lines else line)
    return "\n".join(out) + "\n"


def _quote(argument: str) -> str:
    """One argument of an Exec line: field codes doubled, then quoted, with \\ before the four characters it needs."""
    argument = argument.replace("%", "%%")
    for character in '\\"`$':
        argument = argument.replace(character, "\\" + character)
    return f'"{argument}"'


def _escape(value: str) -> str:
    """A value of type string: the backslashes of quoting are themselves escaped, as the specification asks."""
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r")


def _refresh() -> None:
    """Tell the desktop at once. Each tool is optional: without it the change shows at the next login."""
    data = _data_home()
    icons = data / "icons" / "hicolor"
    with contextlib.suppress(FileNotFoundError):
        # Icon caches compare their age with this folder's, not with that of the folders inside it.
        os.utime(icons)
    for tool, folder in (("update-desktop-database", "applications"), ("update-mime-database", "mime")):
        program = shutil.which(tool)
        if program and (data / folder).is_dir():
            subprocess.run([program, str(data / folder)], capture_output=True, check=False, timeout=60)


def _shortcut_path() -> Path:
    """The Start-menu shortcut of this person, on Windows."""
    programs = Path(os.environ["APPDATA"]) / "Microsoft" / "Windows" / "Start Menu" / "Programs"
    return programs / "Denoising Studio.lnk"


def _write_shortcut() -> Path:
    """Let Windows write the shortcut, and raise ValueError with its own words where it refuses."""
    link = _shortcut_path()
    python = Path(sys.executable)
    windowless = python.with_name("pythonw.exe")
    environment = os.environ | {
        "STUDIO_LINK": str(link),
        "STUDIO_TARGET": str(windowless if windowless.exists() else python),
        "STUDIO_ICON": str(resources.assets() / "icon.ico"),
    }
    command = ["powershell", "-NoProfile", "-NonInteractive", "-Command", _SHORTCUT]
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    except (FileNotFoundError, subprocess.TimeoutExpired) as error:
        raise ValueError(f"PowerShell did not write the Start-menu shortcut {link}: {error}.") from error
    if done.returncode != 0:
        raise ValueError(f"The Start-menu shortcut {link} was not written. Windows says: {done.stderr.strip()}")
    return link
