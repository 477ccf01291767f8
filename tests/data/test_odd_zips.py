"""Malicious zip files: member names are labels, members are bounded, and memory stays small."""

import io
import re
import subprocess
import sys
import time
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diffusion_demo.data import listing, load, scan
from diffusion_demo.errors import BadInput
from tests.conftest import ROOT
from tests.data import odd
from tests.data.odd import GOOD, good_members, half, member, photo, raw_zip, scanned

# Names of zip members, with the label and the class of each.
ZIP_NAMES = {
    "a way out": (b"../../escaped/a.png", "escaped/a.png", "escaped"),
    "a way out in the middle": (b"x/../../y/a.png", "x/y/a.png", "y"),
    "an absolute name": (b"/etc/cron.d/a.png", "etc/cron.d/a.png", "cron.d"),
    "a drive": (b"C:\\Users\\me\\a.png", "Users/me/a.png", "me"),
    "a drive without a slash": (b"c:a.png", "a.png", ""),
    "a server": (b"\\\\server\\share\\a.png", "server/share/a.png", "share"),
    "backslashes": (b"cats\\a.png", "cats/a.png", "cats"),
    "steps that stay": (b"./cats/./a.png", "cats/a.png", "cats"),
    "slashes twice": (b"cats//a.png", "cats/a.png", "cats"),
    "control characters": (b"c\x1b[31mats/a\x07\n.png", "c\ufffd[31mats/a\ufffd .png", "c\ufffd[31mats"),
    "an end in the middle": (b"cats/a.png\x00.exe", "cats/a.png", "cats"),
    "writing turned round": ("cats/\u202egnp.a.png".encode(), "cats/\ufffdgnp.a.png", "cats"),
    "UTF-8 that is not said to be": ("Katzen-Möbel/ä猫.png".encode(), "Katzen-Möbel/ä猫.png", "Katzen-Möbel"),
    "DOS letters": (b"M\x94bel/a.png", "Möbel/a.png", "Möbel"),
}


@pytest.mark.parametrize("name", ZIP_NAMES)
def test_a_name_in_a_zip_is_a_label_and_never_a_path(name, tmp_path):
    raw, label, folder = ZIP_NAMES[name]
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "in.zip").write_bytes(raw_zip(*good_members(), member(raw, photo())))
    report = scanned(tmp_path / "inner" / "in.zip", tmp_path)
    (entry,) = [entry for entry in report.entries if entry.name not in GOOD]
    assert (entry.name, entry.class_name) == (label, folder) and not report.rejected


@pytest.mark.parametrize(
    ("raw", "is_guessed"),
    [
        ("猫狗/a.png".encode("gbk"), True),
        ("表示/a.png".encode("shift_jis"), True),
        ("Käfer/a.png".encode("latin-1"), True),
        ("Σ猫/a.png".encode(), False),
        ("Möbel ß/a.png".encode("cp437"), False),
        (b"cat/a.png", False),
    ],
)
def test_names_in_an_encoding_that_is_guessed_are_said(raw, is_guessed, tmp_path):
    (tmp_path / "in.zip").write_bytes(raw_zip(*good_members(), member(raw, photo())))
    warnings = " ".join(scan(tmp_path / "in.zip").warnings)
    assert ("1 names in in.zip are not in UTF-8, so their encoding is guessed." in warnings) == is_guessed
    together = " ".join(scan([tmp_path / "in.zip", tmp_path / "in.zip"]).warnings)
    assert ("is guessed" in together) == is_guessed


