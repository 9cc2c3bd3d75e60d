"""How the studio looks: colours, fonts and one style sheet, light and dark, following the system.

A scheme is a :class:`Tokens`; every colour in the window comes from the current one, :func:`tokens`. Widgets that paint
themselves connect ``notifier().changed`` and repaint. What a widget is, it says with a dynamic property that the style
sheet reads:

====================  =========================================================================================
QPushButton           ``primary`` accent filled; ``flat`` no frame; ``danger`` red; ``chip`` pill; ``nav`` checkable tab
                      ``lock`` a small switch, filled while it is on
QLabel ``role``       title, section, muted, faint, mono, number, warning, error
QFrame ``surface``    top, left, right, bottom: a bar in panel colour with a hairline towards the centre
QFrame ``panel``      a panel: hairline border and an 11 px radius
any field ``bad``     red border: the value is not possible
====================  =========================================================================================
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from PySide6.QtCore import QDir, QObject, QSize, Qt, Signal
from PySide6.QtGui import QColor, QFont, QFontDatabase, QGuiApplication, QIcon, QPainter, QPalette
from PySide6.QtWidgets import QAbstractButton, QApplication, QWidget

Scheme = Literal["system", "light", "dark"]

_ICONS = Path(__file__).parent / "icons"
_UI_FAMILIES = ("Inter", "Inter Variable")
_MONO_FAMILIES = ("JetBrains Mono", "SF Mono", "Cascadia Mono", "IBM Plex Mono", "Menlo", "Consolas")


@dataclass(frozen=True)
class Tokens:
    """The colours of one scheme, as ``#rrggbb``. The series colours are told apart by colour-blind eyes too."""

    dark: bool
    window: str
    panel: str
    panel_alt: str
    border: str
    border_strong: str
    text: str
    text_muted: str
    text_faint: str
    accent: str
    accent_hover: str
    accent_soft: str
    on_accent: str
    good: str
    warn: str
    bad: str
    bad_soft: str
    grid: str
    image_mat: str
    field: str
    field_hover: str
    series_smoothed: str = "#4c8dff"
    series_raw: str = "#8a93a5"
    series_learned: str = "#d65db1"
    series_gan: str = "#2bb673"
    series_held_out: str = "#f2994a"
    series_limit: str = "#eb5757"


LIGHT = Tokens(
    dark=False,
    window="#f4f5f7",
    panel="#ffffff",
    panel_alt="#f8f9fa",
    border="#e2e5ea",
    border_strong="#c4cad4",
    text="#1b1f27",
    text_muted="#667085",
    text_faint="#7d8798",
    accent="#2f6bff",
    accent_hover="#1f5af0",
    accent_soft="#e8efff",
    on_accent="#ffffff",
    good="#2bb673",
    warn="#c2710c",
    bad="#d0281c",
    bad_soft="#fdeceb",
    grid="#eef0f3",
    image_mat="#1f1f1f",
    field="#ffffff",
    field_hover="#f6f7f9",
)
DARK = Tokens(
    dark=True,
    window="#14161a",
    panel="#1b1e24",
    panel_alt="#1f232a",
    border="#2b3038",
    border_strong="#454c58",
    text="#e8eaee",
    text_muted="#98a1b0",
    text_faint="#7f8998",
    accent="#5b8cff",
    accent_hover="#709bff",
    accent_soft="#22304f",
    on_accent="#ffffff",
    good="#2bb673",
    warn="#f0b04f",
    bad="#ff7a70",
    bad_soft="#3a2226",
    grid="#262a32",
    image_mat="#0e0f12",
    field="#23272f",
    field_hover="#2a2f38",
)


class Theme(QObject):
    """The current scheme of the application; a child of it. Emits ``changed`` after colours have changed."""

    changed = Signal()

    def __init__(self, app: QGuiApplication) -> None:
        super().__init__(app)
        self.choice: Scheme = "system"
        self.tokens = LIGHT
        self.installed = False

    def refresh(self) -> None:
        """Bring palette and style sheet in line with the choice and the system; do nothing if they are."""
        dark = _system_is_dark() if self.choice == "system" else self.choice == "dark"
        wanted = DARK if dark else LIGHT
        if wanted is self.tokens and self.installed:
            return
        self.tokens = wanted
        app = QApplication.instance()
        assert isinstance(app, QApplication)
        app.setPalette(_palette(wanted))
        app.setStyleSheet(_style_sheet(wanted))
        self.installed = True
        self.changed.emit()


