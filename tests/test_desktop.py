"""The launcher entry: what is written, that it starts this interpreter from any path, and that it goes away whole."""

from __future__ import annotations

import configparser
import importlib.metadata
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

import studio
from studio import desktop
from studio.core import resources

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="freedesktop integration is Linux's")


@pytest.fixture
def data_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty XDG_DATA_HOME, as an installed studio sees it."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))
    monkeypatch.setattr(importlib.metadata, "distribution", lambda name: name)
    return tmp_path / "share"


def parse(text: str) -> configparser.SectionProxy:
    parser = configparser.RawConfigParser(delimiters=("=",), comment_prefixes=("#",), strict=True)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string(text)
    return parser["Desktop Entry"]


def arguments(value: str) -> list[str]:
    """An Exec value as a launcher reads it: unescape the string, split quoted words, undo the quoting, then %%."""
    value = re.sub(r"\\([ntrs\\])", lambda m: {"n": "\n", "t": "\t", "r": "\r", "s": " ", "\\": "\\"}[m[1]], value)
    words = re.findall(r'"((?:[^"\\]|\\.)*)"|(\S+)', value, flags=re.DOTALL)
    return [re.sub(r'\\(["`$\\])', r"\1", quoted).replace("%%", "%") if quoted else bare for quoted, bare in words]


def shipped_entry() -> str:
    return (resources.assets() / f"{desktop.APP_ID}.desktop").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "python",
    [
        "/usr/bin/python3",
        "/home/a b/.venv/bin/python",
        "/home/50% off/100%f/python",
        '/tmp/a"b`c$d\\e/python',
        "/tmp/semi;colon & (more) 'quotes'/python",
        "/tmp/tab\tand\nnewline/python",
    ],
)
def test_exec_survives_any_path(python: str) -> None:
    entry = parse(desktop.desktop_entry(shipped_entry(), Path(python)))
    assert arguments(entry["Exec"]) == [python, "-P", "-m", "studio", "%f"]
    assert entry["Name"] == "Denoising Studio"


def test_a_percent_sign_is_no_field_code() -> None:
    assert 'Exec="/a%%f/python" -P' in desktop.desktop_entry(shipped_entry(), Path("/a%f/python"))


@linux
def test_install_twice_then_uninstall_leaves_no_file(data_home: Path) -> None:
    other = data_home / "applications" / "other.desktop"
    other.parent.mkdir(parents=True)
    other.write_text("[Desktop Entry]\n")
    written = desktop.install()
    first = {path: path.read_bytes() for path in written}
    assert desktop.install() == written
    assert {path: path.read_bytes() for path in written} == first
    assert all(path.is_relative_to(data_home) for path in written)
    assert not list(data_home.rglob("*.part"))

    assert sorted(desktop.uninstall()) == sorted(written)
    assert other.exists()
    assert not [path for path in data_home.rglob("*") if desktop.APP_ID in path.name]
    assert desktop.uninstall() == []


@linux
def test_the_installed_entry_starts_this_interpreter(data_home: Path) -> None:
    desktop.install()
    entry = parse((data_home / "applications" / f"{desktop.APP_ID}.desktop").read_text(encoding="utf-8"))
    assert arguments(entry["Exec"])[0] == sys.executable
    assert entry["TryExec"] == sys.executable
    icons = list((data_home / "icons").rglob("*.*"))
    assert {path.stem for path in icons} == {entry["Icon"]} == {desktop.APP_ID}


@linux
def test_works_without_the_desktops_tools(data_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert all(path.exists() for path in desktop.install())


@linux
@pytest.mark.parametrize("value", ["", "relative/share"])
def test_a_data_home_that_is_not_absolute_is_ignored(
    value: str, data_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", value)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert all(path.is_relative_to(tmp_path / ".local" / "share") for path in desktop.install())


def test_a_studio_that_is_not_installed_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", missing)
    with pytest.raises(ValueError, match=r"pip install \."):
        desktop.install()


def test_macos_is_refused_with_a_way_out(data_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    for action in (desktop.install, desktop.uninstall):
        with pytest.raises(ValueError, match="denoising-studio"):
            action()
    assert not data_home.exists()


class TestWindows:
    """The Start-menu shortcut, with PowerShell played by the test."""

    @pytest.fixture(autouse=True)
    def on_windows(self, data_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "platform", "win32")
        monkeypatch.setenv("APPDATA", str(tmp_path))

    def test_shortcut_is_written_and_removed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def powershell(command: list[str], *, env: dict[str, str], **_: object) -> SimpleNamespace:
            assert command[0] == "powershell"
            assert Path(env["STUDIO_ICON"]).is_file()
            link = Path(env["STUDIO_LINK"])
            link.parent.mkdir(parents=True)
            link.write_text(env["STUDIO_TARGET"])
            return SimpleNamespace(returncode=0, stderr="")

        monkeypatch.setattr(subprocess, "run", powershell)
        (link,) = desktop.install()
        assert link.is_relative_to(tmp_path)
        assert link.read_text() == sys.executable
        assert desktop.uninstall() == [link]
        assert not link.exists()

    def test_a_refusal_is_told_in_windows_own_words(self, monkeypatch: pytest.MonkeyPatch) -> None:
        answer = SimpleNamespace(returncode=1, stderr="Access is denied.\n")
        monkeypatch.setattr(subprocess, "run", lambda *_, **__: answer)
        with pytest.raises(ValueError, match=r"Access is denied\."):
            desktop.install()

    def test_no_powershell_is_told(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(ValueError, match="PowerShell"):
            desktop.install()


def test_shipped_files_agree_with_each_other() -> None:
    assets = resources.assets()
    entry = parse(shipped_entry())
    component = ElementTree.parse(assets / f"{desktop.APP_ID}.metainfo.xml").getroot()
    mime = ElementTree.parse(assets / f"{desktop.APP_ID}.mime.xml").getroot()
    assert component.findtext("id") == entry["Icon"] == desktop.APP_ID
    assert component.findtext("launchable") == f"{desktop.APP_ID}.desktop"
    assert component.findtext("name") == entry["Name"]
    newest = component.find("releases/release")
    assert newest is not None
    assert newest.get("version") == studio.__version__, "add a release to the AppStream metadata"
    assert [category.text for category in component.iter("category")] == entry["Categories"].rstrip(";").split(";")
    (kind,) = mime
    assert entry["MimeType"] == f"{kind.get('type')};" == f"{component.findtext('provides/mediatype')};"


def test_icons_are_whole() -> None:
    assets = resources.assets()
    with Image.open(assets / "icon-256.png") as image:
        assert image.size == (256, 256)
        pixels = image.convert("RGBA")
        assert pixels.getchannel("A").getpixel((0, 0)) == 0, "the corners are transparent"
        assert pixels.getpixel((176, 128)) == (255, 255, 255, 255), "the disc is white"
    with Image.open(assets / "icon.ico") as image:
        assert {16, 32, 48, 256} <= {width for width, _ in image.info["sizes"]}
    assert ElementTree.parse(assets / "icon.svg").getroot().get("viewBox") == "0 0 512 512"