def test_names_that_are_the_same_or_become_the_same_stay_apart(tmp_path):
    long = b"b/" + b"long" * 100
    raw = [
        b"a.png",
        b"a.png",
        b"../a.png",
        b"a\x01.png",
        b"a\x02.png",
        long + b"1" + long + b".png",
        long + b"2" + long + b".png",
    ]
    colors = [odd.saved(Image.new("RGB", (8, 8), (0, i, 0)), "PNG") for i in range(len(raw))]
    (tmp_path / "in.zip").write_bytes(raw_zip(*map(member, raw, colors)))
    report = scanned(tmp_path / "in.zip", tmp_path)
    labels = [entry.name for entry in report.entries]
    assert labels[:3] == ["a.png", "a.png (2)", "a.png (3)"] and labels[3:5] == ["a\ufffd.png", "a\ufffd.png (2)"]
    assert len(set(labels)) == len(raw) and all(len(label) <= 200 for label in labels) and not report.rejected
    greens = dict(zip(labels, load(report, 8, 3, False).images[:, 1, 0, 0].tolist(), strict=True))
    assert [greens[label] for label in labels[:5]] == [0, 1, 2, 3, 4] and sorted(greens.values()) == list(range(7))


def test_many_files_of_one_name_take_no_longer_than_as_many_of_their_own(tmp_path):
    (tmp_path / "in.zip").write_bytes(raw_zip(member(b"a.png", b""), copies=20_000))
    started = time.process_time()
    with pytest.raises(BadInput, match="No readable images"):
        scan(tmp_path / "in.zip")
    assert time.process_time() - started < 20, "labeling must not be quadratic in the number of files"


# Rejected members, with a pattern of the reason.
ZIP_MEMBERS = {
    "a link": (member(b"a.png", b"/etc/passwd", mode=odd.LINK), "Symbolic links in a zip file are not followed"),
    "a pipe": (member(b"a.png", photo(), mode=odd.PIPE), "Not a regular file"),
    "a password": (member(b"a.png", photo(), flags=1), "password-protected. Pack it again without a password"),
    "a wrong checksum": (member(b"a.png", photo(), crc=1), "damaged"),
    "an unknown method": (member(b"a.png", photo(), method=97), "compression method is not supported"),
    "deflate that is none": (member(b"a.png", photo(), method=8), "damaged"),
    "another name at its place": (member(b"a.png", photo(), local_name=b"b.png"), "damaged"),
    "a place behind the end": (member(b"a.png", b"", packed=10**6, size=10**6), "damaged|empty"),
    "a size that is too small": (member(b"a.png", photo(), size=100), "damaged"),
    "a stated size of 4 GB": (member(b"a.png", photo(), size=2**32 - 2), "larger than 100 MB"),
    "a bomb that states its size": (
        member(b"a.png", odd.zeros(120_000_000), method=8, size=120_000_000),
        "larger than 100 MB",
    ),
    "a bomb that states a small size": (member(b"a.png", odd.zeros(120_000_000), method=8, size=50_000), "damaged"),
    "a bomb of zeros within the limit": (
        member(b"a.png", odd.zeros(90_000_000), method=8, crc=0, size=90_000_000),
        "damaged|not a supported image",
    ),
}


