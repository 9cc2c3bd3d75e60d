"""The scheme: switching repaints everything once, colours can be read, every icon named exists, nothing heavy loads."""

import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QColor, QGuiApplication
from PySide6.QtWidgets import QApplication, QPushButton, QWidget
from pytestqt.qtbot import QtBot

from studio.app import theme
from studio.app.controls import Chip, Panel


def middle(widget: QWidget) -> str:
    image = widget.grab().toImage()
    return image.pixelColor(image.width() // 2, image.height() // 2).name()


def contrast(one: str, two: str) -> float:
    """WCAG 2.1 contrast ratio."""

    def luminance(color: str) -> float:
        parts = QColor(color).getRgbF()[:3]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(one), luminance(two)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_switching_the_scheme_repaints_and_tells_once(qtbot: QtBot) -> None:
    panel = Panel()
    qtbot.addWidget(panel)
    panel.resize(120, 80)
    assert middle(panel) == theme.LIGHT.panel
    seen: list[bool] = []
    theme.notifier().changed.connect(lambda: seen.append(theme.tokens().dark))
    theme.set_scheme("dark")
    theme.set_scheme("dark")
    assert seen == [True]
    assert middle(panel) == theme.DARK.panel
    theme.set_scheme("light")
    assert middle(panel) == theme.LIGHT.panel


def test_it_follows_the_system_until_a_scheme_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    system = {"dark": False}
    monkeypatch.setattr(theme, "_system_is_dark", lambda: system["dark"])
    hints = QGuiApplication.styleHints()
    theme.set_scheme("system")
    assert theme.tokens() is theme.LIGHT
    system["dark"] = True
    hints.colorSchemeChanged.emit(Qt.ColorScheme.Dark)
    assert theme.tokens() is theme.DARK
    theme.set_scheme("light")
    hints.colorSchemeChanged.emit(Qt.ColorScheme.Dark)
    assert theme.tokens() is theme.LIGHT


@pytest.mark.parametrize("scheme", [theme.LIGHT, theme.DARK], ids=["light", "dark"])
def test_text_can_be_read(scheme: theme.Tokens) -> None:
    for ground in (scheme.window, scheme.panel, scheme.field):
        assert contrast(scheme.text, ground) > 7
        assert contrast(scheme.text_muted, ground) > 4.5
        assert contrast(scheme.bad, ground) > 4.5
    assert contrast(scheme.text_faint, scheme.panel) > 3.5
    assert contrast(scheme.accent, scheme.accent_soft) > 3.5
    assert contrast(scheme.on_accent, scheme.accent) > 3


@pytest.mark.parametrize("scheme", [theme.LIGHT, theme.DARK], ids=["light", "dark"])
def test_every_colour_is_one(scheme: theme.Tokens) -> None:
    for field in fields(scheme):
        if field.name != "dark":
            assert re.fullmatch("#[0-9a-f]{6}", getattr(scheme, field.name)), field.name


def test_the_style_sheet_is_understood_and_its_icons_exist(qapp: QApplication, qtlog: object) -> None:
    folder = Path(theme.__file__).parent / "icons"
    named = re.findall(r"url\(studio:([\w-]+\.svg)\)", qapp.styleSheet())
    assert named
    assert all((folder / name).is_file() for name in named)
    theme.set_scheme("dark")
    assert not [record for record in qtlog.records if "parse" in record.message]  # type: ignore[attr-defined]


def test_icons_are_drawn_in_the_scheme_s_colour_and_redrawn(qtbot: QtBot) -> None:
    button = QPushButton()
    qtbot.addWidget(button)
    theme.set_icon(button, "play")
    for scheme in ("light", "dark"):
        theme.set_scheme(scheme)  # type: ignore[arg-type]
        image = button.icon().pixmap(32, 32).toImage()
        assert image.pixelColor(14, 16).name() == theme.tokens().text_muted


def test_a_chip_keeps_its_dot_over_a_switch(qtbot: QtBot) -> None:
    chip = Chip("Training", "bad")
    qtbot.addWidget(chip)
    theme.set_scheme("dark")
    image = chip.icon().pixmap(48, 32).toImage()
    assert image.pixelColor(image.height() // 2, image.height() // 2).name() == theme.DARK.bad
    chip.set("Idle")
    assert chip.icon().isNull()


def test_fonts_have_the_size_asked_for() -> None:
    assert theme.ui_font(13).pixelSize() == 13
    assert theme.mono_font(17).pixelSize() == 17


def test_neither_torch_nor_pyqtgraph_is_loaded() -> None:
    code = (
        "import sys, studio.app.theme, studio.app.controls, studio.app.forms, studio.app.library\n"
        "sys.exit(', '.join({'torch', 'pyqtgraph', 'numpy'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
