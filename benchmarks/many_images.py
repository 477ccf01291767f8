"""Scan, decoding and resume of many small images in two sources, a folder and a ZIP file.

    python -m benchmarks.many_images [--images 300000] [--folder /tmp/many-images]

Every step runs in a process of its own, whose peak memory is measured. The images are made once and kept in --folder.
"""

import argparse
import io
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

SIDE, CLASSES, FILES_IN_A_FOLDER = 32, 10, 10_000
STEP = """
import resource, sys, time
from pathlib import Path
from diffusion_demo import data
step, work, *sources = sys.argv[1:]
cache = data.ScanCache(Path(work) / "scan.jsonl")
started, cpu = time.monotonic(), time.process_time()
report = data.scan([Path(source) for source in sources], cache=cache)
scanned, used = time.monotonic(), time.process_time()
if step != "scan without a cache":
    cache.save()
if step == "decode":
    started, cpu = time.monotonic(), time.process_time()
    for held_out in (False, True):
        data.load_transformed(report, data.ImageTransform(32, 3), held_out, Path(work))
    scanned, used = time.monotonic(), time.process_time()
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
print(f"{step}: {len(report.entries):,} images, {scanned - started:.1f} s, {used - cpu:.1f} s of CPU, "
      f"{peak:.0f} MB at the peak, {cache.hits:,} known before")
"""


def encode(generator: np.random.Generator) -> bytes:
    """Return a JPEG of a random gradient."""
    corners = generator.integers(0, 256, (2, 2, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(corners).resize((SIDE, SIDE), Image.Resampling.BILINEAR).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def write_images(folder: Path, count: int) -> list[Path]:
    """Write half of the images into a folder and half into a ZIP file, in classes. Returns both."""
    generator, sources = np.random.default_rng(0), [folder / "first", folder / "second.zip"]
    if (folder / f"{count} written").exists():
        return sources
    for i in range(count // 2):
        target = sources[0] / f"class_{i % CLASSES}" / f"part_{i // FILES_IN_A_FOLDER}"
        target.mkdir(parents=True, exist_ok=True)
        (target / f"{i:07d}.jpg").write_bytes(encode(generator))
    with zipfile.ZipFile(sources[1], "w") as archive:
        for i in range(count - count // 2):
            archive.writestr(f"class_{i % CLASSES}/{i:07d}.jpg", encode(generator))
    (folder / f"{count} written").touch()
    return sources


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=300_000)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "many-images")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    sources = write_images(options.folder, options.images)
    with tempfile.TemporaryDirectory(dir=options.folder) as work:
        for step in ("scan without a cache", "scan", "scan again", "decode", "decode again"):
            name = step.removesuffix(" again") if step.startswith("decode") else step
            command = [sys.executable, "-c", STEP, name, work, *map(str, sources)]
            subprocess.run(command, check=True, env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])})
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
