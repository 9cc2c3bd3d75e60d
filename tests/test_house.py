"""The house rules that a machine can check: format, lint, types, layers, imports, and what the wheel carries."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

import studio

ROOT = Path(__file__).resolve().parents[1]
TOP_LEVEL = {
    *("studio", "assets", "checkpoints", "tests", "docs", "benchmarks"),
    *("pyproject.toml", "README.md", "LICENSE"),
}
MAX_BYTES = 20_000_000

in_git = pytest.mark.skipif(not (ROOT / ".git").exists(), reason="a downloaded source folder has no list of its files")


def run(*command: str, cwd: Path = ROOT) -> str:
    """Run a command, fail with its whole output where it fails, and return what it printed."""
    done = subprocess.run(
        command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8", check=False
    )
    if done.returncode != 0:
        pytest.fail(f"`{' '.join(command)}` exited with {done.returncode}:\n{done.stdout}", pytrace=False)
    return done.stdout


def script(name: str) -> str:
    """A command of this virtual environment, whatever else is on the path."""
    path = shutil.which(name, path=sysconfig.get_path("scripts"))
    assert path, f"{name} is not installed beside {sys.executable}: run pip install -e '.[test]'"
    return path


def tracked_files() -> list[Path]:
    listed = run("git", "ls-files", "-z").split("\0")
    return [Path(name) for name in listed if name]


def imported_by(statement: str) -> set[str]:
    """The modules that a fresh interpreter holds after ``statement``."""
    code = f"{statement}\nimport sys\nprint('loaded:', *sys.modules)"
    return set(run(sys.executable, "-c", code).rpartition("loaded:")[2].split())


def test_format() -> None:
    run(sys.executable, "-m", "ruff", "format", "--check", "--diff", ".")


def test_lint() -> None:
    run(sys.executable, "-m", "ruff", "check", ".")


@pytest.mark.slow
def test_types() -> None:
    run(sys.executable, "-m", "mypy")


def test_layers() -> None:
    run(script("lint-imports"))


@pytest.mark.parametrize("module", ["studio", "studio.core", "studio.session", "studio.desktop", "studio.app.window"])
def test_torch_is_not_imported_at_start(module: str) -> None:
    loaded = imported_by(f"import {module}")
    assert module in loaded
    assert "torch" not in loaded, f"import {module} loads torch, so the window would show a second later"


@pytest.mark.parametrize("package", ["studio.core", "studio.session"])
def test_no_module_below_the_window_knows_qt(package: str) -> None:
    loaded = imported_by(
        f"import importlib, pkgutil, {package}\n"
        f"for found in pkgutil.walk_packages({package}.__path__, '{package}.'):\n"
        "    importlib.import_module(found.name)"
    )
    assert not {name for name in loaded if name.partition(".")[0] in {"PySide6", "shiboken6", "pyqtgraph"}}


@pytest.mark.parametrize("start", ["script", "module"])
def test_help_and_version(start: str, tmp_path: Path) -> None:
    command = [script("denoising-studio")] if start == "script" else [sys.executable, "-m", "studio"]
    assert studio.__version__ in run(*command, "--version", cwd=tmp_path)
    text = run(*command, "--help", cwd=tmp_path)
    for word in ("train", "sample", "inspect", "--install-desktop", "--uninstall-desktop"):
        assert word in text


@in_git
def test_top_level_is_tidy() -> None:
    top = {path.parts[0] for path in tracked_files()}
    assert {name for name in top if not name.startswith(".")} == TOP_LEVEL


@in_git
def test_no_large_file_is_tracked() -> None:
    large = {str(path): size for path in tracked_files() if (size := (ROOT / path).stat().st_size) > MAX_BYTES}
    assert not large


def test_wheel_carries_assets_models_and_commands(tmp_path: Path) -> None:
    run(sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path))
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (commands,) = (archive.read(name).decode() for name in names if name.endswith("entry_points.txt"))
    top = {name.partition("/")[0] for name in names}
    assert {name for name in top if not name.endswith(".dist-info")} == {"studio"}
    for folder in ("assets", "checkpoints"):
        here = [path for path in (ROOT / folder).rglob("*") if path.is_file() and path.suffix not in {".py", ".pyc"}]
        assert here, f"{folder}/ is empty"
        assert {f"studio/{path.relative_to(ROOT).as_posix()}" for path in here} <= names
    assert {"studio/assets/icon.svg", "studio/__main__.py"} <= names
    assert any(name.startswith("studio/checkpoints/") and name.endswith(".safetensors") for name in names)
    data = ("studio/assets/", "studio/checkpoints/")
    assert not {name for name in names if name.startswith(data) and name.endswith((".py", ".pyc"))}
    assert "[console_scripts]" in commands
    assert "[gui_scripts]" in commands
    assert commands.count("studio.cli:main") == 2
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_readme_and_ci_run_the_same_command() -> None:
    """``.ci/run`` takes its command from the README, so the README's cannot rot."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    marker = "<!-- .ci/run runs the next block -->\n"
    assert text.count(marker) == 1
    assert marker.strip() in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    block = text.partition(marker)[2].partition("```sh\n")[2].partition("```")[0]
    assert len(block.splitlines()) == 1
    assert "pytest" in block
