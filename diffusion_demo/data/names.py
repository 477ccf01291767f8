"""What a file of a source is called: a label that is safe to show and to store, and never a path."""

import hashlib
import re
import unicodedata
from collections.abc import Iterable

IMAGES = frozenset({"bmp", "gif", "jpeg", "jpg", "png", "tif", "tiff", "webp"})
OTHER_IMAGE_SUFFIXES = frozenset(
    {"avif", "cr2", "dng", "heic", "heif", "ico", "jp2", "jxl", "nef", "psd", "raw", "svg"}
)
ARCHIVES = frozenset({"7z", "bz2", "gz", "rar", "tar", "tgz", "xz", "zip"})
MAX_FOLDER = 100
MAX_LABEL = 200
SLASHES = "/\\"
JOINERS = "\u200c\u200d"  # invisible, but letters and emoji are spelled with them


def safe(name: str) -> str:
    """One name in one spelling, without what does not print and without slashes."""
    if name.isascii() and name.isprintable() and not any(slash in name for slash in SLASHES):
        return name
    return "".join(map(_safe_character, unicodedata.normalize("NFC", name)))


def _safe_character(c: str) -> str:
    if "\udc80" <= c <= "\udcff":  # how Python keeps a byte that is no UTF-8: most likely it is Latin-1
        c = chr(ord(c) - 0xDC00)
    if c.isspace():
        return " "
    return c if (c.isprintable() or c in JOINERS) and c not in SLASHES else "\N{REPLACEMENT CHARACTER}"


def safe_parts(parts: Iterable[str]) -> tuple[str, ...]:
    """Folders and file name -> the same as safe names, without the steps "." and ".."."""
    return tuple(safe(part) for part in parts if part not in ("", ".", ".."))


def split(name: str) -> list[str]:
    """A name out of a zip, where both slashes part folders and drives may stand before them."""
    return re.split(r"[/\\]", re.sub(r"^[A-Za-z]:", "", name))


def is_hidden(parts: Iterable[str]) -> bool:
    """Do people not see it: dot files, and what a Mac packs beside the images."""
    return any(part.startswith(".") or part == "__MACOSX" for part in parts)


def suffix(base: str) -> str:
    return base.rpartition(".")[2].lower() if "." in base else ""


def parse_class(base: str) -> str:
    """The class that a file name begins with: "cat" of cat_01.png; the whole name where it has no underscore."""
    return shortened(base.split("_")[0], MAX_FOLDER)


def shortened(text: str, limit: int) -> str:
    """At most `limit` characters; what is left out is stood for by a few digits of its hash, so that two texts stay two."""
    if len(text) <= limit:
        return text
    digest, kept = hashlib.sha256(text.encode()).hexdigest()[:8], limit - 10
    return f"{text[: kept // 2]}…{digest}…{text[-(kept - kept // 2) :]}"
