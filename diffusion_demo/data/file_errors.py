"""Why a file cannot be used, in words for the person whose file it is."""

from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image, UnidentifiedImageError

from diffusion_demo.errors import BadInput

MAX_PIXELS = 64_000_000
TOO_MANY_PIXELS = f"It has more than {MAX_PIXELS // 1_000_000} million pixels; make it smaller."


class UnreadableFile(BadInput):
    """One file cannot be used; the message is a sentence about it, to stand beside its name."""


# What reading a file and decoding it raise, and nothing else.
UNREADABLE = (OSError, UnreadableFile)


@contextmanager
def readable() -> Iterator[None]:
    """Whatever a file makes its reader raise becomes Unreadable: damaged bytes bring out nearly every exception there is."""
    try:
        yield
    except UnreadableFile:
        raise
    except Exception as error:
        raise UnreadableFile(reason_for(error)) from error


def reason_for(error: Exception) -> str:
    """The sentence for an exception of the operating system, of zipfile or of Pillow."""
    match error:
        case UnidentifiedImageError():
            return "Whatever its name says, it holds no image that is read here; save it again as PNG or JPEG."
        case Image.DecompressionBombError():
            return TOO_MANY_PIXELS
        case MemoryError():
            return "It takes more memory than there is; make it smaller."
        case PermissionError():
            return "It may not be read; change its permissions."
        case FileNotFoundError():
            return "It has disappeared; put it back."
        case OSError(errno=int(), strerror=str(words)):
            return f"The disk does not give it ({words}); copy it to another place."
    return "It is damaged or cut short; copy or save it again."
