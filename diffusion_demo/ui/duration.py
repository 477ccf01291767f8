"""Durations as text."""


def duration(seconds: float) -> str:
    """Format a duration: "3.2 s", "42 s", "10 min" or "2.5 h"."""
    if seconds < 90:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
