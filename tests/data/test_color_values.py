"""Values of more than 8 bits and color profiles: read as their owner means them, or refused by name."""

import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms

from diffusion_demo.data import ImageTransform, decode, load, scan
from diffusion_demo.data.preprocess import load_pixels, open_image
from diffusion_demo.errors import BadInput
from tests.data import odd
from tests.data.test_layouts import write_deep_png

RAMP = np.tile(np.linspace(0, 1, 16), (16, 1))
DEEP = (RAMP * 65535).round().astype("<u2")
COLORS = np.stack([DEEP, DEEP // 2, DEEP // 4], axis=-1)


def tiff(values, photometric=1, sample_format=1, planar=1, extra=None):
    """Return an uncompressed TIFF of values [H, W] or [H, W, C]; with `planar` 2 each channel is stored by itself."""
    height, width, channels = (*values.shape, 1)[:3]
    data = (np.moveaxis(values, -1, 0) if planar == 2 else values).tobytes()
    parts = channels if planar == 2 else 1
    tags = {256: [width], 257: [height], 258: [values.itemsize * 8] * channels, 259: [1], 262: [photometric]}
    tags |= {273: [8 + i * len(data) // parts for i in range(parts)], 277: [channels], 278: [height]}
    tags |= {279: [len(data) // parts] * parts, 284: [planar], 339: [sample_format] * channels}
    tags |= {} if extra is None else {338: [extra]}
    start = 8 + len(data) + 2 + 12 * len(tags) + 4
    directory, behind = struct.pack("<H", len(tags)), b""
    for tag, numbers in sorted(tags.items()):
        raw = struct.pack(f"<{len(numbers)}I", *numbers)
        directory += struct.pack("<HHI", tag, 4, len(numbers))
        directory += raw if len(raw) == 4 else struct.pack("<I", start + len(behind))
        behind += raw if len(raw) > 4 else b""
    return struct.pack("<2sHI", b"II", 42, 8 + len(data)) + data + directory + bytes(4) + behind


def ppm(values, maximum=65535):
    return b"P6 16 16 %d\n" % maximum + values.astype(">u2").tobytes()


REFUSED = {
    "0 is white": (tiff(DEEP, photometric=0), "A TIFF of 16 bits in which 0 is white"),
    "floats of which 0 is white": (tiff(RAMP.astype("<f4"), 0, 3), "A TIFF of 32 bits in which 0 is white"),
    "colors in planes": (tiff(COLORS, 2, planar=2), "A TIFF of 16 bits that stores each color in a plane of its own"),
    "signed bytes": (tiff((RAMP * 100).astype("i1"), sample_format=2), "A TIFF of signed 8-bit numbers"),
    "half precision": (tiff(RAMP.astype("<f2"), sample_format=3), "A TIFF of 16-bit floating-point numbers"),
    "double precision": (tiff(RAMP.astype("<f8"), sample_format=3), "A TIFF of 64-bit floating-point numbers"),
    "gray and opacity": (tiff(COLORS[..., :2], extra=2), "A TIFF of 16-bit unsigned numbers in 2 channels"),
    "YCbCr": (tiff(COLORS.astype("u1"), 6), "An uncompressed TIFF in YCbCr"),
    "CMYK": (tiff(np.stack([DEEP >> 4] * 4, -1), 5), "TIFF images in CMYK with 16 bits for each color"),
    "premultiplied": (tiff(np.stack([DEEP] * 4, -1), 2, extra=1), "TIFF images in premultiplied RGBA with 16 bits"),
    "text": (b"P3 16 16 4095\n" + b"9 " * 768, "A text PPM of more than 8 bits"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_values_that_would_be_misread_are_refused_by_name(name):
    data, reason = REFUSED[name]
    with pytest.raises(BadInput, match=f"^{reason}.* (is|are) not supported. Save the image as PNG.$"):
        decode(data, ImageTransform(16))


def test_an_image_without_any_number_is_refused():
    with pytest.raises(BadInput, match="No value of the image is a finite number"):
        decode(tiff(np.full((16, 16), np.nan, "<f4"), sample_format=3), ImageTransform(16))


READ = {
    "unsigned 32 bits": (tiff((RAMP * (2**32 - 1)).astype("<u4")), (0, 2**32 - 1), 1),
    "signed 16 bits": (tiff(((RAMP - 0.5) * 2000).round().astype("<i2"), sample_format=2), (-1000, 1000), 1),
    "PPM of 16 bits": (ppm(COLORS), (0, 65535), 0.5),
    "PPM of 12 bits in 16": (ppm(COLORS >> 4), (0, 4095), 0.5),
    "PPM that says it has 12 bits": (ppm(COLORS >> 4, 4095), (0, 65535), 0.5),
    "TIFF of 12 bits in 16": (tiff(COLORS >> 4, 2), (0, 4095), 0.5),
}


@pytest.mark.parametrize("name", READ)
def test_values_of_many_bits_are_read_over_one_range(name, tmp_path):
    data, value_range, green = READ[name]
    (tmp_path / "a.tif").write_bytes(data)
    report = scan(tmp_path)
    assert report.value_range == value_range and "more than 8 bits" in " ".join(report.warnings)
    image = load(report, 16, 3, held_out=False).images[0].numpy()
    np.testing.assert_allclose(image[0], RAMP * 255, atol=1)
    np.testing.assert_allclose(image[1], RAMP * 255 * green, atol=1)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_transparent_color_of_a_deep_png_is_transparent(channels, tmp_path):
    values = (COLORS >> 4)[..., :channels]
    values[:, :4] = 65535  # marks what is transparent, and is no value of the image
    if channels == 3:
        write_deep_png(tmp_path / "a.png", values)
        data = (tmp_path / "a.png").read_bytes()
    else:
        data = odd.saved(Image.fromarray(values[..., 0].astype("uint16")), "PNG")
    chunk = odd.png((b"tRNS", struct.pack(f">{channels}H", *[65535] * channels)))[8:]
    (tmp_path / "a.png").write_bytes(data[:33] + chunk + data[33:])
    report = scan(tmp_path)
    assert report.value_range == (0, 4095)
    image = decode((tmp_path / "a.png").read_bytes(), ImageTransform(16, background="#0000ff"), report.value_range)
    assert (image[:, :, :4].transpose(1, 2, 0) == [0, 0, 255]).all()
    np.testing.assert_allclose(image[0, :, 5:], RAMP[:, 5:] * 255, atol=1)


def profile(space=b"RGB ", gamma=1.0):
    """Return an ICC profile with the primaries of sRGB, or of gray, and a power function of brightness."""
    numbers = {b"wtpt": (0.9642, 1, 0.8249)}
    curves = [b"kTRC"] if space == b"GRAY" else [b"rTRC", b"gTRC", b"bTRC"]
    if space == b"RGB ":
        numbers |= {b"rXYZ": (0.4361, 0.2225, 0.0139), b"gXYZ": (0.3851, 0.7169, 0.0971)}
        numbers |= {b"bXYZ": (0.1431, 0.0606, 0.7141)}
    fixed = {name: struct.pack(">3i", *(round(65536 * v) for v in values)) for name, values in numbers.items()}
    tags = {name: b"XYZ \0\0\0\0" + data for name, data in fixed.items()}
    tags |= dict.fromkeys(curves, b"curv" + struct.pack(">IIHH", 0, 1, round(gamma * 256), 0))
    tags |= {b"desc": b"desc" + struct.pack(">II", 0, 2) + b"a\0" + bytes(78), b"cprt": b"text\0\0\0\0a\0\0\0"}
    table, body = struct.pack(">I", len(tags)), b""
    for name, data in tags.items():
        table += name + struct.pack(">II", 132 + 12 * len(tags) + len(body), len(data))
        body += data.ljust((len(data) + 3) // 4 * 4, b"\0")
    white = struct.pack(">3i", 63190, 65536, 54061)
    head = struct.pack(
        ">I4xI4s4s4s12x4s28x", 132 + 12 * len(tags) + len(body), 0x02400000, b"mntr", space, b"XYZ ", b"acsp"
    )
    return (head + white).ljust(128, b"\0") + table + body


def encoded(linear):
    """Return linear brightness as sRGB of 8 bits (IEC 61966-2-1)."""
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "I;16"])
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_colors_of_a_profile_become_srgb(mode, kind, tmp_path):
    made = Image.fromarray(DEEP if mode == "I;16" else (RAMP * 255).round().astype("uint8"))
    made = made if mode == "I;16" else made.convert(mode)
    is_gray = mode in ("L", "LA", "I;16")
    (tmp_path / "a.png").write_bytes(odd.saved(made, kind, icc_profile=profile(b"GRAY" if is_gray else b"RGB ")))
    report = scan(tmp_path)
    assert report.entries[0].has_profile and report.entries[0].gray
    assert "Images with a color profile: 1. Their colors are converted to sRGB." in report.warnings
    image = load(report, 16, 3, held_out=False).images[0].numpy()
    np.testing.assert_allclose(image, np.broadcast_to(encoded(RAMP), image.shape), atol=1.5)


def test_opacity_stays_as_it_is_beside_a_profile():
    made = Image.new("RGBA", (16, 16), (55, 55, 55, 0))
    assert (
        decode(odd.saved(made, "PNG", icc_profile=profile()), ImageTransform(16, background="#102030"))[0] == 16
    ).all()


@pytest.mark.parametrize(
    "ignored",
    [
        ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
        profile(b"GRAY"),
        profile()[:300],
        b"no profile",
    ],
    ids=["sRGB", "of gray", "cut off", "words"],
)
def test_pixels_keep_their_bytes_with_a_profile_of_srgb_or_one_that_cannot_be_used(ignored):
    plain = Image.open(io.BytesIO(odd.photo()))
    pixels = load_pixels(open_image(odd.saved(plain, "PNG", icc_profile=ignored)), 8)
    assert not pixels.has_other_colors
    assert (np.asarray(pixels.in_eight_bits()) == np.asarray(plain)).all()
