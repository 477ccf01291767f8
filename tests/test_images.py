"""Conversion of tensors to images, contact sheets, and PNG files with embedded settings."""

import zlib

import numpy as np
import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from diffusion_demo.errors import BadInput
from diffusion_demo.images import columns_for, contact_sheet, read_settings, save_png, to_float, to_pil, to_uint8


def test_every_pixel_value_survives_the_way_through_float():
    pixels = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    x = to_float(pixels)
    assert x.min() == -1 and x.max() == 1 and x.dtype == torch.float32
    assert torch.equal(to_uint8(x), pixels)


def test_values_beyond_the_range_are_clipped_and_the_rest_rounded_to_nearest():
    assert to_uint8(torch.tensor([[[-7.0, 7.0, -0.999, 0.001, 0.999]]])).flatten().tolist() == [0, 255, 0, 128, 255]


def test_to_pil_keeps_gray_and_color():
    color = torch.tensor([10, 20, 30], dtype=torch.uint8).reshape(3, 1, 1).expand(3, 2, 4)
    assert (
        to_pil(color).mode == "RGB" and to_pil(color).size == (4, 2) and to_pil(color).getpixel((3, 1)) == (10, 20, 30)
    )
    assert to_pil(color[:1]).mode == "L" and to_pil(color[:1]).getpixel((0, 0)) == 10


@pytest.mark.parametrize("channels", [1, 3])
def test_a_contact_sheet_places_images_in_reading_order_on_white(channels):
    pixels = torch.stack([torch.full((channels, 3, 4), 10 * (i + 1), dtype=torch.uint8) for i in range(5)])
    sheet = np.asarray(contact_sheet(pixels, columns=3)).reshape(6, 12, channels)
    for i in range(6):
        row, column = divmod(i, 3)
        cell = sheet[row * 3 : row * 3 + 3, column * 4 : column * 4 + 4]
        assert (cell == (10 * (i + 1) if i < 5 else 255)).all()


def test_a_contact_sheet_does_not_turn_or_mirror_its_images():
    image = torch.arange(24, dtype=torch.uint8).reshape(1, 2, 3, 4)[:, :1]
    assert np.array_equal(np.asarray(contact_sheet(image)), image[0, 0].numpy())


@pytest.mark.parametrize(("count", "columns"), [(1, 1), (2, 2), (4, 2), (5, 3), (9, 3), (16, 4), (17, 5)])
def test_contact_sheets_are_nearly_square(count, columns):
    assert columns_for(count) == columns


def test_settings_come_back_out_of_a_png_as_they_went_in(tmp_path):
    settings = {"seed": 7, "eta": 0.5, "class": "žlutý kůň 馬 🐎", "steps": 25, "nested": {"a": [1, None]}}
    save_png(tmp_path / "a.png", to_pil(torch.full((3, 4, 4), 99, dtype=torch.uint8)), settings)
    assert read_settings(tmp_path / "a.png") == settings
    assert Image.open(tmp_path / "a.png").getpixel((0, 0)) == (99, 99, 99)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_settings_are_read_without_decoding_the_pixels(tmp_path):
    """The PNG claims 81 megapixels and has those of a small one, so that decoding it would fail."""
    save_png(tmp_path / "a.png", Image.new("L", (4, 4)), {"seed": 7})
    png, side = (tmp_path / "a.png").read_bytes(), (9000).to_bytes(4, "big")
    header = b"IHDR" + side + side + png[24:29]
    (tmp_path / "a.png").write_bytes(png[:12] + header + zlib.crc32(header).to_bytes(4, "big") + png[33:])
    with Image.open(tmp_path / "a.png") as image, pytest.raises(OSError, match="truncated"):
        image.load()
    assert read_settings(tmp_path / "a.png") == {"seed": 7}


def test_a_png_that_cannot_be_written_leaves_the_old_one_and_nothing_else(tmp_path):
    save_png(tmp_path / "a.png", Image.new("L", (4, 4), 1), {"seed": 1})
    before = (tmp_path / "a.png").read_bytes()
    with pytest.raises(OSError):
        save_png(tmp_path / "a.png", Image.new("CMYK", (4, 4)), {"seed": 2})  # PNG has no CMYK
    assert (tmp_path / "a.png").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_the_same_image_and_settings_give_the_same_bytes(tmp_path):
    for name, settings in (("a.png", {"seed": 1, "eta": 0}), ("b.png", {"eta": 0, "seed": 1})):
        save_png(tmp_path / name, Image.new("L", (4, 4), 1), settings)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


@pytest.mark.parametrize("case", ["plain png", "jpeg", "words", "missing", "other text", "a list"])
def test_a_foreign_image_has_no_settings(tmp_path, case):
    path = tmp_path / "a.png"
    image = Image.new("RGB", (4, 4))
    if case == "plain png":
        save_png(path, image)
    elif case == "jpeg":
        image.save(path, "JPEG")
    elif case == "words":
        path.write_text("words")
    elif case in ("other text", "a list"):
        text = PngInfo()
        text.add_text("diffusion_demo", "no json" if case == "other text" else "[1, 2]")
        image.save(path, pnginfo=text)
    with pytest.raises(BadInput, match="settings"):
        read_settings(path)
