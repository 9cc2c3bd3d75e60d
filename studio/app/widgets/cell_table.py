"""What tables of cells share: their captions, what is said while they are empty, and how keys and pointer go about.

A cell is (row, column), both from 0 at the top left.
"""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QEvent, QPointF, QRectF, Qt
from PySide6.QtGui import (
    QContextMenuEvent,
    QFont,
    QHelpEvent,
    QImage,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
)
from PySide6.QtWidgets import QMenu, QSizePolicy, QToolTip, QWidget

from studio.app.theme import mono_font, ui_font
from studio.app.widgets.pictures import add_picture_actions, render_widget, role_color

Cell = tuple[int, int]


class CellTable(QWidget):
    """Cells in rows and columns with captions, one of them the current cell, which a click or the arrow keys move.

    Home and End go to the ends of a row, Page Up and Page Down to those of a column. Abstract: a table draws its
    cells, finds the one at a position, and goes to one that the person chose.
    """

    def __init__(self, name: str, empty_text: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._rows: tuple[str, ...] = ()
        self._columns: tuple[str, ...] = ()
        self._row_title = self._column_title = ""
        self._empty_text = empty_text
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setAccessibleName(name)

    # What each table does in its own way

    @property
    def current(self) -> Cell | None:
        """The outlined cell; None where there is none."""
        raise NotImplementedError

    def cell_under(self, position: QPointF) -> Cell | None:
        """The cell at a position of the widget, its share of the gap included; None outside the table."""
        raise NotImplementedError

    def is_filled(self) -> bool:
        """Whether anything is known of any cell."""
        raise NotImplementedError

    def _paint_cells(self, painter: QPainter) -> None:
        """Draw a table that has cells."""
        raise NotImplementedError

    def _tip(self, cell: Cell) -> str:
        """The tool tip of a cell."""
        raise NotImplementedError

    def _go(self, cell: Cell) -> None:
        """The person went to a cell."""
        raise NotImplementedError

    def _first(self) -> Cell:
        """Where the keys begin while no cell is the current one."""
        return 0, 0

    # The cells

    def has_cells(self) -> bool:
        """Whether there is a table."""
        return bool(self._rows and self._columns)

    def holds(self, cell: Cell) -> bool:
        """Whether there is such a cell."""
        return 0 <= cell[0] < len(self._rows) and 0 <= cell[1] < len(self._columns)

    def set_empty_text(self, text: str) -> None:
        """What to say while there is no table."""
        self._empty_text = text
        self.update()

    def to_image(self, scale: float = 2.0) -> QImage:
        """The table with its captions as a picture."""
        return render_widget(self, scale)

    def menu(self) -> QMenu:
        """The context menu."""
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        add_picture_actions(menu, self, self.to_image, self.accessibleName())
        menu.setEnabled(self.is_filled())
        return menu

    def _set_captions(
        self, rows: Sequence[str], columns: Sequence[str], row_title: str = "", column_title: str = ""
    ) -> None:
        self._rows, self._columns = tuple(rows), tuple(columns)
        self._row_title, self._column_title = row_title, column_title

    def _check(self, cell: Cell) -> None:
        """Raises IndexError for a cell outside the table."""
        if not self.holds(cell):
            raise IndexError(f"the table has {len(self._rows)} x {len(self._columns)} cells; got {cell[0]}, {cell[1]}.")

    def _named(self, cell: Cell) -> list[str]:
        """The captions of a cell, that of its row first."""
        row, column = cell
        return [f"{self._row_title} {self._rows[row]}".strip(), f"{self._column_title} {self._columns[column]}".strip()]

    # Painting

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if self.has_cells():
            self._paint_cells(painter)
        else:
            self._paint_empty(painter)

    def _paint_empty(self, painter: QPainter) -> None:
        painter.setPen(QPen(role_color("border"), 1, Qt.PenStyle.DashLine))
        painter.drawRoundedRect(QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5), 6, 6)
        painter.setPen(role_color("text_muted"))
        painter.setFont(ui_font(12))
        words = int(Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap)
        painter.drawText(QRectF(self.rect()).adjusted(16, 8, -16, -8), words, self._empty_text)

    def _caption_style(self, painter: QPainter, current: bool) -> None:
        """How the caption of a row or column is written; the current cell's stand out."""
        painter.setFont(mono_font(11, QFont.Weight.DemiBold if current else QFont.Weight.Normal))
        painter.setPen(role_color("accent" if current else "text_muted"))

    def _paint_titles(self, painter: QPainter, along: QRectF, beside: QRectF) -> None:
        """Write the columns' title into ``along``, and the rows', from below upwards, into the upright ``beside``."""
        center = int(Qt.AlignmentFlag.AlignCenter)
        painter.setFont(ui_font(11))
        painter.setPen(role_color("text_muted"))
        painter.drawText(along, center, self._column_title)
        painter.save()
        painter.translate(beside.center())
        painter.rotate(-90)
        turned = QRectF(-beside.height() / 2, -beside.width() / 2, beside.height(), beside.width())
        painter.drawText(turned, center, self._row_title)
        painter.restore()

    # Qt

    def event(self, event: QEvent) -> bool:
        if isinstance(event, QHelpEvent) and event.type() == QEvent.Type.ToolTip:
            cell = self.cell_under(QPointF(event.pos()))
            QToolTip.showText(event.globalPos(), self._tip(cell) if cell is not None else "", self)
            return True
        return super().event(event)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        cell = self.cell_under(event.position())
        if event.button() == Qt.MouseButton.LeftButton and cell is not None:
            self._go(cell)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        row, column = self.current or self._first()
        wanted = {
            Qt.Key.Key_Left: (row, column - 1),
            Qt.Key.Key_Right: (row, column + 1),
            Qt.Key.Key_Up: (row - 1, column),
            Qt.Key.Key_Down: (row + 1, column),
            Qt.Key.Key_Home: (row, 0),
            Qt.Key.Key_End: (row, len(self._columns) - 1),
            Qt.Key.Key_PageUp: (0, column),
            Qt.Key.Key_PageDown: (len(self._rows) - 1, column),
        }.get(Qt.Key(event.key()))
        if wanted is None or not self.has_cells():
            super().keyPressEvent(event)
        elif self.current is None:
            self._go(self._first())
        elif self.holds(wanted):
            self._go(wanted)

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        self.menu().popup(event.globalPos())
