"""The library under real clicks, keys and drops."""

import pytest
from PySide6.QtCore import QBuffer, QIODevice, QMimeData, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import QDragEnterEvent, QDropEvent, QGuiApplication, QImage
from PySide6.QtWidgets import QApplication, QMessageBox
from pytestqt.qtbot import QtBot

from studio.app import theme
from studio.app.library import Entry, Library


def png(value: int) -> bytes:
    image = QImage(8, 8, QImage.Format.Format_Grayscale8)
    image.fill(Qt.GlobalColor.white if value else Qt.GlobalColor.black)
    buffer = QBuffer()
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    image.save(buffer, "PNG")
    return bytes(buffer.data().data())


ENTRIES = [
    Entry("/ship/digits", "Digits", ("DDPM · MNIST", "T 1000"), png(1), "shipped", tooltip="All about digits"),
    Entry("/ship/roll", "Swiss roll", ("DDPM · 2-D points",), None, "shipped"),
    Entry("/runs/mine", "mine", ("DDPM · step 200", "training now"), png(0), "trained", state="training"),
    Entry("/else/broken", "broken", ("not a checkpoint",), None, "opened", state="bad"),
]


@pytest.fixture
def library(qtbot: QtBot) -> Library:
    made = Library()
    qtbot.addWidget(made)
    made.resize(236, 800)
    made.set_entries(ENTRIES)
    with qtbot.waitExposed(made):
        made.show()
    return made


def click(qtbot: QtBot, library: Library, title: str) -> None:
    item = library.list.findItems(title, Qt.MatchFlag.MatchExactly)[0]
    where = library.list.visualItemRect(item).center()
    qtbot.mouseClick(library.list.viewport(), Qt.MouseButton.LeftButton, pos=where)


def drop(library: Library, urls: list[QUrl]) -> tuple[bool, QMimeData]:
    data = QMimeData()
    data.setUrls(urls)
    copy, left, no_keys = Qt.DropAction.CopyAction, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    enter = QDragEnterEvent(QPoint(20, 20), copy, data, left, no_keys)
    enter.ignore()
    QApplication.sendEvent(library, enter)
    if enter.isAccepted():
        assert library.drop_zone.property("active")
        QApplication.sendEvent(library, QDropEvent(QPointF(20, 20), copy, data, left, no_keys))
    return enter.isAccepted(), data


def test_rows_stand_in_sections(library: Library) -> None:
    titles = [library.list.item(row).text() for row in range(library.list.count())]
    assert titles == [
        "Models that ship",
        "Digits",
        "Swiss roll",
        "Trained here",
        "mine",
        "Opened",
        "broken",
    ]
    assert library.list.item(1).toolTip() == "All about digits"
    assert library.list.item(2).toolTip() == "/ship/roll"
    assert library.selected() is None


def test_a_click_chooses(library: Library, qtbot: QtBot) -> None:
    with qtbot.waitSignal(library.chosen) as caught:
        click(qtbot, library, "Swiss roll")
    assert caught.args == ["/ship/roll"]
    assert library.selected() == "/ship/roll"


def test_arrow_keys_skip_headings(library: Library, qtbot: QtBot) -> None:
    told: list[str] = []
    click(qtbot, library, "Digits")
    library.chosen.connect(told.append)
    for _ in range(3):
        qtbot.keyClick(library.list, Qt.Key.Key_Down)
    assert told == ["/ship/roll", "/runs/mine", "/else/broken"]


def test_selecting_by_path_is_silent_and_survives_new_entries(library: Library) -> None:
    told: list[str] = []
    library.chosen.connect(told.append)
    assert library.select("/runs/mine")
    assert not library.select("/nowhere")
    library.set_entries([*ENTRIES, Entry("/runs/next", "next", (), None, "trained")])
    assert library.selected() == "/runs/mine"
    library.set_entries(ENTRIES[:2])
    assert library.selected() is None
    assert told == []


