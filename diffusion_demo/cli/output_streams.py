"""Output to a terminal that may be limited to a code page, or lost."""

import io
import os
import sys
from contextlib import suppress


def escape_unknown_characters() -> None:
    """Print characters that the terminal's encoding lacks, such as Japanese in cp1252, as escapes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def discard_lost_output() -> None:
    """Discard output to a stream that can no longer be written to, including at exit."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            with suppress(OSError, ValueError):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, stream.fileno())
                os.close(nowhere)
