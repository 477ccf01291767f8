"""Decoded images: in memory, in a cache, and as examples."""

import json
import shutil
import subprocess
import sys
from collections import namedtuple

import numpy as np
import pytest
import torch
from PIL import Image

from diffusion_demo.data import ImageTransform, dataset, decode, examples, load, load_transformed, scan
from diffusion_demo.errors import BadInput
from tests.conftest import ROOT
from tests.data.conftest import tree, write_colors, write_zip_of

FRAMING = ImageTransform(16, 1)


def test_images_are_decoded_as_they_are(digits):
    report = scan(digits)
    training = [e for e in report.entries if not e.held_out]
    images = load(report, 16, 1, held_out=False).images
    for i in (0, len(training) // 2, -1):
        assert np.array_equal(images[i, 0].numpy(), np.asarray(Image.open(digits / training[i].name)))


def test_the_short_call_is_the_long_one_with_the_usual_framing(digits):
    report = scan(digits)
    short, long = load(report, 12, 3, True), load_transformed(report, ImageTransform(12, 3), held_out=True)
    assert short.images.equal(long.images) and short.labels.equal(long.labels)


def test_every_image_is_framed_as_it_is_alone(photograph, tmp_path):
    with Image.open(photograph) as image:
        image.crop((0, 0, 256, 100)).save(tmp_path / "a.png")
    transform = ImageTransform(24, 3, "pad", "#00ff00")
    dataset = load_transformed(scan(tmp_path), transform, held_out=False)
    assert np.array_equal(dataset.images[0].numpy(), decode((tmp_path / "a.png").read_bytes(), transform))
    assert dataset.images[0, :, 0, 0].tolist() == [0, 255, 0]


def test_an_empty_part_has_no_images_and_the_right_shape(tmp_path):
    write_colors(tmp_path / "few", 3)
    report = scan(tmp_path / "few")
    for cache in (None, tmp_path / "cache"):
        dataset = load_transformed(report, ImageTransform(8, 3), held_out=True, cache=cache)
        assert dataset.images.shape == (0, 3, 8, 8) and dataset.images.dtype == torch.uint8 and len(dataset.labels) == 0


def test_examples_come_from_all_over_and_are_what_training_sees(digits):
    report, transform = scan(digits), ImageTransform(16, 3, "squash")
    shown = examples(report, 6, transform)
    assert shown.shape == (6, 3, 16, 16) and shown.dtype == torch.uint8
    everything = torch.cat([load_transformed(report, transform, held_out=part).images for part in (False, True)])
    assert all((everything == image_row).flatten(1).all(1).any() for image_row in shown)
    expected = [digits / report.entries[i].name for i in range(0, 60, 10)]
    assert {path.parent.name for path in expected} == {"one", "two", "three"}
    assert all(
        np.array_equal(image_row.numpy(), decode(path.read_bytes(), transform))
        for image_row, path in zip(shown, expected, strict=True)
    )


def test_examples_are_never_more_than_there_are(tmp_path):
    write_colors(tmp_path, 3)
    assert examples(scan(tmp_path), 16).shape == (3, 3, 32, 32)
    assert examples(scan(tmp_path), 0).shape == (0, 3, 32, 32)


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
def test_a_image_that_disappears_after_the_scan_is_named(tmp_path, packed):
    write_colors(tmp_path / "a", 3)
    source = write_zip_of(tmp_path / "a", tmp_path / "a.zip") if packed else tmp_path / "a"
    report = scan(source)
    (tmp_path / "a" / "001.png").unlink()
    if packed:
        write_zip_of(tmp_path / "a", source)
    for call in (lambda: load(report, 8, 3, False), lambda: examples(report, 3)):
        with pytest.raises(
            BadInput,
            match=r"^001\.png was removed from a(\.zip)? after the scan\. Restore it, or start again\.$",
        ):
            call()


def test_a_image_that_becomes_another_or_is_damaged_after_the_scan_is_named(tmp_path):
    write_colors(tmp_path, 3)
    report = scan(tmp_path)
    shutil.copy(tmp_path / "002.png", tmp_path / "001.png")
    with pytest.raises(BadInput, match=r"^001\.png has changed since .* content is different"):
        load(report, 8, 3, False)
    (tmp_path / "001.png").write_bytes(b"")
    with pytest.raises(BadInput, match=r"^001\.png has changed since .* empty"):
        load(report, 8, 3, False)


def test_new_images_after_the_scan_change_nothing(tmp_path):
    write_colors(tmp_path, 3)
    report = scan(tmp_path)
    write_colors(tmp_path / "0 first", 2, start=5)
    assert len(load(report, 8, 3, False)) == 3


def test_a_source_that_disappears_after_the_scan_is_named(tmp_path):
    write_colors(tmp_path / "gone", 3)
    report = scan(tmp_path / "gone")
    shutil.rmtree(tmp_path / "gone")
    with pytest.raises(BadInput, match=r"No file or folder at .*gone"):
        load(report, 8, 3, False)


def test_the_cache_holds_what_memory_would(digits, tmp_path):
    report = scan(digits)
    for held_out in (False, True):
        memory, first, second = (
            load_transformed(report, FRAMING, held_out, cache) for cache in (None, tmp_path, tmp_path)
        )
        assert len(memory) > 0
        assert memory.images.equal(first.images) and memory.images.equal(second.images)
        assert memory.labels.equal(first.labels) and memory.labels.equal(second.labels)
    assert [path.name for path in sorted(tmp_path.iterdir())] == [
        "held_out.json",
        "held_out.npy",
        "training.json",
        "training.npy",
    ]


def test_the_cache_is_used_and_the_images_are_not_read_again(digits, tmp_path):
    shutil.copytree(digits, tmp_path / "digits")
    report = scan(tmp_path / "digits")
    first = load_transformed(report, FRAMING, False, tmp_path / "cache").images.clone()
    before = tree(tmp_path / "cache")
    shutil.rmtree(tmp_path / "digits")
    assert load_transformed(report, FRAMING, False, tmp_path / "cache").images.equal(first)
    assert tree(tmp_path / "cache") == before
    with pytest.raises(BadInput, match="No file or folder at"):
        load_transformed(report, ImageTransform(16, 3), False, tmp_path / "cache")


def test_the_cache_is_made_anew_for_another_transform_or_other_images(digits, tmp_path):
    report = scan(digits)
    for transform in (
        FRAMING,
        ImageTransform(12, 1),
        ImageTransform(16, 3),
        ImageTransform(16, 3, "pad"),
        ImageTransform(16, 3, "pad", "#123456"),
    ):
        found = load_transformed(report, transform, False, tmp_path / "cache").images
        assert found.equal(load_transformed(report, transform, False).images)
        assert (
            json.loads((tmp_path / "cache" / "training.json").read_text())["transform"]["image_size"]
            == transform.image_size
        )
    shutil.copytree(digits, tmp_path / "fewer")
    (tmp_path / "fewer" / "one" / "000.png").write_bytes((tmp_path / "fewer" / "one" / "001.png").read_bytes())
    other = scan(tmp_path / "fewer")
    assert load_transformed(other, transform, False, tmp_path / "cache").images.equal(
        load_transformed(other, transform, False).images
    )


def test_the_cache_is_made_anew_for_another_range_of_deep_values(tmp_path):
    folder = tmp_path / "deep"
    folder.mkdir()
    for i in range(60):
        Image.fromarray(np.full((16, 16), 10 * i, "uint16")).save(folder / f"{i}.png")
    before = scan(folder)
    Image.fromarray(np.full((16, 16), 4000, "uint16")).save(folder / "brighter.png")
    after = scan(folder)
    other_part = not next(entry.held_out for entry in after.entries if entry.name == "brighter.png")
    for report in (before, after):
        found = load_transformed(report, FRAMING, other_part, tmp_path / "cache").images
        assert found.equal(load_transformed(report, FRAMING, other_part).images) and len(found) > 0
    assert before.value_range == (0, 1023) and after.value_range == (0, 4095)


def test_a_cache_larger_than_the_memory_is_mapped(digits, tmp_path):
    """Writable private mappings count against RLIMIT_DATA, as against the commit limit of the machine."""
    big, report = ImageTransform(512, 3), scan(digits)
    load_transformed(report, big, False, tmp_path)
    size = (tmp_path / "training.npy").stat().st_size
    script = f"""
import resource
from pathlib import Path
import psutil, torch
from diffusion_demo.data import ImageTransform, load_transformed, scan
report = scan({str(digits)!r})
limit = psutil.Process().memory_info().data + {size} // 2
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
images = load_transformed(report, ImageTransform(512, 3), False, Path({str(tmp_path)!r})).images
print(images.shape[0], images[torch.tensor([0, 3])].float().mean().item() > 0)
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == [str(sum(not e.held_out for e in report.entries)), "True"]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: (folder / "training.npy").write_bytes((folder / "training.npy").read_bytes()[:-1]),
        lambda folder: (folder / "training.npy").write_bytes(b""),
        lambda folder: (folder / "training.npy").unlink(),
        lambda folder: np.save(folder / "training.npy", np.zeros((2, 1, 16, 16), np.uint8)),
        lambda folder: np.save(folder / "training.npy", np.zeros((2, 2), object), allow_pickle=True),
        lambda folder: (folder / "training.json").write_text("{"),
        lambda folder: (folder / "training.json").write_bytes(b"\xff\xfe"),
        lambda folder: (folder / "training.json").unlink(),
    ],
    ids=["cut off", "empty", "no array", "another shape", "objects", "half a key", "no text", "no key"],
)
def test_a_damaged_cache_is_made_anew(digits, tmp_path, spoil):
    report = scan(digits)
    good = load_transformed(report, FRAMING, False, tmp_path).images.clone()
    spoil(tmp_path)
    assert load_transformed(report, FRAMING, False, tmp_path).images.equal(good)
    assert load_transformed(report, FRAMING, False, tmp_path).images.equal(good)


def test_a_cache_that_could_not_be_finished_leaves_nothing_that_could_be_taken_for_one(tmp_path):
    write_colors(tmp_path / "a", 3)
    report, cache = scan(tmp_path / "a"), tmp_path / "cache"
    load_transformed(report, ImageTransform(8), False, cache)
    (tmp_path / "a" / "002.png").unlink()
    with pytest.raises(BadInput, match="was removed"):
        load_transformed(report, ImageTransform(16), False, cache)
    assert [path.name for path in cache.iterdir()] == ["training.npy"]


def test_the_same_images_are_linked_from_another_cache(digits, tmp_path, monkeypatch):
    report, caches = scan(digits), [tmp_path / name for name in ("missing", "other", "damaged", "same", "new")]
    load_transformed(report, ImageTransform(12, 1), False, caches[1])
    load_transformed(report, FRAMING, False, caches[2])
    (caches[2] / "training.npy").write_bytes(b"")
    good = load_transformed(report, FRAMING, False, caches[3]).images.clone()
    monkeypatch.setattr(dataset, "decode", lambda *_: pytest.fail("was decoded again"))
    assert load_transformed(report, FRAMING, False, caches[4], caches[:4]).images.equal(good)
    assert (caches[4] / "training.npy").samefile(caches[3] / "training.npy")
    shutil.rmtree(caches[3])
    assert load_transformed(report, FRAMING, False, caches[4]).images.equal(good)
    monkeypatch.undo()
    load_transformed(report, ImageTransform(12, 1), False, caches[4])  # replaces its own file, not that of another
    load_transformed(report, FRAMING, False, caches[3], caches[4:])
    assert load_transformed(report, FRAMING, False, caches[3]).images.equal(good)


def test_a_cache_is_filled_where_links_cannot_be_made(digits, tmp_path, monkeypatch):
    report = scan(digits)
    good = load_transformed(report, FRAMING, False, tmp_path / "a").images.clone()

    def refuse(*_):
        raise OSError("no links here")

    monkeypatch.setattr(dataset.os, "link", refuse)
    assert load_transformed(report, FRAMING, False, tmp_path / "b", [tmp_path / "a"]).images.equal(good)
    assert sorted(path.name for path in (tmp_path / "b").iterdir()) == ["training.json", "training.npy"]


def test_a_cache_without_room_is_refused_before_it_is_begun(digits, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(10**6, 10**6 - 5000, 5000))
    with pytest.raises(BadInput, match=r"need 0\.0 GB, more than is free in .*cache\. Choose another folder"):
        load_transformed(scan(digits), FRAMING, False, tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())


def test_a_cache_that_cannot_be_written_is_refused_with_a_sentence(digits, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BadInput, match=r"Cannot write the decoded images to .*file.*\. Choose another folder"):
        load_transformed(scan(digits), FRAMING, False, tmp_path / "file" / "cache")
