"""Image sources: a folder, a zip file, or a list of files or of several folders and zip files."""

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from diffusion_demo.data import names
from diffusion_demo.data.archive import list_zip
from diffusion_demo.data.listing import Listing, list_files, list_folder
from diffusion_demo.errors import BadInput
from diffusion_demo.paths import pasted_path

Source = Path | tuple[Path, ...]
MAX_TITLES = 3  # sources named in a title; the others are counted


def parse_source(value: str | Path | Iterable[str | Path]) -> Source:
    """Return a path, or the paths of a list, each once. A list of a single folder or zip file is treated as that path.

    Texts are read as pasted paths, with quotes or file:// around them.

    Raises BadInput for an empty list or text.
    """
    if isinstance(value, str | os.PathLike):
        return _path(value)
    paths = tuple(dict.fromkeys(map(_path, value)))
    if not paths:
        raise BadInput("The list of files is empty. Choose images or a ZIP file of images.")
    return paths[0] if len(paths) == 1 and _holds_images(paths[0]) else paths


def pasted_sources(texts: Iterable[str]) -> tuple[Path, ...]:
    """Return the folders and ZIP files that pasted texts mean, as absolute paths, each once.

    Raises BadInput for an empty text, and if there are several and one of them is neither.
    """
    paths = tuple(dict.fromkeys(Path(os.path.realpath(_path(text))) for text in texts))
    for path in paths if len(paths) > 1 else ():
        if not os.path.exists(path):
            raise BadInput(f"No file or folder at {path}. Check the path.")
        if not (os.path.isdir(path) or path.suffix.lower() == ".zip"):
            raise BadInput(f"{path} is neither a folder nor a ZIP file. Leave it out.")
    return paths


def _path(value: str | os.PathLike) -> Path:
    if not isinstance(value, str):
        return Path(value)
    if not (text := pasted_path(value)).strip():  # Path("") is the current folder
        raise BadInput("The path is empty. Name a folder or ZIP file.")
    if "\0" in text:
        raise BadInput(f"No file or folder at {names.safe(text)}. Check the path.")
    return Path(text)


def _holds_images(path: Path) -> bool:
    return os.path.isdir(path) or path.suffix.lower() == ".zip"


def title_of(source: Source) -> str:
    """Return the name of a source without its location."""
    if isinstance(source, tuple):
        if all(map(_holds_images, source)):
            shown = [title_of(path) for path in source[:MAX_TITLES]]
            if len(source) > MAX_TITLES:
                shown = [*shown[:-1], f"{len(source) - MAX_TITLES + 1} more"]
            return f"{', '.join(shown[:-1])} and {shown[-1]}"
        return f"{len(source):,} files"
    return names.safe(os.path.basename(os.path.abspath(source)))


@contextmanager
def open_source(source: Source) -> Iterator[Listing]:
    """List the files of a source, which can be read inside the block. Raises BadInput if the source cannot be used."""
    if isinstance(source, tuple) and all(map(_holds_images, source)):
        with ExitStack() as stack:
            listing = Listing(title_of(source))
            for path in source:
                listing.absorb(stack.enter_context(open_source(path)))
            yield listing
    elif isinstance(source, tuple):
        yield list_files(source)
    elif os.path.isdir(source):
        yield list_folder(source)
    elif os.path.isfile(source):
        with list_zip(source) as listing:
            yield listing
    elif os.path.exists(source):
        raise BadInput(f"{source} is neither a folder nor a ZIP file of images. Choose one of these.")
    else:
        raise BadInput(f"No file or folder at {source}. Check the path.")
