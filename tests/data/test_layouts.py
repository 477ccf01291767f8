"""Folders as people bring them, made of scikit-learn's digits: their classes, and what the report says of them."""

import json
import struct
import tempfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from diffusion_demo.data import ImageTransform, decode, load, scan
from tests.data import odd
from tests.data.conftest import write_zip_of

DOCS = Path(__file__).parents[2] / "docs" / "data.md"
DIGITS = load_digits(return_X_y=True)[0].reshape(-1, 8, 8)


def digit(i, mode="L"):
    return Image.fromarray((DIGITS[i] * 15.9).astype("uint8")).convert(mode)


def files(*names):
    """Return a function that writes a different digit to each name."""

    def write(folder):
        for i, name in enumerate(names):
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            digit(i).save(target, None if target.suffix else "PNG")

    return write


def also(write, **texts):
    """Return a function that also writes text files, by names in which __ stands for a dot."""

    def both(folder):
        write(folder)
        for name, text in texts.items():
            (folder / name.replace("__", ".")).write_text(text, encoding="utf-8")

    return both


def sixteen_bits(folder):
    for i, top in enumerate((4095, 3000, 900)):
        Image.fromarray((DIGITS[i] / 16 * top).astype("uint16")).save(folder / f"{i}.png")


def write_deep_png(file, values):
    """Write a PNG of 16 bits for each color, which Pillow cannot write; values uint16 [H, W, C]."""
    height, width, channels = values.shape
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in values)
    header = odd.png_header(width, height, 16, {2: 4, 3: 2, 4: 6}[channels])
    file.write_bytes(odd.png(header, (b"IDAT", zlib.compress(lines)), (b"IEND", b"")))


def deep_colors(folder):
    """12-bit values in 16-bit PNGs: color, color with opacity, gray with opacity."""
    for i, channels in enumerate((3, 4, 2)):
        values = (np.stack([DIGITS[i + j] for j in range(channels)], axis=-1) / 16 * 4095).astype("uint16")
        if channels % 2 == 0:
            values[..., -1] = 65535
        write_deep_png(folder / f"{i}.png", values)


def rotated_and_printed(folder):
    """A photo of a camera held sideways, one for print, one with a palette and transparency."""
    exif = Image.Exif()
    exif[0x0112] = 6
    digit(0, "RGB").save(folder / "sideways.jpg", exif=exif)
    digit(1, "CMYK").save(folder / "print.jpg")
    digit(2, "P").save(folder / "palette.png", transparency=0)


def damaged(folder):
    files("a.png", "b.png", "c.png", "d.jpg")(folder)
    (folder / "a.png").write_bytes((folder / "a.png").read_bytes()[:60])
    (folder / "b.png").write_bytes(b"")
    (folder / "phone.heic").write_bytes(b"words")
    (folder / "nested.zip").write_bytes(b"words")


def floats(folder):
    for i, top in enumerate((1.0, 0.5)):
        Image.fromarray((DIGITS[i] / 16 * top).astype("float32")).save(folder / f"{i}.tif")


def animations(folder):
    for i, kind in enumerate(("gif", "webp", "tiff", "png")):
        options = {"save_all": True, "append_images": [digit(i + 1, "RGB"), digit(i + 2, "RGB")]}
        digit(i, "RGB").save(folder / f"{i}.{kind}", **options)


