"""The main window: top bar, model library, workspaces and status bar, and the traffic between them.

It shows before torch is imported; the workspaces are built once a thread has loaded what they need. The window owns the
lanes: panels ask by signal, the window submits a job, and the lane's messages go back to the panel.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
from PySide6.QtCore import QEvent, QSettings, QSize, Qt, QTimer
from PySide6.QtGui import QCloseEvent, QDragEnterEvent, QDragLeaveEvent, QDropEvent, QPaintEvent
from PySide6.QtWidgets import (
    QFileDialog,
    QFrame,
    QHBoxLayout,
    QMainWindow,
    QMenu,
    QMessageBox,
    QProgressBar,
    QPushButton,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

import studio
from studio.app import actions, theme
from studio.app.actions import WORKSPACES
from studio.app.controls import Banner, Chip, ElidedLabel, make_label
from studio.app.entries import entry, run_folder
from studio.app.errands import Errand
from studio.app.lateness import LatenessMeter
from studio.app.library import Library
from studio.app.words import duration
from studio.core import events, resources
from studio.core.checkpoints import places
from studio.core.files import explain
from studio.core.runs import Run
from studio.session import catalog

if TYPE_CHECKING:
    from studio.app.panels.compare import ComparePanel
    from studio.app.panels.compare_page import Page
    from studio.app.panels.latent import LatentPanel
    from studio.app.panels.schedule import SchedulePanel
    from studio.app.panels.train import TrainPanel
    from studio.app.panels.trajectory import TrajectoryPanel
    from studio.app.worker import Lane
    from studio.core.checkpoints.header import Header
    from studio.core.config import TrainConfig
    from studio.core.schedules import DiscreteSchedule
    from studio.core.short_schedule import ShortSchedule
    from studio.session.schedule import KeepJob

    _RunRead = tuple[str, Run, TrainConfig, list[events.Event]]

MOST_RECENT, MOST_SAMPLES = 12, 60
_SIZE, _FRAME = QSize(1440, 900), QSize(0, 40)  # of the window at first, and about what its title bar takes
_END_MILLISECONDS = 2000
_FIRST_SAMPLES_MILLISECONDS = 4000


class MainWindow(QMainWindow):
    """The studio's one window."""

    def __init__(self) -> None:
        super().__init__()
        self.setWindowTitle("Denoising Studio")
        self.setMinimumSize(1024, 640)
        self.setAcceptDrops(True)
        self.resize(_SIZE.boundedTo(self.screen().availableSize() - _FRAME))
        self._settings = QSettings()
        self._errands: set[Errand] = set()
        self._found: dict[str, catalog.Found] = {}
        self._opened = _absolute(str(path) for path in _as_list(self._settings.value("opened")))
        self._waiting: list[str] = []
        self._workspace = str(self._settings.value("workspace", ""))
        self._scan_over = False
        self._run: Run | None = None
        self._run_waiting: _RunRead | None = None
        self._patience: QTimer | None = None
        self._model: tuple[str, Header, DiscreteSchedule] | None = None
        self._request = 0  # grows with every model that the person asks for
        self._closing = False  # once the training has been saved
        self._closed = False
        self._lanes: dict[str, Lane] = {}
        self._keeping: list[KeepJob] = []  # schedules that models shall keep, or no longer
        self.train: TrainPanel | None = None
        self.schedule: SchedulePanel | None = None
        self.trajectory: TrajectoryPanel | None = None
        self.latent: LatentPanel | None = None
        self.compare: ComparePanel | None = None

        self.library = Library()
        self.library.setFixedWidth(236)
        self.banner = Banner()
        self.stack = QStackedWidget()
        self.stack.addWidget(_loading_page())
        self._nav: dict[str, QPushButton] = {}
        self.actions_by_name = actions.build(self, self._slots())
        self.actions_by_name[theme.notifier().choice].setChecked(True)
        self._lay_out()
        self._connect_library()
        self._clock = LatenessMeter(self)
        self._clock.measured.connect(self._show_health)
        self._show_found(catalog.look(places.shipped(), "shipped"))
        self._restore_geometry()
        self._started = False

    # Layout

    def _lay_out(self) -> None:
        middle = QWidget()
        row = QHBoxLayout(middle)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(0)
        centre = QVBoxLayout()
        centre.setContentsMargins(0, 0, 0, 0)
        centre.setSpacing(0)
        holder = QWidget()
        inset = QVBoxLayout(holder)
        inset.setContentsMargins(16, 0, 16, 0)
        inset.addWidget(self.banner)
        centre.addWidget(holder)
        centre.addWidget(self.stack, 1)
        row.addWidget(self.library)
        row.addLayout(centre, 1)
        whole = QWidget()
        column = QVBoxLayout(whole)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self._top_bar())
        column.addWidget(middle, 1)
        column.addWidget(self._bottom_bar())
        self.setCentralWidget(whole)

    def _top_bar(self) -> QFrame:
        bar = QFrame()
        bar.setProperty("surface", "top")
        bar.setFixedHeight(48)
        row = QHBoxLayout(bar)
        row.setContentsMargins(16, 0, 16, 0)
        row.setSpacing(4)
        name = make_label("Denoising Studio", "title")
        row.addWidget(name)
        row.addSpacing(20)
        for workspace in WORKSPACES:
            button = QPushButton(workspace)
            button.setProperty("nav", True)
            button.setCheckable(True)
            button.setAutoExclusive(True)
            button.setEnabled(False)
            button.setToolTip(f"Show the workspace {workspace} (Ctrl+{WORKSPACES.index(workspace) + 1})")
            button.clicked.connect(lambda _=False, name=workspace: self.show_workspace(name))
            self._nav[workspace] = button
            row.addWidget(button)
        row.addStretch(1)
        self.activity = Chip("")
        self.activity.hide()
        self.device = Chip("loading torch…")
        self.menu_button = QPushButton("Menu")
        self.menu_button.setProperty("chip", True)
        self.recent_menu = QMenu("Open recent", self)
        self.recent_menu.aboutToShow.connect(self._fill_recent)
        self.menu_button.setMenu(actions.menu(self, self.actions_by_name, self.recent_menu))
        self.menu_button.setToolTip("Files, training, appearance and help (F10)")
        row.addWidget(self.activity)
        row.addSpacing(4)
        row.addWidget(self.device)
        row.addSpacing(4)
        row.addWidget(self.menu_button)
        return bar

    def _bottom_bar(self) -> QFrame:
        bar = QFrame()
        bar.setProperty("surface", "bottom")
        bar.setFixedHeight(28)
        row = QHBoxLayout(bar)
        row.setContentsMargins(16, 0, 16, 0)
        row.setSpacing(16)
        self.status = ElidedLabel("", "muted")
        self.health = make_label("", "mono")
        row.addWidget(self.status, 1)
        row.addWidget(self.health)
        return bar

    # Actions

    def _slots(self) -> dict[str, Callable[[], object]]:
        """What each action does."""
        slots: dict[str, Callable[[], object]] = {
            "open": self._ask_file,
            "open_run": self._ask_folder,
            "resume_run": self._continue_run,
            "full": self._toggle_full_screen,
            "menu": lambda: self.menu_button.showMenu(),
            "shortcuts": self._show_shortcuts,
            "about": self._show_about,
            "quit": self.close,
        }
        slots |= {name: functools.partial(self._press, name) for name in ("start", "pause", "step", "stop", "save")}
        slots |= {name.lower(): functools.partial(self.show_workspace, name) for name in WORKSPACES}
        return slots | {name: functools.partial(self._set_scheme, name) for name in actions.SCHEMES}

    def _press(self, name: str) -> None:
        if self.train is not None:
            self.show_workspace("Train")
            buttons = self.train.settings.buttons
            # One button starts, pauses and resumes, as the state wants.
            (buttons.primary if name in ("start", "pause") else getattr(buttons, name)).click()

    def _set_scheme(self, scheme: str) -> None:
        self._settings.setValue("appearance", scheme)
        theme.set_scheme(scheme)  # type: ignore[arg-type]

    def _toggle_full_screen(self) -> None:
        self.setWindowState(self.windowState() ^ Qt.WindowState.WindowFullScreen)

    def _show_shortcuts(self) -> None:
        QMessageBox.information(self, "Keyboard shortcuts", actions.shortcut_table())

    def _show_about(self) -> None:
        QMessageBox.about(
            self,
            "About Denoising Studio",
            f"<b>Denoising Studio {studio.__version__}</b><p>Train denoising diffusion models, watch them learn, look "
            "inside every denoising step.</p><p>MIT licence. MNIST is CC BY-SA 3.0.</p>",
        )

    # Library

    def _connect_library(self) -> None:
        self.library.chosen.connect(self.choose_model)
        self.library.dropped.connect(self.open_paths)
        self.library.browse_requested.connect(self._ask_file)
        self.library.remove_requested.connect(self._forget)
        self.library.delete_requested.connect(self._delete)
        self.library.train_requested.connect(functools.partial(self._train_from, ddgan=False))
        self.library.ddgan_requested.connect(functools.partial(self._train_from, ddgan=True))

    def _show_found(self, found: Any) -> None:
        """Add models to the library, or refresh them."""
        for item in found:
            self._found[str(item.path)] = item
        opened = {path: rank for rank, path in enumerate(self._opened)}
        items = sorted(self._found.values(), key=lambda item: opened.get(str(item.path), len(opened)))
        # What was trained is named by its time: the newest is on top.
        items.sort(key=lambda item: item.path if item.section == "trained" else Path(), reverse=True)
        running = str(self._run.model) if self._run is not None and self._busy("train") else ""
        self.library.set_entries([entry(item, str(item.path) == running) for item in items])
        for panel in (self.latent, self.compare):
            if panel is not None:
                panel.set_models({item.path: item.header for item in items if item.header is not None})

    def open_paths(self, paths: Sequence[str]) -> None:
        """Open checkpoints and run folders, as dropped, chosen or named on the command line."""
        if not paths:
            return
        paths = _absolute(paths)
        if self.trajectory is None:
            self._waiting += paths
            return
        self._request += 1
        request = self._request
        self._errand(lambda: [_read(Path(path)) for path in paths], lambda found: self._opened_some(found, request))

    def _opened_some(self, found: list[catalog.Found], request: int) -> None:
        """List what was opened and show the last of it, unless another model was asked for since."""
        problems = [item.problem for item in found if item.header is None]
        sound = [self._list_opened(item) for item in found if item.header is not None]
        if problems:
            self.banner.show_error("\n".join(problems), "")
        elif sound:
            self.banner.dismiss()
        if sound and request == self._request:
            self.library.select(sound[-1])
            self._show_model(sound[-1])
        elif not sound:
            self._choose_first()

    def _list_opened(self, found: catalog.Found) -> str:
        """Put a sound checkpoint into the library; returns its path."""
        path = str(found.path)
        known = self._found.get(path)
        if known is not None and known.section != "opened":
            found = catalog.Found(found.path, known.section, found.header)
        if found.section == "opened":
            self._opened = [path, *[other for other in self._opened if other != path]][:MOST_RECENT]
            self._settings.setValue("opened", self._opened)
        self._show_found([found])
        return path

    def choose_model(self, path: str) -> None:
        """Show a model in every workspace, whatever was asked for before."""
        self._request += 1
        self._show_model(path)

    def _show_model(self, path: str) -> None:
        found = self._found.get(path)
        if found is None or self.trajectory is None:
            return
        if found.header is None:
            self.banner.show_error(found.problem, "")
            return
        from studio.core.config import method_from_dict

        try:
            schedule = method_from_dict("recipe", found.header.recipe).schedule
            method_from_dict("dataset", found.header.data)
        except ValueError as error:
            self.banner.show_error(f"{found.path.name} needs something this studio does not have: {error}", "")
            return
        self._settings.setValue("model", path)
        self._model = (path, found.header, schedule)
        self.trajectory.set_model(*self._model)
        for panel in (self.schedule, self.latent, self.compare):
            if panel is not None:
                panel.set_model(*self._model)
        self._request_points(found.header)
        run = Run(found.path.parent.parent)
        if found.section == "trained" or Run.is_run(run.folder):
            self._show_run(path, run, tuple(found.header.facts["shape"]))
        elif self.stack.currentWidget() is self.train and not self._busy("train"):
            self.show_workspace("Trajectory")

    def _show_run(self, path: str, run: Run, shape: tuple[int, ...]) -> None:
        """Put the curves and samples of a model's run into the Train workspace, unless a training is going on there."""
        if self._busy("train"):
            return

        def read() -> _RunRead:
            from studio.core.config import load_toml

            return path, run, load_toml(run.config), [*run.read(), *run.previews(shape, MOST_SAMPLES)]

        self._errand(read, self._showed_run)

    def _showed_run(self, result: _RunRead) -> None:
        path, run, config, messages = result
        # A long run is slow to read: by now another model may be shown, or be trained.
        if self._model is None or path != self._model[0] or self._busy("train"):
            return
        if self.train is None:
            self._run_waiting = result
            return
        self._run = run
        self.train.show_run(config, messages)
        self.actions_by_name["resume_run"].setEnabled(self._run.resume.is_file())

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        """Files may be let go anywhere on the window; the library takes them."""
        self.library.dragEnterEvent(event)

    def dragLeaveEvent(self, event: QDragLeaveEvent) -> None:
        self.library.dragLeaveEvent(event)

    def dropEvent(self, event: QDropEvent) -> None:
        self.library.dropEvent(event)

    def _forget(self, path: str) -> None:
        self._found.pop(path, None)
        self._opened = [other for other in self._opened if other != path]
        self._settings.setValue("opened", self._opened)
        if self._run is not None and path == str(self._run.model):
            self.actions_by_name["resume_run"].setEnabled(self._run.resume.is_file() and not self._busy("train"))
        self._show_found(())

    def _delete(self, path: str) -> None:
        if self._run is not None and path == str(self._run.model) and self._busy("train"):
            self.banner.show_error("This model is being trained. Stop the training first.", "")
            return
        folder = run_folder(Path(path))

        def remove() -> str:
            import shutil

            if folder is not None:
                shutil.rmtree(folder)
            else:
                Path(path).unlink()
            return path

        self._errand(remove, self._forget)

    def _fill_recent(self) -> None:
        self.recent_menu.clear()
        for path in self._opened:
            self.recent_menu.addAction(Path(path).name, lambda path=path: self.open_paths([path])).setToolTip(path)
        if not self._opened:
            self.recent_menu.addAction("Nothing opened yet").setEnabled(False)

    def _ask_file(self) -> None:
        start = str(self._settings.value("folder", str(Path.home())))
        paths, _ = QFileDialog.getOpenFileNames(
            self, "Open checkpoint", start, "Checkpoints (*.safetensors);;All files (*)"
        )
        if paths:
            self._settings.setValue("folder", str(Path(paths[0]).parent))
            self.open_paths(paths)

    def _ask_folder(self) -> None:
        path = QFileDialog.getExistingDirectory(self, "Open run folder", str(resources.runs()))
        if path:
            self.open_paths([path])

    # Loading

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        if not self._started:
            self._started = True
            self.library.setFocus()
            # The first frame is on the screen before a thread starts to compete for the interpreter.
            QTimer.singleShot(0, self._load)

    def _load(self) -> None:
        if self._closed:
            return
        self._errand(_load_engine, self._engine_loaded, self._engine_failed)
        opened = [Path(path) for path in self._opened]
        self._errand(lambda: [_look(path, "opened") for path in opened], self._scan_trained)

    def _scan_trained(self, opened: list[catalog.Found]) -> None:
        self._show_found(opened)
        self._errand(_look_trained, self._scanned, self._scan_failed)

    def _scanned(self, found: list[catalog.Found]) -> None:
        self._show_found(found)
        self._scan_over = True
        self._choose_first()

    def changeEvent(self, event: QEvent) -> None:
        """Coming back to the window, list what was trained meanwhile, as from the command line."""
        super().changeEvent(event)
        if event.type() is QEvent.Type.ActivationChange and self.isActiveWindow() and self._scan_over:
            self._scan_over = False
            self._errand(_look_trained, self._scanned_again, lambda *_: self._scanned([]))

    def _scanned_again(self, found: list[catalog.Found]) -> None:
        """What came, went and was trained on elsewhere; what was done here meanwhile is listed already."""
        for path, item in list(self._found.items()):
            if item.section == "trained" and not item.path.is_file():
                del self._found[path]
        self._scanned([item for item in found if item.path.is_file() and self._is_newer(item)])

    def _is_newer(self, item: catalog.Found) -> bool:
        known = self._found.get(str(item.path))
        if known is None or known.header is None:
            return True
        return item.header is not None and item.header.step > known.header.step

    def _scan_failed(self, summary: str, details: str) -> None:
        self.banner.show_error(f"The models trained here cannot be listed. {summary}", details)
        self._scanned([])

    def _engine_failed(self, summary: str, details: str) -> None:
        """Nothing can be trained or sampled: say why and what to do, in place of the workspaces."""
        self.device.set("no engine", "bad")
        self.banner.show_error(f"The engine could not be loaded: {summary}", details)
        page = _page("Reinstall the studio and PyTorch, then start the studio again.")
        self.stack.addWidget(page)
        self.stack.setCurrentWidget(page)

    def _engine_loaded(self, device: str) -> None:
        from studio.app.panels.trajectory import TrajectoryPanel
        from studio.app.worker import Lane

        self.device.set(device)
        self._lanes = {name: Lane(self) for name in ("train", "sample", "step", "data", "points", "estimate")}
        self.trajectory = TrajectoryPanel()
        self.stack.addWidget(self.trajectory)
        self._connect_sampling(self.trajectory)
        kept = self._settings.value("trajectory")
        self.trajectory.restore(kept if isinstance(kept, dict) else {})
        self._nav["Trajectory"].setEnabled(True)
        self.show_workspace("Trajectory")
        waiting, self._waiting = self._waiting, []
        if waiting:
            self._workspace = ""  # what was asked for is shown, wherever the person was last
            self.open_paths(waiting)
        else:
            self._choose_first()
        # The other workspaces take a moment to build, so the first samples come before them, unless they take long.
        self._patience = QTimer(self)
        self._patience.setSingleShot(True)
        self._patience.timeout.connect(self._build_schedule)
        self._patience.start(_FIRST_SAMPLES_MILLISECONDS)

    def _choose_first(self) -> None:
        """Show the model of last time, or the first that ships, once engine and library are there."""
        if self._closed or self._model is not None or self.trajectory is None or not self._scan_over:
            return
        last = str(self._settings.value("model", ""))
        sound = {path: found.section for path, found in self._found.items() if found.header is not None}
        shipped = [path for path, section in sound.items() if section == "shipped"]
        path = last if last in sound else next(iter(shipped), "")
        if path:
            self.library.select(path)
            self._show_model(path)

    def _build_schedule(self) -> None:
        if self._closed or self.schedule is not None:
            return
        from studio.app.panels.schedule import SchedulePanel

        assert self.trajectory is not None
        panel = self.schedule = SchedulePanel()
        self.stack.addWidget(panel)
        self.trajectory.spec_changed.connect(panel.set_spec)
        panel.spec_changed.connect(self.trajectory.set_spec)
        self._connect_schedule(panel)
        kept = self._settings.value("schedule")
        panel.restore(kept if isinstance(kept, dict) else {})
        panel.set_spec(self.trajectory.spec())
        if self._model is not None:
            panel.set_model(*self._model)
        self._nav["Schedule"].setEnabled(True)
        QTimer.singleShot(0, self._build_latent)

    def _connect_schedule(self, panel: SchedulePanel) -> None:
        """Give the workspace a lane for its samples, one for each page, and one for what it writes."""
        from studio.app.worker import Lane

        for name in ("live", "network", "search", "keep"):
            self._lanes[f"schedule {name}"] = Lane(self)
        live = self._lanes["schedule live"]
        panel.live.sample_requested.connect(live.submit)
        panel.live.stop_requested.connect(live.stop)
        live.received.connect(panel.live.receive)
        live.busy_changed.connect(panel.live.set_busy)
        for name, page in (("Network", panel.learn), ("Search", panel.search)):
            lane = self._lanes[f"schedule {name.lower()}"]
            page.start_requested.connect(functools.partial(self._start_schedule_job, lane))
            page.stop_requested.connect(lane.stop)
            page.pause_requested.connect(functools.partial(self._pause, lane))
            lane.received.connect(functools.partial(panel.receive_for, name))
            lane.received.connect(functools.partial(self._schedule_said, name))
            lane.busy_changed.connect(functools.partial(panel.set_busy, name))
        network = self._lanes["schedule network"]
        panel.learn.watch_requested.connect(functools.partial(self._start_schedule_job, network))
        keeping = self._lanes["schedule keep"]
        panel.keep_requested.connect(lambda schedule: self._change_schedules(more=(schedule,)))
        panel.remove_requested.connect(lambda schedules: self._change_schedules(less=schedules))
        keeping.received.connect(self._kept_schedules)
        keeping.busy_changed.connect(lambda *_: self._keep_next())
        panel.use_requested.connect(functools.partial(self.show_workspace, "Trajectory"))
        panel.errand_requested.connect(lambda work, then: self._errand(work, then, panel.show_problem))

    def _build_latent(self) -> None:
        if self._closed:
            return
        from studio.app.panels.latent import LANES, LatentPanel
        from studio.app.worker import Lane

        panel = self.latent = LatentPanel()
        self.stack.addWidget(panel)
        for name in LANES:
            lane = self._lanes[f"latent {name}"] = Lane(self)
            lane.received.connect(panel.receive)
            lane.busy_changed.connect(functools.partial(panel.set_busy, name))
        panel.job_requested.connect(lambda name, job: self._lanes[f"latent {name}"].submit(job))
        panel.stop_requested.connect(lambda name: self._lanes[f"latent {name}"].stop())
        panel.errand_requested.connect(lambda work, then: self._errand(work, then, panel.show_problem))
        panel.model_requested.connect(self._open_listed)
        panel.train_requested.connect(functools.partial(self.show_workspace, "Train"))
        panel.starts_requested.connect(functools.partial(self.show_workspace, "Trajectory"))
        panel.told.connect(self.status.setText)
        kept = self._settings.value("latent")
        panel.restore(kept if isinstance(kept, dict) else {})
        self._show_found(())
        if self._model is not None:
            panel.set_model(*self._model)
        self._nav["Latent"].setEnabled(True)
        QTimer.singleShot(0, self._build_compare)

    def _open_listed(self, path: str) -> None:
        """Choose a model as a click on it in the library does."""
        self.library.select(path)
        self.choose_model(path)

    def _build_compare(self) -> None:
        if self._closed:
            return
        from studio.app.panels.compare import ComparePanel
        from studio.app.worker import Lane

        panel = self.compare = ComparePanel()
        self.stack.addWidget(panel)
        for name, page in panel.pages.items():
            lane = self._lanes[f"compare {name.lower()}"] = Lane(self)
            page.job_requested.connect(lane.submit)
            page.stop_requested.connect(lane.stop)
            page.errand_requested.connect(functools.partial(self._export, page))
            lane.received.connect(page.receive)
            lane.busy_changed.connect(page.set_busy)
        panel.told.connect(self.status.setText)
        kept = self._settings.value("compare")
        panel.restore(kept if isinstance(kept, dict) else {})
        self._show_found(())
        if self._model is not None:
            panel.set_model(*self._model)
            self._request_points(self._model[1])
        self._nav["Compare"].setEnabled(True)
        QTimer.singleShot(0, self._build_train)

    def _export(self, page: Page, work: Callable[[], str]) -> None:
        self._errand(work, page.exported, page.export_failed)

    def _build_train(self) -> None:
        if self._closed:
            return
        from studio.app.panels.train import TrainPanel

        panel = self.train = TrainPanel()
        self.stack.addWidget(panel)
        self._connect_training(panel)
        self._restore_config(panel)
        if self._run_waiting is not None:
            self._showed_run(self._run_waiting)
            self._run_waiting = None
        self._nav["Train"].setEnabled(True)
        self.actions_by_name["start"].setEnabled(True)
        if self._workspace in WORKSPACES:
            self.show_workspace(self._workspace)

    def _connect_sampling(self, trajectory: TrajectoryPanel) -> None:
        sampling = self._lanes["sample"]
        trajectory.sample_requested.connect(sampling.submit)
        sampling.received.connect(trajectory.receive)
        sampling.received.connect(self._sampling_said)
        sampling.busy_changed.connect(trajectory.set_busy)
        trajectory.steps.job_requested.connect(self._lanes["step"].submit)
        self._lanes["step"].received.connect(trajectory.steps.receive)
        self._lanes["points"].received.connect(self._points_loaded)

    def _request_points(self, header: Header) -> None:
        """Have the real data of a point set loaded, to be drawn behind samples."""
        if header.kind == "points":
            from studio.core.config import method_from_dict
            from studio.session.jobs import DataJob

            self._lanes["points"].submit(DataJob(method_from_dict("dataset", header.data)))

    def _points_loaded(self, event: events.Event) -> None:
        if isinstance(event, events.DataPreview) and event.images.ndim == 2 and self.trajectory is not None:
            for panel in (self.trajectory, self.schedule, self.latent, self.compare):
                if panel is not None:
                    panel.set_data_points(event.images)
        elif isinstance(event, events.Failed):
            self.banner.show_error(event.summary, event.details)

    def _connect_training(self, panel: TrainPanel) -> None:
        from studio.session.jobs import DataJob, EstimateJob

        panel.start_requested.connect(self._start_training)
        panel.pause_requested.connect(lambda: self._steer("pause"))
        panel.resume_requested.connect(lambda: self._steer("resume"))
        panel.step_requested.connect(lambda: self._steer("step_once"))
        panel.stop_requested.connect(self._stop_training)
        panel.save_requested.connect(lambda: self._steer("ask_save"))
        panel.data_requested.connect(lambda spec: self._lanes["data"].submit(DataJob(spec)))
        panel.estimate_requested.connect(lambda config: self._lanes["estimate"].submit(EstimateJob(config)))
        for name in ("train", "data", "estimate"):
            self._lanes[name].received.connect(panel.receive)
        self._lanes["train"].received.connect(self._training_said)
        self._lanes["train"].busy_changed.connect(self._training_changed)
        # Why nothing could be measured is told by the panel, beside the button that waits for it.
        self._lanes["data"].received.connect(self._show_failure)

    # Training

    def _start_training(self, config: Any, run: Run | None = None) -> None:
        from studio.session.jobs import TrainJob

        assert self.train is not None
        if self._busy("train"):
            return
        self.banner.dismiss()
        self._lanes["estimate"].stop()
        self.train.set_state("running")
        try:
            self._run = run or Run.new(resources.runs().absolute(), config.title)
        except OSError as error:
            self.banner.show_error(explain(error, resources.runs()))
            self.train.set_state("idle")
            return
        self._settings.setValue("config", _config_text(config))
        self._lanes["train"].submit(TrainJob(config, self._run, resume=run is not None))

    def _continue_run(self) -> None:
        if self._run is None or self.train is None or not self._run.resume.is_file():
            return
        from studio.core.config import load_toml

        self.show_workspace("Train")
        try:
            config = load_toml(self._run.config)
        except (OSError, ValueError) as error:
            self.banner.show_error(f"The run cannot be continued: {error}", "")
            return
        # While a training runs, the form says what is trained.
        self.train.set_config(config)
        self._start_training(config, self._run)

    def _train_from(self, path: str, *, ddgan: bool) -> None:
        """Put a training that starts from a model's weights into the form."""
        found = self._found.get(path)
        if found is None or found.header is None:
            return
        header, word = found.header, found.path.stem if found.section == "shipped" else path
        if self.train is None:
            self.banner.show_info("The workspaces are still loading. Try again in a moment.")
            return
        from studio.core.presets import ddgan_of, trained_on

        self.show_workspace("Train")
        if self._busy("train"):
            self.banner.show_info("A training is running. Its settings are fixed until it ends.")
            return
        try:
            self.train.set_config((ddgan_of if ddgan else trained_on)(header, word))
        except ValueError as error:
            self.banner.show_error(f"{header.title} cannot be trained on: {error}")

    def _steer(self, what: str) -> None:
        control = self._lanes["train"].control
        if control is not None:
            getattr(control, what)()

    def _stop_training(self) -> None:
        assert self.train is not None
        self.train.set_state("stopping")
        self._lanes["train"].stop()

    def _training_said(self, event: events.Event) -> None:
        assert self.train is not None
        match event:
            case events.Progress():
                done = event.step / max(event.total, 1)
                self.activity.set(f"Training · {done:.0%} · {duration(event.eta_seconds)} left", "good")
            case events.Paused() if event.paused:
                self.activity.set("Training paused", "warn")
            case events.Status():
                self.activity.set(event.text, "good")  # until the first step
            case events.Saved():
                path = Path(event.path)
                self.status.setText(f"Saved at step {event.step:,} · run {path.parent.parent.name}")
                self._errand(lambda: [_look(path, "trained")], self._show_found)
            case events.Warned():
                self.banner.show_error(event.summary, "")
            case events.Failed():
                self.banner.show_error(event.summary, event.details)
                if self._closing:
                    # What was to be saved is not: the person may free some space, or let go of it.
                    self._closing = False
                    self.status.setText("Not closed: the training could not be saved")

    def _training_changed(self, busy: bool) -> None:
        assert self.train is not None
        self.activity.setVisible(busy)
        if busy:
            self.activity.set("Training starts…", "good")
        else:
            self.train.set_state("idle")
        for name in ("pause", "step", "stop", "save"):
            self.actions_by_name[name].setEnabled(busy)
        self.actions_by_name["start"].setEnabled(not busy)
        self.actions_by_name["resume_run"].setEnabled(not busy and self._run is not None and self._run.resume.is_file())
        self._show_found(())
        if not busy and self._closing:
            self.close()

    def _sampling_said(self, event: events.Event) -> None:
        match event:
            case events.Status():
                self.status.setText(event.text)
            case events.Finished() if self.schedule is None and self._patience is not None:
                # Soon, but not before the samples are painted.
                self._patience.start(100)
            case events.Frame() if event.index < event.total:
                self.status.setText(f"Sampling · step {event.index} of {event.total}")
            case events.Frame():
                items, same = ("images", "pictures") if event.x.ndim == 4 else ("points", "points")
                self.status.setText(
                    f"{len(event.x):,} {items} · {event.nfe} network calls · {event.seconds:.1f} s · "
                    f"the same {same} for this seed at any batch size"
                )

    # Schedules

    def _start_schedule_job(self, lane: Lane, request: Any) -> None:
        from studio.session.schedule import job_of

        lane.submit(job_of(request))

    def _pause(self, lane: Lane, paused: bool) -> None:
        if lane.control is not None:
            (lane.control.pause if paused else lane.control.resume)()

    def _schedule_said(self, name: str, event: events.Event) -> None:
        """Tell in the status bar how far a schedule network or a search is, whichever workspace is in front."""
        match event:
            case events.Progress():
                done = event.step / max(event.total, 1)
                self.status.setText(f"Schedule network · {done:.0%} · {duration(event.eta_seconds)} left")
            case events.SearchProgress():
                left = f" · {duration(event.eta_seconds)} left" if event.eta_seconds > 0 else ""
                self.status.setText(f"Search · {event.text}{left}")
            case events.Paused():
                job = "Schedule network" if name == "Network" else "Search"
                self.status.setText(f"{job} · {'paused' if event.paused else 'goes on'}")
            case events.Saved():
                self._look_again(event.path)
            case events.Finished():
                self.status.setText(f"{'Schedule network' if name == 'Network' else 'Search'} · {event.outcome}")

    def _change_schedules(self, more: tuple[ShortSchedule, ...] = (), less: tuple[ShortSchedule, ...] = ()) -> None:
        """Have the model's file keep some schedules more or less; the others are what it keeps by then."""
        from studio.session.schedule import KeepJob

        if self._model is not None:
            self._keeping.append(KeepJob(Path(self._model[0]), more, seen=less))
            self._keep_next()

    def _keep_next(self) -> None:
        """One after the other: a lane would drop all that wait but the newest."""
        lane = self._lanes["schedule keep"]
        if self._keeping and not lane.busy:
            lane.submit(self._keeping.pop(0))

    def _kept_schedules(self, event: events.Event) -> None:
        assert self.schedule is not None
        match event:
            case events.Saved():
                self._look_again(event.path)
            case events.Failed():
                self.schedule.show_problem(event.summary, event.details)

    def _look_again(self, path: str) -> None:
        """Read again what a model's file says of itself; what the person has set stays as it is."""
        known = self._found.get(path)
        if known is not None:
            self._errand(lambda: [_look(Path(path), known.section)], self._looked_again)

    def _looked_again(self, found: list[catalog.Found]) -> None:
        self._show_found(found)
        path, header = str(found[0].path), found[0].header
        if header is None or self._model is None or path != self._model[0]:
            return
        self._model = (path, header, self._model[2])
        for panel in (self.trajectory, self.schedule):
            if panel is not None:
                panel.look_again(path, header)

    def _show_failure(self, event: events.Event) -> None:
        if isinstance(event, events.Failed):
            self.banner.show_error(event.summary, event.details)

    # Workspaces, state, end

    def show_workspace(self, name: str) -> None:
        """Bring a workspace to the front, by its name."""
        panels = {
            "Train": self.train,
            "Schedule": self.schedule,
            "Trajectory": self.trajectory,
            "Latent": self.latent,
            "Compare": self.compare,
        }
        panel = panels[name]
        if panel is None:
            return
        self.stack.setCurrentWidget(panel)
        self._nav[name].setChecked(True)

    def workspace(self) -> str:
        """The name of the workspace in front."""
        return next((name for name, button in self._nav.items() if button.isChecked()), "Trajectory")

    def _busy(self, lane: str) -> bool:
        return lane in self._lanes and self._lanes[lane].busy

    def _errand(
        self,
        work: Callable[[], Any],
        then: Callable[[Any], None],
        failed: Callable[[str, str], None] | None = None,
    ) -> None:
        """Do ``work`` in a thread, then one of the two here; nothing once the window is closed."""
        tell = failed or self.banner.show_error
        errand = Errand(lambda: functools.partial(then, work()), self)
        errand.done.connect(self._deliver)
        errand.failed.connect(tell)
        errand.finished.connect(self._errands_over)
        self._errands.add(errand)
        errand.start()

    def _deliver(self, act: Callable[[], None]) -> None:
        if not self._closed:
            act()

    def _errands_over(self) -> None:
        for errand in [errand for errand in self._errands if errand.isFinished()]:
            self._errands.discard(errand)
            errand.deleteLater()

    def _show_health(self, worst_ms: float) -> None:
        memory = psutil.Process().memory_info().rss / 1e9
        self.health.setText(f"{memory:.1f} GB   window {worst_ms:.0f} ms")

    def _restore_geometry(self) -> None:
        geometry = self._settings.value("geometry")
        if geometry is not None:
            self.restoreGeometry(geometry)

    def _restore_config(self, panel: TrainPanel) -> None:
        import tomllib

        from studio.core.config import TrainConfig
        from studio.core.presets import DEFAULT, presets

        config = presets()[DEFAULT]
        text = str(self._settings.value("config", ""))
        if text:
            try:
                config = TrainConfig.from_dict(tomllib.loads(text))
            except ValueError:
                self._settings.remove("config")
        panel.set_config(config)

    def _keep_state(self) -> None:
        self._settings.setValue("geometry", self.saveGeometry())
        self._settings.setValue("workspace", self.workspace())
        if self.trajectory is not None:
            self._settings.setValue("trajectory", self.trajectory.state())
        if self.schedule is not None:
            self._settings.setValue("schedule", self.schedule.state())
        if self.latent is not None:
            self._settings.setValue("latent", self.latent.state())
        if self.compare is not None:
            self._settings.setValue("compare", self.compare.state())
        if self.train is not None:
            try:
                self._settings.setValue("config", _config_text(self.train.config()))
            except ValueError:
                self._settings.remove("config")

    def closeEvent(self, event: QCloseEvent) -> None:
        if self._busy("train") and not self._closing and not self._confirm_close():
            event.ignore()
            return
        if not self._closing and not self._closed:
            self._keep_state()
        self._closing = True
        for lane in self._lanes.values():
            lane.stop()
        if self._busy("train"):
            # The last checkpoint is being written; the window closes when the training has ended.
            self.status.setText("Saving the training, then closing")
            event.ignore()
            return
        # The first try waits a moment; a thread that takes longer is asked for again, and is never destroyed running.
        patience = 0 if self._closed else _END_MILLISECONDS
        self._closed = True
        lanes = [lane.close(patience) for lane in self._lanes.values()]
        errands = [errand.wait(patience) for errand in self._errands]
        if not all((*lanes, *errands)):
            self.status.setText("Ending what still runs, then closing")
            QTimer.singleShot(200, self.close)
            event.ignore()
            return
        for timer in self.findChildren(QTimer):
            timer.stop()
        super().closeEvent(event)

    def _confirm_close(self) -> bool:
        box = QMessageBox(self)
        box.setWindowTitle("Training is running")
        box.setText("A training is running. Save it and close?")
        box.setInformativeText("It can be continued later from where it stops.")
        close = box.addButton("Save and close", QMessageBox.ButtonRole.AcceptRole)
        box.addButton("Go on training", QMessageBox.ButtonRole.RejectRole)
        box.setDefaultButton(close)
        box.exec()
        return box.clickedButton() is close


