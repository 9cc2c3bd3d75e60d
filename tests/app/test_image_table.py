"""The table of pictures under real keys, clicks and drags."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QColor, QImage
from pytestqt.qtbot import QtBot

from studio.app import theme
from studio.app.widgets.image_table import ImageTable, _spread

ROWS, COLUMNS = ("10", "100", "1,000"), ("−8.0", "0.0", "4.0", "sample")


def sheet(value: int, count: int = 3) -> np.ndarray:
    return np.full((count, 1, 8, 8), value, np.uint8) + np.arange(count, dtype=np.uint8)[:, None, None, None]


@pytest.fixture
def table(qtbot: QtBot) -> ImageTable:
    made = ImageTable("Beliefs")
    qtbot.addWidget(made)
    made.resize(500, 400)
    made.set_table(ROWS, COLUMNS, "training step", "log-SNR")
    with qtbot.waitExposed(made):
        made.show()
    return made


@pytest.fixture
def moves(table: ImageTable) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    table.current_changed.connect(lambda row, column: found.append((row, column)))
    return found


def middle(table: ImageTable, row: int, column: int) -> QPoint:
    return table.place_of(row, column).center().toPoint()


def color_at(table: ImageTable, row: int, column: int) -> QColor:
    picture = table.to_image(1.0)
    return picture.pixelColor(middle(table, row, column))


def test_keys_move_within_the_table(table: ImageTable, moves: list[tuple[int, int]], qtbot: QtBot) -> None:
    keys = Qt.Key
    for key in (keys.Key_Right, keys.Key_Down, keys.Key_Left, keys.Key_Left, keys.Key_End, keys.Key_PageDown):
        qtbot.keyClick(table, key)
    assert moves == [(0, 1), (1, 1), (1, 0), (1, 3), (2, 3)]
    for key in (keys.Key_Down, keys.Key_Right, keys.Key_PageUp, keys.Key_Home, keys.Key_Up):
        qtbot.keyClick(table, key)
    assert moves[5:] == [(0, 3), (0, 0)]
    assert table.current == (0, 0)


def test_clicks_and_drags_scrub(table: ImageTable, moves: list[tuple[int, int]], qtbot: QtBot) -> None:
    left = Qt.MouseButton.LeftButton
    qtbot.mouseClick(table, left, pos=middle(table, 1, 2))
    assert moves == [(1, 2)]
    qtbot.mouseClick(table, left, pos=QPoint(2, 2))
    assert moves == [(1, 2)], "a click on the captions is no click on a cell"
    qtbot.mousePress(table, left, pos=middle(table, 0, 0))
    for column in range(1, 4):
        qtbot.mouseMove(table, middle(table, 0, column))
    qtbot.mouseMove(table, QPoint(table.width() + 40, table.height() + 40))
    qtbot.mouseRelease(table, left)
    assert moves[1:] == [(0, 0), (0, 1), (0, 2), (0, 3), (2, 3)]


def test_what_is_set_by_the_program_says_nothing(table: ImageTable, moves: list[tuple[int, int]]) -> None:
    table.set_current(2, 1)
    assert table.current == (2, 1)
    assert moves == []
    with pytest.raises(IndexError, match="3 x 4"):
        table.set_current(3, 0)
    with pytest.raises(IndexError, match="3 x 4"):
        table.set_tile(0, 4, sheet(1))


def test_tiles_come_in_any_order_and_one_image_of_each_is_shown(table: ImageTable) -> None:
    still_open = color_at(table, 0, 0)
    table.set_tile(2, 3, sheet(200), 2)
    table.set_tile(0, 0, sheet(100), 0)
    assert table.has_tile(2, 3)
    assert not table.has_tile(1, 1)
    assert color_at(table, 2, 3).red() == 202
    assert color_at(table, 0, 0).red() == 100
    assert color_at(table, 1, 1) == still_open
    table.set_tile(0, 0, sheet(100), 1)
    assert color_at(table, 0, 0).red() == 101


def test_colour_points_and_whole_sheets_are_drawn(table: ImageTable) -> None:
    red = np.zeros((1, 3, 8, 8), np.uint8)
    red[:, 0] = 255
    table.set_tile(0, 0, red)
    assert color_at(table, 0, 0) == QColor(255, 0, 0)
    table.set_table(("a",), ("b",))
    table.set_tile(0, 0, np.zeros((500, 2), np.float32))
    assert color_at(table, 0, 0).red() > 200, "all points lie in the middle"
    table.set_table(("a",), ("b",))
    table.set_tile(0, 0, sheet(50, 4), None)
    place = table.place_of(0, 0)
    picture = table.to_image(1.0)
    corners = [picture.pixelColor(place.topLeft().toPoint() + QPoint(9, 9)).red()]
    corners.append(picture.pixelColor(place.bottomRight().toPoint() - QPoint(9, 9)).red())
    assert corners == [50, 53]
    with pytest.raises(ValueError, match="shape"):
        table.set_tile(0, 0, np.zeros((4, 8, 8)))


def test_pixels_are_whole_screen_pixels(table: ImageTable) -> None:
    table.set_tile(0, 0, sheet(1))
    place = table.place_of(0, 0)
    assert place.width() % 8 == 0
    assert place.width() == place.height() >= 64
    assert place.left() == int(place.left())


def test_the_current_cell_stays_in_a_new_table_or_goes_to_the_nearest(table: ImageTable) -> None:
    table.set_current(2, 3)
    table.set_table(ROWS, COLUMNS)
    assert table.current == (2, 3)
    table.set_table(("a",), ("b", "c"))
    assert table.current == (0, 1)


def test_screen_readers_and_tool_tips_hear_of_the_cell(table: ImageTable) -> None:
    assert table.accessibleName() == "Beliefs"
    table.set_tile(1, 3, sheet(1), tip="after step 100: the sample")
    table.set_current(1, 3)
    assert table.accessibleDescription() == "training step 100, log-SNR sample, after step 100: the sample"
    assert table._tip((0, 0)) == "training step 10\nlog-SNR −8.0"


def test_an_empty_table_says_why(table: ImageTable, qtbot: QtBot, moves: list[tuple[int, int]]) -> None:
    table.set_current(1, 1)
    table.clear()
    table.set_empty_text("This model has no snapshots.")
    assert table.cell_at(middle_of(table)) is None
    qtbot.keyClick(table, Qt.Key.Key_Right)
    qtbot.mouseClick(table, Qt.MouseButton.LeftButton, pos=middle_of(table).toPoint())
    assert moves == []
    assert not table.menu().isEnabled()


def middle_of(table: ImageTable) -> QPointF:
    return QPointF(table.width() / 2, table.height() / 2)


def test_it_follows_the_scheme(table: ImageTable, qtbot: QtBot) -> None:
    table.set_tile(0, 0, sheet(90))
    light = table.to_image(1.0)
    theme.set_scheme("dark")
    dark = table.to_image(2.0)
    assert dark.width() == 2 * light.width()
    assert light.pixelColor(3, 3) != dark.pixelColor(6, 6)
    assert isinstance(dark, QImage)


def test_many_cells_still_fit_a_small_room(table: ImageTable) -> None:
    table.set_table([str(10**k) for k in range(12)], [f"{k}.0" for k in range(14)], "step", "level")
    table.resize(table.minimumSizeHint())
    table.set_tile(11, 13, sheet(10))
    assert table.rect().contains(table.place_of(11, 13).toAlignedRect())
    assert table.place_of(0, 1).left() > table.place_of(0, 0).right()


def test_captions_that_would_touch_are_left_out_but_never_the_current() -> None:
    assert _spread(5, 0.8, 2) == [0, 1, 2, 3, 4]
    assert _spread(9, 1.7, 4) == [0, 2, 4, 6, 8]
    shown = _spread(13, 1.7, 3)
    assert 3 in shown
    assert all(b - a >= 2 for a, b in itertools.pairwise(shown))
