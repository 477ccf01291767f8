"""What is done every minute, in a thread of its own: old files are taken away, what nobody uses leaves the memory, and it goes back."""

import shutil
import sys
import threading
import time

import gradio as gr

from diffusion_demo.training.run_folder import RunFolder
from diffusion_demo.ui.server import malloc, model_list, session_pruning, temp_files
from diffusion_demo.ui.settings import settings
from diffusion_demo.ui.train import run_actions, run_list, uploads

EVERY_SECONDS = 60
UPLOADS_AGE = 24 * 3600


def start(page: gr.Blocks) -> None:
    """Begin to sweep."""
    threading.Thread(target=_sweep_for_ever, args=(page,), name="sweep", daemon=True).start()


def _sweep_for_ever(page: gr.Blocks) -> None:
    while True:
        time.sleep(EVERY_SECONDS)
        try:
            once(page)
        except OSError as error:  # a disk that is full or gone: the next round may do better
            print(f"Could not sweep: {error}", file=sys.stderr)


def once(page: gr.Blocks) -> None:
    """One round."""
    temp_files.sweep(
        60 * settings().temporary_minutes, {path for block in page.blocks.values() for path in block.keep_in_cache}
    )
    if settings().public:
        _drop_uploads()
    if loaded := sys.modules.get(
        "diffusion_demo.ui.server.model_cache"
    ):  # which imports torch: nothing is loaded before it is
        loaded.drop_idle(60 * settings().idle_minutes)
    session_pruning.prune_sessions(page)
    malloc.trim()


def _drop_uploads() -> None:
    """Take away images that were dropped long ago and that no run needs."""
    needed = {run_actions.uploads_of_run(RunFolder(model_list.RUNS / name)) for name in run_list.all_names()}
    for folder in uploads.UPLOADS.glob("*"):
        if folder not in needed and folder.name != "drawn" and time.time() - folder.stat().st_mtime > UPLOADS_AGE:
            shutil.rmtree(folder, ignore_errors=True)
