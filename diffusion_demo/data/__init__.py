"""A folder, some files or a zip of images -> a report, a held-out split, and the decoded images of both parts.

What is read may be anything: nothing is written but the cache that was asked for, and no file stops the rest.
"""

from diffusion_demo.data.dataset import ImageTensors, examples, load, load_transformed
from diffusion_demo.data.file_errors import UNREADABLE, UnreadableFile
from diffusion_demo.data.preprocess import ImageTransform, decode
from diffusion_demo.data.report import Entry, Report
from diffusion_demo.data.scan import CLASSES_FROM, scan

__all__ = [
    "CLASSES_FROM",
    "UNREADABLE",
    "Entry",
    "ImageTensors",
    "ImageTransform",
    "Report",
    "UnreadableFile",
    "decode",
    "examples",
    "load",
    "load_transformed",
    "scan",
]
