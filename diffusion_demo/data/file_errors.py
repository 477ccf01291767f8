"""Errors for files that cannot be read, with messages for their owner."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from threading import BoundedSemaphore

from PIL import Image, UnidentifiedImageError

from diffusion_demo.errors import BadInput

MAX_PIXELS = 64_000_000
TOO_MANY_PIXELS = f"The image has more than {MAX_PIXELS // 1_000_000} million pixels. Make it smaller."


class UnreadableFile(BadInput):
    """An error of a single file; its message can be shown after the name of the file."""


# The exceptions that reading and decoding a file can raise.
UNREADABLE = (OSError, UnreadableFile)


class _Decoding:
    """How many images this process decodes at a time: None for any number, as in a trainer."""

    slots: AbstractContextManager | None = None


def limit_decoding_threads(images: int) -> None:
    """Let at most this many threads decode an image at a time. A page needs it, because strangers choose the images."""
    _Decoding.slots = BoundedSemaphore(images)


def decoding() -> AbstractContextManager:
    """Return the context in which pixels may be decoded. It is not reentrant."""
    return _Decoding.slots or nullcontext()


@contextmanager
def readable() -> Iterator[None]:
    """Convert every exception inside the block to UnreadableFile.

    Pillow and zipfile raise nearly every type of exception for damaged files.
    """
    try:
        yield
    except UnreadableFile:
        raise
    except Exception as error:
        raise UnreadableFile(reason_for(error)) from error


def reason_for(error: Exception) -> str:
    """Return the message for an exception of the operating system, zipfile or Pillow."""
    match error:
        case UnidentifiedImageError():
            return "The content is not a supported image format. Save the image as PNG or JPEG."
        case Image.DecompressionBombError():
            return TOO_MANY_PIXELS
        case MemoryError():
            return "The image does not fit in memory. Make it smaller."
        case PermissionError():
            return "No permission to read it. Change its permissions."
        case FileNotFoundError():
            return "It no longer exists. Restore it."
        case OSError(errno=int(), strerror=str(message)):
            return f"It cannot be read from disk ({message}). Copy it to another place."
    return "The file is damaged or truncated. Copy or save it again."
