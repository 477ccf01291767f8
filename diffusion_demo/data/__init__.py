"""Image datasets: scan a folder, a zip file or a list of files, hold out a part, and decode the images.

Sources are untrusted: nothing is written except an optional cache, and an unreadable file does not stop the scan.
"""

from diffusion_demo.data.dataset import ImageTensors, examples, load, load_transformed
from diffusion_demo.data.file_errors import UNREADABLE, UnreadableFile
from diffusion_demo.data.preprocess import ImageTransform, decode
from diffusion_demo.data.report import Entry, Report
from diffusion_demo.data.scan import CLASSES_FROM, scan
from diffusion_demo.data.scan_cache import ScanCache
from diffusion_demo.data.source import pasted_sources, title_of

__all__ = [
    "CLASSES_FROM",
    "UNREADABLE",
    "Entry",
    "ImageTensors",
    "ImageTransform",
    "Report",
    "ScanCache",
    "UnreadableFile",
    "decode",
    "examples",
    "load",
    "load_transformed",
    "pasted_sources",
    "scan",
    "title_of",
]