GIVEN = [f"{i:05d}/img{i:05d}{j:03d}.png" for i in range(3) for j in range(2)]
# name: (function that writes the folder, number of images, classes, parts of the sentences in the report)
LAYOUTS = {
    "one folder for each class": (files("cat/1.png", "cat/2.png", "dog/1.png"), 3, {"cat": 2, "dog": 1}, []),
    "no folders": (files("1.png", "2.png", "3.png"), 3, {}, []),
    "digits as classes": (files("0/a.png", "1/a.png", "2/a.png"), 3, {"0": 1, "1": 1, "2": 1}, []),
    "numbered classes (GTSRB)": (
        files("00000/00000.ppm", "00000/00001.ppm", "00001/00000.ppm"),
        3,
        {"00000": 2, "00001": 1},
        [],
    ),
    "splits": (files("train/1.png", "val/2.png", "test/3.png"), 3, {}, ["test, train, val look like splits"]),
    "splits with classes inside": (
        files("train/cat/1.png", "train/dog/2.png", "val/cat/3.png"),
        3,
        {"cat": 2, "dog": 1},
        ["train, val look like splits"],
    ),
    "classes with splits inside": (
        files("cat/train/1.png", "cat/val/2.png", "dog/train/3.png"),
        3,
        {"cat": 2, "dog": 1},
        ["look like splits"],
    ),
    "splits with a year (COCO)": (
        files("train2017/1.png", "val2017/2.png"),
        2,
        {},
        ["train2017, val2017 look like splits"],
    ),
    "images beside folders of classes": (
        files("1.png", "2.png", "cat/1.png", "dog/2.png"),
        4,
        {"cat": 1, "dog": 1},
        ["Images without a class: 2 of 4."],
    ),
    "a class that is called train": (files("train/1.png", "plane/2.png"), 2, {"plane": 1, "train": 1}, []),
    "shards (FFHQ)": (files(*GIVEN), 6, {}, ["00000, 00001, 00002 look like shards"]),
    "years": (files("2019/1.png", "2020/2.png", "2020/05/3.png"), 3, {}, ["2019, 2020 look like dates"]),
    "dates inside classes": (
        files("cat/2020/1.png", "cat/2021/2.png", "dog/2020/3.png"),
        3,
        {"cat": 2, "dog": 1},
        ["2020, 2021 look like dates"],
    ),
    "two-digit classes in one folder": (
        files("in/01/a.png", "in/02/a.png", "in/03/a.png"),
        3,
        {"01": 1, "02": 1, "03": 1},
        [],
    ),
    "images a level deeper (Tiny ImageNet)": (
        files("n01/images/1.png", "n01/images/2.png", "n02/images/3.png"),
        3,
        {"n01": 2, "n02": 1},
        [],
    ),
    "StyleGAN labels": (
        also(files(*GIVEN), dataset__json=json.dumps({"labels": [[name, i % 2] for i, name in enumerate(GIVEN)]})),
        6,
        {"0": 3, "1": 3},
        ["classes come from dataset.json (6 of 6 images)"],
    ),
    "a StyleGAN folder without labels": (
        also(files(*GIVEN), dataset__json='{"labels": null}'),
        6,
        {},
        ["dataset.json has no labels", "look like shards"],
    ),
    "metadata.csv with labels": (
        also(files("a.png", "b.png", "c.png"), metadata__csv="file_name,label\na.png,cat\nb.png,dog\n"),
        3,
        {"cat": 1, "dog": 1},
        ["metadata.csv (2 of 3 images)"],
    ),
    "metadata.jsonl with captions": (
        also(files("x/a.png", "y/b.png"), metadata__jsonl='{"file_name": "x/a.png", "text": "a cat"}\n'),
        2,
        {"x": 1, "y": 1},
        ["metadata.jsonl has no labels"],
    ),
    "labels with spaces and gaps": (
        also(
            files("a.png", "b.png", "c.png", "d.png"),
            labels__csv="file_name, label\na.png, cat\nb.png ,cat \nc.png\nd.png,dog\n",
        ),
        4,
        {"cat": 2, "dog": 1},
        ["labels.csv (3 of 4 images)", "Images without a class: 1 of 4."],
    ),
    "labels that are null or on damaged lines": (
        also(
            files("a.png", "b.png", "c.png"),
            metadata__jsonl='{"file_name": "c.png"}\n{"file_name": "a.png", "label": "big\u2028cat"}\n'
            '{"file_name": "b.png", "label": null}\n{"file_name": "c.png", "label": "dog"}\n{"file_na\n5\n',
        ),
        3,
        {"big cat": 1, "dog": 1},
        ["metadata.jsonl (2 of 3 images)", "which are ignored: 2.", "Images without a class: 1 of 3."],
    ),
    "labels that disagree": (
        also(
            files("a.png", "b.png", "c.png"),
            labels__csv="file_name,label\na.png,cat\nb.png,dog\nc.png,cat\nc.png,dog\n",
            metadata__csv="file_name,label\na.png,red\nb.png,dog\n",
        ),
        3,
        {"dog": 2, "red": 1},
        ["Images with several labels in labels.csv", "Labels in metadata.csv that override"],
    ),
    "labels from a spreadsheet": (
        also(files("a.png", "b.png"), metadata__csv="\ufeffFile_Name;Label\r\na.png;Kätzchen\r\nb.png;dog, big\r\n"),
        2,
        {"Kätzchen": 1, "dog, big": 1},
        ["metadata.csv (2 of 2 images)"],
    ),
    "labels with absolute paths": (
        also(files("x/a.png", "y/a.png"), labels__csv="path,class\n/home/me/x/a.png,cat\nC:\\me\\y\\a.png,dog\n"),
        2,
        {"cat": 1, "dog": 1},
        ["labels.csv (2 of 2 images)"],
    ),
    "a label file in each split (imagefolder)": (
        lambda folder: (
            files("train/a.png", "test/a.png")(folder),
            (folder / "train" / "metadata.csv").write_text("file_name,label\na.png,cat\n"),
            (folder / "test" / "metadata.csv").write_text("file_name,label\na.png,dog\n"),
        ),
        2,
        {"cat": 1, "dog": 1},
        ["test/metadata.csv, train/metadata.csv (2 of 2 images)"],
    ),
    "names with spaces, accents and emoji": (
        files("my cats/a b.png", "Käfer/ä.png", "🐱🐶/😀.png"),
        3,
        {"Käfer": 1, "my cats": 1, "🐱🐶": 1},
        [],
    ),
    "names that differ in case": (files("Cat/a.png", "cat/A.PNG", "cat/a.png"), 3, {"Cat": 1, "cat": 2}, []),
    "names that end with a space": (files("cat /a.png", "cat/b.png", "dog/c.png"), 3, {"cat": 2, "dog": 1}, []),
    "files that macOS and Windows add": (
        also(files("cat/1.png", "dog/2.png", "cat/._1.png"), Thumbs__db="x", desktop__ini="x", __DS_Store="x"),
        2,
        {"cat": 1, "dog": 1},
        [],
    ),
    "damaged and foreign files": (
        damaged,
        2,
        {},
        [],
    ),
    "rotated, CMYK and palette images": (rotated_and_printed, 3, {}, []),
    "12 bits for each color": (
        deep_colors,
        3,
        {},
        ["Images of more than 8 bits: 3, with values from 0 to 4095", "4095 white"],
    ),
    "damaged labels": (
        also(files("x/a.png", "y/b.png"), dataset__json="{"),
        2,
        {"x": 1, "y": 1},
        ["dataset.json cannot be read as labels"],
    ),
    "system folders": (
        files("cat/1.png", "dog/2.png", "@eaDir/3.png", "$RECYCLE.BIN/4.png", ".thumbnails/5.png", "__MACOSX/6.png"),
        2,
        {"cat": 1, "dog": 1},
        [],
    ),
    "other suffixes": (
        also(
            files("a.jfif", "b.JPE", "c.ppm", "d.pgm", "e.pnm", "f.tga", "g.jp2", "no suffix"),
            notes__txt="words",
            more__txt="words",
            table__csv="words",
            README="words",
        ),
        8,
        {},
        ["2 .txt, 1 .csv, 1 without a suffix"],
    ),
    "12 bits in 16-bit PNGs": (
        sixteen_bits,
        3,
        {},
        ["Images of more than 8 bits: 3, with values from 0 to 3839", "0 becomes black and 4095 white"],
    ),
    "floats from 0 to 1": (floats, 2, {}, ["values from 0 to 0.9375.", "1 white"]),
    "floats beside 16 bits": (
        lambda folder: (floats(folder), sixteen_bits(folder)),
        5,
        {},
        ["Images of more than 8 bits: 5,", "which appear black beside the others: 2."],
    ),
    "animations and pages": (animations, 4, {}, ["Images that are animated or have several pages: 4."]),
}