@pytest.mark.parametrize("name", ZIP_MEMBERS)
def test_a_member_of_a_zip_that_cannot_be_used_is_named_with_its_reason_and_the_rest_goes_on(name, tmp_path):
    bad, reason = ZIP_MEMBERS[name]
    (tmp_path / "in.zip").write_bytes(raw_zip(bad, *good_members()))
    report = scanned(tmp_path / "in.zip", tmp_path)
    assert {entry.name for entry in report.entries} == GOOD and list(report.rejected) == ["a.png"]
    assert re.search(reason, report.rejected["a.png"])


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_that_unpack_without_bounds_are_not_begun(method, tmp_path):
    (tmp_path / "in.zip").write_bytes(odd.packed("a.png", photo(), method))
    with pytest.raises(BadInput, match=r"For example, a\.png: The compression method is not supported"):
        scan(tmp_path / "in.zip")


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc to measure peak memory")
def test_the_process_stays_small_and_quiet_whatever_it_is_given(tmp_path):
    bombs = {
        "deflate.png": member(b"deflate.png", odd.zeros(600_000_000), method=8, size=50_000),
        "bzip2.png": member(b"bzip2.png", odd.bzip2_zeros(300_000_000), method=12, size=50_000),
        "pixels.png": member(b"pixels.png", odd.black_png(16_000, 12_000)),
        "header.png": member(b"header.png", odd.png(odd.png_header(11_000, 11_000), (b"IDAT", b"x"))),
        "tags.tif": member(b"tags.tif", half(photo("TIFF", compression="tiff_lzw"))),
        "text.png": member(
            b"text.png",
            odd.png(
                odd.png_header(8, 8),
                (b"zTXt", b"a\0\0" + b"x\x9c" + odd.zeros(600_000_000)),
                (b"IDAT", b""),
                (b"IEND", b""),
            ),
        ),
    }
    (tmp_path / "in.zip").write_bytes(raw_zip(*bombs.values(), *good_members()))
    (tmp_path / "names.zip").write_bytes(raw_zip(member(b"a.png", photo()), copies=1_000_000))
    script = """
import re, sys
from pathlib import Path
from diffusion_demo.data import scan
from diffusion_demo.data.listing import limit_files
from PIL import Image
Image.init()
limit_files(250_000, 5_000_000)
peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024
before = peak()
report = scan(sys.argv[1])
try:
    scan(sys.argv[2])
except ValueError:
    print(len(report.entries), len(report.rejected), round(peak() - before))
"""
    line = [sys.executable, "-c", script, str(tmp_path / "in.zip"), str(tmp_path / "names.zip")]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=100, check=True)
    made_images, rejected, megabytes = map(int, done.stdout.split())
    assert (made_images, rejected) == (2, len(bombs)) and megabytes < 150 and not done.stderr


@pytest.mark.timeout(60)
def test_thousands_of_packed_texts_in_a_png_are_not_unpacked(tmp_path):
    """Each chunk unpacks from a kilobyte to a megabyte. Unpacking all of them would take minutes."""
    text = (b"zTXt", b"a\0\0" + zlib.compress(bytes(1_000_000), 9))
    good = Image.open(io.BytesIO(photo()))
    chunks = [odd.png_header(*good.size), *[text] * 40_000, (b"IDAT", zlib.compress(rows_of(good))), (b"IEND", b"")]
    (tmp_path / "a.png").write_bytes(odd.png(*chunks))
    assert len(scan(tmp_path).entries) == 1


def rows_of(image):
    """Return the pixels of an image as a PNG stores them before compression."""
    return b"".join(b"\0" + row.tobytes() for row in np.asarray(image))


@pytest.mark.timeout(60)
def test_folders_nested_thousands_deep_are_refused_at_once(tmp_path):
    names = [b"2020/" * 13_000 + b"%d.png" % i for i in range(60)]
    archive = raw_zip(*(member(name, photo()) for name in names), *good_members())
    (tmp_path / "in.zip").write_bytes(archive)
    report = scan(tmp_path / "in.zip")
    assert len(report.rejected) == 60 and all("folders deep" in reason for reason in report.rejected.values())
    assert {entry.name for entry in report.entries} == GOOD


@pytest.mark.timeout(60)
def test_label_files_are_read_up_to_a_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(listing._Limit, "label_bytes", 5_000_000)
    rows = b"file_name,label\n" + b"a,b\n" * 20_000_000
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = member(b"metadata.csv", packer.compress(rows) + packer.flush(), method=8, size=len(rows))
    deep = b"file_name,label\n" + b"/".join([b"a"] * 50_000) + b",x\n"
    (tmp_path / "in.zip").write_bytes(raw_zip(*good_members(), bomb))
    report = scan(tmp_path / "in.zip")
    assert {entry.name for entry in report.entries} == GOOD
    assert report.notes == ("metadata.csv is too large, so it is ignored. Remove the rows that name no image.",)
    (tmp_path / "deep.zip").write_bytes(raw_zip(*good_members(), member(b"labels.csv", deep)))
    assert "names none of the images" in scan(tmp_path / "deep.zip").notes[0]
