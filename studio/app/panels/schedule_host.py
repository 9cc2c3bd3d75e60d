"""The room of a page of the schedule workspace whose job goes on for its model while another one is looked at."""

from __future__ import annotations

from PySide6.QtWidgets import QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from studio.app.controls import ElidedLabel
from studio.app.panels.schedule_run import RunPage
from studio.core.checkpoints.header import Header
from studio.core.schedules import DiscreteSchedule


class Host(QWidget):
    """A page with a job of its own, which goes on for its model while another one is looked at.

    What it shows stays until the person turns it to the model in front; one that shows nothing follows at once.
    """

    def __init__(self, page: RunPage) -> None:
        super().__init__()
        self.page = page
        self.path = ""
        self._title = ""
        self._busy = self._used = False
        self._next: tuple[str, Header, DiscreteSchedule] | None = None
        self._note = ElidedLabel("", "muted")
        self._turn_button = QPushButton()
        self._turn_button.clicked.connect(self._turn)
        self._row = QWidget()
        row = QHBoxLayout(self._row)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(8)
        row.addWidget(self._note, 1)
        row.addWidget(self._turn_button)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(8)
        column.addWidget(self._row)
        column.addWidget(page, 1)
        self._say()

    def hasHeightForWidth(self) -> bool:
        # Wrapped lines in the page would make the scroll area give everything its preferred height, and scroll.
        return False

    def set_model(self, path: str, header: Header, schedule: DiscreteSchedule) -> None:
        """The model in front."""
        self._next = (path, header, schedule)
        if not self._busy and not (self._used and path != self.path):
            self._turn()
        self._say()

    def set_busy(self, busy: bool) -> None:
        """The page's job goes on, or none does."""
        self._busy, self._used = busy, self._used or busy
        self.page.set_busy(busy)
        self._say()

    def _turn(self) -> None:
        """Speak of the model in front from now on."""
        assert self._next is not None
        path, header, _ = self._next
        if path != self.path:
            self.path, self._title, self._used = path, header.title, False
            self.page.set_model(*self._next)
        self._say()

    def _say(self) -> None:
        elsewhere = self._next is not None and self._next[0] != self.path
        self._row.setVisible(elsewhere)
        self.page.settings.setEnabled(self._next is not None and (self._busy or not elsewhere))
        if self._next is not None and elsewhere:
            self._note.setText(f"This goes on for {self._title}." if self._busy else f"This is of {self._title}.")
            self._turn_button.setText(f"Turn to {self._next[1].title}")
            self._turn_button.setEnabled(not self._busy)
            self._turn_button.setToolTip(
                "Stop it first, or let it end" if self._busy else "What is shown here goes; what was found is kept"
            )
