"""Decoding of image files to squares."""

import numpy as np
import pytest
from PIL import Image

from diffusion_demo.data import ImageTransform, decode, scan
from diffusion_demo.data.preprocess import load_pixels, open_image
from diffusion_demo.errors import BadInput
from tests.data.conftest import one_pixel

RED, GREEN, WHITE = [255, 0, 0], [0, 255, 0], [255, 255, 255]


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"image_size": 0}, r"from 1 to 2048, not 0"),
        ({"image_size": 4096}, r"from 1 to 2048, not 4096"),
        ({"image_size": 32.0}, r"integer .* not 32\.0"),
        ({"channels": 4}, r"1 \(grayscale\) or 3 \(color\), not 4"),
        ({"fit": "stretch"}, r"crop, pad or squash, not 'stretch'"),
        ({"background": "white"}, r"such as #ffffff, not 'white'"),
        ({"background": "#fff\n"}, r"such as #ffffff"),
        ({"background": None}, r"such as #ffffff, not None"),
    ],
)
def test_a_framing_that_makes_no_sense_is_refused_with_a_sentence(wrong, sentence):
    with pytest.raises(BadInput, match=sentence):
        ImageTransform(**wrong)


@pytest.fixture
def striped(tmp_path):
    """An image twice as wide as high, with one red, two white and one green quarter."""
    made = Image.new("RGB", (64, 32), "white")
    made.paste("red", (0, 0, 16, 32))
    made.paste("lime", (48, 0, 64, 32))
    made.save(tmp_path / "striped.png")
    return tmp_path / "striped.png"


def test_crop_keeps_the_centre_and_leaves_out_the_ends(striped):
    pixels = decode(striped.read_bytes(), ImageTransform(16))
    assert (pixels > 230).all(), "the resampling filter extends a little over the edge"


def test_squash_presses_the_whole_image_into_the_square(striped):
    found = [one_pixel(striped, at=(x, 8), size=16, fit="squash") for x in (1, 8, 14)]
    assert np.abs(np.subtract(found, [RED, WHITE, GREEN])).max() < 3


def test_pad_shows_the_whole_image_on_the_background(striped):
    pixels = decode(striped.read_bytes(), ImageTransform(16, fit="pad", background="#102030")).transpose(1, 2, 0)
    assert np.abs(pixels[8, [1, 8, 14]] - np.array([RED, WHITE, GREEN])).max() < 3
    assert (
        (pixels[:4] == [16, 32, 48]).all()
        and (pixels[12:] == [16, 32, 48]).all()
        and (pixels[4:12] != [16, 32, 48]).any(2).all()
    )


def test_pad_in_grayscale_uses_the_gray_of_the_background(striped):
    pixels = decode(striped.read_bytes(), ImageTransform(16, 1, "pad", "#ff0000"))[0]
    assert (pixels[:4] == 76).all() and pixels[8, 8] == 255


def test_a_square_image_is_the_same_in_every_fit(photograph):
    crop, pad, squash = (
        decode(photograph.read_bytes(), ImageTransform(32, fit=fit)) for fit in ("crop", "pad", "squash")
    )
    assert np.array_equal(crop, pad) and np.array_equal(crop, squash) and crop.std() > 10


@pytest.mark.parametrize("fit", ["crop", "pad", "squash"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(1, 1), (1, 4000), (4000, 1), (3, 2)])
def test_the_smallest_and_the_longest_images_become_squares(tmp_path, fit, channels, size):
    Image.new("RGB", size, (200, 100, 50)).save(tmp_path / "a.png")
    pixels = decode((tmp_path / "a.png").read_bytes(), ImageTransform(32, channels, fit))
    assert pixels.shape == (channels, 32, 32) and pixels.dtype == np.uint8 and pixels.flags.c_contiguous
    assert pixels[:, 15, 15].tolist() == ([200, 100, 50] if channels == 3 else [124])


def test_photographs_are_cut_to_the_centre_square(photograph, tmp_path):
    with Image.open(photograph) as image:
        wide = image.convert("RGB").crop((0, 30, 256, 190))
    wide.save(tmp_path / "wide.png")
    centre = wide.crop((48, 0, 208, 160)).resize((32, 32), Image.Resampling.LANCZOS)
    found = decode((tmp_path / "wide.png").read_bytes(), ImageTransform(32)).transpose(1, 2, 0)
    assert found.std() > 10 and np.abs(found.astype(int) - np.asarray(centre).astype(int)).mean() < 3


@pytest.mark.parametrize("fit", ["crop", "pad", "squash"])
def test_a_large_jpeg_is_decoded_small_and_nobody_sees_it(photograph, tmp_path, fit):
    with Image.open(photograph) as image:
        image.convert("RGB").resize((1800, 1200)).save(tmp_path / "large.jpg", quality=95)
    data = (tmp_path / "large.jpg").read_bytes()
    assert load_pixels(open_image(data), 96).image.size == (225, 150)
    Image.open(tmp_path / "large.jpg").save(tmp_path / "large.png")
    small, whole = (
        decode(path.read_bytes(), ImageTransform(32, fit=fit)).astype(int)
        for path in (tmp_path / "large.jpg", tmp_path / "large.png")
    )
    assert np.abs(small - whole).mean() < 1 and np.abs(small - whole).max() < 12


def test_transparent_places_become_white_or_the_background(tmp_path):
    made = Image.new("RGBA", (8, 8), (255, 0, 0, 255))
    made.paste((0, 255, 0, 0), (0, 0, 4, 8))
    made.save(tmp_path / "a.png")
    assert one_pixel(tmp_path / "a.png", at=(0, 0)) == WHITE
    assert one_pixel(tmp_path / "a.png", at=(0, 0), background="#0A0B0c") == [10, 11, 12]
    assert one_pixel(tmp_path / "a.png", at=(7, 0), background="#0A0B0c") == RED


