"""Whatever a person gives -> a listing of what lies in it."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from diffusion_demo.data import names
from diffusion_demo.data.archive import open_zip
from diffusion_demo.data.listing import Listing, list_files, list_folder
from diffusion_demo.errors import BadInput

Source = Path | tuple[Path, ...]


def source_of(given: str | Path | Iterable[str | Path]) -> Source:
    """A path, or the paths of a list; a list of one folder or zip means that. Raises BadInput for an empty list."""
    if isinstance(given, str | os.PathLike):
        return Path(given)
    paths = tuple(map(Path, given))
    if not paths:
        raise BadInput("No files were given; choose some images, or one zip of them.")
    return paths[0] if len(paths) == 1 and (os.path.isdir(paths[0]) or paths[0].suffix.lower() == ".zip") else paths


def title_of(source: Source) -> str:
    """What a source is called where its place does not matter."""
    return (
        f"{len(source):,} files" if isinstance(source, tuple) else names.safe(os.path.basename(os.path.abspath(source)))
    )


@contextmanager
def listed(source: Source) -> Iterator[Listing]:
    """What lies in a source, readable until the end of the block. Raises BadInput when there is no such source."""
    if isinstance(source, tuple):
        yield list_files(source)
    elif os.path.isdir(source):
        yield list_folder(source)
    elif os.path.isfile(source):
        with open_zip(source) as listing:
            yield listing
    elif os.path.exists(source):
        raise BadInput(f"{source} is neither a folder nor a zip file of images; give one of these.")
    else:
        raise BadInput(f"There is nothing at {source}; give a folder or a zip that is there.")
