"""The live views: what they draw, when they draw, and what the pointer does to them."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QColor, QImage
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QWidget

from studio.app import theme
from studio.app.widgets import scale
from studio.app.widgets.filmstrip import Filmstrip, shown_steps
from studio.app.widgets.heat_map import HeatMap, MergedColumns
from studio.app.widgets.image_grid import ImageGrid
from studio.app.widgets.particles import Particles
from studio.app.widgets.pictures import to_mosaic, to_pixels, to_qimage
from studio.app.widgets.plots import LivePlot, _apart
from studio.app.widgets.series import BLOCK, SeriesBuffer

rng = np.random.default_rng


def shown(qtbot, widget: QWidget, width: int = 480, height: int = 300) -> QWidget:
    qtbot.addWidget(widget)
    widget.resize(width, height)
    widget.show()
    qtbot.waitExposed(widget)
    QApplication.processEvents()
    return widget


def color_at(picture: QImage, x: float, y: float) -> QColor:
    """The colour at a position in units of the widget, at any scale of the screen."""
    ratio = picture.devicePixelRatio()
    return picture.pixelColor(int(x * ratio), int(y * ratio))


@pytest.fixture
def scheme() -> Iterator[None]:
    theme.install(QApplication.instance(), "light")
    yield
    theme.set_scheme("light")


class PaintCount:
    """Counts the calls of a widget's paintEvent."""

    def __init__(self, widget: QWidget, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        original = type(widget).paintEvent

        def paint(this: QWidget, event: object) -> None:
            self.count += this is widget
            original(this, event)

        monkeypatch.setattr(type(widget), "paintEvent", paint)


# Scales


@pytest.mark.parametrize(
    ("lo", "hi", "labels"),
    [
        (np.log10(0.02), np.log10(0.2), [".02", ".05", ".1", ".2"]),
        (-4.0, 0.0, ["1e-4", "1e-3", ".01", ".1", "1"]),
        (3.0, 5.0, ["1,000", "3,000", "10k", "30k", "100k"]),
    ],
)
def test_log_ticks_read_as_numbers(lo, hi, labels):
    assert scale.log_labels(scale.log_ticks(lo, hi, 200, 34)) == labels


@pytest.mark.parametrize(
    ("lo", "hi", "labels"),
    [
        (0, 1200, ["0", "500", "1,000"]),
        (0, 40_000, ["0", "10k", "20k", "30k", "40k"]),
        (0, 2, ["0", "0.5", "1", "1.5", "2"]),
        (-9, 5, ["−5", "0", "5"]),
        (0, 2e-5, ["0", "0.5e-5", "1e-5", "1.5e-5", "2e-5"]),
    ],
)
def test_linear_ticks_are_round(lo, hi, labels):
    assert scale.linear_labels(scale.linear_ticks(lo, hi, 5)) == labels


@pytest.mark.parametrize(("hi", "ticks"), [(1, [0, 1]), (2, [0, 1, 2]), (7, [0, 2, 4, 6]), (12, [0, 5, 10])])
def test_counted_axes_have_whole_ticks(hi, ticks):
    assert scale.linear_ticks(0, hi, 4, whole=True) == ticks


@pytest.mark.parametrize("log", [False, True])
def test_grown_ranges_hold_the_data_and_are_left_alone_otherwise(log):
    values = 10.0 ** rng(0).uniform(-3, 3, 200)
    current = scale.fit_log(1, 2) if log else scale.fit_linear(1, 2)
    for value in values:
        new = scale.grow(current, value, value, log=log)
        at = np.log10(value) if log else value
        assert new[0] - 1e-9 <= at <= new[1] + 1e-9
        assert new == current or not current[0] <= at <= current[1]
        assert new[0] <= current[0]
        assert new[1] >= current[1]
        current = new


# Series


@pytest.mark.parametrize("count", [1_000, 30_000, 50_000, 1_000_000])
def test_decimation_keeps_every_columns_extremes(count):
    y = rng(1).normal(size=count)
    y[count // 3], y[count // 2], y[-1] = 50, -60, 70
    buffer = SeriesBuffer()
    for part in np.array_split(np.arange(count), 7):
        buffer.append(part, y[part])
    edges = np.linspace(0, count, 301)
    x_drawn, y_drawn = buffer.columns(edges)
    assert len(x_drawn) <= max(2 * 300, 1000)
    assert {50.0, -60.0, 70.0} <= set(y_drawn)
    # A block that straddles a border may show its extreme one column early.
    slack = 0 if count <= 2 * BLOCK * 300 else count / 300
    for column in range(300):
        inside = y[int(np.ceil(edges[column])) : int(np.ceil(edges[column + 1]))]
        near = (x_drawn >= edges[column] - slack) & (x_drawn < edges[column + 1] + slack)
        assert inside.max() <= y_drawn[near].max()
        assert inside.min() >= y_drawn[near].min()


def test_decimated_smooth_curve_passes_through_its_own_points():
    x = np.arange(20_000.0)
    y = np.exp(-x / 5000)
    buffer = SeriesBuffer()
    buffer.append(x, y)
    x_drawn, y_drawn = buffer.columns(np.linspace(0, 20_000, 301))
    np.testing.assert_allclose(y_drawn, np.exp(-x_drawn / 5000), rtol=1e-12)


def test_series_skips_gaps_and_refuses_unequal_lengths():
    buffer = SeriesBuffer()
    y = np.ones(10_000)
    y[4000:6000] = np.nan
    buffer.append(np.arange(10_000), y)
    _, drawn = buffer.columns(np.linspace(0, 10_000, 101))
    assert np.isnan(drawn).any()
    assert np.nanmax(drawn) == 1
    with pytest.raises(ValueError, match="same length"):
        buffer.append([1, 2], [1])


# Plots


def test_ranges_change_in_steps(qtbot, scheme, monkeypatch):
    plot = shown(qtbot, LivePlot("steps", "loss", log_y=True))
    plot.add_series("raw", "each step", "series_raw")
    box, calls = plot._view.plotItem.vb, []
    original = box.setRange
    monkeypatch.setattr(box, "setRange", lambda **k: (calls.append(k), original(**k)))
    noise = rng(2).normal(size=1000)
    for step in range(1000):
        plot.append("raw", step, 0.3 * np.exp(-step / 300 + 0.2 * noise[step]))
        if step % 50 == 0:
            QApplication.processEvents()
    assert 5 < len(calls) < 60
    (x_lo, x_hi), (y_lo, y_hi) = plot.view_range()
    assert x_lo <= 0
    assert x_hi >= 999
    drawn = np.log10(plot.series()[0].buffer.y)
    assert y_lo <= drawn.min()
    assert y_hi >= drawn.max()
    # With the planned steps known, x never moves again.
    plot.set_x_extent(0, 40_000)
    calls.clear()
    plot.append("raw", np.arange(1000, 40_000), np.full(39_000, 0.1))
    assert calls == []


def test_plot_shows_its_curve(qtbot, scheme):
    plot = shown(qtbot, LivePlot("x", "y", y_range=(0, 1)))
    plot.add_series("a", "a", "series_limit", width=2)
    plot.set_data("a", [0, 1], [0.5, 0.5])
    image = plot.grab().toImage()
    middle = plot._view.mapTo(plot, plot._view.from_axis(0.5, 0.5).toPoint())
    pixel = color_at(image, middle.x() + 0.25, middle.y() + 0.25)
    assert pixel.red() > 200
    assert pixel.blue() < 150


def test_bars_are_not_cut(qtbot, scheme):
    plot = shown(qtbot, LivePlot("value", "count"))
    plot.add_series("a", "a", "series_learned", bars=True)
    plot.set_data("a", np.arange(10), np.arange(5, 15))
    (x_lo, x_hi), (y_lo, _) = plot.view_range()
    assert x_lo <= -0.4
    assert x_hi >= 9.4
    assert y_lo <= 0
    plot.grab()


def test_hidden_plot_only_stores(qtbot, scheme, monkeypatch):
    plot = LivePlot("steps", "loss")
    qtbot.addWidget(plot)
    plot.resize(400, 250)
    plot.add_series("a", "a", "series_raw")
    painted = []
    original = LivePlot.paint_curves
    monkeypatch.setattr(LivePlot, "paint_curves", lambda self, p: (painted.append(1), original(self, p)))
    before = plot.view_range()
    plot.append("a", np.arange(100), np.arange(100))
    QApplication.processEvents()
    assert painted == []
    assert plot.view_range() == before
    plot.show()
    qtbot.waitUntil(lambda: bool(painted))
    assert plot.view_range()[0][1] >= 99


def test_wheel_zooms_drag_pans_double_click_resets(qtbot, scheme):
    plot = shown(qtbot, LivePlot("x", "y"))
    plot.add_series("a", "a", "series_raw")
    plot.set_data("a", np.arange(101), np.arange(101))
    everything = plot.view_range()
    area = plot._view.plot_area()
    plot.zoom_at(area.center(), 0.5)
    zoomed = plot.view_range()
    assert zoomed[0][1] - zoomed[0][0] == pytest.approx(0.5 * (everything[0][1] - everything[0][0]))
    plot.append("a", 101, 101)  # new data does not disturb who looks closely
    assert plot.view_range() == zoomed
    port, at = plot._view.viewport(), area.center().toPoint()
    QTest.mousePress(port, Qt.MouseButton.LeftButton, pos=at)
    QTest.mouseMove(port, at + QPoint(-30, 0))
    QTest.mouseRelease(port, Qt.MouseButton.LeftButton, pos=at + QPoint(-30, 0))
    assert plot.view_range()[0][0] > zoomed[0][0]
    QTest.mouseDClick(port, Qt.MouseButton.LeftButton, pos=at)
    assert plot.view_range()[0][0] == pytest.approx(everything[0][0], abs=1)
    assert plot.view_range()[0][1] >= 101
    plot.zoom_at(area.center(), 4.0)  # never beyond everything
    assert plot.view_range()[0][1] - plot.view_range()[0][0] <= 130


def test_dragging_moves_the_marker(qtbot, scheme):
    plot = shown(qtbot, LivePlot("step", "y", y_range=(0, 1)))
    plot.set_x_extent(0, 10)
    plot.set_marker(3, draggable=True)
    seen: list[float] = []
    plot.marker_moved.connect(seen.append)
    port = plot._view.viewport()
    QTest.mousePress(port, Qt.MouseButton.LeftButton, pos=plot._view.from_axis(5, 0.5).toPoint())
    QTest.mouseMove(port, plot._view.from_axis(8, 0.5).toPoint())
    QTest.mouseRelease(port, Qt.MouseButton.LeftButton, pos=plot._view.from_axis(8, 0.5).toPoint())
    assert seen[0] == pytest.approx(5, abs=0.05)
    assert seen[-1] == pytest.approx(8, abs=0.05)
    assert plot.marker() == seen[-1]


def test_read_out_takes_the_nearest_point_of_each_curve(qtbot, scheme):
    plot = shown(qtbot, LivePlot("x", "y"))
    plot.add_series("a", "a", "series_raw")
    plot.add_series("b", "b", "series_limit")
    plot.set_data("a", [0, 10, 20], [1, 2, 3])
    plot.set_data("b", [0, 9.9, 100], [4, 5, 6])
    x, values = plot.read_out(9.8)
    assert x == 9.9
    assert [y for _, y in values] == [2, 5]
    QTest.mouseMove(plot._view.viewport(), plot._view.from_axis(9.8, 2).toPoint())
    qtbot.waitUntil(lambda: plot._overlay.isVisible())
    plot.grab()


def test_plot_data_as_csv(qtbot, scheme):
    plot = LivePlot("steps", "loss")
    qtbot.addWidget(plot)
    plot.add_series("a", "each step", "series_raw")
    plot.add_series("b", "held out", "series_held_out")
    plot.append("a", [1, 2], [0.5, 0.25])
    plot.append("b", [2, 4], [1.0, 2.0])
    assert plot.to_csv() == "steps,each step,held out\n1,0.5,\n2,0.25,1\n4,,2\n"
    actions = {action.text(): action for action in plot.menu().actions()}
    actions["Copy data as CSV"].trigger()
    assert QApplication.clipboard().text() == plot.to_csv()


def test_a_lone_point_is_a_dot(qtbot, scheme):
    plot = shown(qtbot, LivePlot("step", "y", x_range=(0, 1), y_range=(0, 1), whole_x=True))
    plot.add_series("a", "a", "series_gan")
    empty = plot.grab().toImage()
    plot.set_data("a", [0, 1], [0.5, np.nan])
    assert plot.grab().toImage() != empty


def test_dots_that_would_hide_each_other_are_left_out_but_the_newest():
    places = [QPointF(x, 0.0) for x in (0.0, 3.0, 12.0, 17.0, 20.0)]
    assert _apart(places, 8.0) == [QPointF(x, 0.0) for x in (20.0, 12.0, 3.0)]
    assert _apart(places[:1], 8.0) == places[:1]
    assert _apart([], 8.0) == []


def test_legend_click_hides_a_curve(qtbot, scheme):
    plot = shown(qtbot, LivePlot("x", "y"))
    plot.add_series("a", "first", "series_raw")
    plot.add_series("b", "second", "series_limit")
    place, series = plot._header._places[1]
    QTest.mouseClick(plot._header, Qt.MouseButton.LeftButton, pos=place.center().toPoint())
    assert series.label == "second"
    assert not series.visible


# Heat map


def test_merged_columns_keep_means():
    columns, values = MergedColumns(most=8), rng(3).uniform(size=(64, 5))
    values[::7, 2] = np.nan
    for x, row in enumerate(values):
        columns.append(x, row)
    assert columns.stride == 8
    assert columns.starts == list(range(0, 64, 8))
    np.testing.assert_allclose(columns.means(), np.nanmean(values.reshape(8, 8, 5), axis=1))


@pytest.mark.parametrize("count", [9, 13, 100, 1001])
def test_merged_columns_never_lose_a_value(count):
    columns, values = MergedColumns(most=8), rng(4).uniform(size=(count, 2))
    for x, row in enumerate(values):
        columns.append(x, row)
    assert len(columns.starts) <= 8
    groups = [values[k : k + columns.stride].mean(axis=0) for k in range(0, count, columns.stride)]
    np.testing.assert_allclose(columns.means(), groups)
    assert columns.starts == [float(k) for k in range(0, count, columns.stride)]


def test_odd_limits_merge_too():
    columns = MergedColumns(most=5)
    for x in range(37):
        columns.append(x, [float(x)])
    np.testing.assert_allclose(
        columns.means()[:, 0], [np.mean(range(k, min(k + columns.stride, 37))) for k in range(0, 37, columns.stride)]
    )


def test_heat_map_draws_bright_for_high_and_nothing_for_nan(qtbot, scheme):
    view = shown(qtbot, HeatMap())
    edges = np.linspace(-9, 5, 4)
    for step in range(3):
        view.append_column(step, [1.0, 0.01, np.nan], edges)
    image, area = view.grab().toImage(), view._area()
    at = [QPointF(area.center().x(), area.top() + area.height() * k / 6).toPoint() for k in (1, 3, 5)]
    high, low, missing = (color_at(image, point.x(), point.y()) for point in at)
    assert high.lightness() > low.lightness() + 20
    assert missing.lightness() > 230
    with pytest.raises(ValueError, match="edges"):
        view.append_column(4, [1.0], edges)


# Image grid


def test_mosaic_is_exact():
    images = rng(5).integers(0, 256, (5, 3, 6, 4), dtype=np.uint8)
    sheet = to_mosaic(to_pixels(images), columns=3, gap=2, mat=0xFF010203)
    assert sheet.shape == (2 * 6 + 2, 3 * 4 + 2 * 2)
    for index, image in enumerate(images):
        row, column = divmod(index, 3)
        cell = sheet[row * 8 : row * 8 + 6, column * 6 : column * 6 + 4]
        for channel, shift in enumerate((16, 8, 0)):
            np.testing.assert_array_equal((cell >> shift) & 255, image[channel])
    assert (sheet[6:8] == 0xFF010203).all()
    assert (sheet[8:, 12:] == 0xFF010203).all()
    picture = to_qimage(sheet)
    assert picture.pixel(2, 1) == sheet[1, 2]


def test_floats_map_to_bytes_and_nan_to_black():
    values = np.array([[-1.0, 0.0, 1.0], [np.nan, -7, 7]])[None]
    np.testing.assert_array_equal(to_pixels(values) & 255, [[0, 128, 255], [0, 0, 255]])
    with pytest.raises(ValueError, match="1 or 3"):
        to_pixels(np.zeros((2, 4, 4)))


def test_painted_grid_shows_pixels_as_they_are(qtbot, scheme):
    grid = shown(qtbot, ImageGrid(), 400, 400)
    images = rng(6).integers(0, 256, (16, 1, 8, 8), dtype=np.uint8)
    grid.set_images(images)
    screen = grid.grab().toImage()
    for index in (0, 5, 15):
        place = grid.place_of(index)
        for y, x in ((0, 0), (3, 6), (7, 7)):
            at = QPointF(place.left() + (x + 0.5) * place.width() / 8, place.top() + (y + 0.5) * place.height() / 8)
            assert color_at(screen, at.x(), at.y()).red() == images[index, 0, y, x]


def test_best_columns_follow_the_shape(qtbot, scheme):
    grid = ImageGrid()
    qtbot.addWidget(grid)
    grid.set_images(np.zeros((64, 1, 28, 28), np.uint8))
    grid.resize(400, 400)
    assert grid._layout()[0].columns == 8
    grid.resize(1200, 90)
    assert grid._layout()[0].columns >= 32
    grid.set_columns(16)
    assert grid._layout()[0].columns == 16


def test_clicks_and_keys_select_the_right_picture(qtbot, scheme):
    grid = shown(qtbot, ImageGrid(), 420, 300)
    grid.set_images(np.zeros((12, 1, 28, 28), np.uint8))
    clicked, hovered = [], []
    grid.clicked.connect(clicked.append)
    grid.hovered.connect(hovered.append)
    for index in (0, 7, 11):
        QTest.mouseMove(grid, grid.place_of(index).center().toPoint())
        QTest.mouseClick(grid, Qt.MouseButton.LeftButton, pos=grid.place_of(index).center().toPoint())
    assert clicked == [0, 7, 11]
    assert [index for index in hovered if index >= 0] == [0, 7, 11]
    QTest.mouseClick(grid, Qt.MouseButton.LeftButton, pos=QPoint(1, 1))
    assert clicked == [0, 7, 11]
    across = grid._layout()[0].columns
    for key in (Qt.Key.Key_Home, Qt.Key.Key_Right, Qt.Key.Key_Down, Qt.Key.Key_Up, Qt.Key.Key_Up, Qt.Key.Key_End):
        QTest.keyClick(grid, key)
    assert clicked[3:] == [0, 1, 1 + across, 1, 11]
    assert grid.selected() == 11


def test_double_click_enlarges_and_follows(qtbot, scheme):
    grid = shown(qtbot, ImageGrid(), 420, 300)
    grid.set_images(np.zeros((12, 1, 28, 28), np.uint8))
    QTest.mouseDClick(grid, Qt.MouseButton.LeftButton, pos=grid.place_of(5).center().toPoint())
    window = grid._enlarged
    assert window.isVisible()
    assert window.windowTitle() == "Picture 6 of 12"
    grid.set_images(np.full((12, 1, 28, 28), 255, np.uint8))
    picture = window.grab().toImage()
    assert color_at(picture, window.width() / 2, window.height() / 2).red() == 255
    grid.set_images(np.zeros((3, 1, 28, 28), np.uint8))
    assert not window.isVisible()


def test_grid_exports_whole_pixels(qtbot, scheme):
    grid = ImageGrid(columns=2)
    qtbot.addWidget(grid)
    grid.set_images(np.array([0, 255], np.uint8).reshape(2, 1, 1, 1) * np.ones((2, 1, 4, 4), np.uint8))
    image = grid.to_image(3)
    assert (image.width(), image.height()) == (27, 12)
    assert image.pixelColor(2, 2).red() == 0
    assert image.pixelColor(25, 10).red() == 255


# Filmstrip


@pytest.mark.parametrize("current", [0, 1, 500, 613, 999, 1000])
def test_shown_steps_hold_ends_and_current(current):
    steps = shown_steps(1001, 20, current)
    assert len(steps) == len(set(steps)) == 20
    assert steps == sorted(steps)
    assert {0, current, 1000} <= set(steps)


def test_filmstrip_click_drag_and_keys_select_steps(qtbot, scheme):
    strip = shown(qtbot, Filmstrip(), 800, 160)
    for _ in range(11):
        strip.append_frame(np.zeros((2, 1, 8, 8), np.uint8))
    seen: list[int] = []
    strip.step_selected.connect(seen.append)

    def at(step: int) -> QPoint:
        return strip.place_of(strip.steps().index(step), 0, len(strip.steps())).center().toPoint()

    QTest.mousePress(strip, Qt.MouseButton.LeftButton, pos=at(4))
    QTest.mouseMove(strip, at(6))
    QTest.mouseRelease(strip, Qt.MouseButton.LeftButton, pos=at(6))
    QTest.mouseClick(strip, Qt.MouseButton.LeftButton, pos=at(10))
    QTest.keyClick(strip, Qt.Key.Key_Left)
    QTest.keyClick(strip, Qt.Key.Key_Home)
    QTest.keyClick(strip, Qt.Key.Key_Left)
    assert seen == [4, 6, 10, 9, 0]
    strip.set_current(3)
    assert seen == [4, 6, 10, 9, 0]


def test_long_filmstrip_selects_a_shown_step(qtbot, scheme):
    strip = shown(qtbot, Filmstrip(), 700, 160)
    strip.set_frames(np.zeros((301, 2, 3, 8, 8), np.uint8))
    strip.set_current(123)
    assert 123 in strip.steps()
    columns = len(strip.steps())
    assert strip.height() - strip.place_of(0, 1, columns).bottom() < 30, "pictures are as tall as the strip allows"
    column = 4
    wanted = strip.steps()[column]
    with qtbot.waitSignal(strip.step_selected) as caught:
        place = strip.place_of(column, 1, len(strip.steps()))
        QTest.mouseClick(strip, Qt.MouseButton.LeftButton, pos=place.center().toPoint())
    assert caught.args == [wanted]
    with pytest.raises(ValueError, match=r"2, C, H, W"):
        strip.append_frame(np.zeros((1, 8, 8)))


# Particles


def test_particles_are_drawn_where_they_are(qtbot, scheme):
    view = shown(qtbot, Particles(), 400, 300)
    view.set_data_points(rng(7).normal(size=(500, 2)) * 0.01)
    view.set_range(2)
    view.set_particles([[1.0, 0.5], [np.nan, 0.0]], [[1.0, -0.5], [0.0, 0.0]])
    image, area = view.grab().toImage(), view._area()
    x, y = view._to_pixels(np.array([[1.0, 0.5]]), area)[0]
    pixel = color_at(image, x, y)
    assert pixel.blue() > pixel.red() + 60
    x, y = view._to_pixels(np.array([[1.0, -0.5]]), area)[0]
    pixel = color_at(image, x, y)
    assert pixel.red() > pixel.blue() + 60
    across, up = view._ranges(area)
    assert (across[1] - across[0]) / area.width() == pytest.approx((up[1] - up[0]) / area.height())


def test_particles_field_trails_and_one_dimension_paint(qtbot, scheme):
    view = shown(qtbot, Particles(), 400, 300)
    points = rng(8).normal(size=(64, 2))
    view.set_particles(points)
    view.set_field(points, -points)
    view.set_trails([np.cumsum(rng(9).normal(size=(20, 2)), axis=0)])
    view.grab()
    view.set_data_points(rng(10).normal(size=(500, 1)))
    view.set_particles(rng(11).normal(size=(500, 1)))
    view.grab()
    # A density of the normal law peaks at 0.4 and fits below the top of the axis.
    assert 0.4 < view._top <= 1.0
    with pytest.raises(ValueError, match="1 or 2"):
        view.set_particles(np.zeros((4, 3)))


@pytest.mark.parametrize("point", [[0.7], [0.7, 0.4]])
def test_the_particle_at_hand_is_marked(qtbot, scheme, point):
    view = shown(qtbot, Particles(), 400, 300)
    view.set_range(2)
    view.set_particles(np.full((1, len(point)), -1.5))
    before = view.grab().toImage()
    view.set_marked(point)
    image, area = view.grab().toImage(), view._area()
    x, y = view._to_pixels(np.array([[0.7, 0.4]]), area)[0]
    at = (x, y - 7.0) if len(point) == 2 else (x, area.top() + 30.0)
    changed = [color_at(image, at[0] + dx, at[1]) != color_at(before, at[0] + dx, at[1]) for dx in (-1, 0, 1)]
    assert any(changed)
    view.set_marked(None)
    assert view.grab().toImage() == before


# All of them


def _fed() -> list[tuple[QWidget, object]]:
    images = np.zeros((4, 1, 8, 8), np.uint8)
    heat, grid, strip, particles = HeatMap(), ImageGrid(), Filmstrip(), Particles()
    return [
        (heat, lambda: heat.append_column(1, [0.1, 0.2], [0, 1, 2])),
        (grid, lambda: grid.set_images(images)),
        (strip, lambda: strip.append_frame(images[:2])),
        (particles, lambda: particles.set_particles(np.zeros((3, 2)))),
    ]


@pytest.mark.parametrize("index", range(4))
def test_hidden_views_do_not_paint_and_shown_ones_do_once(qtbot, scheme, monkeypatch, index):
    view, feed = _fed()[index]
    qtbot.addWidget(view)
    view.resize(300, 200)
    paints = PaintCount(view, monkeypatch)
    feed()
    QApplication.processEvents()
    assert paints.count == 0
    view.show()
    qtbot.waitUntil(lambda: paints.count > 0)
    QApplication.processEvents()
    before = paints.count
    for _ in range(5):
        feed()
    QApplication.processEvents()
    assert paints.count == before + 1
    QApplication.processEvents()
    assert paints.count == before + 1


@pytest.mark.parametrize("index", range(4))
def test_views_have_names_sizes_menus_and_follow_the_theme(qtbot, scheme, index):
    view, feed = _fed()[index]
    shown(qtbot, view, 300, 200)
    feed()
    assert view.accessibleName()
    assert view.minimumSizeHint().width() <= view.sizeHint().width()
    assert {"Copy picture", "Save picture…"} <= {action.text() for action in view.menu().actions()}
    light = view.grab().toImage()
    theme.set_scheme("dark")
    QApplication.processEvents()
    assert view.grab().toImage() != light
    assert view.to_image(2).width() > 0


def test_plot_follows_the_theme(qtbot, scheme):
    plot = shown(qtbot, LivePlot("x", "y"))
    theme.set_scheme("dark")
    QApplication.processEvents()
    corner = plot._view.grab().toImage().pixelColor(2, 2)
    assert corner.name() == theme.DARK.panel


def test_reference_count_of_none_does_not_drift(qtbot, scheme):
    plot = shown(qtbot, LivePlot("steps", "loss", log_y=True))
    plot.add_series("a", "a", "series_raw")
    grid = shown(qtbot, ImageGrid(), 200, 200)
    images = np.zeros((16, 1, 28, 28), np.uint8)

    def frames(start: int, count: int) -> None:
        for step in range(start, start + count):
            plot.append("a", step, 0.1)
            grid.set_images(images)
            QApplication.processEvents()

    frames(0, 50)
    gc.collect()
    before = sys.getrefcount(None)
    frames(50, 500)
    gc.collect()
    assert abs(sys.getrefcount(None) - before) < 100
