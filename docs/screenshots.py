"""Makes the README's screenshots, with the real window at its real work.

    python docs/screenshots.py [--out docs/images] [--train-seconds 75] [--only train,points]

It trains the default preset for a while and samples the models that ship. It works without a display, and shows the
window where there is one. Settings and runs go to a folder that is removed at the end.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PIL import Image  # noqa: E402 - the platform is chosen before Qt is imported
from PySide6.QtCore import QBuffer, QEventLoop, QIODevice, QSettings, QTimer  # noqa: E402

from studio.app import theme  # noqa: E402
from studio.app.main import application  # noqa: E402
from studio.app.window import MainWindow  # noqa: E402
from studio.core import events, resources  # noqa: E402
from studio.core.checkpoints.header import read_header  # noqa: E402

SIZE = 1440, 900
MOST_BYTES = 250_000
PATIENCE = 300.0


def wait(until: Callable[[], bool], seconds: float = PATIENCE) -> None:
    """Let the window work until something is true. Raises TimeoutError where it does not come true in time."""
    loop, timer, end = QEventLoop(), QTimer(), time.monotonic() + seconds
    timer.timeout.connect(lambda: loop.quit() if until() or time.monotonic() > end else None)
    timer.start(20)
    loop.exec()
    if not until():
        raise TimeoutError(f"still not so after {seconds:.0f} s")


def settle(window: MainWindow) -> None:
    """Wait until no job runs, all is drawn and the window has told twice how late it was meanwhile."""
    wait(lambda: not any(lane.busy for name, lane in window._lanes.items() if name != "train"))
    told: list[float] = []
    window._clock.measured.connect(told.append)
    wait(lambda: len(told) >= 2)
    window._clock.measured.disconnect(told.append)


def keep(window: MainWindow, path: Path) -> None:
    """Write what the window shows; with fewer colours, rare ones kept, where the file would be too large."""
    buffer = QBuffer()
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    window.grab().save(buffer, "PNG")
    picture = Image.open(io.BytesIO(buffer.data().data())).convert("RGB")
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, optimize=True)
    if path.stat().st_size > MOST_BYTES:
        few = picture.quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        few.save(path, optimize=True)
    print(f"{path}: {picture.width} x {picture.height}, {path.stat().st_size / 1000:.0f} kB", flush=True)


def train(window: MainWindow, seconds: float) -> None:
    """The default preset after ``seconds`` of training, still going on."""
    theme.set_scheme("light")
    window.show_workspace("Train")
    settle(window)
    assert window.train is not None
    heard: list[events.Event] = []
    window._lanes["train"].received.connect(heard.append)
    window.train.settings.buttons.primary.click()
    wait(lambda: trained(heard) >= seconds, seconds + PATIENCE)
    if not any(isinstance(event, events.Failed) for event in heard):
        wait(lambda: any(isinstance(event, events.Preview) for event in heard))


def trained(heard: list[events.Event]) -> float:
    """Seconds of training so far; without end once there is no more."""
    if any(isinstance(event, events.Finished) for event in heard):
        return float("inf")
    return next((event.seconds for event in reversed(heard) if isinstance(event, events.Progress)), 0.0)


def stop(window: MainWindow) -> None:
    """End the training, if one is going on."""
    window._lanes["train"].stop()
    wait(lambda: not window._lanes["train"].busy)


def sampled(window: MainWindow, model: str, scheme: theme.Scheme, workspace: str, share: float = 1.0) -> None:
    """A model that ships, sampled, at ``share`` of the way from noise to sample."""
    theme.set_scheme(scheme)
    path = str(resources.shipped_checkpoints() / f"{model}.safetensors")
    window.library.select(path)
    window.choose_model(path)
    window.show_workspace(workspace)
    settle(window)
    assert window.trajectory is not None
    window.trajectory.go_to(round(share * window.trajectory.spec().knobs.steps))
    settle(window)


def held(window: MainWindow) -> None:
    """The z of a digit in hand, in the middle of its plane."""
    sampled(window, "mnist-ddgan", "dark", "Latent")


def scheduled(window: MainWindow) -> None:
    """A short schedule that the digits keep, drawn beside plain ones."""
    sampled(window, "mnist-ddpm", "light", "Schedule")
    assert window.schedule is not None
    kept = read_header(Path(window.library.selected() or "")).schedules
    window.schedule.show_page("Steps")
    window.schedule.show_schedule(next(each for each in kept if each.steps == 8))
    settle(window)


def searched(window: MainWindow) -> None:
    """A search on a copy of the digits, judged by the denoising error: a minute, most of it the schedule network's."""
    from studio.core.schedule_judges import ByError  # it loads torch, which the window shows before

    shipped = resources.shipped_checkpoints() / "mnist-ddpm.safetensors"
    path = resources.user_folder() / "copy" / "digits.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(shipped, path)
    theme.set_scheme("dark")
    window.open_paths([str(path)])
    wait(lambda: str(path) in window._found)
    window.show_workspace("Schedule")
    settle(window)
    assert window.schedule is not None
    page = window.schedule.search
    window.schedule.show_page("Search")
    page.judge.set_value(ByError())
    page.run.start_button("search").click()
    wait(lambda: window._lanes["schedule search"].busy)
    settle(window)


