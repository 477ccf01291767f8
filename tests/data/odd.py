"""Unusual and malicious files as bytes, handmade zip files, and a helper that scans them."""

import bz2
import io
import struct
import zipfile
import zlib
from functools import cache

import numpy as np
from PIL import Image

from diffusion_demo.data import examples, load, scan
from tests.data.conftest import tree

LINK, PIPE, FILE = 0o120777, 0o010644, 0o100644


def saved(image, kind, **options):
    target = io.BytesIO()
    image.save(target, kind, **options)
    return target.getvalue()


def photo(kind="PNG", size=(60, 40), mode="RGB", **options):
    """Return an image file of random pixels, which do not compress."""
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return saved(Image.fromarray(pixels).convert(mode), kind, **options)


def half(data):
    return data[: len(data) // 2]


def png(*chunks):
    """Return a PNG of (kind, data) chunks with valid checksums."""
    parts = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def png_header(width, height, depth=8, color=2):
    return b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)


def black_png(width, height):
    """Return a black PNG with one bit per pixel: very many pixels in few bytes."""
    line = bytes(1 + (width + 7) // 8)
    packer = zlib.compressobj(9)
    data = b"".join(packer.compress(line) for _ in range(height)) + packer.flush()
    return png(png_header(width, height, 1, 0), (b"IDAT", data), (b"IEND", b""))


@cache
def zeros(count):
    """Return `count` zero bytes, compressed as in a zip file."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    piece = bytes(1 << 20)
    return (
        b"".join(packer.compress(piece[: min(1 << 20, count - i)]) for i in range(0, count, 1 << 20)) + packer.flush()
    )


def bzip2_zeros(count):
    packer = bz2.BZ2Compressor()
    return b"".join(packer.compress(bytes(1 << 20)) for _ in range(count >> 20)) + packer.flush()


def member(name, data, **changes):
    """Return a stored member for `raw_zip`; `changes` override fields of its headers."""
    fields = {
        "flags": 0,
        "method": 0,
        "crc": zlib.crc32(data),
        "packed": len(data),
        "size": len(data),
        "mode": FILE,
        "local_name": name,
    }
    return {"name": name, "data": data} | fields | changes


def raw_zip(*members, copies=1):
    """Return a zip file with arbitrary headers; `copies` is the number of directory entries for each member."""
    body, directory = b"", b""
    for m in members:
        numbers = (m["method"], 0, 0, m["crc"], m["packed"], m["size"])
        local = (
            struct.pack("<4s2B4HL2L2H", b"PK\3\4", 20, 0, m["flags"], *numbers, len(m["local_name"]), 0)
            + m["local_name"]
        )
        central = struct.pack(
            "<4s4B4HL2L5H2L",
            b"PK\1\2",
            20,
            3,
            20,
            0,
            m["flags"],
            *numbers,
            len(m["name"]),
            0,
            0,
            0,
            0,
            m["mode"] << 16,
            len(body),
        )
        directory += (central + m["name"]) * copies
        body += local + m["data"]
    count = min(copies * len(members), 0xFFFF)
    return body + directory + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, len(directory), len(body), 0)


def packed(name, data, method):
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", method) as archive:
        archive.writestr(name, data)
    return target.getvalue()


GOOD = {"000.png", "001.png"}


def scanned(source, root):
    """Scan, load and preview a source; assert that nothing is written and no file is both used and rejected."""
    before = tree(root)
    report = scan(source)
    assert len(load(report, 8, 3, False)) == len(report.entries) and len(examples(report, 4)) > 0
    assert tree(root) == before
    assert report.rejected.keys().isdisjoint(entry.name for entry in report.entries)
    return report


def good_members():
    return [
        member(name.encode(), saved(Image.new("RGB", (8, 8), (i, 0, 0)), "PNG")) for i, name in enumerate(sorted(GOOD))
    ]
