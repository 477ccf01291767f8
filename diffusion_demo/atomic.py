"""Files and folders that appear whole or not at all.

Everything is written under a temporary name beside its place, flushed to the disk and then renamed. A process that is
killed in between leaves a temporary file, which `sweep` removes.
"""

import os
import re
import shutil
import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# safetensors raises SafetensorError for disk errors. It has no errno, but its message ends in this form.
RUST_ERROR = re.compile(r"(?:^|: )([^:]+) \(os error (\d+)\)$")


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path for a file or a folder, which becomes `path` at the end of the block.

    A file or folder at `path` is replaced. The files in a folder get its permissions. If the block raises, nothing
    remains of what it wrote. Raises OSError if the disk is full or not writable.
    """
    temporary = _temporary(path)
    try:
        yield temporary
        _share(temporary)
        flush(temporary)
        if os.path.isdir(path):
            remove_folder(path)
        os.replace(temporary, path)
        _flush_one(path.parent)
    except BaseException as error:
        _remove(temporary)
        if found := RUST_ERROR.search(str(error)):
            code = int(found[2])
            raise OSError(code, found[1], None, code) from error  # the last argument is the error code on Windows
        raise


def atomic_write(path: Path, text: str) -> None:
    """Write a text file as UTF-8. Raises OSError if the disk is full or not writable."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def created_folder(folder: Path) -> Iterator[None]:
    """Create a folder and its parents. Those that are new are removed if they are empty at the end of the block."""
    new = [path for path in (folder, *folder.parents) if not os.path.lexists(path)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    finally:
        for path in new:
            with suppress(OSError):  # it is not empty, or could not be created
                path.rmdir()


def remove_folder(folder: Path) -> None:
    """Remove a folder. A process that is killed meanwhile leaves a temporary folder, never half of this one."""
    temporary = _temporary(folder)
    os.replace(folder, temporary)
    shutil.rmtree(temporary, ignore_errors=True)


def sweep(folder: Path, names: Collection[str] | None = None) -> None:
    """Remove the temporary files and folders directly inside `folder` that killed processes left.

    names  of the files and folders that they were to become; default: any
    """
    for path in folder.glob(".*.partial"):
        if names is None or path.name[1:].rsplit(".", 2)[0] in names:
            _remove(path)


def flush(path: Path) -> None:
    """Flush a file, or every file and folder of a tree, from the memory of the OS to the disk."""
    for folder, _, names in os.walk(path):
        for name in names:
            _flush_one(Path(folder, name))
        _flush_one(Path(folder))
    if not os.path.isdir(path):
        _flush_one(path)


def _share(path: Path) -> None:
    """Give every file in a folder tree the permissions of its folder, which follow the umask.

    safetensors 0.8 writes files that only their owner can read, so nobody else could open the checkpoint.
    """
    for folder, _, names in os.walk(path):
        for name in names:
            with suppress(OSError):  # some network file systems have no permissions
                os.chmod(Path(folder, name), os.stat(folder).st_mode & 0o666)


def _flush_one(path: Path) -> None:
    if os.path.isdir(path):
        with suppress(OSError):  # Windows opens no folders, and some network file systems flush none
            _fsync(os.open(path, os.O_RDONLY))
    else:
        _fsync(os.open(path, os.O_RDWR))  # Windows flushes only what is open for writing


def _fsync(descriptor: int) -> None:
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")


def _remove(path: Path) -> None:
    with suppress(OSError):
        if os.path.isdir(path) and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
