"""The avatar data set: seeds, license, splits and metadata."""

import io
import json
import zipfile

import numpy as np
import pytest
from PIL import Image

from diffusion_demo import data
from scripts import avatars
from scripts.avatars import FIRST_SEED, STYLES, AvatarSpec, draw_avatar, load_style, write_zip


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    path = tmp_path_factory.mktemp("avatars") / "avatars-32-test.zip"
    write_zip(path, "test", images_per_class=3, size=32)
    return path


def test_a_zip_has_one_folder_per_class_and_scans_as_a_data_set(archive):
    report = data.scan(archive)
    assert report.classes == dict.fromkeys(sorted(STYLES), 3) and not report.rejected
    assert not report.copies
    assert {(entry.width, entry.height) for entry in report.entries} == {(32, 32)}


def test_an_image_is_reproducible_from_its_name_and_its_attributes_are_in_the_metadata(archive):
    with zipfile.ZipFile(archive) as file:
        lines = [json.loads(line) for line in file.read("metadata.jsonl").decode().splitlines()]
        assert len(lines) == 3 * len(STYLES)
        for line in lines[::5]:
            seed = int(line["file_name"].rpartition("/")[2].removesuffix(".png"))
            image, attributes = draw_avatar(AvatarSpec(line["class"], seed, 32))
            assert attributes == line["attributes"] and attributes
            assert np.array_equal(np.asarray(image), np.asarray(Image.open(io.BytesIO(file.read(line["file_name"])))))


def test_the_same_splits_give_the_same_bytes(archive, tmp_path):
    write_zip(tmp_path / "again.zip", "test", images_per_class=3, size=32)
    assert (tmp_path / "again.zip").read_bytes() == archive.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["again.zip"]


def test_no_seed_is_in_two_splits():
    ranges = [range(first, first + 20_000) for first in FIRST_SEED.values()]
    assert len(set().union(*ranges)) == sum(map(len, ranges))


def test_a_small_image_is_the_box_filtered_large_image():
    large, small = (np.asarray(draw_avatar(AvatarSpec("robot", 5, size))[0], float) for size in (128, 32))
    assert np.abs(large.reshape(32, 4, 32, 4, 3).mean((1, 3)) - small).max() <= 1  # Pillow rounds rows, then columns


def test_a_style_with_another_license_is_rejected(monkeypatch):
    monkeypatch.setitem(STYLES, "adventurer", "adventurer")
    with pytest.raises(ValueError, match="not CC0"):
        load_style("adventurer")
    assert avatars.LICENSE == "CC0 1.0"
