"""Images that were dropped on the page -> a folder or zip among the runs, which stays for as long as runs need it."""

import hashlib
import os
import re
import shutil
from pathlib import Path

from diffusion_demo.errors import BadInput
from diffusion_demo.ui.server import disk_quota
from diffusion_demo.ui.server.model_list import RUNS

UPLOADS = RUNS / ".uploads"


def keep(files: list[str]) -> Path:
    """Copy one zip, or any number of images, and return where they lie; the same files end up in the same place.

    Raises BadInput for several zips, or a zip among images.
    """
    paths = sorted(map(Path, files))
    zips = [path for path in paths if path.suffix.lower() == ".zip"]
    if zips and len(paths) > 1:
        raise BadInput("Drop either one zip or images; several zips must be made into one first.")
    digest = hashlib.sha256("\n".join(f"{path.parent.name}/{path.name}" for path in paths).encode()).hexdigest()[:12]
    folder = UPLOADS / digest
    target = folder / safe_name(zips[0].stem, "pictures") if zips else folder / "pictures"
    target = target.with_suffix(".zip") if zips else target
    if target.exists():
        folder.touch()
        return target
    disk_quota.check(sum(path.stat().st_size for path in paths if path.is_file()))
    partial = UPLOADS / f".{digest}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        if zips:
            partial.mkdir(parents=True)
            shutil.copyfile(zips[0], partial / target.name)
        else:
            (partial / "pictures").mkdir(parents=True)
            for i, path in enumerate(paths):
                shutil.copyfile(path, partial / "pictures" / f"{i:05d}_{path.name[-100:]}")
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(partial, folder)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise _no_room(error) from error
    return target


def drawn() -> Path:
    """The images that the program draws itself, drawn on first use."""
    from diffusion_demo.data.synthetic_shapes import write_synthetic

    target = UPLOADS / "drawn" / "shapes"
    if not target.exists():
        partial = UPLOADS / ".drawn.partial"
        shutil.rmtree(partial, ignore_errors=True)
        try:
            write_synthetic(partial / "shapes")
            os.replace(partial, target.parent)
        except OSError as error:
            shutil.rmtree(partial, ignore_errors=True)
            raise _no_room(error) from error
    return target


def _no_room(error: OSError) -> BadInput:
    return BadInput(f"The images cannot be kept beside the runs ({error.strerror or error}); make room there.")


def safe_name(text: str, otherwise: str) -> str:
    """Letters, digits, dots, dashes and underscores of a name, at most 40 of them, for a file or folder."""
    name = re.sub(r"[^\w.-]+", "-", text, flags=re.ASCII).strip(".-_")[:40]
    return name or otherwise
