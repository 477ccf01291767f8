"""Names of the files in a source, made safe to show and store. They are labels, never paths."""

import hashlib
import re
import unicodedata
from collections.abc import Iterable

# Formats that are read with Pillow. TGA comes last, because it has no signature.
FORMATS = ["PNG", "JPEG", "WEBP", "BMP", "DIB", "GIF", "TIFF", "PPM", "JPEG2000", "AVIF", "TGA"]
# The suffixes of these formats.
IMAGE_SUFFIXES = frozenset(
    {"apng", "avif", "bmp", "dib", "gif", "j2k", "jfif", "jp2", "jpe", "jpeg", "jpg", "pbm", "pgm", "png", "pnm"}
    | {"ppm", "tga", "tif", "tiff", "webp"}
)
OTHER_IMAGE_SUFFIXES = frozenset(
    {"arw", "cr2", "cr3", "dds", "dng", "eps", "exr", "hdr", "heic", "heif", "icns", "ico", "jxl", "nef", "orf", "pam"}
    | {"pcx", "pfm", "psd", "qoi", "raf", "raw", "rw2", "sgi", "svg", "xcf"}
)
LABEL_FILES = frozenset({"dataset.json", "labels.csv", "metadata.csv", "metadata.jsonl"})
SYSTEM_NAMES = frozenset(
    {"__macosx", "@eadir", "$recycle.bin", "system volume information", "lost+found", "thumbs.db", "desktop.ini"}
)
ARCHIVE_SUFFIXES = frozenset({"7z", "bz2", "gz", "rar", "tar", "tgz", "xz", "zip"})
MAX_FOLDER = 100
MAX_LABEL = 200
SLASHES = "/\\"
JOINERS = "\u200c\u200d"  # not printable for Python, but part of some scripts and emoji


def safe(name: str) -> str:
    """Return a name in NFC, with slashes and unprintable characters replaced."""
    if name.isascii() and name.isprintable() and not any(slash in name for slash in SLASHES):
        return name
    return "".join(map(_safe_character, unicodedata.normalize("NFC", name)))


def _safe_character(c: str) -> str:
    if "\udc80" <= c <= "\udcff":  # surrogateescape of a byte that is not UTF-8, most likely Latin-1
        c = chr(ord(c) - 0xDC00)
    if c.isspace():
        return " "
    return c if (c.isprintable() or c in JOINERS) and c not in SLASHES else "\N{REPLACEMENT CHARACTER}"


def safe_parts(parts: Iterable[str]) -> tuple[str, ...]:
    """Return folders and file name as safe names, without "", "." and ".."."""
    return tuple(safe(part) for part in parts if part not in ("", ".", ".."))


def safe_path(path: str) -> str:
    """Return a relative path with slashes, spelled as the paths of a listing."""
    return "/".join(safe_parts(split_member_name(path)))


def split_member_name(name: str) -> list[str]:
    """Split the name of a zip member at slashes and backslashes, without a drive letter."""
    return re.split(r"[/\\]", re.sub(r"^[A-Za-z]:", "", name))


def is_hidden(parts: Iterable[str]) -> bool:
    """Return whether a path is hidden: a dot file or folder, or one that a system adds (SYSTEM_NAMES)."""
    return any(part.startswith(".") or part.lower() in SYSTEM_NAMES for part in parts)


def suffix(file_name: str) -> str:
    """Return the suffix of a file name in lower case without the dot, or ""."""
    return file_name.rpartition(".")[2].lower() if "." in file_name else ""


def parse_class(file_name: str) -> str:
    """Return the class before the first underscore, "cat" for cat_01.png; the whole name if it has no underscore."""
    return shorten(file_name.split("_")[0].strip(), MAX_FOLDER)


def shorten(text: str, limit: int) -> str:
    """Shorten a text to at most `limit` characters, with a hash in place of the middle so that texts stay distinct."""
    if len(text) <= limit:
        return text
    digest, kept = hashlib.sha256(text.encode()).hexdigest()[:8], limit - 10
    return f"{text[: kept // 2]}…{digest}…{text[-(kept - kept // 2) :]}"