def notifier() -> Theme:
    """The object whose signal ``changed`` is emitted when the colours have changed. Needs an application."""
    app = QGuiApplication.instance()
    assert isinstance(app, QGuiApplication), "a QApplication comes before its theme"
    found = app.findChild(Theme, options=Qt.FindChildOption.FindDirectChildrenOnly)
    return found if found is not None else Theme(app)


def tokens() -> Tokens:
    """The colours of the current scheme."""
    return notifier().tokens


def install(app: QApplication, scheme: Scheme = "system") -> None:
    """Give the application its style, font, palette and style sheet, and follow the system's scheme from now on."""
    QDir.setSearchPaths("studio", [str(_ICONS)])
    app.setStyle("Fusion")
    app.setFont(ui_font(13))
    if not notifier().installed:
        QGuiApplication.styleHints().colorSchemeChanged.connect(notifier().refresh)
    set_scheme(scheme)


def set_scheme(scheme: Scheme) -> None:
    """Choose light, dark, or whatever the system says."""
    theme = notifier()
    theme.choice = scheme
    hints = QGuiApplication.styleHints()
    # The platform draws title bars and native dialogs: it has to know the choice too.
    native = {"system": Qt.ColorScheme.Unknown, "light": Qt.ColorScheme.Light, "dark": Qt.ColorScheme.Dark}[scheme]
    hints.setColorScheme(native)
    theme.refresh()


def ui_font(px: int = 13, weight: QFont.Weight = QFont.Weight.Normal) -> QFont:
    """The font of the window: Inter where it is installed, else the system's. Size in pixels."""
    font = QFont(_first_installed(_UI_FAMILIES, QFontDatabase.SystemFont.GeneralFont))
    font.setPixelSize(px)
    font.setWeight(weight)
    return font


def mono_font(px: int = 12, weight: QFont.Weight = QFont.Weight.Normal) -> QFont:
    """The font of numbers that change. Size in pixels."""
    font = QFont(_first_installed(_MONO_FAMILIES, QFontDatabase.SystemFont.FixedFont))
    font.setStyleHint(QFont.StyleHint.Monospace)
    font.setPixelSize(px)
    font.setWeight(weight)
    return font


def icon(name: str, color: str = "") -> QIcon:
    """One of the drawings in ``icons/``, in ``color`` (the muted text colour if empty), dimmed when disabled."""
    shape = QIcon(str(_ICONS / f"{name}.svg"))
    now = tokens()
    found = QIcon()
    for mode, paint in ((QIcon.Mode.Normal, color or now.text_muted), (QIcon.Mode.Disabled, now.text_faint)):
        for size in (16, 32, 48):
            pixmap = shape.pixmap(QSize(size, size), 1.0)
            painter = QPainter(pixmap)
            painter.setCompositionMode(QPainter.CompositionMode.CompositionMode_SourceIn)
            painter.fillRect(pixmap.rect(), QColor(paint))
            painter.end()
            found.addPixmap(pixmap, mode)
    return found


class _IconKeeper(QObject):
    """Keeps a button's icon in the current scheme's colour; a child of the button, so it goes with it."""

    def __init__(self, button: QAbstractButton) -> None:
        super().__init__(button)
        self._button = button
        self.name = self.role = ""
        notifier().changed.connect(self.refresh)

    def refresh(self) -> None:
        """Draw the icon again."""
        self._button.setIcon(icon(self.name, getattr(tokens(), self.role)))


def set_icon(button: QAbstractButton, name: str, role: str = "text_muted") -> None:
    """Give a button an icon in the colour ``role`` of :class:`Tokens`, and redraw it whenever the scheme changes."""
    keeper = button.findChild(_IconKeeper) or _IconKeeper(button)
    keeper.name, keeper.role = name, role
    keeper.refresh()


