"""Scan: images, classes and the held-out tenth."""

import hashlib
import io
import shutil

import pytest
from PIL import Image

from diffusion_demo.data import load, scan
from diffusion_demo.errors import BadInput
from tests.data.conftest import write_colors, write_zip_of


def names(report):
    return [entry.name for entry in report.entries]


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def classes(report):
    return {entry.name: entry.class_name for entry in report.entries}


def test_a_zip_gives_what_its_folder_gives(digits, tmp_path):
    folder, archive = scan(digits), scan(write_zip_of(digits, tmp_path / "digits.zip"))
    assert folder.entries == archive.entries and len(folder.entries) == 60
    assert folder.class_names == archive.class_names
    for held_out in (False, True):
        a, b = (load(report, 16, 1, held_out) for report in (folder, archive))
        assert a.images.equal(b.images) and a.labels.equal(b.labels) and len(a) > 0


def test_a_list_of_files_gives_their_images_without_folders(digits, tmp_path):
    paths = [str(digits / "one" / "000.png"), digits / "two" / "000.png", digits / "two" / "001.png"]
    report = scan(paths)
    assert names(report) == ["000.png", "000.png (2)", "001.png"] and report.class_names == ()
    assert len({entry.digest for entry in report.entries}) == len(load(report, 16, 1, False)) == 3
    assert report.summary()["source"] == "3 files"


def test_a_list_of_one_zip_or_folder_is_that_zip_or_folder(digits, tmp_path):
    archive = write_zip_of(digits, tmp_path / "digits.zip")
    assert scan([archive]).entries == scan([str(digits)]).entries == scan(digits).entries


def test_an_empty_list_is_refused():
    with pytest.raises(BadInput, match="list of files is empty"):
        scan([])


def test_sub_folders_are_classes_in_alphabetical_order(digits):
    report = scan(digits)
    assert report.class_names == ("one", "three", "two")
    made_images = load(report, 16, 1, held_out=False)
    expected = [report.class_names.index(e.class_name) for e in report.entries if not e.held_out]
    assert made_images.labels.tolist() == expected and made_images.images.shape == (len(expected), 1, 16, 16)


def test_the_class_is_the_folder_that_the_image_lies_in(tmp_path):
    write_colors(tmp_path / "train" / "big cats", 1)
    write_colors(tmp_path / "test" / "big cats", 1, start=1)
    write_colors(tmp_path / "test" / "dogs", 1, start=2)
    assert scan(tmp_path).classes == {"big cats": 2, "dogs": 1}


def test_a_class_whose_accents_are_spelt_in_two_ways_is_one(tmp_path):
    for i, name in enumerate(["Möbel", "Mo\u0308bel", "other"]):  # zip files from macOS use the second form
        write_colors(tmp_path / str(i) / name, 1, start=i)
    assert scan(tmp_path).classes == {"Möbel": 2, "other": 1}


def test_one_sub_folder_makes_no_classes(tmp_path):
    write_colors(tmp_path / "only", 3)
    report = scan(tmp_path)
    assert report.class_names == () and load(report, 8, 3, False).labels.tolist() == [0, 0, 0]


def test_images_at_the_top_get_the_null_class(tmp_path):
    write_colors(tmp_path, 1)
    write_colors(tmp_path / "a", 1, start=1)
    write_colors(tmp_path / "b", 1, start=2)
    report = scan(tmp_path)
    assert report.class_names == ("a", "b")
    assert dict(zip(names(report), load(report, 8, 3, False).labels.tolist(), strict=True)) == {
        "000.png": 2,
        "a/001.png": 0,
        "b/002.png": 1,
    }


def test_with_file_names_the_class_stands_before_the_first_underscore_and_folders_say_nothing(tmp_path):
    for i, name in enumerate(["x/cat_001.png", "y/cat_big_one.png", "y/dog_1.png", "_nothing.png", "wolf.png"]):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8), (i, 0, 0)).save(tmp_path / name)
    expected = {
        "x/cat_001.png": "cat",
        "y/cat_big_one.png": "cat",
        "y/dog_1.png": "dog",
        "_nothing.png": "",
        "wolf.png": "wolf.png",
    }
    assert classes(scan(tmp_path, class_from="file_name")) == expected
    assert scan(tmp_path).class_names == ("x", "y")
    assert classes(scan(write_zip_of(tmp_path, tmp_path.parent / "named.zip"), "file_name")) == expected
    assert scan(sorted(tmp_path.rglob("*.png")), "file_name").classes == {"cat": 2, "dog": 1, "wolf.png": 1}


def test_with_file_names_of_which_none_has_an_underscore_there_are_no_classes(digits):
    assert scan(digits, class_from="file_name").class_names == ()


def test_any_other_origin_of_classes_is_refused(digits):
    with pytest.raises(BadInput, match=r"folder or file_name, not 'color'"):
        scan(digits, class_from="color")


