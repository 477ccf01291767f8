"""Storage of uploaded images: a folder or ZIP inside the runs folder, kept as long as a run uses it.

Files that come with folders are stored as a ZIP, so that nothing that a visitor sends becomes a path on this machine.
"""

import hashlib
import os
import re
import secrets
import shutil
import zipfile
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from diffusion_demo.errors import BadInput
from diffusion_demo.training.run_folder import RunFolder
from diffusion_demo.ui.server import disk_quota
from diffusion_demo.ui.server.model_list import RUNS

UPLOADS, SCANS = RUNS / ".uploads", RUNS / ".scans"
MAX_PART = 60  # characters of a folder or file name in a ZIP


def store(files: list[tuple[str, str]]) -> Path:
    """Copy one ZIP or any number of images, and return the path of the ZIP or the image folder.

    `files` has the path of each file and the name that the browser gave it, with its folders. Storing the same files
    again returns the same path. Raises BadInput for several ZIPs, a ZIP among images, or if the disk quota or the disk
    is full.
    """
    sources = {Path(path): name for path, name in sorted(files)}
    zips = [path for path in sources if path.suffix.lower() == ".zip"]
    if zips and len(sources) > 1:
        raise BadInput("A ZIP cannot be combined with other files. Add either one ZIP or images.")
    members = {path: _member_name(name) for path, name in sources.items()}
    in_folders = not zips and any("/" in member for member in members.values())
    folder = UPLOADS / _digest(sources, members if in_folders else {})
    name = _stored_name(zips, list(members.values()) if in_folders else [])
    if os.path.exists(folder / name):
        folder.touch()  # housekeeping deletes unused uploads by age
        return folder / name
    disk_quota.check(sum(path.stat().st_size for path in sources if os.path.isfile(path)))

    def write(partial: Path) -> None:
        partial.mkdir(parents=True)
        if zips:
            shutil.copyfile(zips[0], partial / name)
        elif in_folders:
            _write_zip(partial / name, members)
        else:
            _copy_files(partial / name, sources)

    _write_folder(folder, write)
    return folder / name


def _member_name(name: str) -> str:
    """Return the name of a file inside a ZIP: its folders and its own name, each of them safe."""
    from diffusion_demo.data import names

    parts = names.safe_parts(names.split_member_name(name))
    return "/".join(names.shorten(part, MAX_PART) for part in parts) or "image"


def _digest(sources: dict[Path, str], members: dict[Path, str]) -> str:
    """Return a hash of the files and, where they have folders, of their names in the ZIP."""
    # Gradio names the folder of an upload by the hash of its content.
    lines = (f"{path.parent.name}/{path.name}/{members.get(path, '')}" for path in sources)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]


def _stored_name(zips: list[Path], members: list[str]) -> str:
    if zips:
        return Path(safe_name(zips[0].stem, "images")).with_suffix(".zip").name
    if not members:
        return "images"
    tops = {member.partition("/")[0] for member in members if "/" in member}
    return f"{safe_name(next(iter(tops)), 'images') if len(tops) == 1 else 'images'}.zip"


def _write_zip(file: Path, members: dict[Path, str]) -> None:
    counts = Counter[str]()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for path, member in members.items():
            counts[member] += 1
            stem, dot, suffix = member.rpartition(".")
            numbered = f"{stem or member} ({counts[member]}){dot}{suffix if stem else ''}"
            archive.write(path, member if counts[member] == 1 else numbered)


def _copy_files(folder: Path, sources: dict[Path, str]) -> None:
    folder.mkdir()
    for path, stored in zip(sources, unique_names(list(sources)), strict=True):
        shutil.copyfile(path, folder / stored)


def scan_cache(source: str | Path | Sequence[str | Path]) -> Path:
    """Return the file that keeps the scan of one or several folders or ZIPs for the trainer."""
    paths = [source] if isinstance(source, str | Path) else source
    joined = "\n".join(map(str, paths)).encode("utf-8", "replace")
    return SCANS / f"{hashlib.sha256(joined).hexdigest()[:16]}.jsonl"


def hand_over_scan(source: str | Path | Sequence[str | Path], run: RunFolder) -> None:
    """Copy the scan of the images into a new run, if there is one, so that the trainer need not scan again."""
    with suppress(OSError):  # without it, the trainer scans again
        run.cache.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(scan_cache(source), run.scan_cache)


def synthetic_images() -> Path:
    """Return the folder of the synthetic images, which are generated on first use."""
    from diffusion_demo.data.synthetic_shapes import write_synthetic

    target = UPLOADS / "drawn" / "shapes"
    if not os.path.exists(target):
        _write_folder(target.parent, lambda partial: write_synthetic(partial / target.name))
    return target


def _write_folder(folder: Path, write: Callable[[Path], object]) -> None:
    """Call `write` with a path of its own, then rename it to `folder`. Nothing is left behind if that fails.

    Several visitors may write the same folder at once: the first one to finish wins, and the others use its files.
    """
    partial = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.partial")
    try:
        write(partial)
        os.rename(partial, folder)
    except OSError as error:
        if os.path.exists(folder):
            return
        raise BadInput(f"Cannot store the images ({error.strerror or error}). Free some disk space.") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def unique_names(paths: list[Path]) -> list[str]:
    """Return the file names, which may hold classes, with a number before the suffix where a name is used already."""
    used: dict[str, str] = {}
    counts = Counter[str]()
    for path in paths:
        stem, suffix = path.stem.lstrip(".")[:90], path.suffix[:10]
        name = f"{stem}{suffix}"
        while name.casefold() in used:  # file systems of macOS and Windows do not tell upper from lower case
            counts[stem] += 1
            name = f"{stem} ({counts[stem] + 1}){suffix}"
        used[name.casefold()] = name
    return list(used.values())


def safe_name(text: str, default: str) -> str:
    """Return a file name of at most 40 ASCII letters, digits, dots, dashes and underscores, or `default` if empty."""
    name = re.sub(r"[^\w.-]+", "-", text, flags=re.ASCII).strip(".-_")[:40]
    return name or default
