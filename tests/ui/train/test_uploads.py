"""Dropped images are kept among the runs, once, under safe names."""

import zipfile

import pytest
from PIL import Image

from diffusion_demo.data import scan
from diffusion_demo.errors import BadInput
from diffusion_demo.ui.train import uploads


@pytest.fixture(autouse=True)
def folder(monkeypatch, tmp_path):
    monkeypatch.setattr(uploads, "UPLOADS", tmp_path / "runs" / ".uploads")
    return tmp_path


def images(folder, count):
    paths = []
    for i in range(count):
        (folder / str(i)).mkdir(parents=True)
        paths.append(folder / str(i) / "same name.png")  # as gradio hands over two files of one name
        Image.new("RGB", (8, 8), (i, 2 * i, 3 * i)).save(paths[-1])
    return [str(path) for path in paths]


def test_images_of_the_same_name_are_all_kept(folder):
    kept = uploads.keep(images(folder / "dropped", 5))
    assert len(scan(kept).entries) == 5 and kept.is_relative_to(uploads.UPLOADS)


def test_the_same_files_are_kept_once(folder):
    files = images(folder / "dropped", 3)
    assert uploads.keep(files) == uploads.keep(files[::-1])
    assert len(list(uploads.UPLOADS.iterdir())) == 1


def test_a_zip_is_kept_as_it_is_under_a_safe_name(folder):
    (image,) = images(folder / "dropped", 1)
    archive = folder / "my b ünï.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.write(image, "a/1.png")
    kept = uploads.keep([str(archive)])
    assert kept.name == "my-b-n.zip" and kept.read_bytes() == archive.read_bytes()


def test_a_zip_among_others_is_refused_and_nothing_is_kept(folder):
    with pytest.raises(BadInput, match="either one zip or images"):
        uploads.keep([str(folder / "a.zip"), *images(folder / "dropped", 1)])
    assert not uploads.UPLOADS.exists()


def test_what_disappears_while_it_is_kept_leaves_nothing_half_written(folder):
    files = images(folder / "dropped", 2)
    with pytest.raises(BadInput, match="cannot be kept"):
        uploads.keep([*files, str(folder / "gone.png")])
    assert list(uploads.UPLOADS.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("cats", "cats"),
        ("../../etc/passwd", "etc-passwd"),
        ("", "run"),
        ("...", "run"),
        ("a" * 99, "a" * 40),
        ("фото", "run"),
        ("my pics", "my-pics"),
    ],
)
def test_names_are_made_safe(name, safe):
    assert uploads.safe_name(name, "run") == safe


def test_the_drawn_images_are_drawn_once(folder):
    first = uploads.drawn()
    report = scan(first)
    assert report.class_names == ("circles", "faces", "squares", "triangles") and len(report.entries) == 400
    before = sorted(path.stat().st_mtime_ns for path in first.rglob("*.png"))
    assert uploads.drawn() == first and before == sorted(path.stat().st_mtime_ns for path in first.rglob("*.png"))
