"""Storage of uploaded images."""

import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image

from diffusion_demo.data import scan
from diffusion_demo.errors import BadInput
from diffusion_demo.ui.server import disk_quota, model_list
from diffusion_demo.ui.settings import Settings
from diffusion_demo.ui.train import upload_area, uploads


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
    return named(paths)


def named(paths):
    """Return the files as the upload area reports them: the path and the name, here without folders."""
    return [(str(path), Path(path).name) for path in paths]


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
        file.write(image[0], "a/1.png")
    stored = uploads.store(named([archive]))
    assert stored.name == "my-b-n.zip" and stored.read_bytes() == archive.read_bytes()


def test_a_zip_among_other_files_is_rejected(folder):
    with pytest.raises(BadInput, match="either one ZIP or images"):
        uploads.store([*named([folder / "a.zip"]), *images(folder / "dropped", 1)])
    assert not uploads.UPLOADS.exists()


def test_a_file_deleted_during_the_copy_leaves_no_partial_folder(folder):
    files = images(folder / "dropped", 2)
    with pytest.raises(BadInput, match="Cannot store the images"):
        uploads.store([*files, *named([folder / "gone.png"])])
    assert list(uploads.UPLOADS.iterdir()) == []


def test_what_the_disk_quota_cannot_hold_is_not_stored(folder, monkeypatch):
    monkeypatch.setattr(model_list, "RUNS", folder / "runs")
    monkeypatch.setattr(disk_quota, "settings", lambda: Settings(disk_gb=1))
    archives = [folder / name / f"{name}.zip" for name in ("first", "second")]
    for archive in archives:
        archive.parent.mkdir()
        with archive.open("wb") as sparse:
            sparse.truncate(600_000_000)
    stored = uploads.UPLOADS / "earlier" / "first.zip"
    stored.parent.mkdir(parents=True)
    archives[0].rename(stored)
    with pytest.raises(BadInput, match="disk quota of 1 GB for runs is full"):
        uploads.store(named(archives[1:]))
    assert [path.name for path in uploads.UPLOADS.iterdir()] == ["earlier"]
    stored.unlink()
    disk_quota.check(600_000_000)


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
        stored = list(pool.map(lambda _: uploads.store(named(files) * 25), range(8)))
    assert len(set(stored)) == 1 and len(list(stored[0].iterdir())) == 20, "each path is stored once"
    assert [path.name for path in uploads.UPLOADS.iterdir()] == [stored[0].parent.name], "nothing partial is left"


def test_classes_in_the_names_of_dropped_files_are_kept(folder):
    (folder / "dropped").mkdir()
    for i, name in enumerate(["cat_1.png", "cat_2.png", "dog_1.png", "Dog_1.PNG"]):
        (folder / "dropped" / str(i)).mkdir()
        Image.new("RGB", (8, 8), (i, 0, 0)).save(folder / "dropped" / str(i) / name)
    files = named((folder / "dropped").rglob("*.*"))
    report = scan(uploads.store(files), class_from="file_name")
    assert report.classes == {"Dog": 1, "cat": 2, "dog": 1} and len(report.entries) == 4


def in_folders(folder, *names):
    """Return one image for each name, uploaded with that name."""
    files = images(folder / "dropped", len(names))
    return [(path, name) for (path, _), name in zip(files, names, strict=True)]


def test_folders_are_kept_as_classes(folder):
    stored = uploads.store(
        in_folders(folder, "pets/cats/1.png", "pets/cats/2.png", "pets/dogs/1.png", "pets/кот/1.png")
    )
    assert stored.name == "pets.zip" and scan(stored).classes == {"cats": 2, "dogs": 1, "кот": 1}
    names = zipfile.ZipFile(stored).namelist()
    assert sorted(names) == ["pets/cats/1.png", "pets/cats/2.png", "pets/dogs/1.png", "pets/кот/1.png"]
    several = uploads.store(in_folders(folder / "other", "cats/1.png", "dogs/1.png", "loose.png"))
    assert several.name == "images.zip" and len(scan(several).entries) == 3


def test_the_same_files_in_other_folders_are_another_upload(folder):
    files = in_folders(folder, "a/1.png", "b/2.png")
    assert uploads.store(files) == uploads.store(files[::-1])
    assert uploads.store(files) != uploads.store([(files[0][0], "b/1.png"), files[1]])


HOSTILE = ["../../x/1.png", "/etc/1.png", "C:\\a\\1.png", "a/../../b/1.png", "a/\x00/1.png", "\ud800/1.png", "a//1.png"]


@pytest.mark.parametrize("name", [*HOSTILE, "./a/1.png", "a/.", "a\nb/1.png", f"a/{'n' * 5000}.png"])
def test_a_name_with_folders_never_leaves_the_upload(folder, name):
    stored = uploads.store(in_folders(folder, name, "a/2.png"))
    assert stored.parent.parent == uploads.UPLOADS and len(scan(stored).entries) >= 1
    for member in zipfile.ZipFile(stored).namelist():
        assert ".." not in member.split("/") and not member.startswith("/") and "\\" not in member and len(member) < 300
    assert [path.name for path in uploads.UPLOADS.iterdir()] == [stored.parent.name]


def test_files_of_the_same_name_in_one_folder_are_all_kept(folder):
    assert len(scan(uploads.store(in_folders(folder, *["a/1.png"] * 3, "b/1"))).entries) == 4


def test_the_upload_area_accepts_what_a_scan_reads():
    from diffusion_demo.data import names

    assert set(upload_area.SUFFIXES) == names.IMAGE_SUFFIXES | {"zip"}
    assert set(upload_area.LABEL_FILES) == names.LABEL_FILES
