"""Folders as people bring them, made of scikit-learn's digits: their classes, and what the report says of them."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from diffusion_demo.data import ImageTransform, load, scan
from tests.data.conftest import write_zip_of

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
    for i, top in enumerate((4095, 3000, 2000)):
        Image.fromarray((DIGITS[i] / 16 * top).astype("uint16")).save(folder / f"{i}.png")


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
    "labels of StyleGAN": (
        also(files(*GIVEN), dataset__json=json.dumps({"labels": [[name, i % 2] for i, name in enumerate(GIVEN)]})),
        6,
        {"0": 3, "1": 3},
        ["classes come from dataset.json, which has 6 of 6"],
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
        ["metadata.csv, which has 2 of 3"],
    ),
    "metadata.jsonl with captions": (
        also(files("x/a.png", "y/b.png"), metadata__jsonl='{"file_name": "x/a.png", "text": "a cat"}\n'),
        2,
        {"x": 1, "y": 1},
        ["metadata.jsonl has no labels"],
    ),
    "damaged labels": (
        also(files("x/a.png", "y/b.png"), dataset__json="{"),
        2,
        {"x": 1, "y": 1},
        ["dataset.json cannot be read as labels"],
    ),
    "folders of systems": (
        files("cat/1.png", "dog/2.png", "@eaDir/3.png", "$RECYCLE.BIN/4.png", ".thumbnails/5.png", "__MACOSX/6.png"),
        2,
        {"cat": 1, "dog": 1},
        [],
    ),
    "suffixes of all kinds": (
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
        ["3 images have more than 8 bits, with values from 0 to 3839", "0 becomes black and 4095 white"],
    ),
    "floats from 0 to 1": (floats, 2, {}, ["values from 0 to 0.9375.", "1 white"]),
    "animations and pages": (animations, 4, {}, ["4 images are animated or have several pages"]),
}


def sentences_of(report):
    """Return what the report says about the layout, without the sentences about few images."""
    said = report.warnings_for(ImageTransform(8, 1))
    return [text for text in said if not text.startswith("Only ") and " classes for " not in text]


def table_row(name, report):
    """Return a layout's row in docs/data.md."""
    classes = ", ".join(f"{title} ({count})" for title, count in report.classes.items()) or "none"
    return f"| {name} | {len(report.entries)} | {classes} | {' '.join(sentences_of(report))} |"


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
def test_a_folder_as_people_bring_it(name, packed, tmp_path):
    write, count, classes, sentences = LAYOUTS[name]
    folder = tmp_path / "images"
    folder.mkdir()
    write(folder)
    report = scan(write_zip_of(folder, tmp_path / "images.zip") if packed else folder)
    assert len(report.entries) == count == len(load(report, 8, 3, held_out=False)) and not report.rejected
    assert report.classes == classes
    said = sentences_of(report)
    assert bool(said) == bool(sentences), said
    for sentence in sentences:
        assert any(sentence in text for text in said), said
    docs = Path(__file__).parents[2] / "docs" / "data.md"
    assert table_row(name, report) in docs.read_text(encoding="utf-8"), table_row(name, report)


@pytest.mark.parametrize(("write", "shares"), [(sixteen_bits, (4095, 3000, 2000)), (floats, (1.0, 0.5))])
def test_values_of_more_than_8_bits_have_one_range_for_all_images(write, shares, tmp_path):
    write(tmp_path)
    images = load(scan(tmp_path), 8, 1, held_out=False).images
    for i, share in enumerate(shares):
        expected = np.round(DIGITS[i] / 16 * share / shares[0] * 255)
        np.testing.assert_allclose(images[i, 0].numpy(), expected, atol=1)


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
