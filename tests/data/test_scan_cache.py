"""The scan cache: an unchanged image is not read again, a changed one is, and a damaged cache is an empty one."""

import json
import os
import shutil

import pytest

from diffusion_demo.data import ScanCache, archive, listing, scan, scan_cache
from diffusion_demo.errors import BadInput
from tests.data.conftest import write_colors, write_zip_of


@pytest.fixture(autouse=True)
def old_files(monkeypatch):
    """Treat files as old at once: their time of change cannot be set back."""
    monkeypatch.setattr(scan_cache, "MIN_AGE_SECONDS", -1)


@pytest.fixture(params=["folder", "zip", "both"])
def source(request, tmp_path):
    write_colors(tmp_path / "images" / "cat", 3)
    write_colors(tmp_path / "images" / "dog", 3, start=10)
    packed = write_zip_of(tmp_path / "images", tmp_path / "images.zip")
    return {"folder": tmp_path / "images", "zip": packed, "both": (tmp_path / "images", packed)}[request.param]


def cached_scan(source, tmp_path, class_from="folder"):
    cache = ScanCache(tmp_path / "cache" / "scan.jsonl")
    report = scan(source, class_from, cache=cache)
    cache.save()
    return report, cache.hits


def test_unchanged_images_are_not_read_again(source, tmp_path, monkeypatch):
    first, hits = cached_scan(source, tmp_path)
    assert hits == 0
    monkeypatch.setattr(listing, "read_all", lambda file: pytest.fail("was read again"))
    monkeypatch.setattr(archive, "read_all", lambda file: pytest.fail("was read again"))
    again, hits = cached_scan(source, tmp_path)
    assert hits == len(first.entries) and again.entries == first.entries
    by_name, _ = cached_scan(source, tmp_path, "file_name")
    assert by_name.class_names != first.class_names


def test_an_image_that_was_replaced_by_one_of_the_same_size_and_time_is_read_again(tmp_path):
    write_colors(tmp_path / "in", 3)
    first, _ = cached_scan(tmp_path / "in", tmp_path)
    target = tmp_path / "in" / "001.png"
    times, size = target.stat(), target.stat().st_size
    target.write_bytes((tmp_path / "in" / "002.png").read_bytes().ljust(size, b"\0")[:size])
    os.utime(target, ns=(times.st_atime_ns, times.st_mtime_ns))
    again, hits = cached_scan(tmp_path / "in", tmp_path)
    assert hits == 2 and target.stat().st_mtime_ns == times.st_mtime_ns
    assert {entry.digest for entry in again.entries} != {entry.digest for entry in first.entries}


def test_two_images_that_changed_places_are_read_again(tmp_path):
    write_colors(tmp_path / "in", 3)
    first, _ = cached_scan(tmp_path / "in", tmp_path)
    a, b, c = (tmp_path / "in" / name for name in ("000.png", "001.png", "c"))
    for old, new in ((a, c), (b, a), (c, b)):
        old.rename(new)
    again, hits = cached_scan(tmp_path / "in", tmp_path)
    assert hits == 1 and [e.digest for e in again.entries][:2] == [e.digest for e in first.entries][1::-1]


def test_an_image_that_has_just_been_written_is_read_again(tmp_path, monkeypatch):
    monkeypatch.setattr(scan_cache, "MIN_AGE_SECONDS", 60)
    write_colors(tmp_path / "in", 2)
    assert [cached_scan(tmp_path / "in", tmp_path)[1] for _ in range(2)] == [0, 0]


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b'{"version": 0}\n', b"\xff\xfe", b'{"version": 2}\n["000.png", [1', b"[" * 100_000]
    + [
        b'{"version": 2}\n' + json.dumps(["000.png", None, *values]).encode()
        for values in (
            [],
            [5],
            ["x" * 64, 1, 1, True, True, False, None],
            ["0" * 64, "8", 8, False, False, False, [1, "x"]],
        )
    ],
)
def test_a_damaged_cache_is_an_empty_one(tmp_path, content):
    write_colors(tmp_path / "in", 2)
    stamp = list(listing.StoredFile(str(tmp_path / "in" / "000.png")).stamp())
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "scan.jsonl").write_bytes(content.replace(b"null", json.dumps(stamp).encode(), 1))
    report, hits = cached_scan(tmp_path / "in", tmp_path)
    assert hits == 0 and report.entries == scan(tmp_path / "in").entries
    assert cached_scan(tmp_path / "in", tmp_path)[1] == 2


def test_unusable_images_are_tried_again(tmp_path):
    write_colors(tmp_path / "in", 1)
    (tmp_path / "in" / "bad.png").write_bytes(b"no image")
    assert list(cached_scan(tmp_path / "in", tmp_path)[0].rejected) == ["bad.png"]
    shutil.copy(tmp_path / "in" / "000.png", tmp_path / "in" / "bad.png")
    report, hits = cached_scan(tmp_path / "in", tmp_path)
    assert hits == 1 and not report.rejected


def test_a_scan_without_a_usable_image_writes_no_cache(tmp_path):
    (tmp_path / "in").mkdir()
    with pytest.raises(BadInput):
        cached_scan(tmp_path / "in", tmp_path)
    assert not (tmp_path / "cache").exists()
