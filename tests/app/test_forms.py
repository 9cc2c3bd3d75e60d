"""Forms and controls under real clicks and keys: what is typed is taken, or refused in the knob's words."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QGuiApplication, QWheelEvent
from PySide6.QtWidgets import QApplication, QCheckBox, QLabel, QLineEdit, QWidget
from pytestqt.qtbot import QtBot

from studio.app.controls import (
    Banner,
    Choice,
    ElidedLabel,
    Field,
    LabeledSlider,
    Segmented,
    StatTile,
    format_number,
    slider_stops,
)
from studio.app.forms import KnobForm
from studio.core.knobs import Knob, Knobbed, knob, knobs_of


@dataclass(frozen=True, kw_only=True)
class Method(Knobbed):
    """One knob of each sort."""

    predict: Literal["eps", "x0", "v"] = knob("eps", help="What the network predicts.")
    steps: int = knob(1000, help="Steps of the training schedule.", symbol="T", low=1, high=4000)
    eta: float = knob(0.35, help="Fresh noise in each step.", symbol="η", low=0, high=1)
    count: int = knob(36, help="How many images.", low=1, high=100)
    rate: float = knob(4e-4, help="Learning rate.", low=1e-6, high=1, log=True)
    clip: bool = knob(True, help="Clip x0 to the range of the data.")
    note: str = knob("", help="Anything.")
    seed: int | None = knob(None, help="Seed of the noise.", low=0)
    dropout: float = knob(0.1, help="Share of labels dropped.", low=0, high=1, advanced=True)
    ema: float = knob(0.9995, help="Share of the old weights kept.", low=0, high=1, advanced=True)


@pytest.fixture
def form(qtbot: QtBot) -> KnobForm:
    made = KnobForm(knobs_of(Method), {"predict.eps": "noise ε", "x0": "image"})
    return shown(qtbot, made)


def shown(qtbot: QtBot, widget: Any) -> Any:
    qtbot.addWidget(widget)
    widget.resize(280, max(widget.sizeHint().height(), 30))
    with qtbot.waitExposed(widget):
        widget.show()
    return widget


def control(form: KnobForm, name: str, kind: type) -> Any:
    found = form.findChild(kind, name)
    assert found is not None, name
    return found


def retype(qtbot: QtBot, edit: QLineEdit, text: str) -> None:
    edit.setFocus()
    edit.selectAll()
    qtbot.keyClicks(edit, text)


def wheel(target: QWidget) -> None:
    where = QPointF(target.rect().center())
    no_buttons, no_keys = Qt.MouseButton.NoButton, Qt.KeyboardModifier.NoModifier
    phase = Qt.ScrollPhase.NoScrollPhase
    turn = QWheelEvent(where, target.mapToGlobal(where), QPoint(), QPoint(0, 120), no_buttons, no_keys, phase, False)
    QApplication.sendEvent(target, turn)


def test_a_form_starts_with_the_defaults(form: KnobForm) -> None:
    assert form.values() == {item.name: item.default for item in knobs_of(Method)}
    assert form.is_valid()
    assert Method(**form.values())  # type: ignore[arg-type]


def test_each_knob_gets_the_control_that_suits_it(form: KnobForm) -> None:
    kinds = {
        "predict": Choice,
        "steps": QLineEdit,
        "eta": LabeledSlider,
        "count": LabeledSlider,
        "rate": LabeledSlider,
        "clip": QCheckBox,
        "note": QLineEdit,
        "seed": QLineEdit,
        "dropout": LabeledSlider,
        "ema": QLineEdit,
    }
    for name, kind in kinds.items():
        found = control(form, name, kind)
        assert found.accessibleName()
        assert "Takes" in form.field(name).toolTip() or name in ("clip", "note")
    assert [control(form, "predict", Choice).itemText(i) for i in range(3)] == ["noise ε", "image", "v"]
    assert control(form, "seed", QLineEdit).placeholderText() == "auto"


def test_typing_a_value_announces_it(form: KnobForm, qtbot: QtBot) -> None:
    with qtbot.waitSignal(form.changed):
        retype(qtbot, control(form, "steps", QLineEdit), "500")
    assert form.values()["steps"] == 500
    retype(qtbot, control(form, "seed", QLineEdit), "7")
    assert form.values()["seed"] == 7
    edit = control(form, "seed", QLineEdit)
    edit.selectAll()
    qtbot.keyClick(edit, Qt.Key.Key_Delete)
    assert form.values()["seed"] is None
    assert form.is_valid()


@pytest.mark.parametrize("text", ["99999", "0", "ten", "1.5", "nan"])
def test_bad_text_is_refused_in_the_knob_s_words(form: KnobForm, qtbot: QtBot, text: str) -> None:
    states: list[bool] = []
    form.validity_changed.connect(states.append)
    edit = control(form, "steps", QLineEdit)
    retype(qtbot, edit, text)
    assert not form.is_valid()
    assert states[-1] is False
    assert form.field("steps").note() == "It takes a whole number from 1 to 4,000."
    assert edit.property("bad")
    retype(qtbot, edit, "12")
    assert form.is_valid()
    assert states[-1] is True
    assert form.values()["steps"] == 12
    assert form.field("steps").note() == ""


def test_clicks_reach_check_boxes_and_choices(form: KnobForm, qtbot: QtBot) -> None:
    box = control(form, "clip", QCheckBox)
    with qtbot.waitSignal(form.changed):
        qtbot.mouseClick(box, Qt.MouseButton.LeftButton, pos=QPoint(8, box.height() // 2))
    assert form.values()["clip"] is False
    choice = control(form, "predict", Choice)
    choice.setFocus()
    with qtbot.waitSignal(form.changed):
        qtbot.keyClick(choice, Qt.Key.Key_Down)
    assert form.values()["predict"] == "x0"


def test_the_name_of_a_check_box_can_be_clicked(form: KnobForm, qtbot: QtBot) -> None:
    field = form.field("clip")
    name = field.childAt(QPoint(10, field.height() // 2))
    qtbot.mouseClick(name, Qt.MouseButton.LeftButton)
    assert form.values()["clip"] is False


def test_setting_values_announces_once_and_checks(form: KnobForm) -> None:
    told: list[int] = []
    form.changed.connect(lambda: told.append(1))
    wanted = {"predict": "v", "steps": 5, "eta": 0.123, "clip": False, "seed": 9, "ema": 0.5, "rate": 1.234e-3}
    form.set_values(wanted)
    assert told == [1]
    assert {name: form.values()[name] for name in wanted} == wanted
    form.set_values(wanted)
    assert told == [1]
    with pytest.raises(ValueError, match="steps = 0"):
        form.set_values({"eta": 0.9, "steps": 0})
    assert form.values()["eta"] == 0.123
    with pytest.raises(ValueError, match="no setting"):
        form.set_values({"nonsense": 1})


def test_setting_values_clears_an_error(form: KnobForm, qtbot: QtBot) -> None:
    retype(qtbot, control(form, "steps", QLineEdit), "0")
    form.set_values({"steps": 1000})
    assert form.is_valid()
    assert control(form, "steps", QLineEdit).text() == "1000"


def test_what_has_no_effect_is_dimmed_with_its_reason(form: KnobForm, qtbot: QtBot) -> None:
    retype(qtbot, control(form, "steps", QLineEdit), "0")
    form.set_knob_enabled("steps", False, "this recipe has no steps")
    assert form.is_valid()
    assert form.field("steps").note() == "this recipe has no steps"
    assert not control(form, "steps", QLineEdit).isEnabled()
    assert control(form, "steps", QLineEdit).text() == "1000"
    form.set_knob_enabled("steps", True)
    assert form.field("steps").note() == ""
    assert control(form, "steps", QLineEdit).isEnabled()


def test_advanced_knobs_wait_under_more(form: KnobForm, qtbot: QtBot) -> None:
    hidden = control(form, "dropout", LabeledSlider)
    assert not hidden.isVisible()
    qtbot.mouseClick(form.more, Qt.MouseButton.LeftButton)
    assert hidden.isVisible()
    assert form.values()["ema"] == 0.9995


def test_a_slider_moves_by_keys_clicks_and_typing(qtbot: QtBot) -> None:
    slider = shown(qtbot, LabeledSlider(1, 100, integer=True, value=12))
    told: list[object] = []
    slider.valueChanged.connect(told.append)
    slider.slider.setFocus()
    qtbot.keyClick(slider.slider, Qt.Key.Key_Right)
    assert slider.value() == 13
    qtbot.keyClick(slider.slider, Qt.Key.Key_Home)
    assert slider.value() == 1
    right = QPoint(slider.slider.width() - 2, slider.slider.height() // 2)
    qtbot.mouseClick(slider.slider, Qt.MouseButton.LeftButton, pos=right)
    assert slider.value() == 100
    retype(qtbot, slider.edit, "42")
    qtbot.keyClick(slider.edit, Qt.Key.Key_Return)
    assert slider.value() == 42
    slider.slider.setFocus()
    qtbot.keyClick(slider.slider, "7")
    qtbot.keyClick(slider.edit, "7")
    qtbot.keyClick(slider.edit, Qt.Key.Key_Return)
    assert told == [13, 1, 100, 42, 77]
    assert all(type(value) is int for value in told)


def test_a_slider_refuses_what_lies_outside_and_escape_brings_the_old_back(form: KnobForm, qtbot: QtBot) -> None:
    slider = control(form, "eta", LabeledSlider)
    retype(qtbot, slider.edit, "1.5")
    assert not form.is_valid()
    assert form.field("eta").note() == "It takes a number from 0 to 1."
    qtbot.keyClick(slider.edit, Qt.Key.Key_Escape)
    assert form.is_valid()
    assert slider.edit.text() == "0.35"


def test_a_slider_keeps_a_typed_value_exactly(qtbot: QtBot) -> None:
    slider = shown(qtbot, LabeledSlider(0, 1, value=0.5))
    retype(qtbot, slider.edit, "0.123456")
    qtbot.keyClick(slider.edit, Qt.Key.Key_Return)
    assert slider.value() == 0.123456
    assert slider.edit.text() == "0.123456"


def test_the_wheel_changes_only_what_has_the_focus(form: KnobForm, qtbot: QtBot) -> None:
    slider, choice = control(form, "count", LabeledSlider), control(form, "predict", Choice)
    control(form, "note", QLineEdit).setFocus()
    wheel(slider.slider)
    wheel(choice)
    assert slider.value() == 36
    assert choice.value() == "eps"
    slider.slider.setFocus()
    wheel(slider.slider)
    assert slider.value() > 36


@pytest.mark.parametrize(
    ("low", "high", "integer", "log"),
    [
        (0, 1, False, False),
        (1, 100, True, False),
        (1, 100_000, True, False),
        (1e-6, 1, False, True),
        (1, 4096, True, True),
    ],
)
def test_slider_stops_rise_and_hold_both_ends(low: float, high: float, integer: bool, log: bool) -> None:
    stops = slider_stops(low, high, integer=integer, log=log)
    assert stops[0] == low
    assert stops[-1] == high
    assert all(a < b for a, b in pairwise(stops))
    assert len(stops) <= 1002
    assert not integer or all(stop == int(stop) for stop in stops)


def test_an_empty_range_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot go from 1 to 1"):
        LabeledSlider(1, 1)
    with pytest.raises(ValueError, match="cannot go from 0 to 1"):
        LabeledSlider(0, 1, log=True)


def test_a_new_range_takes_the_value_along(qtbot: QtBot) -> None:
    slider = shown(qtbot, LabeledSlider(1, 100, integer=True, value=80))
    with qtbot.waitSignal(slider.valueChanged) as caught:
        slider.setRange(1, 50)
    assert caught.args == [50]


@pytest.mark.parametrize(
    ("value", "text"),
    [(1000, "1000"), (0.35, "0.35"), (4e-4, "4e-4"), (1e-5, "1e-5"), (0.0, "0"), (-2.5, "-2.5"), (2**31, "2147483648")],
)
def test_numbers_are_written_as_a_person_types_them(value: float, text: str) -> None:
    assert format_number(value) == text
    assert float(text) == value


def test_segments_and_choices(qtbot: QtBot) -> None:
    segments = shown(qtbot, Segmented([("x", "Images"), ("eps", "Noise")]))
    with qtbot.waitSignal(segments.valueChanged) as caught:
        qtbot.mouseClick(segments.button("eps"), Qt.MouseButton.LeftButton)
    assert caught.args == ["eps"]
    segments.setValue("x")
    assert segments.value() == "x"
    choice = shown(qtbot, Choice([(1, "one"), (2, "two")]))
    choice.setValue(2)
    choice.set_options([(2, "zwei"), (3, "drei")])
    assert choice.value() == 2
    choice.setValue(99)
    assert choice.value() == 2


def test_a_field_says_an_error_before_a_reason(qtbot: QtBot) -> None:
    field = shown(qtbot, Field("Guidance", QLineEdit(), symbol="w"))
    field.set_enabled(False, "needs a class")
    field.set_error("Too much.")
    assert field.note() == "Too much."
    field.set_error("")
    assert field.note() == "needs a class"


def test_a_banner_tells_copies_and_goes(qtbot: QtBot) -> None:
    holder = shown(qtbot, QWidget())
    banner = Banner(holder)
    assert not banner.isVisible()
    banner.show_error("The disk is full. Free some space, then save again.", "OSError: 28")
    assert banner.isVisible()
    assert banner.accessibleName().startswith("The disk is full.")
    qtbot.mouseClick(banner.copy_button, Qt.MouseButton.LeftButton)
    assert "OSError: 28" in QGuiApplication.clipboard().text()
    with qtbot.waitSignal(banner.dismissed):
        qtbot.mouseClick(banner.close_button, Qt.MouseButton.LeftButton)
    assert not banner.isVisible()
    banner.show_info("Saved.")
    assert not banner.copy_button.isVisible()


def test_long_text_is_elided_and_told_in_full(qtbot: QtBot) -> None:
    label = ElidedLabel("a very long line that cannot fit in so little room")
    qtbot.addWidget(label)
    label.resize(80, 20)
    label.show()
    assert label.text().endswith("…")
    assert label.toolTip() == label.fullText()
    label.resize(600, 20)
    assert label.text() == label.fullText()
    assert label.toolTip() == ""
    tile = StatTile("images", "146 /s")
    qtbot.addWidget(tile)
    tile.set("150 /s")
    assert (tile.number(), tile.caption()) == ("150 /s", "images")


def test_a_unit_is_named_and_a_text_shows_its_beginning_over_the_whole_width(qtbot: QtBot) -> None:
    knobs = (
        Knob(name="every", kind="float", default=15.0, help="Seconds between.", label="Preview every", unit="s"),
        Knob(name="list", kind="text", default="999, 800, 600, 400, 250, 150, 80, 30, 5", help="Steps.", label="Steps"),
    )
    made = KnobForm(knobs)
    qtbot.addWidget(made)
    made.resize(250, 200)
    made.show()
    names = [label.text() for label in made.field("every").findChildren(QLabel)]
    assert "Preview every, s" in names
    edit = made.field("list").control
    assert isinstance(edit, QLineEdit)
    assert edit.cursorPosition() == 0
    assert edit.width() == made.width()
    edit.setFocus()
    edit.end(False)
    qtbot.keyClicks(edit, ", 1")
    made.set_values(made.values())
    assert edit.cursorPosition() == len(edit.text()), "the same value does not move the cursor"
