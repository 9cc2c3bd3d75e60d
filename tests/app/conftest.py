"""What every test of the window stands on."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
from PySide6.QtWidgets import QApplication

from studio.app import theme


@pytest.fixture(autouse=True)
def installed(qapp: QApplication) -> Iterator[None]:
    """The studio's theme, light, whatever the machine's is."""
    theme.install(qapp, "light")
    yield
    theme.set_scheme("system")


@pytest.fixture(autouse=True)
def swept() -> Iterator[None]:
    """Widgets left in cycles go here, on the window's thread: collected elsewhere, their timers would outlive them."""
    yield
    gc.collect()
