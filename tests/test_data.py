"""Folders and zips of pictures, the odd files that people have, and the held-out tenth."""

import shutil
import zipfile
from pathlib import Path

import gradio.media
import numpy as np
import pytest
import torch
from PIL import Image

from diffusion_demo.data import decode, load, scan
from diffusion_demo.errors import BadInput


@pytest.fixture
def photograph():
    return Path(gradio.media.get_image("cheetah1.jpg"))


def write_colours(folder, count, start=0):
    """`count` different small pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(start, start + count):
        Image.new("RGB", (8, 8), (i * 7 % 256, i * 13 % 256, i)).save(folder / f"{i:03d}.png")


def one_pixel(path, channels=3, at=(0, 0), size=8):
    return decode(path.read_bytes(), size, channels)[:, at[1], at[0]].tolist()


def zip_of(folder, target, extra=()):
    with zipfile.ZipFile(target, "w") as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(folder).as_posix())
        for name, data in extra:
            archive.writestr(name, data)
    return target


def test_a_zip_gives_what_its_folder_gives(digits, tmp_path):
    folder, archive = scan(digits), scan(zip_of(digits, tmp_path / "digits.zip"))
    assert folder.entries == archive.entries and len(folder.entries) == 60
    assert folder.class_names == archive.class_names
    for held_out in (False, True):
        a, b = (load(report, 16, 1, held_out) for report in (folder, archive))
        assert torch.equal(a.images, b.images) and torch.equal(a.labels, b.labels) and len(a) > 0


def test_sub_folders_are_classes_in_alphabetical_order(digits):
    report = scan(digits)
    assert report.class_names == ("one", "three", "two")
    summary = report.summary()
    assert summary["pictures"] == 60 and summary["classes"] == {"one": 20, "three": 20, "two": 20} and summary["rejected"] == 0
    pictures = load(report, 16, 1, held_out=False)
    expected = [report.class_names.index(e.class_name) for e in report.entries if not e.held_out]
    assert pictures.labels.tolist() == expected and pictures.images.shape == (len(expected), 1, 16, 16)


def test_pictures_are_decoded_as_they_are(digits):
    report = scan(digits)
    training = [e for e in report.entries if not e.held_out]
    images = load(report, 16, 1, held_out=False).images
    for i in (0, len(training) // 2, -1):
        assert np.array_equal(images[i, 0].numpy(), np.asarray(Image.open(digits / training[i].name)))


def test_one_sub_folder_makes_no_classes(tmp_path):
    write_colours(tmp_path / "only", 3)
    report = scan(tmp_path)
    assert report.class_names == () and load(report, 8, 3, False).labels.tolist() == [0, 0, 0]


def test_pictures_at_the_top_get_the_null_class(tmp_path):
    write_colours(tmp_path, 1)
    write_colours(tmp_path / "a", 1, start=1)
    write_colours(tmp_path / "b", 1, start=2)
    report = scan(tmp_path)
    assert report.class_names == ("a", "b")
    assert dict(zip([e.name for e in report.entries], load(report, 8, 3, False).labels.tolist(), strict=True)) == {
        "000.png": 2,
        "a/001.png": 0,
        "b/002.png": 1,
    }


def test_the_held_out_tenth_is_decided_by_the_bytes_alone(digits, tmp_path):
    before = {e.digest for e in scan(digits).entries if e.held_out}
    for i, path in enumerate(sorted(digits.rglob("*.png"), key=lambda p: p.name)):
        shutil.copy(path, tmp_path / f"renamed {i}.PNG")
    after = {e.digest for e in scan(tmp_path).entries if e.held_out}
    assert before and before == after


def test_the_held_out_part_is_about_a_tenth_and_apart_from_the_rest(tmp_path):
    write_colours(tmp_path, 250)
    report = scan(tmp_path)
    assert 10 <= sum(e.held_out for e in report.entries) <= 42
    training, held_out = load(report, 8, 3, False), load(report, 8, 3, True)
    assert len(training) + len(held_out) == 250
    seen = {bytes(image.numpy().tobytes()) for image in training.images}
    assert not seen & {bytes(image.numpy().tobytes()) for image in held_out.images}


def test_copies_of_one_picture_are_held_out_together(tmp_path):
    write_colours(tmp_path / "a", 60)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    entries = scan(tmp_path).entries
    assert {e.digest for e in entries if e.held_out}.isdisjoint({e.digest for e in entries if not e.held_out})


def test_under_twenty_pictures_none_is_held_out(digits, tmp_path):
    paths = sorted(digits.rglob("*.png"))
    held_out = [digits / e.name for e in scan(digits).entries if e.held_out]
    chosen = dict.fromkeys(held_out + paths)
    for i, path in enumerate(list(chosen)[:19]):
        shutil.copy(path, tmp_path / f"{i}.png")
    assert not any(e.held_out for e in scan(tmp_path).entries)
    shutil.copy(list(chosen)[19], tmp_path / "19.png")
    assert sum(e.held_out for e in scan(tmp_path).entries) == min(len(held_out), 20)


def test_photographs_are_cut_to_the_centre_square(photograph):
    with Image.open(photograph) as image:
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        centre = image.convert("RGB").crop((left, top, left + side, top + side)).resize((32, 32), Image.Resampling.LANCZOS)
    found = decode(photograph.read_bytes(), 32, 3)
    assert found.shape == (3, 32, 32) and found.std() > 10
    assert np.abs(found.transpose(1, 2, 0).astype(int) - np.asarray(centre).astype(int)).mean() < 3


def test_transparent_places_become_white(tmp_path):
    picture = Image.new("RGBA", (8, 8), (255, 0, 0, 255))
    picture.paste((0, 255, 0, 0), (0, 0, 4, 8))
    picture.save(tmp_path / "a.png")
    assert one_pixel(tmp_path / "a.png", at=(0, 0)) == [255, 255, 255]
    assert one_pixel(tmp_path / "a.png", at=(7, 0)) == [255, 0, 0]


def test_a_palette_with_a_transparent_colour_is_read(tmp_path):
    picture = Image.new("P", (8, 8), 0)
    picture.putpalette([10, 20, 30, 200, 100, 50])
    picture.paste(1, (4, 0, 8, 8))
    picture.save(tmp_path / "plain.png")
    picture.save(tmp_path / "clear.png", transparency=0)
    assert one_pixel(tmp_path / "plain.png", at=(0, 0)) == [10, 20, 30]
    assert one_pixel(tmp_path / "clear.png", at=(0, 0)) == [255, 255, 255]
    assert one_pixel(tmp_path / "clear.png", at=(7, 0)) == [200, 100, 50]


def test_grey_with_alpha_and_one_bit_pictures_are_read(tmp_path):
    Image.new("LA", (8, 8), (0, 0)).save(tmp_path / "la.png")
    Image.new("1", (8, 8), 1).save(tmp_path / "bit.png")
    assert one_pixel(tmp_path / "la.png", channels=1) == [255]
    assert one_pixel(tmp_path / "bit.png", channels=1) == [255]


def test_exif_rotation_is_applied(tmp_path):
    picture = Image.new("RGB", (8, 8), "black")
    picture.paste("white", (0, 0, 8, 4))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn a quarter clockwise to show
    picture.save(tmp_path / "a.png", exif=exif)
    pixels = decode((tmp_path / "a.png").read_bytes(), 8, 1)[0]
    assert (pixels[:, 4:] == 255).all() and (pixels[:, :4] == 0).all()


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bit_grey_keeps_its_range(tmp_path, suffix):
    values = np.zeros((8, 8), np.uint16)
    values[:, 4:] = 0x8040
    Image.fromarray(values).save(tmp_path / f"a.{suffix}")
    assert one_pixel(tmp_path / f"a.{suffix}", channels=1, at=(0, 0)) == [0]
    assert one_pixel(tmp_path / f"a.{suffix}", at=(7, 0)) == [128, 128, 128]


def test_cmyk_jpeg_is_read_as_colour(tmp_path):
    Image.new("RGB", (16, 16), (200, 40, 40)).convert("CMYK").save(tmp_path / "a.jpg", quality=95)
    assert scan(tmp_path).rejected == {}
    red, green, blue = one_pixel(tmp_path / "a.jpg")
    assert abs(red - 200) < 12 and abs(green - 40) < 12 and abs(blue - 40) < 12


@pytest.mark.parametrize("suffix", ["gif", "webp"])
def test_an_animation_gives_its_first_frame(tmp_path, suffix):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    frames[0].save(tmp_path / f"a.{suffix}", save_all=True, append_images=frames[1:], **({"lossless": True} if suffix == "webp" else {}))
    assert one_pixel(tmp_path / f"a.{suffix}") == [255, 0, 0]


def test_upper_case_suffixes_are_pictures_and_hidden_files_are_not(tmp_path):
    write_colours(tmp_path, 1)
    source = tmp_path / "000.png"
    shutil.copy(source, tmp_path / "UPPER.PNG")
    for name in (".hidden.png", "__MACOSX/._000.png", "__MACOSX/000.png", ".cache/000.png", ".DS_Store"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(source, tmp_path / name)
    (tmp_path / "notes.txt").write_text("not a picture")
    report = scan(tmp_path)
    assert [e.name for e in report.entries] == ["000.png", "UPPER.PNG"] and report.rejected == {}
    zipped = scan(zip_of(tmp_path, tmp_path.parent / f"{tmp_path.name}.zip"))
    assert zipped.entries == report.entries and zipped.rejected == {}


def test_damaged_pictures_are_rejected_by_name_and_the_rest_goes_on(tmp_path, photograph):
    write_colours(tmp_path, 2)
    data = photograph.read_bytes()
    (tmp_path / "cut.jpg").write_bytes(data[: len(data) // 2])
    (tmp_path / "words.png").write_text("these are words")
    (tmp_path / "empty.png").write_bytes(b"")
    report = scan(tmp_path)
    assert set(report.rejected) == {"cut.jpg", "words.png", "empty.png"} and all(report.rejected.values())
    assert report.summary()["rejected"] == 3
    assert [e.name for e in report.entries] == ["000.png", "001.png"] and len(load(report, 8, 3, False)) == 2


def test_a_truncated_png_is_rejected(tmp_path, photograph):
    write_colours(tmp_path, 1)
    Image.open(photograph).save(tmp_path / "whole.png")
    data = (tmp_path / "whole.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(data[: len(data) // 2])
    report = scan(tmp_path)
    assert set(report.rejected) == {"cut.png"} and len(report.entries) == 2


def test_a_zip_with_a_way_out_in_a_name_writes_nothing_anywhere(digits, tmp_path):
    (tmp_path / "inner").mkdir()
    outside = next(digits.rglob("*.png")).read_bytes()
    archive = zip_of(digits, tmp_path / "inner" / "a.zip", extra=[("../escaped.png", outside), ("/absolute.png", outside)])
    load(scan(archive), 16, 1, False)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.zip", "inner"]


def test_a_decompression_bomb_is_rejected_and_the_rest_goes_on(tmp_path):
    write_colours(tmp_path, 1)
    Image.new("1", (30_000, 20_000)).save(tmp_path / "bomb.png")
    report = scan(tmp_path)
    assert set(report.rejected) == {"bomb.png"} and len(report.entries) == 1


def test_a_damaged_member_of_a_zip_is_rejected_and_the_rest_goes_on(digits, tmp_path):
    archive = zip_of(digits, tmp_path / "a.zip")
    with zipfile.ZipFile(archive) as opened:
        info = opened.infolist()[5]
    data = bytearray(archive.read_bytes())
    start = data.find(b"\x89PNG", info.header_offset)
    data[start + 20 : start + 60] = bytes(40)
    archive.write_bytes(bytes(data))
    report = scan(archive)
    assert list(report.rejected) == [info.filename] and len(report.entries) == 59


def test_a_folder_without_pictures_is_refused_in_a_useful_sentence(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing to see")
    with pytest.raises(BadInput, match=r"no pictures.*png"):
        scan(tmp_path)


def test_a_missing_path_is_refused_by_name(tmp_path):
    with pytest.raises(BadInput, match=r"nothing at .*nowhere"):
        scan(tmp_path / "nowhere")


def test_a_file_that_is_no_zip_is_refused_by_name(tmp_path):
    (tmp_path / "notes.txt").write_text("words")
    with pytest.raises(BadInput, match=r"notes\.txt is neither a folder nor a zip"):
        scan(tmp_path / "notes.txt")


@pytest.mark.parametrize("exif", [b"Exif\x00\x00MM\x00*\x00\x00", b"Exif\x00\x00xx"])
def test_a_broken_exif_block_spoils_nothing(tmp_path, exif):
    for i in range(3):
        Image.new("RGB", (20, 20), (i, 0, 0)).save(tmp_path / f"{i}.png", exif=exif)
    report = scan(tmp_path)
    assert len(load(report, 16, 3, held_out=False)) + len(report.rejected) == 3
    assert not report.rejected


def test_a_damaged_zip_is_refused_with_a_sentence(tmp_path):
    with zipfile.ZipFile(tmp_path / "pictures.zip", "w") as archive:
        archive.writestr("one.png", b"1" * 100)
    data = bytearray((tmp_path / "pictures.zip").read_bytes())
    data[data.index(b"PK\x01\x02")] = 0
    (tmp_path / "pictures.zip").write_bytes(data)
    with pytest.raises(BadInput, match="damaged zip"):
        scan(tmp_path / "pictures.zip")
