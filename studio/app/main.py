"""Starting the window: it shows first, then torch and the workspaces load behind it."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import QSettings, QTimer
from PySide6.QtGui import QIcon
from PySide6.QtWidgets import QApplication

from studio import __version__
from studio.app import theme
from studio.app.actions import SCHEMES
from studio.app.window import MainWindow
from studio.core import resources
from studio.desktop import APP_ID


def application() -> QApplication:
    """The application object, made once, with name, icon and theme."""
    known = QApplication.instance()
    app = known if isinstance(known, QApplication) else QApplication(sys.argv[:1])
    app.setOrganizationName("denoising-studio")
    app.setApplicationName("denoising-studio")
    app.setApplicationDisplayName("Denoising Studio")
    app.setApplicationVersion(__version__)
    app.setDesktopFileName(APP_ID)
    app.setWindowIcon(QIcon(str(resources.assets() / "icon-256.png")))
    appearance = str(QSettings().value("appearance", "system"))
    theme.install(app, appearance if appearance in SCHEMES else "system")  # type: ignore[arg-type]
    return app


def run(paths: Sequence[Path]) -> int:
    """Show the window, open ``paths`` in it, and return its exit status."""
    app = application()
    window = MainWindow()
    window.show()
    window.open_paths([str(path) for path in paths])
    signal.signal(signal.SIGINT, lambda *_: window.close())
    # Python looks at signals only between its own instructions: an idle event loop must come by now and then.
    heartbeat = QTimer()
    heartbeat.timeout.connect(lambda: None)
    heartbeat.start(500)
    return app.exec()