def restyle(widget: QWidget, **properties: object) -> None:
    """Set dynamic properties and let the style sheet look at the widget again, if any of them is new."""
    changed = [name for name, value in properties.items() if widget.property(name) != value]
    for name in changed:
        widget.setProperty(name, properties[name])
    if changed:
        widget.style().unpolish(widget)
        widget.style().polish(widget)


def mix(first: str, second: str, share: float) -> str:
    """A colour ``share`` (0 to 1) of the way from ``first`` to ``second``."""
    one, two = QColor(first), QColor(second)
    parts = zip((one.red(), one.green(), one.blue()), (two.red(), two.green(), two.blue()), strict=True)
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in parts)


def _system_is_dark() -> bool:
    return QGuiApplication.styleHints().colorScheme() == Qt.ColorScheme.Dark


def _first_installed(families: tuple[str, ...], fallback: QFontDatabase.SystemFont) -> str:
    installed = set(QFontDatabase.families())
    return next((name for name in families if name in installed), QFontDatabase.systemFont(fallback).family())


def _palette(t: Tokens) -> QPalette:
    role = QPalette.ColorRole
    palette = QPalette()
    for where, color in (
        (role.Window, t.window),
        (role.WindowText, t.text),
        (role.Base, t.field),
        (role.AlternateBase, t.panel_alt),
        (role.ToolTipBase, t.panel),
        (role.ToolTipText, t.text),
        (role.PlaceholderText, t.text_faint),
        (role.Text, t.text),
        (role.Button, t.panel),
        (role.ButtonText, t.text),
        (role.BrightText, t.on_accent),
        (role.Highlight, t.accent),
        (role.HighlightedText, t.on_accent),
        (role.Accent, t.accent),
        (role.Link, t.accent),
        (role.LinkVisited, t.accent),
        (role.Light, t.panel_alt),
        (role.Midlight, t.grid),
        (role.Mid, t.border),
        (role.Dark, t.border_strong),
        (role.Shadow, t.border_strong),
    ):
        palette.setColor(where, QColor(color))
    for where in (role.WindowText, role.Text, role.ButtonText):
        palette.setColor(QPalette.ColorGroup.Disabled, where, QColor(t.text_faint))
    return palette


