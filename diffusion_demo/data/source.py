"""Image sources: a folder, a zip file or a list of files."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from diffusion_demo.data import names
from diffusion_demo.data.archive import list_zip
from diffusion_demo.data.listing import Listing, list_files, list_folder
from diffusion_demo.errors import BadInput

Source = Path | tuple[Path, ...]


def parse_source(value: str | Path | Iterable[str | Path]) -> Source:
    """Return a path, or the paths of a list. A list of a single folder or zip file is treated as that path.

    Raises BadInput for an empty list.
    """
    if isinstance(value, str | os.PathLike):
        return Path(value)
    paths = tuple(map(Path, value))
    if not paths:
        raise BadInput("The list of files is empty. Choose images or a zip file of images.")
    return paths[0] if len(paths) == 1 and (os.path.isdir(paths[0]) or paths[0].suffix.lower() == ".zip") else paths


def title_of(source: Source) -> str:
    """Return the name of a source without its location."""
    if isinstance(source, tuple):
        return f"{len(source):,} files"
    return names.safe(os.path.basename(os.path.abspath(source)))


@contextmanager
def open_source(source: Source) -> Iterator[Listing]:
    """List the files of a source, which can be read inside the block. Raises BadInput if the source cannot be used."""
    if isinstance(source, tuple):
        yield list_files(source)
    elif os.path.isdir(source):
        yield list_folder(source)
    elif os.path.isfile(source):
        with list_zip(source) as listing:
            yield listing
    elif os.path.exists(source):
        raise BadInput(f"{source} is neither a folder nor a zip file of images. Choose one of these.")
    else:
        raise BadInput(f"No file or folder at {source}. Check the path.")