def test_half_transparent_places_are_mixed_with_the_background(tmp_path):
    Image.new("RGBA", (8, 8), (255, 0, 0, 128)).save(tmp_path / "a.png")
    assert one_pixel(tmp_path / "a.png", background="#000000")[0] in (127, 128, 129)


def test_a_palette_with_a_transparent_color_is_read(tmp_path):
    made = Image.new("P", (8, 8), 0)
    made.putpalette([10, 20, 30, 200, 100, 50])
    made.paste(1, (4, 0, 8, 8))
    made.save(tmp_path / "plain.png")
    made.save(tmp_path / "clear.png", transparency=0)
    assert one_pixel(tmp_path / "plain.png", at=(0, 0)) == [10, 20, 30]
    assert one_pixel(tmp_path / "clear.png", at=(0, 0)) == WHITE
    assert one_pixel(tmp_path / "clear.png", at=(7, 0)) == [200, 100, 50]


def test_gray_with_alpha_and_one_bit_images_are_read(tmp_path):
    Image.new("LA", (8, 8), (0, 0)).save(tmp_path / "la.png")
    Image.new("1", (8, 8), 1).save(tmp_path / "bit.png")
    assert one_pixel(tmp_path / "la.png", channels=1) == [255]
    assert one_pixel(tmp_path / "bit.png", channels=1) == [255]


def test_gray_becomes_color_and_color_gray(tmp_path):
    Image.new("L", (8, 8), 77).save(tmp_path / "grey.png")
    Image.new("RGB", (8, 8), (255, 0, 0)).save(tmp_path / "red.png")
    assert one_pixel(tmp_path / "grey.png") == [77, 77, 77]
    assert one_pixel(tmp_path / "red.png", channels=1) == [76]


@pytest.mark.parametrize("kind", ["png", "jpg", "webp", "tif"])
def test_exif_rotation_is_applied(tmp_path, kind):
    made = Image.new("RGB", (16, 8), "black")
    made.paste("white", (0, 0, 8, 8))
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees clockwise for display
    made.save(tmp_path / f"a.{kind}", exif=exif)
    pixels = decode((tmp_path / f"a.{kind}").read_bytes(), ImageTransform(8, 1, "squash"))[0]
    assert (pixels[:3] > 250).all() and (pixels[5:] < 5).all()


@pytest.mark.parametrize("exif", [b"Exif\x00\x00MM\x00*\x00\x00", b"Exif\x00\x00xx"])
def test_a_broken_exif_block_spoils_nothing(tmp_path, exif):
    Image.new("RGB", (20, 20), (9, 8, 7)).save(tmp_path / "a.png", exif=exif)
    assert not scan(tmp_path).rejected and one_pixel(tmp_path / "a.png") == [9, 8, 7]


@pytest.mark.parametrize("kind", ["png", "tif"])
def test_sixteen_bit_gray_keeps_its_range(tmp_path, kind):
    values = np.zeros((8, 8), np.uint16)
    values[:, 4:] = 0x8040
    Image.fromarray(values).save(tmp_path / f"a.{kind}")
    assert one_pixel(tmp_path / f"a.{kind}", channels=1, at=(0, 0)) == [0]
    assert one_pixel(tmp_path / f"a.{kind}", at=(7, 0)) == [128, 128, 128]


@pytest.mark.parametrize(
    ("kind", "low", "high", "expected"),
    [
        (np.float32, 0.0, 0.5, [0, 128]),
        (np.float32, 0.25, 1.0, [64, 255]),
        (np.float32, 0.5, 100.0, [0, 100]),
        (np.float32, 0.0, 32768.0, [0, 128]),
        (np.float32, -3.0, 5.0, [0, 255]),
        (np.float32, -np.inf, np.nan, None),
        (np.int32, 0, 128, [0, 128]),
        (np.int32, 0, 32768, [0, 128]),
        (np.int32, -1000, 1000, [0, 255]),
    ],
)
def test_fractions_and_long_numbers_are_brought_to_256_grays_by_their_range(tmp_path, kind, low, high, expected):
    values = np.full((8, 8), low, kind)
    values[:, 4:] = high
    Image.fromarray(values).save(tmp_path / "a.tif")
    if expected is None:
        with pytest.raises(BadInput, match="finite number"):
            one_pixel(tmp_path / "a.tif")
    else:
        assert [one_pixel(tmp_path / "a.tif", channels=1, at=(x, 0))[0] for x in (0, 7)] == expected


def test_a_hole_in_fractions_is_black(tmp_path):
    values = np.full((8, 8), 0.5, np.float32)
    values[:, 4:] = np.nan
    Image.fromarray(values).save(tmp_path / "a.tif")
    assert [one_pixel(tmp_path / "a.tif", channels=1, at=(x, 0))[0] for x in (0, 7)] == [128, 0]


def test_cmyk_jpeg_is_read_as_color(tmp_path):
    Image.new("RGB", (16, 16), (200, 40, 40)).convert("CMYK").save(tmp_path / "a.jpg", quality=95)
    assert scan(tmp_path).rejected == {}
    assert np.abs(np.subtract(one_pixel(tmp_path / "a.jpg"), [200, 40, 40])).max() < 12


@pytest.mark.parametrize("kind", ["gif", "webp", "png", "tif"])
def test_of_several_frames_the_first_is_taken(tmp_path, kind):
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "lime", "blue")]
    frames[0].save(
        tmp_path / f"a.{kind}",
        save_all=True,
        append_images=frames[1:],
        lossless=kind == "webp",
    )
    assert one_pixel(tmp_path / f"a.{kind}") == RED