def sentences_of(report):
    """Return what the report says about the layout, without the sentences about few images."""
    said = report.warnings_for(ImageTransform(8, 1))
    return [text for text in said if not text.startswith("Only ") and " classes for " not in text]


def table_row(name, report):
    """Return a layout's row in docs/data.md."""
    classes = ", ".join(f"{title} ({count})" for title, count in report.classes.items()) or "none"
    said = " ".join(filter(None, [report.rejected_by_reason, *sentences_of(report)]))
    return f"| {name} | {len(report.entries)} | {classes} | {said} |"


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
def test_a_folder_as_people_bring_it(name, packed, tmp_path):
    write, count, classes, sentences = LAYOUTS[name]
    folder = tmp_path / "images"
    folder.mkdir()
    write(folder)
    report = scan(write_zip_of(folder, tmp_path / "images.zip") if packed else folder)
    assert len(report.entries) == count == len(load(report, 8, 3, held_out=False))
    assert bool(report.rejected) == (write is damaged)
    assert report.classes == classes
    said = sentences_of(report)
    assert bool(said) == bool(sentences), said
    for sentence in sentences:
        assert any(sentence in text for text in said), said
    assert table_row(name, report) in DOCS.read_text(encoding="utf-8"), "Run python -m tests.data.test_layouts."


