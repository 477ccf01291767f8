"""What is the person's to mend, not ours."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


class BadInput(ValueError):
    """What was asked for cannot be done; the message is one sentence that says what to do instead.

    field: the setting that it is about, where it is about one: a form shows the sentence there.
    """

    def __init__(self, message: str, field: str | None = None):
        super().__init__(message)
        self.field = field


@contextmanager
def needing_packages() -> Iterator[None]:
    """End the program with one sentence and exit code 2 where a package that is needed within is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        if str(error.name).startswith("diffusion_demo"):
            raise
        print(
            f"The package {error.name} is not installed for {sys.executable}; run: {sys.executable} -m pip install -r requirements.txt",
            file=sys.stderr,
        )
        raise SystemExit(2) from None
