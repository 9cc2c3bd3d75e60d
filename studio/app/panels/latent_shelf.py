"""The z that are kept: named, with a small picture, to go back to, to walk between, to share, or to let go."""

from __future__ import annotations

import base64
import binascii
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QIcon, QPixmap
from PySide6.QtWidgets import QHBoxLayout, QLineEdit, QMenu, QPushButton, QToolButton, QVBoxLayout, QWidget

from studio.app import theme
from studio.app.controls import make_label
from studio.app.panels.compare_page import left_aligned
from studio.session.latent_files import Kept, from_text, to_text

_THUMBNAIL = 28


@dataclass(frozen=True, eq=False)
class Entry:
    """A kept z and its sample as PNG bytes; empty where there is none, as after it was opened from a file."""

    kept: Kept
    picture: bytes = b""

    def to_dict(self) -> dict[str, str]:
        """As plain values, for the settings file."""
        return {"text": to_text(self.kept), "picture": base64.b64encode(self.picture).decode()}


def entry_from(table: Any) -> Entry | None:
    """What :meth:`Entry.to_dict` gave; None for anything else."""
    try:
        return Entry(from_text(str(table["text"])), base64.b64decode(str(table["picture"]), validate=True))
    except (KeyError, TypeError, ValueError, binascii.Error):
        return None


class Shelf(QWidget):
    """The list and the buttons around it; it holds nothing itself."""

    keep_requested = Signal(str)
    recall_requested = Signal(int)
    delete_requested = Signal(int)
    copy_requested = Signal(int)
    save_requested = Signal(int)
    open_requested = Signal()
    paste_requested = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.name = QLineEdit()
        self.name.setProperty("plain", True)
        self.name.setAccessibleName("Name of the z to keep")
        self.name.returnPressed.connect(self._keep)
        self.keep_button = QPushButton("Keep")
        self.keep_button.setToolTip("Keep the z in hand under this name, with its start, noise and class (K)")
        self.keep_button.clicked.connect(self._keep)
        self.open_button, self.paste_button = QPushButton("Open…"), QPushButton("Paste")
        self.open_button.setToolTip("Open a z that was saved as a file")
        self.paste_button.setToolTip("Take a z that was copied as text")
        self.open_button.clicked.connect(self.open_requested)
        self.paste_button.clicked.connect(self.paste_requested)
        self.rows: list[QPushButton] = []
        self.menus: list[QMenu] = []
        self._note = make_label("Keep a z to come back to it, to walk to it, or to share it.", "faint", wrap=True)
        self._list = QVBoxLayout()
        self._list.setSpacing(2)
        above, below = QHBoxLayout(), QHBoxLayout()
        for line in (above, below):
            line.setSpacing(8)
        above.addWidget(self.name, 1)
        above.addWidget(self.keep_button)
        below.addWidget(self.open_button, 1)
        below.addWidget(self.paste_button, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(8)
        column.addLayout(above)
        column.addLayout(self._list)
        column.addWidget(self._note)
        column.addLayout(below)

    def suggest(self, name: str) -> None:
        """The name that an empty field stands for."""
        self.name.setPlaceholderText(name)

    def set_entries(self, entries: Sequence[Entry]) -> None:
        """Show these, in their order."""
        while (item := self._list.takeAt(0)) is not None:
            widget = item.widget()
            if widget is not None:
                widget.hide()
                widget.deleteLater()
        self.rows, self.menus = [], []
        for index, entry in enumerate(entries):
            self._list.addWidget(self._row(index, entry))
        self._note.setVisible(not entries)

    def _row(self, index: int, entry: Entry) -> QWidget:
        held = entry.kept.held
        button = left_aligned(QPushButton(f" {entry.kept.name}"))
        button.setProperty("flat", True)
        button.setIconSize(QSize(_THUMBNAIL, _THUMBNAIL))
        picture = QPixmap()
        if entry.picture and picture.loadFromData(entry.picture):
            sharp = Qt.TransformationMode.FastTransformation
            button.setIcon(QIcon(picture.scaled(56, 56, Qt.AspectRatioMode.KeepAspectRatio, sharp)))
        what = f"class {held.label}, " if held.label != "none" else ""
        button.setToolTip(f"Take {entry.kept.name} in hand again: {what}start seed {held.start_seed}")
        button.clicked.connect(functools.partial(self.recall_requested.emit, index))
        menu = QMenu(self)
        menu.addAction("Copy as text", functools.partial(self.copy_requested.emit, index))
        menu.addAction("Save as file…", functools.partial(self.save_requested.emit, index))
        menu.addSeparator()
        menu.addAction("Delete", functools.partial(self.delete_requested.emit, index))
        more = QToolButton()
        theme.set_icon(more, "more")
        more.setAccessibleName(f"Share or delete {entry.kept.name}")
        more.setToolTip("Share or delete")
        more.clicked.connect(lambda: menu.popup(more.mapToGlobal(more.rect().bottomLeft())))
        row = QWidget()
        menu.setParent(row, menu.windowFlags())
        line = QHBoxLayout(row)
        line.setContentsMargins(0, 0, 0, 0)
        line.setSpacing(4)
        line.addWidget(button, 1)
        line.addWidget(more)
        self.rows.append(button)
        self.menus.append(menu)
        return row

    def _keep(self) -> None:
        self.keep_requested.emit(self.name.text().strip() or self.name.placeholderText())
        self.name.clear()