@pytest.mark.parametrize(("write", "shares"), [(sixteen_bits, (4095, 3000, 900)), (floats, (1.0, 0.5))])
def test_values_of_more_than_8_bits_have_one_range_for_all_images(write, shares, tmp_path):
    write(tmp_path)
    images = load(scan(tmp_path), 8, 1, held_out=False).images
    for i, share in enumerate(shares):
        expected = np.round(DIGITS[i] / 16 * share / shares[0] * 255)
        np.testing.assert_allclose(images[i, 0].numpy(), expected, atol=1)


@pytest.mark.parametrize("channels", [2, 3, 4])
@pytest.mark.parametrize("kind", ["png", "tif"])
def test_values_of_16_bits_for_each_color_are_read_over_one_range(kind, channels, tmp_path):
    values = (np.stack([DIGITS[i] for i in range(channels)], axis=-1) / 16 * 4095).astype("uint16")
    if channels != 3:
        values[..., -1] = 4095
    if kind == "png":
        write_deep_png(tmp_path / "a.png", values)
    elif channels == 2:
        pytest.skip("Pillow reads no TIFF of gray and opacity with 16 bits")
    else:
        write_deep_tiff(tmp_path / "a.tif", values)
    Image.fromarray((DIGITS[0] / 16 * 4095).astype("uint16")).save(tmp_path / "b.png")
    report = scan(tmp_path)
    assert report.value_range == (0, 4095) and [entry.gray for entry in report.entries] == [channels == 2, True]
    color, gray = load(report, 8, 3, held_out=False).images
    for channel in range(3):
        own = DIGITS[0 if channels == 2 else channel]
        np.testing.assert_allclose(color[channel].numpy(), np.round(own / 16 * 255), atol=1)
    np.testing.assert_allclose(gray[0].numpy(), np.round(DIGITS[0] / 16 * 255), atol=1)


def write_deep_tiff(file, values):
    """Write an uncompressed TIFF of 16 bits for each color, uint16 [H, W, C]."""
    height, width, channels = values.shape
    tags = [(256, 3, 1, width), (257, 3, 1, height), (258, 3, channels, 8), (259, 3, 1, 1), (262, 3, 1, 2)]
    tags += [(273, 4, 1, 200), (277, 3, 1, channels), (278, 3, 1, height), (279, 4, 1, values.nbytes)]
    tags += [(338, 3, 1, 2)] if channels == 4 else []
    directory = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    start = struct.pack("<2sHI", b"II", 42, 16) + struct.pack("<4H", *[16] * 4)
    head = start + struct.pack("<H", len(tags)) + directory + struct.pack("<I", 0)
    file.write_bytes(head.ljust(200, b"\0") + values.astype("<u2").tobytes())