def test_the_held_out_tenth_is_decided_by_the_bytes_alone(digits, tmp_path):
    before = {e.digest for e in scan(digits).entries if e.held_out}
    for i, path in enumerate(sorted(digits.rglob("*.png"), key=lambda p: p.name)):
        shutil.copy(path, tmp_path / f"renamed {i}.PNG")
    after = {e.digest for e in scan(tmp_path).entries if e.held_out}
    assert before and before == after == {d for d in map(sha256, digits.rglob("*.png")) if int(d, 16) % 10 == 0}, (
        "otherwise old runs could not be resumed"
    )


def test_the_held_out_part_is_about_a_tenth_and_apart_from_the_rest(tmp_path):
    write_colors(tmp_path, 250)
    report = scan(tmp_path)
    assert 10 <= sum(e.held_out for e in report.entries) <= 42
    training, held_out = load(report, 8, 3, False), load(report, 8, 3, True)
    assert len(training) + len(held_out) == 250
    seen = {bytes(image.numpy().tobytes()) for image in training.images}
    assert not seen & {bytes(image.numpy().tobytes()) for image in held_out.images}


def test_copies_of_one_image_are_held_out_together(tmp_path):
    write_colors(tmp_path / "a", 60)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    entries = scan(tmp_path).entries
    assert {e.digest for e in entries if e.held_out}.isdisjoint({e.digest for e in entries if not e.held_out})


def test_under_twenty_images_none_is_held_out(digits, tmp_path):
    paths = sorted(digits.rglob("*.png"))
    held_out = [digits / e.name for e in scan(digits).entries if e.held_out]
    chosen = dict.fromkeys(held_out + paths)
    for i, path in enumerate(list(chosen)[:19]):
        shutil.copy(path, tmp_path / f"{i}.png")
    assert not any(e.held_out for e in scan(tmp_path).entries)
    shutil.copy(list(chosen)[19], tmp_path / "19.png")
    assert sum(e.held_out for e in scan(tmp_path).entries) == min(len(held_out), 20)


def test_progress_is_told_after_each_file_also_after_one_that_cannot_be_used(tmp_path):
    write_colors(tmp_path, 2)
    (tmp_path / "empty.png").write_bytes(b"")
    told = []
    scan(tmp_path, progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_every_kind_of_image_is_one_in_upper_and_lower_case(tmp_path):
    kinds = {
        "png": "PNG",
        "jpg": "JPEG",
        "jpeg": "JPEG",
        "webp": "WEBP",
        "bmp": "BMP",
        "gif": "GIF",
        "tif": "TIFF",
        "tiff": "TIFF",
    }
    for suffix, kind in kinds.items():
        for name in (f"a.{suffix}", f"B.{suffix.upper()}"):
            Image.new("RGB", (8, 8), "teal").save(tmp_path / name, kind)
    report = scan(tmp_path)
    assert len(report.entries) == 2 * len(kinds) and not report.rejected and not report.ignored


def test_hidden_files_are_no_images_and_not_counted_and_other_files_are_counted(tmp_path):
    write_colors(tmp_path, 1)
    source = tmp_path / "000.png"
    for name in (".hidden.png", "__MACOSX/._000.png", "__MACOSX/000.png", ".cache/000.png", ".DS_Store"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(source, tmp_path / name)
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / "README").write_text("not an image")
    report = scan(tmp_path)
    assert names(report) == ["000.png"] and report.rejected == {} and report.ignored == 2
    zipped = scan(write_zip_of(tmp_path, tmp_path.parent / f"{tmp_path.name}.zip"))
    assert zipped.entries == report.entries and zipped.rejected == {} and zipped.ignored == 2


def held_out_image(number):
    """Return the bytes of the number-th small image whose digest puts it in the held-out part."""
    for i in range(number, 100_000):
        file = io.BytesIO()
        Image.new("RGB", (8, 8), (i % 256, i // 256, number)).save(file, "PNG")
        if int(hashlib.sha256(file.getvalue()).hexdigest(), 16) % 10 == 0:
            return file.getvalue()
    raise AssertionError


def test_copies_of_one_image_that_would_be_held_out_are_trained_on(tmp_path):
    for i in range(20):
        (tmp_path / f"{i}.png").write_bytes(held_out_image(1))
    assert not any(entry.held_out for entry in scan(tmp_path).entries)


def test_no_class_is_held_out_as_a_whole(digits, tmp_path):
    shutil.copytree(digits, tmp_path / "images")
    (tmp_path / "images" / "rare").mkdir()
    for number in (1, 2):
        (tmp_path / "images" / "rare" / f"{number}.png").write_bytes(held_out_image(number))
    before = {entry.name for entry in scan(digits).entries if entry.held_out}
    entries = scan(tmp_path / "images").entries
    assert sorted(entry.held_out for entry in entries if entry.class_name == "rare") == [False, True]
    assert {entry.name for entry in entries if entry.held_out and entry.class_name != "rare"} == before
