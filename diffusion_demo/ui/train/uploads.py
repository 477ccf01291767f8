"""Storage of uploaded images: a folder or zip inside the runs folder, kept as long as a run uses it."""

import hashlib
import os
import re
import secrets
import shutil
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from diffusion_demo.errors import BadInput
from diffusion_demo.training.run_folder import RunFolder
from diffusion_demo.ui.server import disk_quota
from diffusion_demo.ui.server.model_list import RUNS

UPLOADS, SCANS = RUNS / ".uploads", RUNS / ".scans"


def store(files: list[str]) -> Path:
    """Copy one zip or any number of images, and return the path of the zip or the image folder.

    Storing the same files again returns the same path. Raises BadInput for several zips, a zip among images, or if
    the disk quota or the disk is full.
    """
    paths = sorted(set(map(Path, files)))
    zips = [path for path in paths if path.suffix.lower() == ".zip"]
    if zips and len(paths) > 1:
        raise BadInput("A zip cannot be combined with other files. Drop either one zip or images.")
    # Gradio names the folder of an upload by the hash of its content.
    digest = hashlib.sha256("\n".join(f"{path.parent.name}/{path.name}" for path in paths).encode()).hexdigest()[:12]
    folder = UPLOADS / digest
    name = Path(safe_name(zips[0].stem, "pictures")).with_suffix(".zip").name if zips else "pictures"
    if (folder / name).exists():
        folder.touch()  # housekeeping deletes unused uploads by age
        return folder / name
    disk_quota.check(sum(path.stat().st_size for path in paths if path.is_file()))

    def write(partial: Path) -> None:
        if zips:
            partial.mkdir(parents=True)
            shutil.copyfile(zips[0], partial / name)
            return
        (partial / name).mkdir(parents=True)
        for path, stored in zip(paths, unique_names(paths), strict=True):
            shutil.copyfile(path, partial / name / stored)

    _write_folder(folder, write)
    return folder / name


def scan_cache(source: Path | tuple[Path, ...]) -> Path:
    """Return the file that keeps the scan of a source for the trainer."""
    return SCANS / f"{hashlib.sha256(str(source).encode('utf-8', 'replace')).hexdigest()[:16]}.jsonl"


def hand_over_scan(source: Path | tuple[Path, ...], run: RunFolder) -> None:
    """Give a new run the scan of its images, if there is one."""
    with suppress(OSError):  # without it, the trainer scans again
        run.cache.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(scan_cache(source), run.scan_cache)


def synthetic_images() -> Path:
    """Return the folder of the synthetic images, which are generated on first use."""
    from diffusion_demo.data.synthetic_shapes import write_synthetic

    target = UPLOADS / "drawn" / "shapes"
    if not target.exists():
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
        if folder.exists():
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