def _style_sheet(t: Tokens) -> str:
    mono = _first_installed(_MONO_FAMILIES, QFontDatabase.SystemFont.FixedFont)
    dim = mix(t.panel, t.text_muted, 0.45)
    dim_accent = mix(t.panel, t.accent, 0.4)
    return f"""
QMainWindow, QDialog {{ background: {t.window}; }}
QDialog {{ background: {t.panel}; }}
QToolTip {{
    background: {t.panel}; color: {t.text}; border: 1px solid {t.border_strong}; border-radius: 6px;
    padding: 6px 8px; font-size: 12px;
}}

QFrame[surface] {{ background: {t.panel}; border: 0 solid {t.border}; }}
QFrame[surface="top"] {{ border-bottom-width: 1px; }}
QFrame[surface="bottom"] {{ border-top-width: 1px; }}
QFrame[surface="left"] {{ border-right-width: 1px; }}
QFrame[surface="right"] {{ border-left-width: 1px; }}
QFrame[panel="true"] {{ background: {t.panel}; border: 1px solid {t.border}; border-radius: 11px; }}
QFrame[tile="true"] {{ border: 0 solid {t.border}; border-left-width: 2px; background: transparent; }}
QFrame[segmented="true"] {{ background: {t.field}; border: 1px solid {t.border}; border-radius: 7px; }}
QFrame[segmented="true"]:disabled {{ background: {t.panel}; }}
QFrame[banner="error"] {{
    background: {t.bad_soft}; border: 1px solid {mix(t.bad_soft, t.bad, 0.35)}; border-radius: 9px;
}}
QFrame[banner="info"] {{
    background: {t.accent_soft}; border: 1px solid {mix(t.accent_soft, t.accent, 0.35)}; border-radius: 9px;
}}
QLabel[dropzone="true"] {{ color: {t.text_muted}; font-size: 12px; padding: 12px; }}
QLabel[dropzone="true"][active="true"] {{ color: {t.accent}; }}
QFrame[inset="true"] {{ background: {t.window}; border: 1px solid {t.border}; border-radius: 9px; }}

QLabel {{ background: transparent; color: {t.text}; }}
QLabel:disabled {{ color: {dim}; }}
QLabel[role="title"] {{ font-size: 13px; font-weight: 600; }}
QLabel[role="section"] {{
    color: {t.text_muted}; font-size: 11px; font-weight: 600; letter-spacing: 0.5px; text-transform: uppercase;
    padding: 6px 0 2px 1px; qproperty-indent: 0;
}}
QLabel[role="muted"] {{ color: {t.text_muted}; font-size: 12px; }}
QLabel[role="faint"] {{ color: {t.text_faint}; font-size: 11px; }}
QLabel[role="mono"] {{ font-family: "{mono}"; font-size: 12px; }}
QLabel[role="number"] {{ font-family: "{mono}"; font-size: 17px; }}
QLabel[role="error"] {{ color: {t.bad}; font-size: 11px; }}
QLabel[role="warning"] {{ color: {t.warn}; font-size: 11px; }}
QLabel[role="field"] {{ color: {t.text_muted}; font-size: 13px; }}
QLabel[role="field"]:disabled, QLabel[role="muted"]:disabled, QLabel[role="mono"]:disabled {{ color: {dim}; }}
QLabel[role="symbol"] {{ color: {t.accent}; font-family: "{mono}"; font-size: 12px; }}
QLabel[role="symbol"]:disabled {{ color: {dim_accent}; }}

QPushButton {{
    background: {t.field}; color: {t.text}; border: 1px solid {t.border}; border-radius: 8px;
    padding: 6px 14px; min-height: 20px; font-weight: 600; outline: none;
}}
QPushButton:hover {{ background: {t.field_hover}; border-color: {t.border_strong}; }}
QPushButton:pressed {{ background: {t.grid}; }}
QPushButton:focus {{ border-color: {t.accent}; }}
QPushButton:checked {{ background: {t.accent_soft}; color: {t.accent}; border-color: {t.accent}; }}
QPushButton:disabled {{ color: {dim}; background: {t.panel}; border-color: {t.border}; }}
QPushButton[primary="true"] {{ background: {t.accent}; color: {t.on_accent}; border-color: {t.accent}; }}
QPushButton[primary="true"]:hover {{ background: {t.accent_hover}; border-color: {t.accent_hover}; }}
QPushButton[primary="true"]:pressed {{ background: {mix(t.accent, "#000000", 0.15)}; }}
QPushButton[primary="true"]:focus {{ border: 2px solid {mix(t.accent, t.on_accent, 0.55)}; padding: 5px 13px; }}
QPushButton[primary="true"]:disabled {{
    background: {dim_accent}; color: {mix(t.on_accent, t.panel, 0.25)}; border-color: transparent;
}}
QPushButton[danger="true"] {{ color: {t.bad}; }}
QPushButton[danger="true"]:hover {{ background: {t.bad_soft}; border-color: {t.bad}; }}
QPushButton[flat="true"] {{ background: transparent; border-color: transparent; color: {t.text_muted}; }}
QPushButton[flat="true"]:hover {{ background: {t.grid}; color: {t.text}; }}
QPushButton[flat="true"]:focus {{ border-color: {t.accent}; }}
QPushButton[flat="true"]:disabled {{ color: {dim}; }}
QPushButton[chip="true"] {{
    background: transparent; color: {t.text_muted}; border-radius: 13px; padding: 2px 12px; min-height: 20px;
    font-size: 12px; font-weight: 400;
}}
QPushButton[chip="true"]:hover {{ background: {t.field_hover}; color: {t.text}; }}
QPushButton[chip="true"]:focus {{ border-color: {t.accent}; }}
QPushButton[nav="true"] {{
    background: transparent; color: {t.text_muted}; border: 1px solid transparent; border-radius: 6px;
    padding: 4px 13px; min-height: 20px; font-weight: 500;
}}
QPushButton[nav="true"]:hover {{ background: {t.grid}; color: {t.text}; }}
QPushButton[nav="true"]:checked {{ background: {t.accent_soft}; color: {t.accent}; }}
QPushButton[nav="true"]:focus {{ border-color: {t.accent}; }}
QPushButton[nav="true"]:disabled {{ color: {dim}; }}
QPushButton[segment="true"] {{
    background: transparent; color: {t.text_muted}; border: 1px solid transparent; border-radius: 5px;
    padding: 2px 10px; min-height: 18px; font-size: 12px; font-weight: 500;
}}
QPushButton[segment="true"]:hover {{ color: {t.text}; }}
QPushButton[segment="true"]:checked {{ background: {t.accent_soft}; color: {t.accent}; border-color: transparent; }}
QPushButton[segment="true"]:focus {{ border-color: {t.accent}; }}
QPushButton[segment="true"]:disabled {{ color: {dim}; }}
QPushButton[segment="true"]:checked:disabled {{ background: {t.grid}; color: {dim}; }}
QPushButton[lock="true"] {{
    background: {t.field}; color: {t.text_muted}; border: 1px solid {t.border}; border-radius: 5px;
    padding: 1px 4px; min-height: 18px; font-size: 11px; font-weight: 500;
}}
QPushButton[lock="true"]:hover {{ background: {t.field_hover}; color: {t.text}; }}
QPushButton[lock="true"]:checked {{ background: {t.accent}; color: {t.on_accent}; border-color: {t.accent}; }}
QPushButton[lock="true"]:focus {{ border-color: {mix(t.accent, t.text, 0.45)}; }}
QPushButton[lock="true"]:disabled {{ background: {t.panel}; color: {dim}; }}
QPushButton[disclosure="true"] {{
    background: transparent; border: 1px solid transparent; border-radius: 6px; color: {t.text_muted};
    padding: 2px 0; font-size: 12px; font-weight: 500; text-align: left;
}}
QPushButton[disclosure="true"]:hover {{ color: {t.text}; }}
QPushButton[disclosure="true"]:focus {{ border-color: {t.accent}; }}
QPushButton::menu-indicator {{ image: url(studio:chevron-down.svg); width: 12px; height: 12px;
    subcontrol-origin: padding; subcontrol-position: right center; right: 8px; }}
QToolButton {{ background: transparent; border: 1px solid transparent; border-radius: 6px; padding: 3px; }}
QToolButton:hover {{ background: {t.grid}; }}
QToolButton:focus {{ border-color: {t.accent}; }}
QToolButton:checked {{ background: {t.accent_soft}; }}

QLineEdit, QSpinBox, QDoubleSpinBox, QPlainTextEdit, QTextEdit {{
    background: {t.field}; color: {t.text}; border: 1px solid {t.border}; border-radius: 7px; padding: 0 9px;
    min-height: 26px; selection-background-color: {t.accent}; selection-color: {t.on_accent};
    font-family: "{mono}"; font-size: 12px;
}}
QPlainTextEdit, QTextEdit {{ padding: 6px 8px; }}
QLineEdit:hover, QSpinBox:hover, QDoubleSpinBox:hover {{ border-color: {t.border_strong}; }}
QLineEdit:focus, QSpinBox:focus, QDoubleSpinBox:focus, QPlainTextEdit:focus, QTextEdit:focus {{
    border-color: {t.accent};
}}
QLineEdit:disabled, QSpinBox:disabled, QDoubleSpinBox:disabled, QPlainTextEdit:disabled {{
    background: {t.panel}; color: {dim};
}}
QLineEdit[bad="true"], QLineEdit[bad="true"]:focus {{ border-color: {t.bad}; background: {t.bad_soft}; }}
QLineEdit[plain="true"] {{ font-family: "{ui_font().family()}"; font-size: 13px; }}
QLineEdit[inline="true"] {{
    background: transparent; border: 1px solid transparent; border-radius: 5px; padding: 0; min-height: 20px;
}}
QLineEdit[inline="true"]:hover {{ border-color: {t.border}; }}
QLineEdit[inline="true"]:focus {{ background: {t.field}; border-color: {t.accent}; }}
QLineEdit[inline="true"][bad="true"] {{ border-color: {t.bad}; background: {t.bad_soft}; }}
QSpinBox::up-button, QDoubleSpinBox::up-button {{ border: none; width: 18px; subcontrol-position: top right; }}
QSpinBox::down-button, QDoubleSpinBox::down-button {{ border: none; width: 18px; subcontrol-position: bottom right; }}
QSpinBox::up-arrow, QDoubleSpinBox::up-arrow {{ image: url(studio:chevron-up.svg); width: 11px; height: 11px; }}
QSpinBox::down-arrow, QDoubleSpinBox::down-arrow {{ image: url(studio:chevron-down.svg); width: 11px; height: 11px; }}

QComboBox {{
    background: {t.field}; color: {t.text}; border: 1px solid {t.border}; border-radius: 7px; padding: 0 9px;
    min-height: 26px; combobox-popup: 0;
}}
QComboBox:hover {{ border-color: {t.border_strong}; background: {t.field_hover}; }}
QComboBox:focus, QComboBox:on {{ border-color: {t.accent}; }}
QComboBox:disabled {{ background: {t.panel}; color: {dim}; }}
QComboBox::drop-down {{ border: none; width: 26px; }}
QComboBox::down-arrow {{ image: url(studio:chevron-down.svg); width: 14px; height: 14px; }}
QComboBox QAbstractItemView {{
    background: {t.panel}; color: {t.text}; border: 1px solid {t.border_strong}; border-radius: 8px; padding: 4px;
    outline: none; selection-background-color: {t.accent_soft}; selection-color: {t.accent};
}}
QComboBox QAbstractItemView::item {{ min-height: 26px; padding: 0 6px; border-radius: 5px; }}
QComboBox QAbstractItemView::item:hover, QComboBox QAbstractItemView::item:selected {{
    background: {t.accent_soft}; color: {t.accent};
}}
QComboBox QAbstractItemView::item:disabled {{ color: {dim}; }}

QCheckBox {{ color: {t.text}; spacing: 8px; min-height: 20px; background: transparent; }}
QCheckBox:disabled {{ color: {dim}; }}
QCheckBox::indicator {{
    width: 16px; height: 16px; border: 1px solid {t.border_strong}; border-radius: 5px; background: {t.field};
}}
QCheckBox::indicator:hover, QCheckBox::indicator:focus {{ border-color: {t.accent}; }}
QCheckBox::indicator:checked {{
    background: {t.accent}; border-color: {t.accent}; image: url(studio:check.svg);
}}
QCheckBox::indicator:focus {{ border: 1px solid {t.accent}; }}
QCheckBox::indicator:checked:focus {{ border: 2px solid {mix(t.accent, t.text, 0.45)}; }}
QCheckBox::indicator:disabled {{ background: {t.panel}; border-color: {t.border}; }}
QCheckBox::indicator:checked:disabled {{ background: {dim_accent}; border-color: transparent; }}

QSlider {{ background: transparent; }}
QSlider:horizontal {{ min-height: 20px; }}
QSlider::groove:horizontal {{ height: 4px; border-radius: 2px; background: {t.grid}; }}
QSlider::sub-page:horizontal {{ height: 4px; border-radius: 2px; background: {t.accent}; }}
QSlider::handle:horizontal {{
    width: 12px; height: 12px; margin: -6px 0; border: 2px solid {t.accent}; border-radius: 8px; background: #ffffff;
}}
QSlider::handle:horizontal:hover {{ border-color: {t.accent_hover}; background: {t.accent_soft}; }}
QSlider::handle:horizontal:focus {{ background: {t.accent}; border-color: {mix(t.accent, t.text, 0.45)}; }}
QSlider::sub-page:horizontal:disabled {{ background: {dim_accent}; }}
QSlider::handle:horizontal:disabled {{
    background: {mix(t.panel, t.text_muted, 0.55)}; border-color: {dim_accent};
}}

QScrollBar:vertical {{ background: transparent; width: 10px; margin: 2px 1px; }}
QScrollBar:horizontal {{ background: transparent; height: 10px; margin: 1px 2px; }}
QScrollBar::handle {{ background: {t.border_strong}; border-radius: 3px; margin: 1px; }}
QScrollBar::handle:vertical {{ min-height: 28px; }}
QScrollBar::handle:horizontal {{ min-width: 28px; }}
QScrollBar::handle:hover {{ background: {t.text_faint}; }}
QScrollBar::add-line, QScrollBar::sub-line {{ width: 0; height: 0; border: none; background: none; }}
QScrollBar::add-page, QScrollBar::sub-page {{ background: none; }}
QScrollArea {{ background: transparent; border: none; }}
QScrollArea > QWidget > QWidget[scrolled="true"] {{ background: transparent; }}

QProgressBar {{
    background: {t.grid}; border: none; border-radius: 2px; min-height: 4px; max-height: 4px; color: transparent;
}}
QProgressBar::chunk {{ background: {t.accent}; border-radius: 2px; }}

QMenuBar {{ background: {t.panel}; color: {t.text_muted}; border: none; }}
QMenuBar::item {{ background: transparent; padding: 4px 8px; border-radius: 5px; }}
QMenuBar::item:selected, QMenuBar::item:pressed {{ background: {t.accent_soft}; color: {t.accent}; }}
QMenu {{ background: {t.panel}; color: {t.text}; border: 1px solid {t.border_strong}; padding: 5px; }}
QMenu::item {{ padding: 5px 22px 5px 10px; border-radius: 5px; min-height: 18px; }}
QMenu::item:selected {{ background: {t.accent_soft}; color: {t.accent}; }}
QMenu::item:disabled {{ color: {dim}; }}
QMenu::separator {{ height: 1px; background: {t.border}; margin: 5px 8px; }}
QMenu::icon {{ padding-left: 8px; }}

QStatusBar {{ background: {t.panel}; color: {t.text_muted}; border-top: 1px solid {t.border}; font-size: 12px; }}
QStatusBar::item {{ border: none; }}
QSplitter::handle {{ background: {t.border}; }}
QSplitter::handle:horizontal {{ width: 1px; }}
QSplitter::handle:vertical {{ height: 1px; }}
QSplitter::handle:hover {{ background: {t.accent}; }}

QTableView {{
    background: transparent; color: {t.text}; border: none; gridline-color: {t.grid}; outline: none;
    font-family: "{mono}"; font-size: 12px; selection-background-color: {t.accent_soft}; selection-color: {t.text};
}}
QTableView::item {{ border-bottom: 1px solid {t.grid}; padding: 0 8px; }}
QTableView::item:selected {{ background: {t.accent_soft}; color: {t.text}; }}
QHeaderView {{ background: transparent; border: none; font-family: "{ui_font().family()}"; }}
QHeaderView::section {{
    background: transparent; color: {t.text_muted}; border: none; border-bottom: 1px solid {t.border};
    padding: 4px 8px; font-size: 12px; font-weight: 500;
}}
QTableCornerButton::section {{ background: transparent; border: none; }}
QMessageBox, QDialogButtonBox {{ dialogbuttonbox-buttons-have-icons: 0; }}
QMessageBox QLabel#qt_msgbox_label {{ min-width: 360px; }}
QMessageBox QLabel#qt_msgbox_informativelabel {{ color: {t.text_muted}; min-width: 360px; }}
QListView, QTreeView {{ background: transparent; color: {t.text}; border: none; outline: none; }}
QFileDialog QListView, QFileDialog QTreeView {{ background: {t.field}; border: 1px solid {t.border}; }}
QFileDialog QTreeView::item:selected, QFileDialog QListView::item:selected {{
    background: {t.accent_soft}; color: {t.accent};
}}
"""
