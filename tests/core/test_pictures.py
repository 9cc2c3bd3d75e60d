"""Pictures go into files and come out of them as they were."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from studio.core.pictures import mosaic, pieces, read_png, save_png
from studio.core.runs import Run, spread


def images(count: int, channels: int = 1, height: int = 5, width: int = 7) -> np.ndarray:
    return np.random.default_rng(count).integers(20, 256, (count, channels, height, width), np.uint8)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("count", [1, 7, 30])
@pytest.mark.parametrize("gap", [0, 2])
def test_a_mosaic_comes_apart_into_its_images(count: int, channels: int, gap: int) -> None:
    before = images(count, channels)
    np.testing.assert_array_equal(pieces(mosaic(before, gap=gap), (channels, 5, 7), gap), before)


def test_a_picture_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="no mosaic of 6 x 5"):
        pieces(mosaic(images(7)), (1, 5, 6))


def test_saved_samples_are_read_as_they_were(tmp_path: Path) -> None:
    before = images(30, 3)
    save_png(tmp_path / "a.png", before)
    np.testing.assert_array_equal(read_png(tmp_path / "a.png", (3, 5, 7)), before)
    save_png(tmp_path / "b.png", np.zeros((10, 2)))
    drawing = read_png(tmp_path / "b.png", (2,))
    assert drawing.shape == (1, 1, 256, 256)
    assert drawing.max() > 200


def test_a_run_tells_its_samples_so_far(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    assert list(run.previews((1, 5, 7), 3)) == []
    run.create("")
    for step in range(10):
        save_png(run.samples / f"step-{step:07d}.png", images(step + 1))
    (run.samples / "step-0000005.png").write_bytes(b"no picture")
    (run.samples / "step-0000011.png").write_bytes((run.samples / "step-0000009.png").read_bytes())
    told = list(run.previews((1, 5, 7), 100))
    assert [event.step for event in told] == [0, 1, 2, 3, 4, 6, 7, 8, 9, 11]
    np.testing.assert_array_equal(told[3].images, images(4))
    assert [event.step for event in run.previews((1, 5, 7), 3)] == [0, 11], "the one between cannot be read"
    assert list(run.previews((1, 6, 6), 100)) == [], "of other images"


def test_places_are_spread_evenly_with_both_ends() -> None:
    assert spread(5, 10) == [0, 1, 2, 3, 4]
    assert spread(101, 3) == [0, 50, 100]
    assert (spread(7, 1), spread(7, 0), spread(0, 3)) == ([6], [], [])
