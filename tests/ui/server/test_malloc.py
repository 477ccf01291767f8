"""Return of freed memory to the operating system, measured in a subprocess without the memory of other tests."""

import subprocess
import sys

import pytest

SCRIPT = """
import psutil
from diffusion_demo.ui.server import malloc

malloc.limit_arenas()
resident_mb = lambda: psutil.Process().memory_info().rss / 1e6
start = resident_mb()
many = [bytearray(50_000) for _ in range(4000)]
last = [bytearray(50_000)]  # at the top of the heap; without it, free() alone would return all memory
full = resident_mb()
del many
malloc.trim()
assert full - start > 150 and resident_mb() - start < 50, (start, full, resident_mb())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs glibc")
def test_freed_memory_is_returned():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
