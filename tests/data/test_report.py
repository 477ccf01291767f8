"""The summary and the warnings of a report."""

import json
import re
import shutil
from pathlib import Path

import pytest
from PIL import Image

from diffusion_demo.data import Entry, ImageTransform, Report, scan
from tests.data.conftest import write_colors


def report_of(*groups):
    """Return a report of different images in groups of (count, class, side, gray)."""
    kinds = [group for group in groups for _ in range(group[0])]
    return Report(
        Path("a"),
        tuple(
            Entry(str(i), name, str(i), i % 10 == 9, side, side, gray) for i, (_, name, side, gray) in enumerate(kinds)
        ),
    )


def test_the_summary_counts_sizes_shapes_gray_images_copies_and_rejects(tmp_path):
    Image.new("RGB", (40, 30), "red").save(tmp_path / "wide.png")
    Image.new("RGB", (50, 50), (7, 7, 7)).save(tmp_path / "gray in color.png")
    Image.new("L", (20, 200), 9).save(tmp_path / "tall and gray.png")
    shutil.copy(tmp_path / "wide.png", tmp_path / "wide again.png")
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "words.txt").write_text("words")
    report = scan(tmp_path)
    assert report.summary() == {
        "source": tmp_path.name,
        "images": 4,
        "held_out": 0,
        "classes": {},
        "rejected": 1,
        "shorter_sides": {"smallest": 20, "median": 30, "largest": 50},
        "not_square": 3,
        "grayscale": 2,
        "copies": 1,
    }
    assert report.duplicates == (("wide again.png", "wide.png"),) and report.ignored == 1
    assert list(report.rejected) == ["empty.png"] and "empty" in report.rejected["empty.png"]


def test_the_size_of_a_large_jpeg_is_its_own_and_not_that_of_a_quick_look(tmp_path):
    Image.new("RGB", (1600, 900), "red").save(tmp_path / "a.jpg")
    (entry,) = scan(tmp_path).entries
    assert (entry.width, entry.height, entry.side) == (1600, 900, 900)


@pytest.mark.parametrize("kind", ["png", "gif", "bmp", "tif", "webp"])
def test_one_colored_pixel_makes_a_image_colored(tmp_path, kind):
    image = Image.new("RGB", (40, 40), (90, 90, 90))
    image.save(tmp_path / f"grey.{kind}", lossless=True)
    image.putpixel((37, 3), (90, 91, 200))
    image.save(tmp_path / f"colour.{kind}", lossless=True)
    assert {entry.name.split(".")[0]: entry.gray for entry in scan(tmp_path).entries} == {"colour": False, "grey": True}


def test_the_summary_is_the_same_wherever_the_images_lie_and_after_a_way_through_json(digits, tmp_path, monkeypatch):
    first = scan(digits).summary()
    shutil.copytree(digits, tmp_path / "elsewhere" / digits.name)
    assert first == scan(tmp_path / "elsewhere" / digits.name).summary() == json.loads(json.dumps(first))
    monkeypatch.chdir(tmp_path / "elsewhere" / digits.name)
    assert scan(".").summary() == first
    assert str(tmp_path) not in json.dumps(first) and "/" not in json.dumps(first)
    assert first["classes"] == {"one": 20, "three": 20, "two": 20} and first["images"] == 60


def test_real_digits_are_gray_square_and_few(digits):
    report = scan(digits)
    summary = report.summary()
    assert (
        summary["grayscale"] == 60
        and summary["not_square"] == 0
        and summary["shorter_sides"] == {"smallest": 16, "median": 16, "largest": 16}
    )
    assert len(report.warnings) == 3
    assert report.warnings_for(ImageTransform(16, 1)) == report.warnings[:1] and "reproduce them" in report.warnings[0]


WARNINGS = [
    ("few images", r"Only 99 images to train on", report_of((109, "", 64, False)), report_of((120, "", 64, False))),
    (
        "small ones",
        r"15 of 120 images are smaller than 32",
        report_of((105, "", 32, False), (15, "", 31, False)),
        report_of((120, "", 32, False)),
    ),
    (
        "unequal classes",
        r"cats has 200 images, dogs has 19",
        report_of((200, "cats", 64, False), (19, "dogs", 64, False)),
        report_of((200, "cats", 64, False), (20, "dogs", 64, False)),
    ),
    (
        "a class for each image",
        r"120 classes for 120 images",
        report_of(*((1, f"class {i}", 64, False) for i in range(120))),
        report_of(*((2, f"class {i}", 64, False) for i in range(60))),
    ),
    (
        "only gray",
        r"on one channel",
        report_of((120, "", 64, True)),
        report_of((119, "", 64, True), (1, "", 64, False)),
    ),
]


@pytest.mark.parametrize(("name", "sentence", "bad", "good"), WARNINGS, ids=[case[0] for case in WARNINGS])
def test_a_report_warns_of(name, sentence, bad, good):
    (warning,) = bad.warnings
    assert re.search(sentence, warning)
    assert good.warnings == ()


def test_many_copies_are_warned_of_and_some_are_not(tmp_path):
    write_colors(tmp_path, 200)
    for i in range(20):
        shutil.copy(tmp_path / "000.png", tmp_path / f"copy {i}.png")
    assert not [words for words in scan(tmp_path).warnings if "copies of others" in words]
    for i in range(20, 30):
        shutil.copy(tmp_path / "001.png", tmp_path / f"copy {i}.png")
    (warning,) = [words for words in scan(tmp_path).warnings if "copies of others" in words]
    assert warning.startswith("30 of 230 images are exact copies")


def test_a_smaller_size_and_one_channel_quiet_the_warnings_of_size_and_color():
    report = report_of((120, "", 20, True))
    assert len(report.warnings_for(ImageTransform(32, 3))) == 2
    assert len(report.warnings_for(ImageTransform(20, 3))) == len(report.warnings_for(ImageTransform(32, 1))) == 1
    assert report.warnings_for(ImageTransform(16, 1)) == ()


def test_the_content_digest_is_that_of_images_and_classes_and_not_of_names(digits, tmp_path):
    shutil.copytree(digits, tmp_path / "renamed")
    before = scan(digits)
    same = scan(tmp_path / "renamed")
    assert (same.content_digest, same.order_digest) == (before.content_digest, before.order_digest)
    (tmp_path / "renamed" / "one" / "000.png").rename(tmp_path / "renamed" / "one" / "zzz.png")
    reordered = scan(tmp_path / "renamed")
    assert reordered.content_digest == before.content_digest and reordered.order_digest != before.order_digest
    moved = (tmp_path / "renamed" / "one" / "zzz.png").rename(tmp_path / "renamed" / "two" / "zzz.png")
    assert scan(tmp_path / "renamed").content_digest != before.content_digest, "another class"
    moved.rename(tmp_path / "renamed" / "one" / "zzz.png")
    shutil.copy(digits / "two" / "001.png", tmp_path / "renamed" / "one" / "001.png")
    assert scan(tmp_path / "renamed").content_digest != before.content_digest, "another image"


def test_the_held_out_part_of_an_earlier_scan_can_be_restored(digits):
    report = scan(digits)
    chosen = {report.entries[0].digest, report.entries[7].digest}
    assert {entry.digest for entry in report.with_held_out(chosen).entries if entry.held_out} == chosen