def _load_engine() -> str:
    """Import what the workspaces need; returns the device in words."""
    import pyqtgraph  # noqa: F401

    from studio.app.panels import compare, latent, schedule, train, trajectory  # noqa: F401
    from studio.core import device
    from studio.core.registry import methods

    for kind in (
        "sampler",
        "grid",
        "recipe",
        "network",
        "dataset",
        "optimizer",
        "schedule",
        "metric",
        "judge",
        "schedule_network",
    ):
        methods(kind)
    return device.describe(device.choose())


def _read(path: Path) -> catalog.Found:
    """Look at a path that a person named; a folder means its run's model, and one of the own runs was trained here."""
    try:
        model = places.resolve(path)
        return _look(model, "opened" if run_folder(model) is None else "trained")
    except OSError as error:
        return catalog.Found(path, "opened", None, explain(error, path))
    except ValueError as error:
        return catalog.Found(path, "opened", None, str(error))


def _look_trained() -> list[catalog.Found]:
    return [_look(path.absolute(), "trained") for path in catalog.trained()]


def _look(path: Path, section: catalog.Section) -> catalog.Found:
    """Look at one checkpoint; whatever is wrong with it is its own problem, and hides no other."""
    try:
        return next(catalog.look([path], section))
    except Exception as error:
        return catalog.Found(path, section, None, f"{path} cannot be read: {error or type(error).__name__}")


def _absolute(paths: Iterable[str]) -> list[str]:
    """Paths that mean the same from any folder, each once; links stay as the person knows them."""
    return list(dict.fromkeys(os.path.abspath(path) for path in paths))


def _config_text(config: Any) -> str:
    from studio.core.config import to_toml

    return to_toml(config.to_dict())


def _as_list(value: Any) -> list[Any]:
    """QSettings gives a list of one back as its item."""
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _loading_page() -> QWidget:
    bar = QProgressBar()
    bar.setRange(0, 0)
    bar.setFixedWidth(220)
    return _page("Loading the engine", bar)


def _page(text: str, *below: QWidget) -> QWidget:
    """A page with a line in its middle."""
    page = QWidget()
    column = QVBoxLayout(page)
    column.setSpacing(8)
    column.addStretch(2)
    for widget in (make_label(text, "muted"), *below):
        column.addWidget(widget, 0, Qt.AlignmentFlag.AlignHCenter)
    column.addStretch(3)
    return page
