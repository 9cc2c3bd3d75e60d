"""What every test stands on: no display, no trace in the person's own folders, no thread left running.

The environment is set while pytest reads this file, before any test module imports Qt, numpy or torch.
"""

from __future__ import annotations

import gc
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

_HOME = Path(tempfile.mkdtemp(prefix="denoising-studio-tests-"))

os.environ["QT_QPA_PLATFORM"] = "offscreen"
os.environ["DENOISING_STUDIO_HOME"] = str(_HOME / "studio")
os.environ.setdefault("OMP_NUM_THREADS", "1")
for _name in ("DATA", "CONFIG", "CACHE", "STATE"):
    os.environ[f"XDG_{_name}_HOME"] = str(_HOME / _name.lower())
os.environ["XDG_RUNTIME_DIR"] = str(_HOME / "runtime")
(_HOME / "runtime").mkdir(mode=0o700)


def pytest_configure(config: pytest.Config) -> None:
    """Keep QSettings and QStandardPaths away from the person's own where XDG does not do it."""
    from PySide6.QtCore import QSettings, QStandardPaths

    if not sys.platform.startswith("linux"):
        QStandardPaths.setTestModeEnabled(True)
    QSettings.setDefaultFormat(QSettings.Format.IniFormat)
    for scope in (QSettings.Scope.UserScope, QSettings.Scope.SystemScope):
        for form in (QSettings.Format.IniFormat, QSettings.Format.NativeFormat):
            QSettings.setPath(form, scope, str(_HOME / "settings"))


def pytest_unconfigure(config: pytest.Config) -> None:
    shutil.rmtree(_HOME, ignore_errors=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest test of all: at the end, one worker would be alone with it."""
    items.sort(key=lambda item: item.name != "test_types")


@pytest.fixture(autouse=True)
def studio_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A person's folder of runs, models and data, new and empty for each test."""
    home = tmp_path / "studio-home"
    monkeypatch.setenv("DENOISING_STUDIO_HOME", str(home))
    return home


@pytest.fixture(autouse=True)
def no_stray_threads(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves a Python thread or a QThread running; five seconds of grace for what is ending."""
    before = set(threading.enumerate())
    yield
    uses_qt = "qapp" in request.fixturenames
    deadline = time.monotonic() + 5
    while stray := _python_threads(before) + (_qt_threads() if uses_qt else []):
        if time.monotonic() > deadline:
            break
        time.sleep(0.02)
    assert not stray, f"still running after the test: {', '.join(stray)}"


def _python_threads(before: set[threading.Thread]) -> list[str]:
    """Names of the threads that run now and did not before.

    Python's dummies, which stand for threads that others started, outlive those threads and are left out: a QThread
    is found as itself.
    """
    dummy = threading._DummyThread
    return [thread.name for thread in threading.enumerate() if thread not in before and not isinstance(thread, dummy)]


def _qt_threads() -> list[str]:
    """Names of the classes of all QThreads that run now, but for the main thread."""
    import shiboken6
    from PySide6.QtCore import QThread

    running = []
    for thread in gc.get_objects():
        # Not isinstance: it would ask lazy proxies of other libraries for their class, and wake them.
        if not issubclass(type(thread), QThread) or not shiboken6.isValid(thread):
            continue
        if thread.isRunning() and thread is not QThread.currentThread():
            running.append(type(thread).__name__)
    return running
