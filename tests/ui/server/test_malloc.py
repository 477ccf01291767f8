"""What is freed leaves the process: measured in one of its own, as other tests' memory would blur it."""

import subprocess
import sys

import pytest

SCRIPT = """
import psutil
from diffusion_demo.ui.server import malloc

malloc.limit_arenas()
held = lambda: psutil.Process().memory_info().rss / 1e6
start = held()
many = [bytearray(50_000) for _ in range(4000)]
last = [bytearray(50_000)]  # on top of the heap: without it free() alone would give all back
full = held()
del many
malloc.trim()
assert full - start > 150 and held() - start < 50, (start, full, held())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's own")
def test_what_is_free_is_given_back_to_the_system():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
