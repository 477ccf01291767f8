"""Storage of uploaded images."""

import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

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
        paths.append(folder / str(i) / "same name.png")  # Gradio stores files of the same name in different folders
        Image.new("RGB", (8, 8), (i, 2 * i, 3 * i)).save(paths[-1])
    return [str(path) for path in paths]


def test_images_of_the_same_name_are_all_stored(folder):
    stored = uploads.store(images(folder / "dropped", 5))
    assert len(scan(stored).entries) == 5 and stored.is_relative_to(uploads.UPLOADS)


def test_the_same_files_are_stored_once(folder):
    files = images(folder / "dropped", 3)
    assert uploads.store(files) == uploads.store(files[::-1])
    assert len(list(uploads.UPLOADS.iterdir())) == 1


def test_a_zip_is_stored_unchanged_under_a_safe_name(folder):
    (image,) = images(folder / "dropped", 1)
    archive = folder / "my b ünï.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.write(image, "a/1.png")
    stored = uploads.store([str(archive)])
    assert stored.name == "my-b-n.zip" and stored.read_bytes() == archive.read_bytes()


def test_a_zip_among_other_files_is_rejected(folder):
    with pytest.raises(BadInput, match="either one zip or images"):
        uploads.store([str(folder / "a.zip"), *images(folder / "dropped", 1)])
    assert not uploads.UPLOADS.exists()


def test_a_file_deleted_during_the_copy_leaves_no_partial_folder(folder):
    files = images(folder / "dropped", 2)
    with pytest.raises(BadInput, match="Cannot store the images"):
        uploads.store([*files, str(folder / "gone.png")])
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
def test_safe_name(name, safe):
    assert uploads.safe_name(name, "run") == safe


def test_the_synthetic_images_are_generated_once(folder):
    first = uploads.synthetic_images()
    report = scan(first)
    assert report.class_names == ("circles", "faces", "squares", "triangles") and len(report.entries) == 400
    before = sorted(path.stat().st_mtime_ns for path in first.rglob("*.png"))
    assert uploads.synthetic_images() == first and before == sorted(
        path.stat().st_mtime_ns for path in first.rglob("*.png")
    )


def test_visitors_who_store_the_same_files_at_once_all_get_them(tmp_path):
    (tmp_path / "hash").mkdir()
    files = [str(tmp_path / "hash" / f"{i}.png") for i in range(20)]
    for file in files:
        Path(file).write_bytes(b"pixels" * 1000)
    with ThreadPoolExecutor(8) as pool:
        stored = list(pool.map(lambda _: uploads.store(files * 25), range(8)))
    assert len(set(stored)) == 1 and len(list(stored[0].iterdir())) == 20, "each path is stored once"
    assert [path.name for path in uploads.UPLOADS.iterdir()] == [stored[0].parent.name], "nothing partial is left"


def test_classes_in_the_names_of_dropped_files_are_kept(folder):
    (folder / "dropped").mkdir()
    for i, name in enumerate(["cat_1.png", "cat_2.png", "dog_1.png", "Dog_1.PNG"]):
        (folder / "dropped" / str(i)).mkdir()
        Image.new("RGB", (8, 8), (i, 0, 0)).save(folder / "dropped" / str(i) / name)
    files = sorted(map(str, (folder / "dropped").rglob("*.*")))
    report = scan(uploads.store(files), class_from="file_name")
    assert report.classes == {"Dog": 1, "cat": 2, "dog": 1} and len(report.entries) == 4
