"""The browser of the tests, the benchmarks and the README's images."""

import shutil


def chromium_path() -> str | None:
    """Return the path of the system's Chromium; None if there is none, so that Playwright uses its own download.

    The headless shell needs a quarter less CPU time than the whole browser. Playwright's download has it, too.
    """
    return shutil.which("chromium-headless-shell") or shutil.which("chromium")
