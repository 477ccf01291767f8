"""A run of a sampler on the page: live updates of the denoising, then the finished images."""

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from diffusion_demo.ui.duration import duration
from diffusion_demo.ui.errors import user_errors_as_toasts
from diffusion_demo.ui.preview.download_files import (
    write_animation,
    write_images,
    write_larger,
    write_sheet,
    write_zip_of,
)
from diffusion_demo.ui.preview.preview import idle_buttons, working_buttons

if TYPE_CHECKING:
    from PIL import Image

    from diffusion_demo.diffusion.samplers import Step


@dataclass(frozen=True, eq=False)
class SamplingRun:
    """A checked request that is ready to run.

    steps: starts the sampler. side: of the finished images, in pixels. settings: of each image, as stored in its PNG.
    captions: `caption` of the run and `cells` of its images. start_label: of the start button. first_frame: of the
    initial noise, if it is shown. name: of the files, a format. resume: what `browser_history` needs to start this run
    again after a reload of the page.
    """

    steps: "Callable[[], Iterator[Step]]"
    total_steps: int
    side: int
    seed: int
    settings: list[dict[str, Any]]
    captions: dict[str, Any]
    start_label: str
    first_frame: dict[str, Any] | None = None
    name: str = "seed_{seed:08d}.png"
    resume: dict[str, Any] | None = None

    def live_captions(self) -> dict[str, Any]:
        """Return what the preview shows of the run before its images are done: the caption and the number of images."""
        return {"caption": self.captions["caption"], "count": len(self.settings)}


def clear_results() -> dict[str, Any]:
    """Return the updates, by name, that empty the gallery and switch the downloads off."""
    return {"gallery": []} | {
        name: gr.DownloadButton(interactive=False) for name in ("archive", "sheet", "animation", "larger")
    }


def stream_sampling(run: SamplingRun) -> Iterator[dict[str, Any]]:
    """Sample, and yield updates by name: preview, gallery, archive, sheet, animation, larger, start and stop.

    Animation and larger images come last, after everything else is on the page. Raises gr.Error.
    """
    from diffusion_demo.ui.preview.frames import make_animation

    started, status = time.monotonic(), f"Step 0 of {run.total_steps}"
    frames = [run.first_frame] if run.first_frame else []
    opening = make_animation(frames, run.total_steps, status, live=True) if frames else {"frames": [], "empty": status}
    opening |= run.live_captions() | {"live": True, "resume": run.resume}
    yield {"preview": opening} | clear_results() | working_buttons()
    sheets: list[Image.Image] = []
    with user_errors_as_toasts():
        last = yield from _sample(run, frames, sheets, started)
    yield from _finish(run, frames, sheets, last, time.monotonic() - started)


def _sample(
    run: SamplingRun, frames: list[dict[str, Any]], sheets: "list[Image.Image]", started: float
) -> "Generator[dict[str, Any], None, Step]":
    """Sample, append the recorded frames and their contact sheets, yield live updates, and return the last step."""
    from diffusion_demo.ui.preview.frames import frame, make_animation, recorded_steps, sheet_of
    from diffusion_demo.ui.preview.progress_stream import watch

    total, count = run.total_steps, len(run.settings)
    recorded = recorded_steps(total, count * run.side**2)
    step = None
    with closing(watch(run.steps(), recorded)) as updates:
        for new_steps in updates:
            new_frames = [frame(step) for step in new_steps]
            frames += [one for one, step in zip(new_frames, new_steps, strict=True) if step.index in recorded]
            sheets += [sheet_of(step.xt) for step in new_steps if step.index in recorded]
            step = new_steps[-1]
            if step.index < total:
                each = (time.monotonic() - started) / step.index
                remaining, rate = duration(each * (total - step.index)), count / (each * total)
                status = f"Step {step.index} of {total}, {remaining} left, {rate:.1f} images/s"
                live = make_animation(new_frames[-1:], total, status, live=True)
                yield {"preview": live | run.live_captions()}
    assert step is not None, "a sampler yields at least one step"
    return step


def _finish(
    run: SamplingRun, frames: list[dict[str, Any]], sheets: "list[Image.Image]", last: "Step", seconds: float
) -> Iterator[dict[str, Any]]:
    """Write the files and yield the final updates."""
    from diffusion_demo.ui.preview.frames import make_animation

    count = len(run.settings)
    images = f"{count} image{'s' * (count != 1)}"
    status = f"{images} in {duration(seconds)}, {count / seconds:.1f} images/s, seed {run.seed}."
    with user_errors_as_toasts(), write_images(last.xt, run.settings, run.name) as paths:
        folder = paths[0].parent
        results = {
            "preview": make_animation(frames, run.total_steps, status) | run.captions,
            "gallery": [(str(path), None) for path in paths],
            "archive": _download(write_zip_of(paths, "images.zip")),
            "sheet": _download(write_sheet(sheets[-1], folder)),
        }
        yield results | {"stop": gr.Button(interactive=False)}
        # everything again, because a program that calls the API gets the last update only
        later = {"animation": write_animation(sheets, folder), "larger": write_larger(paths)}
        yield results | {name: _download(path) for name, path in later.items()} | idle_buttons(run.start_label)


def _download(path: Path) -> gr.DownloadButton:
    return gr.DownloadButton(value=str(path), interactive=True)
