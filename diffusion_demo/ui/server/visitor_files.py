"""Files that a visitor may name in a request: their own uploads, and files that the page sent them."""

import os
import stat
import threading
from collections import OrderedDict
from collections.abc import Container, Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from diffusion_demo.errors import BadInput
from diffusion_demo.ui.server.visitors import folder_name

FORBIDDEN = "This file was not uploaded here, or has expired. Upload it again."
MAX_VISITORS, MAX_SENT_FILES = 1000, 2000
MAX_ALL_SENT_FILES = 200_000
FILE_ROUTE = "/gradio_api/file="


def temp_folder() -> Path:
    """Return Gradio's temporary folder, which `environment` has resolved."""
    return Path(os.environ["GRADIO_TEMP_DIR"])


def upload_folder(visitor: str) -> Path:
    """Return the folder of this visitor's uploads. It may not exist yet."""
    return temp_folder() / folder_name(visitor)


class VisitorFiles:
    """The files that each visitor may name.

    Args:
        page_files: Files of the page itself, which everybody may name: the examples.
        max_bytes: Maximum size of a file.
    """

    def __init__(self, page_files: Iterable[str], max_bytes: int):
        self.page_files, self.max_bytes = frozenset(page_files), max_bytes
        self._sent: OrderedDict[str, OrderedDict[str, None]] = OrderedDict()
        self._lock = threading.Lock()

    def remember_sent(self, visitor: str, outputs: Any) -> None:
        """Allow this visitor to name the files in these outputs. The oldest visitors and files are forgotten."""
        paths = list(paths_in(outputs))
        if not paths:
            return
        with self._lock:
            own = self._sent.setdefault(visitor, OrderedDict())
            self._sent.move_to_end(visitor)
            own.update(dict.fromkeys(paths))
            while len(own) > MAX_SENT_FILES:
                own.popitem(last=False)
            while len(self._sent) > MAX_VISITORS or sum(map(len, self._sent.values())) > MAX_ALL_SENT_FILES:
                self._sent.popitem(last=False)

    def check(self, visitor: str, hosts: Container[str], path: str, url: str | None) -> str:
        """Return the path of a file that this visitor may name. Raises BadInput, the same for all other paths.

        A path that is not allowed is never looked up on the disk, so that an answer tells nothing about it.
        """
        if not (self._may_name(visitor, path) and _is_url_of(url, path, hosts)):
            raise BadInput(FORBIDDEN)
        try:
            status = os.lstat(path)
            resolved = os.path.realpath(path, strict=True)
        except (OSError, ValueError) as error:
            raise BadInput(FORBIDDEN) from error
        if not (stat.S_ISREG(status.st_mode) and resolved == path and status.st_size <= self.max_bytes):
            raise BadInput(FORBIDDEN)
        return path

    def may_fetch(self, visitor: str, path: str) -> bool:
        """Return whether this visitor may fetch a file: the same ones that it may name. URLs are never fetched."""
        return self._may_name(visitor, path)

    def _may_name(self, visitor: str, path: str) -> bool:
        if "\x00" in path or not os.path.isabs(path) or os.path.normpath(path) != path:
            return False
        with self._lock:
            was_sent = path in self._sent.get(visitor, ())
        return was_sent or path in self.page_files or Path(path).is_relative_to(upload_folder(visitor))


def paths_in(outputs: Any) -> Iterator[str]:
    """Yield the paths of all files in the outputs of an endpoint."""
    pending = [outputs]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            path = value.get("path")
            if isinstance(path, str) and value.get("meta") == {"_type": "gradio.FileData"}:
                yield path
            pending += value.values()
        elif isinstance(value, list | tuple):
            pending += value


def _is_url_of(url: str | None, path: str, hosts: Container[str]) -> bool:
    """Return whether a URL is missing, or the one at which this page serves the path."""
    if not url:
        return True
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    is_own_host = parts.scheme in ("", "http", "https") and (not parts.netloc or parts.netloc in hosts)
    return is_own_host and unquote(parts.path).partition(FILE_ROUTE)[1:] == (FILE_ROUTE, path)