def test_a_deep_image_of_a_camera_held_sideways_is_turned(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    values = np.zeros((4, 8, 3), "uint16")
    values[:, :4] = 60_000
    write_deep_png(tmp_path / "a.png", values)
    data = (tmp_path / "a.png").read_bytes()
    chunk = odd.png((b"eXIf", exif.tobytes()[6:]))[8:]
    turned = data[:33] + chunk + data[33:]
    pixels = decode(turned, ImageTransform(4, 3, "squash"), (0, 60_000))
    assert pixels[0, :2].min() > 200 and pixels[0, 2:].max() < 60, pixels[0]


def test_label_files_of_several_sources_say_nothing_about_each_other(tmp_path):
    for name, label in (("a", "cat"), ("b", "dog")):
        files("1.png", "2.png")(tmp_path / name)
        (tmp_path / name / "metadata.csv").write_text(f"file_name,label\n1.png,{label}\n2.png,{label}\n")
    report = scan([tmp_path / "a", tmp_path / "b"])
    assert report.classes == {"cat": 2, "dog": 2}
    assert report.notes[1] == "b: The classes come from metadata.csv (2 of 2 images)."


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_a_label_file_in_any_encoding_of_windows_is_read(encoding, tmp_path):
    files("a.png", "b.png")(tmp_path)
    (tmp_path / "labels.csv").write_text("file;label\na.png;Bär\nb.png;Hund\n", encoding=encoding)
    assert scan(tmp_path).class_names == ("Bär", "Hund")


def test_a_title_of_many_sources_is_short(tmp_path):
    for name in "abcde":
        files(f"{name}.png")(tmp_path / name)
    assert scan([tmp_path / name for name in "abcde"]).summary()["source"] == "a, b and 3 more"
    assert scan([tmp_path / "a", tmp_path / "a"]).summary()["source"] == "a"


def test_several_folders_and_zips_are_one_data_set(tmp_path):
    files("cat/1.png", "dog/2.png")(tmp_path / "a")
    files("bird/1.png", "bird/3.png", "cat/1.png", "cat/4.png")(tmp_path / "b")
    archive = write_zip_of(tmp_path / "b", tmp_path / "b.zip")
    report = scan([tmp_path / "a", archive])
    assert report.classes == {"bird": 2, "cat": 3, "dog": 1} and report.summary()["source"] == "a and b.zip"
    assert {entry.name for entry in report.entries} >= {"cat/1.png", "cat/1.png (2)"}
    both = load(report, 8, 1, held_out=False)
    rows = [report.class_names[label] for label in both.labels]
    assert rows == [entry.class_name for entry in report.entries]


def test_a_class_always_has_something_to_train_on(tmp_path):
    """A class of one image is held out with one digest in ten: the first of many that is."""
    files(*(f"many/{i}.png" for i in range(200)))(tmp_path / "pool")
    held_out = next(entry for entry in scan(tmp_path / "pool").entries if entry.held_out)
    for i in range(25):
        (tmp_path / "in" / "many").mkdir(parents=True, exist_ok=True)
        digit(300 + i).save(tmp_path / "in" / "many" / f"{i}.png")
    (tmp_path / "in" / "rare").mkdir()
    for i in range(3):
        (tmp_path / "in" / "rare" / f"{i}.png").write_bytes((tmp_path / "pool" / held_out.name).read_bytes())
    report = scan(tmp_path / "in")
    assert not any(entry.held_out for entry in report.entries if entry.class_name == "rare")
    copies = scan(tmp_path / "in" / "rare")
    assert not any(entry.held_out for entry in copies.entries)


def test_twenty_copies_of_a_held_out_image_can_be_trained_on(tmp_path):
    files(*(f"{i}.png" for i in range(200)))(tmp_path / "pool")
    held_out = next(entry for entry in scan(tmp_path / "pool").entries if entry.held_out)
    (tmp_path / "in").mkdir()
    for i in range(20):
        (tmp_path / "in" / f"{i}.png").write_bytes((tmp_path / "pool" / held_out.name).read_bytes())
    assert not any(entry.held_out for entry in scan(tmp_path / "in").entries)


@pytest.mark.parametrize("spelling", ["'{}'", '"{}"', " {}", "file://{}"])
def test_a_pasted_path_is_understood(spelling, tmp_path):
    files("cat/1.png", "dog/2.png")(tmp_path / "my images")
    path = str(tmp_path / "my images")
    report = scan(spelling.format(path.replace(" ", "%20") if "file" in spelling else path))
    assert report.classes == {"cat": 1, "dog": 1} and report.source == Path(path)


def test_a_png_with_megabytes_of_text_is_read(tmp_path):
    from PIL.PngImagePlugin import PngInfo

    plain, wordy = digit(0, "RGB"), PngInfo()
    wordy.add_text("workflow", "many words " * 300_000, zip=True)
    wordy.add_itxt("more", "many words " * 300_000, zip=True)
    wordy.add_text("even more", "many words " * 300_000)
    plain.save(tmp_path / "plain.png")
    plain.save(tmp_path / "wordy.png", pnginfo=wordy)
    report = scan(tmp_path)
    assert not report.rejected and len(report.entries) == 2
    first, second = load(report, 8, 3, held_out=False).images
    assert first.equal(second)


def write_table() -> None:
    """Write the table of docs/data.md again: python -m tests.data.test_layouts."""
    rows = []
    for name, (write, *_) in LAYOUTS.items():
        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder))
            rows.append(table_row(name, scan(folder)))
    head, line, _ = DOCS.read_text(encoding="utf-8").partition("|---|---|---|---|\n")
    DOCS.write_text(f"{head}{line}{chr(10).join(rows)}\n", encoding="utf-8")


if __name__ == "__main__":
    write_table()