def test_a_drop_hands_over_the_paths(library: Library, qtbot: QtBot) -> None:
    with qtbot.waitSignal(library.dropped) as caught:
        accepted, _data = drop(library, [QUrl.fromLocalFile("/a/model.safetensors"), QUrl.fromLocalFile("/a/run")])
    assert accepted
    assert caught.args == [["/a/model.safetensors", "/a/run"]]
    assert not library.drop_zone.property("active")
    accepted, _data = drop(library, [QUrl("https://example.org/model")])
    assert not accepted


def test_the_drop_zone_asks_for_a_file_when_clicked(library: Library, qtbot: QtBot) -> None:
    with qtbot.waitSignal(library.browse_requested):
        qtbot.mouseClick(library.drop_zone, Qt.MouseButton.LeftButton)


def test_the_menu_fits_the_section(library: Library, qtbot: QtBot) -> None:
    def texts(path: str) -> list[str]:
        return [action.text() for action in library.menu_for(path).actions() if action.text()]

    assert texts("/ship/digits") == ["Train on from it", "Show in folder", "Copy path"]
    assert texts("/runs/mine")[-1] == "Delete file…"
    menu = library.menu_for("/else/broken")
    assert "Train on from it" not in texts("/else/broken")
    menu.actions()[1].trigger()
    assert QGuiApplication.clipboard().text() == "/else/broken"
    with qtbot.waitSignal(library.remove_requested) as caught:
        menu.actions()[-1].trigger()
    assert caught.args == ["/else/broken"]


def test_deleting_a_run_names_its_folder_and_all_that_goes(library: Library, qtbot: QtBot) -> None:
    library.set_entries([Entry("/runs/x/checkpoints/m", "x", (), None, "trained", run_folder="/runs/x")])
    click(qtbot, library, "x")
    qtbot.keyClick(library.list, Qt.Key.Key_Delete)
    box = library.findChild(QMessageBox)
    for words in ("/runs/x\n", "run folder", "curves", "samples", "continued"):
        assert words in box.informativeText()
    box.reject()


@pytest.mark.parametrize("sure", [True, False])
def test_deleting_asks_first(library: Library, qtbot: QtBot, sure: bool) -> None:
    told: list[str] = []
    library.delete_requested.connect(told.append)
    click(qtbot, library, "mine")
    qtbot.keyClick(library.list, Qt.Key.Key_Delete)
    box = library.findChild(QMessageBox)
    assert told == []
    button = next(b for b in box.buttons() if (b.text() == "Delete") is sure)
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    assert told == (["/runs/mine"] if sure else [])
    qtbot.waitUntil(lambda: library.findChild(QMessageBox) is None)


def test_what_ships_cannot_be_deleted(library: Library, qtbot: QtBot) -> None:
    click(qtbot, library, "Digits")
    qtbot.keyClick(library.list, Qt.Key.Key_Delete)
    assert library.findChild(QMessageBox) is None


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_selected_row_and_the_thumbnails_are_drawn(library: Library, scheme: theme.Scheme) -> None:
    theme.set_scheme(scheme)
    library.select("/ship/digits")
    image = library.list.viewport().grab().toImage()
    rect = library.list.visualItemRect(library.list.item(1))
    ratio = image.devicePixelRatio()

    def at(x: int, y: int) -> str:
        return image.pixelColor(int((rect.x() + x) * ratio), int((rect.y() + y) * ratio)).name()

    assert at(rect.width() - 20, 40) == theme.tokens().accent_soft
    assert at(12 + 8 + 22, 30) == "#ffffff"
    assert at(12, 30) == theme.tokens().accent


def test_a_scroll_bar_takes_no_room_from_the_text(library: Library) -> None:
    """What fits without one fits beside it: the row is drawn alike, up to the bar."""
    library.set_entries([Entry("/a", "Digits", ("DDPM · Fashion-MNIST", "FD 1.06 · 10 schedules"), None, "shipped")])

    def drawn() -> QImage:
        rect = library.list.visualItemRect(library.list.item(1))
        rect.setWidth(library.list.width() - 16)
        return library.list.viewport().grab(rect).toImage()

    bar = library.list.verticalScrollBar()
    alone = drawn()
    assert not bar.isVisible()
    library.list.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOn)
    assert library.list.viewport().width() < library.list.width()
    assert drawn() == alone
