"""The model library at the left of the window: what ships, what was trained here, what was opened; and the drop target.

It lists :class:`Entry` values and says what a person asks for. It reads and deletes no file itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from PySide6.QtCore import QByteArray, QModelIndex, QPersistentModelIndex, QPoint, QRectF, QSize, Qt, QUrl, Signal
from PySide6.QtGui import (
    QAction,
    QColor,
    QDesktopServices,
    QDragEnterEvent,
    QDragLeaveEvent,
    QDropEvent,
    QFont,
    QFontMetricsF,
    QGuiApplication,
    QImage,
    QKeyEvent,
    QKeySequence,
    QPainter,
    QPainterPath,
    QPen,
)
from PySide6.QtWidgets import (
    QAbstractItemView,
    QFrame,
    QListWidget,
    QListWidgetItem,
    QMenu,
    QMessageBox,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QVBoxLayout,
    QWidget,
)

from studio.app import theme
from studio.app.controls import DropZone

Section = Literal["shipped", "trained", "opened"]
_SECTIONS: dict[Section, str] = {"shipped": "Models that ship", "trained": "Trained here", "opened": "Opened"}
_ENTRY = Qt.ItemDataRole.UserRole
_THUMBNAIL = Qt.ItemDataRole.UserRole + 1
_SIDE, _PAD, _LINE, _GAP, _MARGIN = 44, 8, 17, 4, 12


@dataclass(frozen=True)
class Entry:
    """A row: ``lines`` are up to three muted lines under the title, ``thumbnail`` is a PNG, ``path`` identifies it.

    ``run_folder`` is what deleting the model deletes with it; "" where that is the file alone. ``can_be_ddgan`` says
    whether a DDGAN may start from it.
    """

    path: str
    title: str
    lines: tuple[str, ...]
    thumbnail: bytes | None
    section: Section
    tooltip: str = ""
    state: Literal["ok", "bad", "training"] = "ok"
    run_folder: str = ""
    can_be_ddgan: bool = False


class _RowPainter(QStyledItemDelegate):
    """Draws section headings and rows: a rounded thumbnail, a semi-bold title, muted lines."""

    def sizeHint(self, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex) -> QSize:
        entry = index.data(_ENTRY)
        if entry is None:
            return QSize(0, 40 if index.row() == 0 else 44)
        return QSize(0, 2 * _PAD + max(_SIDE, 18 + _LINE * len(entry.lines)) + _GAP)

    def paint(
        self, painter: QPainter, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex
    ) -> None:
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        rect = QRectF(option.rect)  # type: ignore[attr-defined]
        entry = index.data(_ENTRY)
        if entry is None:
            self._heading(painter, rect, str(index.data()))
        else:
            state = option.state  # type: ignore[attr-defined]
            # A scroll bar takes its room from the margin, not from the text.
            bar = option.widget.width() - option.rect.width()  # type: ignore[attr-defined]
            margin = max(2, _MARGIN - bar)
            self._row(painter, rect.adjusted(_MARGIN, 0, -margin, -_GAP), entry, index.data(_THUMBNAIL), state)
        painter.restore()

    def _heading(self, painter: QPainter, rect: QRectF, text: str) -> None:
        font = theme.ui_font(11, QFont.Weight.DemiBold)
        font.setLetterSpacing(QFont.SpacingType.AbsoluteSpacing, 0.5)
        painter.setFont(font)
        painter.setPen(QColor(theme.tokens().text_muted))
        bottom = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignBottom
        painter.drawText(rect.adjusted(14, 0, -12, -9), bottom, text.upper())

    def _row(
        self, painter: QPainter, rect: QRectF, entry: Entry, thumbnail: QImage | None, state: QStyle.StateFlag
    ) -> None:
        now = theme.tokens()
        selected = bool(state & QStyle.StateFlag.State_Selected)
        if selected or state & QStyle.StateFlag.State_MouseOver:
            focused = selected and state & QStyle.StateFlag.State_HasFocus
            width = 2.0 if focused else 1.0
            painter.setPen(QPen(QColor(now.accent), width) if selected else Qt.PenStyle.NoPen)
            painter.setBrush(QColor(now.accent_soft if selected else now.field_hover))
            painter.drawRoundedRect(rect.adjusted(width / 2, width / 2, -width / 2, -width / 2), 8, 8)
        self._picture(painter, QRectF(rect.x() + _PAD, rect.y() + _PAD, _SIDE, _SIDE), entry, thumbnail)
        left = rect.x() + _PAD + _SIDE + 9
        edge = rect.right() - 3
        room = edge - left
        top = rect.y() + _PAD - 1
        if entry.state == "training":
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(now.good))
            painter.drawEllipse(QRectF(rect.right() - _PAD - 8, top + 6, 7, 7))
            room -= 20
        title = now.text_muted if entry.state == "bad" else now.text
        self._line(painter, left, top, room, entry.title, theme.ui_font(13, QFont.Weight.DemiBold), title)
        for index, line in enumerate(entry.lines):
            color = now.bad if entry.state == "bad" and index == len(entry.lines) - 1 else now.text_muted
            y = top + 19 + _LINE * index
            self._line(painter, left, y, edge - left, line, theme.ui_font(12), color)

    def _line(self, painter: QPainter, x: float, y: float, room: float, text: str, font: QFont, color: str) -> None:
        metrics = QFontMetricsF(font)
        painter.setFont(font)
        painter.setPen(QColor(color))
        shown = metrics.elidedText(text, Qt.TextElideMode.ElideRight, room)
        painter.drawText(QRectF(x, y, room + 2, 18), Qt.AlignmentFlag.AlignVCenter, shown)

    def _picture(self, painter: QPainter, where: QRectF, entry: Entry, thumbnail: QImage | None) -> None:
        now = theme.tokens()
        frame = QPainterPath()
        frame.addRoundedRect(where, 6, 6)
        painter.setPen(Qt.PenStyle.NoPen)
        if entry.state == "bad" or thumbnail is None:
            painter.fillPath(frame, QColor(now.grid))
            if entry.state == "bad":
                theme.icon("warning", now.bad).paint(painter, where.adjusted(12, 12, -12, -12).toRect())
            else:
                painter.setFont(theme.ui_font(16, QFont.Weight.DemiBold))
                painter.setPen(QColor(now.text_faint))
                painter.drawText(where, Qt.AlignmentFlag.AlignCenter, entry.title[:1].upper())
            return
        painter.fillPath(frame, QColor(now.image_mat))
        painter.setClipPath(frame, Qt.ClipOperation.IntersectClip)
        # Pixels stay sharp when enlarged; when reduced, nearest neighbour would lose whole strokes.
        reduced = thumbnail.width() > _SIDE * painter.device().devicePixelRatioF()
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, reduced)
        fitted = QRectF(0, 0, thumbnail.width(), thumbnail.height())
        scale = min(where.width() / fitted.width(), where.height() / fitted.height())
        fitted.setSize(fitted.size() * scale)
        fitted.moveCenter(where.center())
        painter.drawImage(fitted, thumbnail)
        painter.setClipping(False)


class _List(QListWidget):
    """The rows. Delete asks to remove the current one."""

    delete_pressed = Signal()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.matches(QKeySequence.StandardKey.Delete):
            self.delete_pressed.emit()
        else:
            super().keyPressEvent(event)


class Library(QFrame):
    """The left panel. ``chosen`` carries the path of the row a person went to, ``dropped`` the local paths let go here.

    ``remove_requested`` asks to forget an opened file, ``delete_requested`` to delete one trained here (after a
    question). ``train_requested`` and ``ddgan_requested`` ask for a training that starts from a model's weights: one
    like its own, or a DDGAN. ``browse_requested`` is a click on the drop zone.
    """

    chosen = Signal(str)
    dropped = Signal(list)
    remove_requested = Signal(str)
    delete_requested = Signal(str)
    train_requested = Signal(str)
    ddgan_requested = Signal(str)
    browse_requested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("surface", "left")
        self.setAcceptDrops(True)
        self._entries: list[Entry] = []
        self.list = _List(self)
        self.list.setAccessibleName("Models")
        self.list.setItemDelegate(_RowPainter(self.list))
        self.list.setMouseTracking(True)
        self.list.setAcceptDrops(False)
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.list.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.list.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.list.viewport().setAutoFillBackground(False)
        self.drop_zone = DropZone("Drop a checkpoint\nor a run folder here")
        self.drop_zone.setMinimumHeight(68)
        self.drop_zone.setToolTip("Or click to choose a file")
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 1, 14)
        column.setSpacing(8)
        column.addWidget(self.list, 1)
        margin = QVBoxLayout()
        margin.setContentsMargins(12, 0, 12, 0)
        margin.addWidget(self.drop_zone)
        column.addLayout(margin)
        self.list.currentItemChanged.connect(self._moved)
        self.list.itemActivated.connect(self._moved)
        self.list.customContextMenuRequested.connect(self._open_menu)
        self.list.delete_pressed.connect(self._ask_to_remove)
        self.drop_zone.clicked.connect(self.browse_requested)
        theme.notifier().changed.connect(self.list.viewport().update)

    def set_entries(self, entries: Sequence[Entry]) -> None:
        """List these, by section in their order. Selection and scroll position stay; no signal is emitted."""
        if list(entries) == self._entries:
            return
        kept, scroll = self.selected(), self.list.verticalScrollBar().value()
        self._entries = list(entries)
        self.list.blockSignals(True)
        self.list.clear()
        for section, heading in _SECTIONS.items():
            rows = [entry for entry in self._entries if entry.section == section]
            if rows:
                title = QListWidgetItem(heading, self.list)
                title.setFlags(Qt.ItemFlag.NoItemFlags)
            for entry in rows:
                self.list.addItem(_item(entry))
        self.list.blockSignals(False)
        if kept is not None:
            self.select(kept)
        self.list.verticalScrollBar().setValue(scroll)

    def selected(self) -> str | None:
        """The path of the selected row, None if there is none."""
        entry = self._current()
        return entry.path if entry else None

    def select(self, path: str) -> bool:
        """Select the row of ``path`` without emitting ``chosen``; False if it is not listed."""
        for row in range(self.list.count()):
            item = self.list.item(row)
            entry = item.data(_ENTRY)
            if entry is not None and entry.path == path:
                self.list.blockSignals(True)
                self.list.setCurrentItem(item)
                self.list.blockSignals(False)
                self.list.viewport().update()
                return True
        return False

    def menu_for(self, path: str) -> QMenu:
        """The context menu of a row."""
        entry = next(entry for entry in self._entries if entry.path == path)
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        if entry.state != "bad":
            _add(menu, "Train on from it").triggered.connect(lambda: self.train_requested.emit(entry.path))
            if entry.can_be_ddgan:
                _add(menu, "Make a DDGAN of it").triggered.connect(lambda: self.ddgan_requested.emit(entry.path))
            menu.addSeparator()
        _add(menu, "Show in folder").triggered.connect(lambda: _show_in_folder(entry.path))
        _add(menu, "Copy path").triggered.connect(lambda: QGuiApplication.clipboard().setText(entry.path))
        if entry.section == "opened":
            menu.addSeparator()
            _add(menu, "Remove from list").triggered.connect(lambda: self.remove_requested.emit(entry.path))
        if entry.section == "trained":
            menu.addSeparator()
            _add(menu, "Delete run…" if entry.run_folder else "Delete file…").triggered.connect(
                lambda: self._confirm_delete(entry)
            )
        return menu

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if _local_paths(event):
            event.acceptProposedAction()
            self.drop_zone.set_active(True)

    def dragLeaveEvent(self, event: QDragLeaveEvent) -> None:
        self.drop_zone.set_active(False)

    def dropEvent(self, event: QDropEvent) -> None:
        self.drop_zone.set_active(False)
        event.acceptProposedAction()
        self.dropped.emit(_local_paths(event))

    def _current(self) -> Entry | None:
        item = self.list.currentItem()
        return item.data(_ENTRY) if item is not None and item.isSelected() else None

    def _moved(self, item: QListWidgetItem | None) -> None:
        entry = item.data(_ENTRY) if item is not None else None
        if entry is not None:
            self.chosen.emit(entry.path)

    def _open_menu(self, where: QPoint) -> None:
        item = self.list.itemAt(where)
        entry = item.data(_ENTRY) if item is not None else None
        if entry is not None:
            self.menu_for(entry.path).popup(self.list.viewport().mapToGlobal(where))

    def _ask_to_remove(self) -> None:
        entry = self._current()
        if entry is not None and entry.section == "opened":
            self.remove_requested.emit(entry.path)
        elif entry is not None and entry.section == "trained":
            self._confirm_delete(entry)

    def _confirm_delete(self, entry: Entry) -> None:
        box = QMessageBox(self)
        box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        box.setWindowTitle("Delete model")
        box.setText(f"Delete “{entry.title}”?")
        if entry.run_folder:
            what = f"{entry.run_folder}\nThe whole run folder is deleted from the disk: the model, its curves, "
            what += "its samples and the state it could be continued from."
        else:
            what = f"{entry.path}\nThe file is deleted from the disk."
        box.setInformativeText(f"{what} This cannot be undone.")
        delete = box.addButton("Delete", QMessageBox.ButtonRole.DestructiveRole)
        theme.restyle(delete, danger=True)
        box.setDefaultButton(box.addButton(QMessageBox.StandardButton.Cancel))
        delete.clicked.connect(lambda: self.delete_requested.emit(entry.path))
        box.open()


def _item(entry: Entry) -> QListWidgetItem:
    item = QListWidgetItem(entry.title)
    item.setData(_ENTRY, entry)
    item.setToolTip(entry.tooltip or entry.path)
    item.setData(Qt.ItemDataRole.AccessibleTextRole, ", ".join((entry.title, *entry.lines)))
    if entry.thumbnail is not None:
        image = QImage.fromData(QByteArray(entry.thumbnail))
        item.setData(_THUMBNAIL, None if image.isNull() else image)
    return item


def _add(menu: QMenu, text: str) -> QAction:
    return menu.addAction(text)


def _show_in_folder(path: str) -> None:
    QDesktopServices.openUrl(QUrl.fromLocalFile(str(Path(path).parent)))


def _local_paths(event: QDropEvent) -> list[str]:
    return [url.toLocalFile() for url in event.mimeData().urls() if url.isLocalFile()]
