"""Background housekeeping: delete old files, unload idle models, prune sessions and return memory to the OS."""

import shutil
import sys
import threading
import time
from contextlib import suppress

import gradio as gr

from diffusion_demo.training.run_folder import RunFolder
from diffusion_demo.ui.server import malloc, model_list, session_leak, temp_files, upload_quota
from diffusion_demo.ui.settings import settings
from diffusion_demo.ui.train import run_actions, run_list, uploads

INTERVAL_SECONDS = 60
MAX_UPLOAD_AGE_SECONDS = MAX_SCAN_AGE_SECONDS = 24 * 3600


def start(page: gr.Blocks) -> None:
    """Start the housekeeping thread."""
    threading.Thread(target=_run_forever, args=(page,), name="housekeeping", daemon=True).start()


def _run_forever(page: gr.Blocks) -> None:
    while True:
        time.sleep(INTERVAL_SECONDS)
        try:
            run_once(page)
        except OSError as error:  # such as a full disk, which may have space again in the next round
            print(f"Housekeeping failed: {error}", file=sys.stderr)


def run_once(page: gr.Blocks) -> None:
    """Run one round of housekeeping."""
    protected = {path for block in page.blocks.values() for path in block.keep_in_cache}
    temp_files.delete_old(60 * settings().temporary_minutes, protected)
    upload_quota.release_deleted()
    if settings().public:
        _delete_unused_uploads()
    _delete_old_scans()
    run_actions.finish_deletions()
    # model_cache imports torch; if it is not imported yet, no model is loaded.
    if model_cache := sys.modules.get("diffusion_demo.ui.server.model_cache"):
        model_cache.unload_if_idle(60 * settings().idle_minutes)
    session_leak.remove_extra_components(page)
    malloc.trim()


def _delete_unused_uploads() -> None:
    """Delete uploaded images that are old and not used by any run."""
    used = {run_actions.uploads_of_run(RunFolder(model_list.RUNS / name)) for name in run_list.all_names()}
    for folder in uploads.UPLOADS.glob("*"):
        is_unused = folder not in used and folder.name != "drawn"
        if is_unused and time.time() - folder.stat().st_mtime > MAX_UPLOAD_AGE_SECONDS:
            shutil.rmtree(folder, ignore_errors=True)


def _delete_old_scans() -> None:
    """Delete cached scans that nobody has used for a day."""
    for file in uploads.SCANS.glob("*.jsonl"):
        with suppress(OSError):
            if time.time() - file.stat().st_mtime > MAX_SCAN_AGE_SECONDS:
                file.unlink()
