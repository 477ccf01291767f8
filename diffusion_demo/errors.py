"""Errors that the user can fix."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from diffusion_demo.paths import CHECKOUT


class BadInput(ValueError):
    """Invalid input. The message says what is wrong and what to do, on one line.

    field  name of the setting that is invalid, if it is a single one; forms show the message next to it
    """

    def __init__(self, message: str, field: str | None = None):
        super().__init__(message)
        self.field = field


def first_line(error: Exception) -> str:
    """Return the first line of an error's message without its period; the name of its type if it has no message."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__).rstrip(".")


@contextmanager
def exit_on_missing_package() -> Iterator[None]:
    """Exit with code 2 and a message on stderr if a third-party package imported inside the block is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        if str(error.name).startswith("diffusion_demo"):
            raise
        remedy = (
            "Install diffusion-demo again, with its dependencies."
            if CHECKOUT is None
            else f"Run: {sys.executable} -m pip install -r {CHECKOUT / 'requirements.txt'}"
        )
        print(f"The package {error.name} is not installed for {sys.executable}. {remedy}", file=sys.stderr)
        raise SystemExit(2) from None
