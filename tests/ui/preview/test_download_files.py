"""Files that the page offers of a finished run."""

import numpy as np
import torch
from PIL import Image, ImageSequence

from diffusion_demo.images import read_settings
from diffusion_demo.ui.preview import download_files
from diffusion_demo.ui.preview.frames import sheet_of


def test_the_images_are_gone_after_the_context_and_carry_their_settings():
    x = torch.zeros(2, 3, 4, 4)
    with download_files.write_images(x, [{"seed": 1}, {"seed": 2}]) as paths:
        assert [read_settings(path)["seed"] for path in paths] == [1, 2]
    assert not any(path.exists() for path in paths)


def test_a_sheet_is_enlarged_to_whole_pixels_within_its_bound(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (6, 4, 3), dtype=np.uint8)
    path = download_files.write_sheet(Image.fromarray(pixels), tmp_path)
    with Image.open(path) as sheet:
        np.testing.assert_array_equal(np.asarray(sheet), pixels.repeat(8, 0).repeat(8, 1))
    with Image.open(download_files.write_sheet(Image.new("L", (3000, 10)), tmp_path)) as wide:
        assert wide.size == (3000, 10)


def test_an_animation_goes_from_the_first_to_the_last_sheet_at_one_size(tmp_path):
    """An upsampler's frames are twice as large as those before; more frames than the bound are left out evenly."""
    sheets = [sheet_of(torch.full((1, 1, size, size), i / 20 - 1)) for i in range(40) for size in [8 if i < 20 else 16]]
    with Image.open(download_files.write_animation(sheets, tmp_path)) as animation:
        frames = [np.asarray(frame.convert("L"), int) for frame in ImageSequence.Iterator(animation)]
        assert animation.info["loop"] == 0
    assert len(frames) == download_files.MAX_ANIMATION_FRAMES and {frame.shape for frame in frames} == {(128, 128)}
    brightness = [frame.mean() for frame in frames]
    assert brightness == sorted(brightness) and brightness[0] < 5 and brightness[-1] > 245
    one = download_files.write_animation(sheets[:1], tmp_path)
    with Image.open(one) as still:
        assert getattr(still, "n_frames", 1) == 1
