"""Unusual and malicious files, in a folder and in a zip file: each is used or rejected with a reason."""

import os
import pickle
import re
import subprocess
import tracemalloc
import unicodedata
import zipfile

import numpy as np
import pytest
from PIL import Image

from diffusion_demo.data import UNREADABLE, ImageTransform, decode, load, scan
from tests.data import odd
from tests.data.conftest import write_colors, write_zip_of
from tests.data.odd import GOOD, half, photo, scanned

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # the package ignores them outside pytest

# Unusable files: file name, content, and a pattern of the reason, which is the same in a folder and in a zip file.
REFUSED = {
    "words called png": ("a.png", b"these are words", "not a supported image"),
    "a web page called jpg": ("a.jpg", b"<!doctype html><title>Not found</title>", "not a supported image"),
    "a pickle called png": ("a.png", pickle.dumps({"weights": [1, 2, 3]}), "not a supported image"),
    "a PDF called png": ("a.png", b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog >>", "not a supported image"),
    "an icon called png": ("a.png", odd.saved(Image.new("RGB", (16, 16)), "ICO"), "not a supported image"),
    "PostScript called jpg": (
        "a.jpg",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\nshowpage\n",
        "not a supported image",
    ),
    "a zip called png": ("a.png", odd.packed("b.png", photo(), zipfile.ZIP_STORED), "not a supported image"),
    "nothing": ("a.png", b"", "empty"),
    "one byte": ("a.gif", b"G", "not a supported image"),
    "a JPEG cut off": ("a.jpg", half(photo("JPEG")), "truncated"),
    "a PNG cut off": ("a.png", half(photo("PNG")), "truncated"),
    "a WebP cut off": ("a.webp", half(photo("WEBP")), "truncated|not a supported image"),
    "a GIF cut off": ("a.gif", half(photo("GIF")), "truncated"),
    "a BMP cut off": ("a.bmp", half(photo("BMP")), "truncated"),
    "a TIFF cut off": ("a.tif", half(photo("TIFF", compression="tiff_lzw")), "truncated|not a supported image"),
    "a PNG with a wrong checksum": ("a.png", photo().replace(b"IDAT", b"IDAX", 1), "damaged|not a supported image"),
    "a PNG of no pixels": ("a.png", odd.png(odd.png_header(0, 10), (b"IEND", b"")), "damaged|not a supported image"),
    "a PNG without pixels": ("a.png", odd.png(odd.png_header(10, 10), (b"IEND", b"")), "truncated"),
    "a decompression bomb": ("a.png", odd.black_png(16_000, 12_000), "more than 64 million pixels"),
    "a header of a few too many pixels": (
        "a.png",
        odd.png(odd.png_header(8001, 8000), (b"IDAT", b"x")),
        "more than 64 million pixels",
    ),
    "a GIF of four thousand million pixels": (
        "a.gif",
        photo("GIF")[:6] + b"\xff\xff\xff\xff" + photo("GIF")[10:],
        "more than 64 million pixels",
    ),
    "a zip inside": (
        "more.zip",
        odd.packed("b.png", photo(), zipfile.ZIP_STORED),
        "An archive inside the source is not read",
    ),
    "a tar inside": ("more.tar.gz", b"\x1f\x8b", "An archive inside the source is not read"),
    "a telephone's HEIC": (
        "IMG_1.HEIC",
        b"\0\0\0\x18ftypheic",
        "HEIC images are not supported. Save the image as PNG or JPEG",
    ),
    "a rendering": ("a.exr", b"v/1\x01", "EXR images are not supported. Save the image as PNG or JPEG"),
    "a drawing": ("a.svg", b"<svg/>", "SVG images are not supported"),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
def test_a_file_that_cannot_be_used_is_named_with_its_reason_and_the_rest_goes_on(name, packed, tmp_path):
    file, data, reason = REFUSED[name]
    write_colors(tmp_path / "in", 2)
    (tmp_path / "in" / file).write_bytes(data)
    report = scanned(write_zip_of(tmp_path / "in", tmp_path / "in.zip") if packed else tmp_path / "in", tmp_path)
    assert {entry.name for entry in report.entries} == GOOD and list(report.rejected) == [file]
    words = report.rejected[file]
    assert re.search(reason, words)
    assert words[0].isupper() and words.endswith(".")
    assert not any(
        jargon in words.lower() for jargon in ("bytesio", "0x", "errno", "exception", "decoder", "<", str(tmp_path))
    )


# Unusual files that are valid images.
TAKEN = {
    "a JPEG called png": ("a.png", photo("JPEG")),
    "an animated PNG": ("a.apng", photo()),
    "a PNG called jpeg": ("a.jpeg", photo()),
    "a GIF called bmp, in capitals": ("A.BMP", photo("GIF")),
    "one pixel": ("a.png", photo(size=(1, 1))),
    "a line": ("a.png", photo(size=(3000, 1))),
    "CMYK": ("a.jpg", photo("JPEG", mode="CMYK")),
    "the colors of the eye": ("a.tif", odd.saved(Image.new("LAB", (8, 8), (50, 0, 0)), "TIFF")),
    "rubbish behind the end": ("a.png", photo() + b"PK\3\4 rubbish" * 100),
    "a name in Chinese": ("照片/猫 一.png", photo()),
    "a name in Arabic": ("صور/قطة.png", photo()),
    "a name of emoji that are joined": ("👩‍👩‍👧/❤️‍🔥.png", photo()),
    "a name of accents put together and apart": ("e\u0301.png", photo()),
    "a name with spaces and signs": ("-rf ~ $(x) 'a' & b;%00.png", photo()),
    "a long name": ("x" * 250 + ".png", photo()),
    "folders within folders": ("d/" * 90 + "a.png", photo()),
}


@pytest.mark.parametrize("name", TAKEN)
@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
def test_an_odd_file_that_is_a_image_is_taken(name, packed, tmp_path):
    file, data = TAKEN[name]
    source = tmp_path / "in"
    write_colors(source, 2)
    if packed:
        source = write_zip_of(source, tmp_path / "in.zip", [(file, data)])
    else:
        write_deep(source, file, data)
    try:
        report = scan(source)
        (found,) = {entry.name for entry in report.entries} - GOOD
        assert not report.rejected and len(load(report, 8, 3, False)) == 3
        assert len(found) <= 200 and (found == unicodedata.normalize("NFC", file) or len(file) > 200)
    finally:
        subprocess.run(
            ["rm", "-rf", str(tmp_path / "in")], check=True
        )  # pytest's own way of cleaning up does not go so deep


def write_deep(folder, name, data):
    """Write a file below a folder level by level, because its path may be too long for the system."""
    *folders, base = name.split("/")
    here = os.open(folder, os.O_RDONLY)
    for part in folders:
        os.mkdir(part, dir_fd=here)
        here, above = os.open(part, os.O_RDONLY, dir_fd=here), here
        os.close(above)
    with os.fdopen(os.open(base, os.O_WRONLY | os.O_CREAT, dir_fd=here), "wb") as file:
        file.write(data)
    os.close(here)


def test_folders_deeper_than_a_path_can_say_are_named_and_the_rest_goes_on(tmp_path):
    write_colors(tmp_path / "in", 2)
    write_deep(tmp_path / "in", f"{'d' * 200}/" * 30 + "a.png", photo())
    try:
        report = scan(tmp_path / "in")
    finally:
        subprocess.run(["rm", "-rf", str(tmp_path / "in")], check=True)
    assert {entry.name for entry in report.entries} == GOOD
    ((label, reason),) = report.rejected.items()
    assert len(label) <= 200 and "too long" in reason


def test_a_file_larger_than_the_limit_is_not_held_in_memory(tmp_path):
    write_colors(tmp_path, 2)
    with (tmp_path / "large.bmp").open("wb") as file:
        file.truncate(300_000_000)  # a sparse file takes no disk space
    tracemalloc.start()
    report = scan(tmp_path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert report.rejected == {"large.bmp": "The file is larger than 100 MB. Make it smaller."} and peak < 150_000_000


SEEDS = [
    photo(),
    photo(mode="P"),
    photo(mode="RGBA"),
    photo("JPEG"),
    photo("JPEG", mode="CMYK"),
    photo("WEBP"),
    photo("GIF"),
    photo("BMP"),
    photo("TIFF"),
    photo("TIFF", compression="tiff_lzw"),
]


@pytest.mark.parametrize("seed", range(len(SEEDS)))
def test_bytes_changed_at_random_give_a_image_or_a_reason(seed):
    random, outcomes = np.random.default_rng(seed), {"image": 0, "reason": 0}
    for _ in range(150):
        data = bytearray(SEEDS[seed])
        for place in random.integers(0, random.choice([40, 120, len(data)]), random.integers(1, 6)):
            data[place] = random.choice([0, 1, 127, 255, int(random.integers(256))])
        try:
            assert decode(bytes(data), ImageTransform(8)).shape == (3, 8, 8)
            outcomes["image"] += 1
        except UNREADABLE as reason:
            assert str(reason).endswith(".")
            outcomes["reason"] += 1
    assert outcomes["reason"] > 5