def measured(window: MainWindow) -> None:
    """The lanes of the digits, scored: a small measurement, of a minute or two."""
    sampled(window, "mnist-ddpm", "light", "Compare")
    assert window.compare is not None
    quality = window.compare.quality
    window.compare.show_page("Quality")
    quality.form.set_values({"count": 500, "steps": "3, 5, 10, 20", "seeds": 2})
    quality.measure_button.click()
    wait(lambda: window._lanes["compare quality"].busy)
    settle(window)


def rewound(window: MainWindow) -> None:
    """A short training, rewound."""
    train(window, 45.0)
    stop(window)
    theme.set_scheme("dark")
    window.show_workspace("Compare")
    assert window.compare is not None
    assert window._run is not None
    path = str(window._run.model)
    wait(lambda: path in window._found)
    window.library.select(path)
    window.choose_model(path)
    window.show_workspace("Compare")
    window.compare.show_page("Rewind")
    settle(window)
    window.compare.rewind.view.button.click()
    wait(lambda: window._lanes["compare rewind"].busy)
    settle(window)


def main() -> None:
    """Make the pictures that are asked for."""
    parser = argparse.ArgumentParser(description="Make the README's screenshots.")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images", help="folder for the pictures")
    parser.add_argument("--train-seconds", type=float, default=75.0, help="how long to train before the picture")
    parser.add_argument(
        "--only",
        default="train,trajectory,schedule,search,points,latent,compare,quality,rewind",
        help="which ones, with commas",
    )
    options = parser.parse_args()
    scenes: dict[str, Callable[[MainWindow], None]] = {
        "train": lambda window: train(window, options.train_seconds),
        "trajectory": lambda window: sampled(window, "mnist-ddpm", "dark", "Trajectory", 0.55),
        "schedule": scheduled,
        "search": searched,
        "points": lambda window: sampled(window, "swiss-roll", "dark", "Trajectory", 0.7),
        "latent": held,
        "compare": lambda window: sampled(window, "mnist-ddpm", "light", "Compare"),
        "quality": measured,
        "rewind": rewound,
    }
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DENOISING_STUDIO_HOME"] = folder
        QSettings.setDefaultFormat(QSettings.Format.IniFormat)
        QSettings.setPath(QSettings.Format.IniFormat, QSettings.Scope.UserScope, folder)
        app = application()
        app.setQuitOnLastWindowClosed(False)
        window = MainWindow()
        window.setFixedSize(*SIZE)
        window.show()
        wait(lambda: window.train is not None)
        for name in options.only.split(","):
            scenes[name](window)
            keep(window, options.out / f"{name}.png")
            stop(window)
        window.close()


if __name__ == "__main__":
    main()
