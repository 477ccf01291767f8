"""The area for dropping images: files, a ZIP, or a folder whose subfolders are kept.

Gradio's own component drops the folders from the names of the files. This one sends each file to Gradio's upload route,
under its limits, and names the files with their folders when it reports them.
"""

from pathlib import PurePosixPath
from typing import Any

import gradio as gr

from diffusion_demo.paths import read_asset
from diffusion_demo.ui.server.schemas import MAX_FILES
from diffusion_demo.ui.settings import settings

# Repeated here so that the page starts without importing torch. A test compares both copies.
SUFFIXES = ("apng", "avif", "bmp", "dib", "gif", "j2k", "jfif", "jp2", "jpe", "jpeg", "jpg", "pbm", "pgm", "png", "pnm")
SUFFIXES += ("ppm", "tga", "tif", "tiff", "webp", "zip")
LABEL_FILES = ("dataset.json", "labels.csv", "metadata.csv", "metadata.jsonl")
# The value that the area hands over with a click on its hidden button; the other inputs stay as they are.
SENT_FILES = "(files, ...rest) => [window.trainUpload || [], ...rest]"


def hidden_files() -> gr.File:
    """Return a hidden list of uploaded files. Handlers get (path, name with folders) of each."""
    files = gr.File(file_count="multiple", visible="hidden", label="Your images")
    # Set on the instance: for a subclass, Gradio writes a .pyi file beside this module.
    files.preprocess = _paths_and_names  # pyright: ignore[reportAttributeAccessIssue]
    return files


def _paths_and_names(payload: Any) -> list[tuple[str, str]]:
    """Return the path and the name of each file. The name comes from the browser and may be anything."""
    files = payload.root if hasattr(payload, "root") else [payload] if payload else []
    return [(file.path, file.orig_name or PurePosixPath(file.path).name) for file in files]


def upload_area() -> gr.HTML:
    """Return the visible area."""
    return gr.HTML(
        {
            "suffixes": SUFFIXES,
            "label_files": LABEL_FILES,
            "max_files": MAX_FILES,
            "max_bytes": settings().upload_mb * 1_000_000,
        },
        html_template=read_asset("train/upload.html"),
        js_on_load=read_asset("train/upload.js"),
        apply_default_css=False,
        elem_id="train-files",
    )
