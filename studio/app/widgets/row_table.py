"""Tables of rows to read: words at the left, then numbers, which stand below each other at the right of their columns.

Qt's model and view: a subclass of :class:`RowModel` says what is in the cells, :func:`set_up` makes a view look right.
"""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QPersistentModelIndex, Qt
from PySide6.QtWidgets import QAbstractItemView, QTableView

Index = QModelIndex | QPersistentModelIndex

_ROW_HEIGHT = 26
_LEFT = int(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
_RIGHT = int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)


class RowModel(QAbstractTableModel):
    """Texts under headings. Abstract: a table counts its rows and says what is in each cell."""

    heads: tuple[str, ...] = ()
    tips: tuple[str, ...] = ()
    """The tool tips of all headings, or of none."""
    num_words = 0
    """How many columns hold words; they come first."""

    def num_rows(self) -> int:
        """How many rows there are."""
        raise NotImplementedError

    def text(self, row: int, column: int) -> str:
        """What is written in a cell."""
        raise NotImplementedError

    def look(self, row: int, column: int, role: int) -> Any:
        """What else Qt asks of a cell, such as its colour; None for Qt's own choice."""
        return None

    def head(self, column: int) -> str:
        """What is written over a column."""
        return self.heads[column]

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 - Qt's own signature
        return 0 if parent.isValid() else self.num_rows()

    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 - Qt's own signature
        return 0 if parent.isValid() else len(self.heads)

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return self._side(index.column())
        if role == Qt.ItemDataRole.DisplayRole:
            return self.text(index.row(), index.column())
        return self.look(index.row(), index.column(), role)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if orientation != Qt.Orientation.Horizontal:
            return None
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return self._side(section)
        if role == Qt.ItemDataRole.ToolTipRole and self.tips:
            return self.tips[section]
        return self.head(section) if role == Qt.ItemDataRole.DisplayRole else None

    def _side(self, column: int) -> int:
        return _LEFT if column < self.num_words else _RIGHT


def set_up(table: QTableView, model: RowModel, name: str) -> None:
    """Show ``model`` in plain rows, one of which can be selected as a whole; ``name`` is what a screen reader says."""
    table.setModel(model)
    table.setShowGrid(False)
    table.setWordWrap(False)
    table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
    table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
    table.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    table.setAccessibleName(name)
    table.setTabKeyNavigation(False)
    heads = table.horizontalHeader()
    heads.setHighlightSections(False)
    heads.setSectionsClickable(False)
    table.verticalHeader().hide()
    table.verticalHeader().setDefaultSectionSize(_ROW_HEIGHT)
